//! The mechanical synthesiser: parts become one Markdown text without a language model. It is always there, so a job
//! never ends without an answer because nobody could write one.
//!
//! Source: algorithms §7; the paper's `SYNTH` (concatenate, rebase, merge). What a reader gets, in this order: the part
//! that everything else leads to, if there is one; the other parts in plan order under their questions; what was not
//! answered and why; who disagreed; the numbered sources. Equal evidence is one source, whoever quoted it. A mark
//! `[2]` in a part means that part's second piece of evidence and is renumbered.
//!
//! Modes: `concatenate` leaves every part as it is; `rebase` puts dissent right under the answer it disputes; `merge`
//! says no sentence twice. Limits: it understands nothing; a quote is shortened to [`QUOTE`] characters, and a part that
//! marks nothing cites at most [`CITED`] pieces of evidence. All of it is in the job's result.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::work::{Evidence, Part, PartOutcome, PeerContribution, SynthesisMode};

/// Most characters of a quote in the list of sources.
pub const QUOTE: usize = 240;
/// Most pieces of evidence cited by a part that marks none itself.
pub const CITED: usize = 4;
/// Confidence below which the text says so.
const UNSURE: f64 = 0.4;

/// One answer to `task` made of its parts. `lead` is the key of the part that builds on all others, if there is one
/// ([`crate::Plan::sink`]).
#[must_use]
pub fn synthesise(task: &str, parts: &[Part], mode: SynthesisMode, lead: Option<&str>) -> String {
    let is_lead = |part: &&Part| lead == Some(part.key.as_str()) && answer(part).is_some();
    let ordered = parts.iter().filter(|p| is_lead(p)).chain(parts.iter().filter(|p| !is_lead(p)));
    let mut page = Page::new(mode);
    for part in ordered.clone() {
        // A lone part and a lead answer the task itself: their question is on the reader's mind already.
        let heading = (parts.len() > 1 && !is_lead(&part)).then_some(part.description.as_str());
        page.part(part, heading);
    }
    if page.blocks.is_empty() {
        page.blocks.push(format!("No part of this task could be answered: {}", one_line(task, QUOTE)));
    }
    page.not_answered(parts);
    page.dissent(ordered);
    page.sources();
    page.blocks.join("\n\n")
}

/// An answered part, taken apart.
struct Answered<'a> {
    text: &'a str,
    evidence: &'a [Evidence],
    confidence: f64,
    dissent: &'a [PeerContribution],
}

fn answer(part: &Part) -> Option<Answered<'_>> {
    match &part.outcome {
        PartOutcome::Answered { text, evidence, confidence, dissent, authors: _ } => {
            Some(Answered { text, evidence, confidence: *confidence, dissent })
        }
        PartOutcome::Failed { .. } => None,
    }
}

/// The text as it grows, with what has been said and cited so far.
struct Page {
    mode: SynthesisMode,
    blocks: Vec<String>,
    /// Texts of parts, with the question they answered.
    texts: Vec<(String, Option<String>)>,
    sentences: BTreeSet<String>,
    sources: Vec<Source>,
}

/// One entry of the list of sources.
struct Source {
    quote: String,
    place: String,
    holders: BTreeSet<String>,
    /// The answer already says it word for word.
    shown: bool,
}

impl Page {
    fn new(mode: SynthesisMode) -> Self {
        Self { mode, blocks: Vec::new(), texts: Vec::new(), sentences: BTreeSet::new(), sources: Vec::new() }
    }

    fn part(&mut self, part: &Part, heading: Option<&str>) {
        let Some(found) = answer(part) else { return };
        let before = self.texts.iter().position(|(text, _)| *text == normal(found.text));
        let text = match before {
            Some(at) => match &self.texts[at].1 {
                Some(question) => format!("The same answer as to “{question}”."),
                None => "The same answer as above.".to_owned(),
            },
            None => self.cited(&found),
        };
        if text.trim().is_empty() {
            return;
        }
        if before.is_none() {
            self.texts.push((normal(found.text), heading.map(|h| one_line(h, QUOTE))));
        }
        if let Some(heading) = heading {
            self.blocks.push(format!("**{}**", one_line(heading, 400).replace("**", "")));
        }
        let unsure = if found.confidence < UNSURE { " *(low confidence)*" } else { "" };
        self.blocks.push(format!("{text}{unsure}"));
        if self.mode == SynthesisMode::Rebase {
            self.blocks.extend(found.dissent.iter().map(|d| format!("> Disputed: {}", objection(d))));
        }
    }

    /// The text of a part with its marks renumbered; evidence it does not mark is cited at its end.
    fn cited(&mut self, found: &Answered<'_>) -> String {
        let text = if self.mode == SynthesisMode::Merge {
            self.unsaid(found.text)
        } else {
            found.text.trim().to_owned()
        };
        let mut out = String::new();
        let mut used = BTreeSet::new();
        let mut rest = text.as_str();
        while let Some(open) = rest.find('[') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            match mark(rest, found.evidence.len()) {
                Some((number, length)) => {
                    used.insert(number);
                    let _ = write!(out, "[{}]", self.source(&found.evidence[number - 1], found.text));
                    rest = &rest[length..];
                }
                None => {
                    out.push('[');
                    rest = &rest[1..];
                }
            }
        }
        out.push_str(rest);
        if used.is_empty() && !out.trim().is_empty() {
            let numbers: BTreeSet<usize> =
                found.evidence.iter().take(CITED).map(|e| self.source(e, found.text)).collect();
            let marks: String = numbers.iter().map(|n| format!("[{n}]")).collect();
            if !marks.is_empty() {
                let _ = write!(out, "{}{marks}", if ends_in_block(&out) { "\n\n" } else { " " });
            }
        }
        out
    }

    /// The sentences that were not said before.
    fn unsaid(&mut self, text: &str) -> String {
        let lines = text.trim().lines().filter_map(|line| {
            if line.trim().is_empty() {
                return Some(String::new());
            }
            let fresh: String = sentences(line).filter(|s| self.sentences.insert(normal(s))).collect();
            (!fresh.trim().is_empty()).then(|| fresh.trim_end().to_owned())
        });
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    /// The number of this evidence in the list of sources.
    fn source(&mut self, evidence: &Evidence, text: &str) -> usize {
        let quote = normal(&evidence.quote);
        let shown = !quote.is_empty() && normal(text).contains(&quote);
        let same = |s: &Source| normal(&s.quote) == quote && s.place == evidence.source;
        let at = self.sources.iter().position(same).unwrap_or_else(|| {
            let (quote, place) = (evidence.quote.clone(), evidence.source.clone());
            self.sources.push(Source { quote, place, holders: BTreeSet::new(), shown: false });
            self.sources.len() - 1
        });
        self.sources[at].shown |= shown;
        self.sources[at].holders.extend(evidence.held_by.as_ref().map(foa_wire::AgentId::short));
        at + 1
    }

    fn not_answered(&mut self, parts: &[Part]) {
        let lines = parts.iter().filter_map(|part| match &part.outcome {
            PartOutcome::Failed { reason } => {
                Some(format!("- {}: {}", one_line(&part.description, QUOTE), one_line(reason, QUOTE)))
            }
            PartOutcome::Answered { .. } => None,
        });
        self.list("Not answered", &lines.collect::<Vec<_>>());
    }

    fn dissent<'a>(&mut self, parts: impl Iterator<Item = &'a Part>) {
        if self.mode == SynthesisMode::Rebase {
            return;
        }
        let lines = parts.flat_map(|part| {
            let dissent = answer(part).map_or(&[][..], |a| a.dissent);
            dissent.iter().map(|d| format!("- On “{}”, {}", one_line(&part.description, 120), objection(d)))
        });
        self.list("Dissent", &lines.collect::<Vec<_>>());
    }

    fn sources(&mut self) {
        let line = |(at, source): (usize, &Source)| {
            let mut line = format!("{}. {}", at + 1, one_line(&source.place, QUOTE));
            if !source.holders.is_empty() {
                let holders: Vec<&str> = source.holders.iter().map(String::as_str).collect();
                let _ = write!(line, " (held by {})", holders.join(", "));
            }
            if !source.shown && !source.quote.trim().is_empty() {
                let _ = write!(line, ": “{}”", one_line(&source.quote, QUOTE));
            }
            line
        };
        let lines: Vec<String> = self.sources.iter().enumerate().map(line).collect();
        self.list("Sources", &lines);
    }

    fn list(&mut self, title: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.blocks.push(format!("**{title}**\n\n{}", lines.join("\n")));
        }
    }
}

fn objection(dissent: &PeerContribution) -> String {
    format!("{} holds: “{}”", dissent.author.short(), one_line(&dissent.contribution.text, QUOTE))
}

/// The number and length of a mark like `[2]` at the start of `text`, unless it is the label of a link.
fn mark(text: &str, most: usize) -> Option<(usize, usize)> {
    let close = text.find(']')?;
    let digits = &text[1..close];
    if digits.is_empty() || digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: usize = digits.parse().ok()?;
    let link = text[close + 1..].starts_with(['(', ':']);
    ((1..=most).contains(&number) && !link).then_some((number, close + 1))
}

/// Whether a mark after this text would become part of a list, a table, a quote or a code block.
fn ends_in_block(text: &str) -> bool {
    let last = text.lines().last().unwrap_or_default().trim_start();
    let numbered =
        last.split_once(". ").is_some_and(|(n, _)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    numbered || ["- ", "* ", "|", "```", ">"].iter().any(|start| last.starts_with(start))
}

/// A line cut behind each full stop, question mark or exclamation mark that white space follows.
fn sentences(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let mut marks = rest.char_indices().zip(rest.chars().skip(1));
        let end = marks.find(|((_, c), next)| matches!(c, '.' | '?' | '!') && next.is_whitespace());
        let cut = end.map_or(rest.len(), |((at, c), next)| at + c.len_utf8() + next.len_utf8());
        let (sentence, left) = rest.split_at(cut);
        rest = left;
        (!sentence.is_empty()).then_some(sentence)
    })
}

/// Words alone, in lower case.
fn normal(text: &str) -> String {
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

/// The text on one line, cut at a word within `most` characters.
fn one_line(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let cut: String = line.chars().take(most.saturating_sub(1)).collect();
    let at = cut.rfind(' ').filter(|at| *at > cut.len() / 2).unwrap_or(cut.len());
    format!("{}…", cut[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use foa_wire::AgentId;
    use proptest::prelude::*;

    use super::*;
    use crate::work::Contribution;

    fn agent(name: &str) -> AgentId {
        format!("{name}@atlas.aaaaaaaaaaaaaaaa").parse().unwrap()
    }

    fn evidence(quote: &str, source: &str) -> Evidence {
        Evidence {
            quote: quote.to_owned(),
            source: source.to_owned(),
            held_by: Some(agent("corpus")),
            score: 0.8,
            artifact: None,
        }
    }

    fn answered(key: &str, question: &str, text: &str, evidence: Vec<Evidence>) -> Part {
        let (text, authors, dissent) = (text.to_owned(), vec![agent("corpus")], vec![]);
        let outcome = PartOutcome::Answered { text, evidence, authors, confidence: 0.9, dissent };
        Part { key: key.to_owned(), description: question.to_owned(), outcome }
    }

    fn failed(key: &str, question: &str) -> Part {
        let outcome = PartOutcome::Failed { reason: "nobody is authorised for gdpr".to_owned() };
        Part { key: key.to_owned(), description: question.to_owned(), outcome }
    }

    fn objected(mut part: Part) -> Part {
        if let PartOutcome::Answered { dissent, .. } = &mut part.outcome {
            let contribution = Contribution { text: "It is 1884.".to_owned(), ..Contribution::default() };
            dissent.push(PeerContribution { author: agent("calc"), contribution });
        }
        part
    }

    #[test]
    fn a_reader_gets_the_answer_first_then_what_it_rests_on() {
        let parts = [
            answered(
                "s1",
                "Which port is it?",
                "Port 1883.",
                vec![evidence("Port 1883.", "README.md § Ports")],
            ),
            objected(answered(
                "s2",
                "What is it for?",
                "Plain MQTT [2].",
                vec![evidence("TLS is 8883.", "README.md § TLS"), evidence("1883 is plain MQTT.", "mqtt.md")],
            )),
            failed("s3", "Who may use it?"),
            answered(
                "s4",
                "Say it in one line.",
                "Use 1883 [1].",
                vec![evidence("Port 1883.", "README.md § Ports")],
            ),
        ];
        let wanted = "\
Use 1883 [1].

**Which port is it?**

Port 1883. [1]

**What is it for?**

Plain MQTT [2].

**Not answered**

- Who may use it?: nobody is authorised for gdpr

**Dissent**

- On “What is it for?”, calc@atlas holds: “It is 1884.”

**Sources**

1. README.md § Ports (held by corpus@atlas)
2. mqtt.md (held by corpus@atlas): “1883 is plain MQTT.”";
        assert_eq!(synthesise("Which port?", &parts, SynthesisMode::Concatenate, Some("s4")), wanted);
    }

    #[test]
    fn one_part_is_the_answer_itself() {
        let parts = [answered("s1", "Which port?", "Port 1883.", vec![])];
        assert_eq!(synthesise("Which port?", &parts, SynthesisMode::Concatenate, None), "Port 1883.");
    }

    #[test]
    fn nothing_answered_is_said_plainly() {
        let text =
            synthesise("Which port?", &[failed("s1", "Which port?")], SynthesisMode::Concatenate, None);
        let wanted = "No part of this task could be answered: Which port?\n\n\
                      **Not answered**\n\n- Which port?: nobody is authorised for gdpr";
        assert_eq!(text, wanted);
        let empty = synthesise("Which port?", &[], SynthesisMode::Merge, None);
        assert_eq!(empty, "No part of this task could be answered: Which port?");
    }

    #[test]
    fn rebase_puts_dissent_under_its_answer() {
        let parts = [
            objected(answered("s1", "Which port?", "1883.", vec![])),
            answered("s2", "Why?", "Habit.", vec![]),
        ];
        let text = synthesise("?", &parts, SynthesisMode::Rebase, None);
        let wanted =
            "**Which port?**\n\n1883.\n\n> Disputed: calc@atlas holds: “It is 1884.”\n\n**Why?**\n\nHabit.";
        assert_eq!(text, wanted);
    }

    #[test]
    fn merge_says_nothing_twice() {
        let parts = [
            answered("s1", "What?", "It is a broker. It is small.", vec![]),
            answered("s2", "How?", "It is a broker. It speaks MQTT.", vec![]),
        ];
        let text = synthesise("?", &parts, SynthesisMode::Merge, None);
        assert_eq!(text, "**What?**\n\nIt is a broker. It is small.\n\n**How?**\n\nIt speaks MQTT.");
    }

    #[test]
    fn the_same_answer_is_not_printed_twice() {
        let parts =
            [answered("s1", "What?", "A broker.", vec![]), answered("s2", "Which?", "a  broker.", vec![])];
        let text = synthesise("?", &parts, SynthesisMode::Concatenate, None);
        assert_eq!(text, "**What?**\n\nA broker.\n\n**Which?**\n\nThe same answer as to “What?”.");
    }

    #[test]
    fn only_marks_of_evidence_are_renumbered() {
        let parts = [
            answered("s1", "A", "one", vec![evidence("q0", "zero.md")]),
            answered("s2", "B", "see [1], [9], [x], [1](url), [", vec![evidence("q1", "one.md")]),
        ];
        let text = synthesise("?", &parts, SynthesisMode::Concatenate, None);
        assert!(text.contains("see [2], [9], [x], [1](url), [\n"), "{text}");
    }

    #[test]
    fn a_mark_does_not_spoil_a_list_and_doubt_is_said() {
        let mut part = answered("s1", "A", "- one\n- two", vec![evidence("q", "a.md")]);
        if let PartOutcome::Answered { confidence, .. } = &mut part.outcome {
            *confidence = 0.2;
        }
        let text = synthesise("?", &[part], SynthesisMode::Concatenate, None);
        assert!(text.starts_with("- one\n- two\n\n[1] *(low confidence)*\n"), "{text}");
    }

    #[test]
    fn long_quotes_are_cut_at_a_word() {
        let cut = one_line(&"wörd ".repeat(100), 20);
        assert_eq!(cut, "wörd wörd wörd…");
        assert_eq!(one_line(&"x".repeat(30), 10), format!("{}…", "x".repeat(9)));
    }

    proptest! {
        #[test]
        fn any_text_is_put_together_and_no_part_is_left_out(
            texts in prop::collection::vec(("\\PC{0,40}", any::<bool>()), 1..5),
            quote in "\\PC{0,20}",
            mode in prop::sample::select(vec![SynthesisMode::Concatenate, SynthesisMode::Rebase, SynthesisMode::Merge]),
        ) {
            let part = |(i, (text, ok)): (usize, &(String, bool))| {
                let (key, question) = (format!("s{i}"), format!("Question {i}?"));
                if *ok { answered(&key, &question, text, vec![evidence(&quote, "a.md")]) } else { failed(&key, &question) }
            };
            let parts: Vec<Part> = texts.iter().enumerate().map(part).collect();
            let text = synthesise("task", &parts, mode, None);
            for (i, (said, ok)) in texts.iter().enumerate() {
                let named = text.contains(&format!("Question {i}?"));
                prop_assert!(named || (*ok && (parts.len() == 1 || said.trim().is_empty() || mode == SynthesisMode::Merge)));
            }
        }
    }
}
