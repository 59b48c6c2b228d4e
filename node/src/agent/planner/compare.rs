//! Comparisons and computations over things that must be looked up first: "the difference between A and B", "compare A
//! with B", "how much larger is A than B", "convert A to bytes".

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::agent::text::protected;

/// A request over one or two things.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// What to ask for each side, readable alone.
    pub(super) lookups: Vec<String>,
    /// The sides themselves.
    pub(super) sides: Vec<String>,
    /// Whether it ends in a number.
    pub(super) computes: bool,
}

struct Shape {
    pattern: Regex,
    computes: bool,
    read: fn(&Captures<'_>) -> (Vec<String>, Asks),
}

/// How one side is asked for.
enum Asks {
    /// "What is the card limit?"
    Value,
    /// "Describe sled in terms of speed"
    Description(Option<String>),
    /// "How large is an envelope?"
    Degree(String),
}

static SHAPES: LazyLock<Vec<Shape>> = LazyLock::new(|| {
    let shape = |pattern: &str, computes, read| Shape {
        pattern: Regex::new(pattern).expect("a fixed pattern"),
        computes,
        read,
    };
    vec![
        shape(
            r"(?i)^(?:compare|contrast)\s+(.+?)\s+(?:with|to|against|versus|vs\.?|and)\s+(.+?)(?:\s+(?:in terms of|regarding|with respect to|with regard to|by)\s+(.+?))?[.?!]*$",
            false,
            |c| {
                let aspect = c.get(3).map(|m| m.as_str().to_owned());
                (vec![c[1].to_owned(), c[2].to_owned()], Asks::Description(aspect))
            },
        ),
        shape(
            r"(?i)\b(?:difference|ratio|gap|margin|distance|interval)\s+(?:\w+\s+)??(?:between|of)\s+(.+?)\s+(?:and|to)\s+(.+?)(?:\s*,?\s+(?:in|as|expressed in)\s+(?:\w+\s*){1,2})?[.?!]*$",
            true,
            |c| (vec![c[1].to_owned(), c[2].to_owned()], Asks::Value),
        ),
        shape(
            r"(?i)\b(?:sum|total|product|average|mean)\s+of\s+(.+?)\s+and\s+(.+?)(?:\s*,?\s+(?:in|as)\s+(?:\w+\s*){1,2})?[.?!]*$",
            true,
            |c| (vec![c[1].to_owned(), c[2].to_owned()], Asks::Value),
        ),
        shape(
            r"(?i)^(?:by\s+)?how\s+(?:much|many\s+times?|many\s+\w+)\s+(larger|bigger|smaller|longer|shorter|faster|slower|higher|lower|older|heavier|greater|more\s+\w+|less\s+\w+|cheaper|dearer)\s+(?:is|are|was|were|may|can)\s+(.+?)(?:\s+be)?\s+than\s+(.+?)[.?!]*$",
            true,
            |c| (vec![c[2].to_owned(), c[3].to_owned()], Asks::Degree(base(&c[1]))),
        ),
        shape(
            r"(?i)^(?:is|are|was|were)\s+(.+?)\s+(larger|bigger|smaller|longer|shorter|faster|slower|higher|lower|older|heavier|greater|cheaper)\s+than\s+(.+?)[.?!]*$",
            false,
            |c| (vec![c[1].to_owned(), c[3].to_owned()], Asks::Degree(base(&c[2]))),
        ),
        shape(
            r"(?i)^which\s+(?:one\s+)?is\s+(?:the\s+)?(larger|bigger|smaller|longer|shorter|faster|slower|higher|lower|older|heavier|greater|cheaper)\s*[,:]?\s+(.+?)\s+or\s+(.+?)[.?!]*$",
            false,
            |c| (vec![c[2].to_owned(), c[3].to_owned()], Asks::Degree(base(&c[1]))),
        ),
        shape(
            r"(?i)^how\s+many\s+times\s+(?:does|do|can|will)\s+(.+?)\s+(?:fit|fits|go|goes)\s+in(?:to)?\s+(.+?)[.?!]*$",
            true,
            |c| (vec![c[1].to_owned(), c[2].to_owned()], Asks::Value),
        ),
        shape(
            r"(?i)^(?:what|which)\s+(?:percentage|percent|fraction|share)\s+of\s+(.+?)\s+(?:is|are|does)\s+(.+?)[.?!]*$",
            true,
            |c| (vec![c[1].to_owned(), c[2].to_owned()], Asks::Value),
        ),
        shape(r"(?i)^(?:subtract|deduct)\s+(.+?)\s+from\s+(.+?)[.?!]*$", true, |c| {
            (vec![c[2].to_owned(), c[1].to_owned()], Asks::Value)
        }),
        shape(r"(?i)^(?:add|multiply|divide)\s+(.+?)\s+(?:and|to|by|with)\s+(.+?)[.?!]*$", true, |c| {
            (vec![c[1].to_owned(), c[2].to_owned()], Asks::Value)
        }),
        shape(r"(?i)^(?:convert|express)\s+(.+?)\s+(?:to|into|in|as)\s+(?:\S+\s*){1,2}[.?!]*$", true, |c| {
            (vec![c[1].to_owned()], Asks::Value)
        }),
    ]
});

/// The comparison a request makes, if it makes one.
pub(super) fn read(text: &str) -> Option<Comparison> {
    let marks = protected(text);
    for shape in SHAPES.iter() {
        let Some(found) = shape.pattern.captures(text) else { continue };
        if marks[found.get(0).expect("a match has a whole").start()] {
            continue;
        }
        let (mut sides, asks) = (shape.read)(&found);
        share_head(&mut sides);
        let lookups = sides.iter().filter(|s| !is_literal(s) && !refers(s)).map(|s| ask(s, &asks)).collect();
        return Some(Comparison { lookups, sides, computes: shape.computes });
    }
    None
}

/// Whether a request compares or relates two things.
pub(super) fn is_comparison(text: &str) -> bool {
    read(text).is_some()
}

/// Whether a request ends in a number that must be computed.
pub(super) fn computes(text: &str) -> bool {
    static COMPUTES: LazyLock<Regex> = LazyLock::new(|| {
        let orders = r"^(?:calculate|compute|convert|multiply|divide|subtract|sum up|add up|work out)\b";
        let asks = r"^how many times\b|^what(?:'s| is) (?:-?\d[\d.,]*\s*%?|the (?:sum|difference|ratio|product|average|total)\b)";
        let literal = r"\d\s*[-+*/×÷^]\s*\d|\d\s*%\s+of\b|\bdays (?:between|from|until)\b|\bsquare root of\b";
        Regex::new(&format!("(?i){orders}|{asks}|{literal}")).expect("a fixed pattern")
    });
    COMPUTES.is_match(text) || read(text).is_some_and(|c| c.computes)
}

/// Whether a side is a value already: a number, a date, a quotation.
fn is_literal(side: &str) -> bool {
    static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"^[-+(]?[$€£]?\d|^["“`]|^(?:today|now|tomorrow)\b"#).expect("a fixed pattern")
    });
    LITERAL.is_match(side)
}

/// Whether a side only points at something said before.
fn refers(side: &str) -> bool {
    static REFERS: LazyLock<Regex> = LazyLock::new(|| {
        let words = "it|that|this|them|both|these|those|the two|the (?:result|answer|difference|sum|product|ratio|total)s?|\
            (?:that|this|the first|the second|the former|the latter)(?: \\w+)?|its .*|their .*";
        Regex::new(&format!(r"(?i)^(?:{words})$")).expect("a fixed pattern")
    });
    REFERS.is_match(side)
}

fn ask(side: &str, asks: &Asks) -> String {
    match asks {
        Asks::Value => format!("What is {side}?"),
        Asks::Description(None) => format!("Describe {side}"),
        Asks::Description(Some(aspect)) => format!("Describe {side} in terms of {aspect}"),
        Asks::Degree(adjective) => format!("How {adjective} is {side}?"),
    }
}

/// "larger" to "large".
fn base(comparative: &str) -> String {
    let word = comparative.to_lowercase();
    let known =
        [("bigger", "big"), ("higher", "high"), ("longer", "long"), ("shorter", "short"), ("faster", "fast")];
    let more =
        [("slower", "slow"), ("lower", "low"), ("older", "old"), ("heavier", "heavy"), ("greater", "great")];
    let also = [("smaller", "small"), ("cheaper", "expensive"), ("dearer", "expensive"), ("larger", "large")];
    let mut all = known.iter().chain(&more).chain(&also);
    if let Some((_, base)) = all.find(|(from, _)| *from == word) {
        return (*base).to_owned();
    }
    word.trim_start_matches("more ").trim_start_matches("less ").to_owned()
}

/// "the envelope and card limits" share their last word.
fn share_head(sides: &mut [String]) {
    let [first, second] = sides else { return };
    let determined = |s: &str| ["the ", "a ", "an "].iter().any(|d| s.to_lowercase().starts_with(d));
    let words = |s: &str| s.split_whitespace().count();
    if determined(first)
        && !determined(second)
        && words(first) == 2
        && words(second) == 2
        && !is_literal(second)
    {
        let head = second.split_whitespace().next_back().expect("two words").to_owned();
        let head = head.strip_suffix('s').map_or(head.clone(), str::to_owned);
        let modifier = second.split_whitespace().next().expect("two words");
        *second = format!("the {modifier} {head}");
        *first = format!("{first} {head}");
    }
}
