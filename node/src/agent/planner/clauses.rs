//! Cuts a task where one request ends and the next begins: lines of a list, sentences, "then", questions joined by
//! "and", lists of objects. Never inside quotes, code or brackets.

use std::sync::LazyLock;

use regex::Regex;

use super::Grain;
use crate::agent::text::{protected, sentences};

/// One request of the task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Clause {
    /// Its words, without the connector.
    pub(super) text: String,
    /// It comes after the one before ("then", "after that").
    pub(super) follows: bool,
    /// It comes after all before ("finally").
    pub(super) last: bool,
}

/// Words a request begins with when it asks.
const QUESTIONS: &str =
    "what|which|who|whom|whose|when|where|why|how|is|are|does|do|did|can|could|may|must|should|will";
/// Words a request begins with when it orders.
const ORDERS: &str = "find|look|list|name|tell|give|show|explain|describe|summari[sz]e|compare|contrast|calculate|\
    compute|convert|work|determine|estimate|count|sum|add|subtract|multiply|divide|check|verify|identify|say|state|\
    report|write|draft|translate|plan|propose|recommend|suggest|decide|choose|pick|book|buy|order|send|search|fetch|get|\
    read|extract|analy[sz]e|evaluate|review|rank|sort|draw|plot|quote|define|outline|discuss|create|make|build|design|\
    prepare|schedule|set|update|use|figure|collect|gather|reserve|investigate|research";

static LINE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"^\s*(?:[-*•+]|\(?\d{1,2}[.):]|\(?[a-h][.)])\s+").expect("a fixed pattern"));
static INLINE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[\s,;:])(?:and\s+)?\(?(?:(\d{1,2})|([a-h]))[.)]\s+").expect("a fixed pattern")
});
static SEQUENCE: LazyLock<Regex> = LazyLock::new(|| {
    let after = "(?:and then|then|after that|after this|afterwards|next|subsequently|finally|lastly|last)";
    let pattern =
        format!(r"(?i)(?:\s*[,;]\s*(?:and\s+)?|\s+and\s+|\s+){after}\s*,?\s+(?:{ORDERS}|{QUESTIONS})\b");
    Regex::new(&pattern).expect("a fixed pattern")
});
static MARKER: LazyLock<Regex> = LazyLock::new(|| {
    let words = "and then|then|after that|after this|afterwards|next|subsequently|finally|lastly|last|first|firstly|second|\
        secondly|third|thirdly|also|in addition|additionally|to begin with|based on that|based on this|and|please|\
        using that|using this|with that|given that";
    Regex::new(&format!(r"(?i)^(?:({words})\b\s*,?\s*)")).expect("a fixed pattern")
});
static JOINED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(
        r"(?i)\s*(?:,\s*(?:and\s+|or\s+)?|\s+and\s+|;\s*(?:and\s+)?)(?:also\s+)?(?:{ORDERS}|{WH})\b"
    ))
    .expect("a fixed pattern")
});
/// Of [`QUESTIONS`], those that begin a question even in the middle of a sentence.
const WH: &str = "what|which|who|when|where|why|how";
static ORDER: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"(?i),?\s+and\s+(?:{ORDERS})\b|;\s+")).expect("a fixed pattern"));

/// The requests of `task`, in order.
pub(super) fn split(task: &str, grain: Grain) -> Vec<Clause> {
    let mut clauses = Vec::new();
    for (header, item) in items(task) {
        for sentence in sentences(&item) {
            for mut clause in requests(sentence, grain) {
                if let Some(header) = &header {
                    clause.text = with_header(header, &clause.text);
                }
                clauses.push(clause);
            }
        }
    }
    clauses.retain(|c| c.text.chars().any(char::is_alphanumeric));
    clauses
}

/// Items of lists, each with the line that introduced the list; other text comes as one item.
fn items(task: &str) -> Vec<(Option<String>, String)> {
    if task.contains("```") {
        return vec![(None, task.trim().to_owned())];
    }
    let mut items: Vec<(Option<String>, String)> = Vec::new();
    let mut listed = false;
    let mut header: Option<String> = None;
    let mut in_list = false;
    for line in task.lines().map(str::trim_end) {
        if line.trim().is_empty() {
            in_list = false;
            continue;
        }
        if let Some(mark) = LINE.find(line).filter(|_| inline_items(None, line).len() < 2) {
            listed = true;
            if !in_list {
                header = items.pop_if(|(_, text)| text.ends_with(':')).map(|(_, text)| text);
            }
            in_list = true;
            items.push((header.clone(), line[mark.end()..].trim().to_owned()));
        } else if in_list && line.starts_with(char::is_whitespace) {
            let last = items.last_mut().expect("a list has an item");
            last.1 = format!("{} {}", last.1, line.trim());
        } else {
            in_list = false;
            let after_list = std::mem::take(&mut listed);
            match items.last_mut() {
                Some((None, text)) if !after_list && !text.ends_with(['.', '?', '!', ':']) => {
                    *text = format!("{text} {}", line.trim());
                }
                _ => items.push((None, line.trim().to_owned())),
            }
        }
    }
    items.into_iter().flat_map(|(header, text)| inline_items(header, &text)).collect()
}

/// `1) a 2) b` and `(a) x (b) y` within a line, if the numbers count up from the first.
fn inline_items(header: Option<String>, text: &str) -> Vec<(Option<String>, String)> {
    let mut marks = Vec::new();
    for found in INLINE.captures_iter(text) {
        let whole = found.get(0).expect("a match has a whole");
        let number = match (found.get(1), found.get(2)) {
            (Some(n), _) => n.as_str().parse().unwrap_or(0),
            (_, Some(letter)) => usize::from(letter.as_str().as_bytes()[0] - b'a') + 1,
            _ => 0,
        };
        if number == marks.len() + 1 {
            marks.push((whole.start(), whole.end()));
        }
    }
    if marks.len() < 2 {
        return vec![(header, text.to_owned())];
    }
    let before = text[..marks[0].0].trim();
    let header = if before.is_empty() { header } else { Some(before.to_owned()) };
    let ends = marks.iter().skip(1).map(|m| m.0).chain([text.len()]);
    let item = |(&(_, from), to): (&(usize, usize), usize)| {
        (header.clone(), text[from..to].trim().trim_end_matches([',', ';']).to_owned())
    };
    marks.iter().zip(ends).map(item).collect()
}

/// "Find the following:" + "card limit" reads "Find the card limit"; a header that says something keeps its words.
fn with_header(header: &str, item: &str) -> String {
    let header = header.trim_end_matches([':', ' ']);
    if begins_request(item) {
        return item.to_owned();
    }
    static GENERAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)\s*(?:all\s+|each of\s+)?(?:the\s+)?(?:following|these|below)\b.*$")
            .expect("a fixed pattern")
    });
    let head = GENERAL.replace(header, "");
    let head = head.trim();
    match (head.split_whitespace().count(), head.len() < header.len()) {
        (0, _) => item.to_owned(),
        (_, true) => format!("{head} {item}"),
        (_, false) => format!("{head}: {item}"),
    }
}

/// Whether a text begins as a question or an order does.
pub(super) fn begins_request(text: &str) -> bool {
    static BEGINS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!(r"(?i)^(?:please\s+)?(?:{ORDERS}|{QUESTIONS})\b")).expect("a fixed pattern")
    });
    BEGINS.is_match(text)
}

/// The requests within one sentence.
fn requests(sentence: &str, grain: Grain) -> Vec<Clause> {
    let mut parts = cut(sentence, &SEQUENCE);
    let joints = match grain {
        Grain::Coarse => &ORDER,
        Grain::Fine => &JOINED,
    };
    parts = parts.into_iter().flat_map(|part| cut(&part, joints)).collect();
    let mut clauses: Vec<Clause> = parts.iter().map(|part| clause(part)).collect();
    if grain == Grain::Fine {
        clauses = clauses.into_iter().flat_map(objects).collect();
    }
    clauses
}

/// Cuts before every unprotected match whose both sides are requests of their own.
fn cut(text: &str, pattern: &Regex) -> Vec<String> {
    static SUBORDINATE: LazyLock<Regex> = LazyLock::new(|| {
        let words = "know|knows|see|say|says|tell|of|about|to|how|what|why|when|where|which|who";
        Regex::new(&format!(r"(?i)\b(?:{words})$")).expect("a fixed pattern")
    });
    let marks = protected(text);
    let mut parts = Vec::new();
    let mut start = 0;
    for found in pattern.find_iter(text) {
        let left = text[start..found.start()].trim().trim_start_matches([',', ';']).trim_start();
        let stands_alone = left.split_whitespace().count() >= 2 && !SUBORDINATE.is_match(left);
        if !marks[found.start()] && stands_alone && begins_request(MARKER.replace(left, "").trim()) {
            parts.push(left.to_owned());
            start = found.start();
        }
    }
    parts.push(text[start..].trim().to_owned());
    parts
}

static ASKS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!(r"(?i)^(?:{QUESTIONS})\b")).expect("a fixed pattern"));

/// Takes the connector off and keeps what it meant.
fn clause(part: &str) -> Clause {
    let mut text = part.trim().trim_start_matches([',', ';']).trim_start();
    let mut clause = Clause::default();
    while let Some(found) = MARKER.captures(text) {
        let word = found[1].to_lowercase();
        match word.as_str() {
            "finally" | "lastly" | "last" => clause.last = true,
            "first" | "firstly" | "also" | "in addition" | "additionally" | "to begin with" | "and"
            | "please" => {}
            _ => clause.follows = true,
        }
        text = &text[found[0].len()..];
    }
    clause.text = text.trim_end_matches([',', ';', ' ']).to_owned();
    if ASKS.is_match(&clause.text) && !clause.text.ends_with(['?', '.', '!', ':']) {
        clause.text.push('?');
    }
    clause
}

static LIST: LazyLock<Regex> = LazyLock::new(|| {
    let head = r"(?:(?:what|which|who|where|when)\s+(?:is|are|was|were)|how\s+(?:large|big|long|many|fast|much)\s+(?:is|are|may|can|does|do)|find|look up|list|name|describe|explain|define|summari[sz]e|give|state|quote)";
    Regex::new(&format!(r"(?i)^({head}\s+)(.+?)([.?!]*)$")).expect("a fixed pattern")
});

/// "What are a, b and c?" asks three things when each is a noun phrase of its own.
fn objects(clause: Clause) -> Vec<Clause> {
    let Some(found) = LIST.captures(&clause.text) else { return vec![clause] };
    let (head, body, end) = (&found[1], &found[2], &found[3]);
    let parts = noun_phrases(body);
    let determined = parts.iter().filter(|p| starts_with_determiner(p)).count();
    if parts.len() < 2 || determined < parts.len() || super::compare::is_comparison(&clause.text) {
        return vec![clause];
    }
    let number = |part: &str| {
        let plural = part.ends_with('s') && !part.ends_with("ss");
        if plural { head.to_owned() } else { head.replace(" are ", " is ").replace(" were ", " was ") }
    };
    let each = |part: &String| Clause { text: format!("{}{part}{end}", number(part)), ..clause.clone() };
    parts.iter().map(each).collect()
}

/// The parts of "a, b and c", cut outside protected text.
pub(super) fn noun_phrases(text: &str) -> Vec<String> {
    static AND: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?i)\s*,\s*(?:and\s+)?|\s+and\s+").expect("a fixed pattern"));
    let marks = protected(text);
    let mut parts = Vec::new();
    let mut start = 0;
    for found in AND.find_iter(text).filter(|f| !marks[f.start()]) {
        parts.push(text[start..found.start()].trim().to_owned());
        start = found.end();
    }
    parts.push(text[start..].trim().to_owned());
    parts.retain(|p| !p.is_empty());
    parts
}

fn starts_with_determiner(text: &str) -> bool {
    static DETERMINER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^(?:the|a|an|its|their|our|his|her|each|every)\s+\S").expect("a fixed pattern")
    });
    DETERMINER.is_match(text)
}
