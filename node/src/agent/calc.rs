//! An agent that computes: arithmetic, units and dates, by the calculator library fend. It finds the expression in the
//! question, or takes the quantities out of what earlier subtasks found, and shows the computation as evidence.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use foa_capability::AgentProfile;
use foa_workflows::work::{Answer, Ask, Contribution, Evidence, Finding, Usage};
use jiff::civil::Date;
use regex::Regex;

use super::planner::{self, Grain};
use super::text::{term_set, terms};
use super::{Agent, Context, Failure, Reply};

/// The longest a computation may take; beyond it someone wrote `9^9^9^9`.
const PATIENCE: Duration = Duration::from_millis(500);
/// The longest expression that is tried.
const MAX_EXPRESSION: usize = 400;

/// The calculator.
#[derive(Clone, Debug)]
pub struct Calc {
    profile: AgentProfile,
}

impl Calc {
    /// A calculator that states `profile`.
    #[must_use]
    pub fn new(profile: AgentProfile) -> Self {
        Self { profile }
    }
}

#[async_trait]
impl Agent for Calc {
    fn profile(&self) -> AgentProfile {
        self.profile.clone()
    }

    async fn answer(&self, ask: Ask, _: Context) -> Result<Reply, Failure> {
        if let Some(reply) = planner::answer(&ask, Grain::Coarse) {
            return Ok(reply);
        }
        let (question, inputs) = match ask {
            Ask::Draft { subtask, inputs, .. } | Ask::Refine { subtask, inputs, .. } => {
                (subtask.description, inputs)
            }
            Ask::Synthesise { task, parts, mode, lead } => {
                return Ok(super::synthesise(&task, &parts, mode, lead.as_deref()));
            }
            Ask::Propose { .. } | Ask::Judge { .. } => unreachable!("the planner answered these"),
        };
        let computed = tokio::task::spawn_blocking(move || compute(&question, &inputs)).await;
        Ok(match computed.expect("a computation does not panic") {
            Some(contribution) => {
                Reply { answer: Answer::Contribution(contribution), usage: Usage::default() }
            }
            None => Reply::declined("there is nothing to compute, or a value to compute with is missing"),
        })
    }
}

/// The answer to a question that asks for a computation; `None` when it does not, or an operand is missing.
#[must_use]
pub fn compute(question: &str, inputs: &[Finding]) -> Option<Contribution> {
    let asked = question.split(" (given: ").next().unwrap_or(question);
    if let Some((expression, days)) = days(asked) {
        return Some(contribution(&expression, &[days], Vec::new(), 0.95));
    }
    if let Some(expression) = expression(asked) {
        let shown = evaluate(&expression)?;
        return Some(contribution(&expression, &shown, Vec::new(), 0.95));
    }
    let (shape, operands) = over_findings(question, inputs)?;
    let expression = shape.expression(&operands);
    let shown = evaluate(&expression)?;
    let sources = operands.iter().map(Operand::evidence).collect();
    let certain = operands.iter().map(|o| o.certainty).fold(1.0, f64::min);
    Some(contribution(&expression, &shown, sources, 0.55 + 0.4 * certain))
}

fn contribution(
    expression: &str,
    results: &[String],
    sources: Vec<Evidence>,
    confidence: f64,
) -> Contribution {
    let chain = std::iter::once(expression.to_owned()).chain(results.iter().cloned()).collect::<Vec<_>>();
    let quote = chain.join(" = ");
    let mut evidence = vec![Evidence {
        quote: quote.clone(),
        source: "calculation".to_owned(),
        held_by: None,
        score: confidence,
        artifact: None,
    }];
    evidence.extend(sources);
    Contribution { text: quote, evidence, confidence, complete: true }
}

struct Until(Instant);

impl fend_core::Interrupt for Until {
    fn should_interrupt(&self) -> bool {
        Instant::now() >= self.0
    }
}

/// What an expression comes to, and the same in bytes or seconds if that says more. fend has no files and no network
/// of its own; randomness and exchange rates are not given to it.
fn evaluate(expression: &str) -> Option<Vec<String>> {
    let first = run(expression)?;
    let mut shown = vec![first.clone()];
    if !expression.contains(" to ") && BINARY.is_match(&first) {
        shown.extend(run(&format!("({expression}) to bytes")).filter(|bytes| *bytes != first));
    }
    Some(shown)
}

static BINARY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[KMGT]iB$").expect("a fixed pattern"));

fn run(expression: &str) -> Option<String> {
    if expression.len() > MAX_EXPRESSION {
        return None;
    }
    let mut context = fend_core::Context::new();
    context.disable_rng();
    let until = Until(Instant::now() + PATIENCE);
    let result = fend_core::evaluate_with_interrupt(expression, &mut context, &until).ok()?;
    let shown = result.get_main_result().trim().trim_start_matches("approx. ").to_owned();
    (!shown.is_empty() && shown.chars().any(|c| c.is_ascii_digit())).then_some(shown)
}

/// The expression a question spells out: "15% of 80", "256 KiB - 224 KiB in bytes", "days between two dates".
fn expression(question: &str) -> Option<String> {
    static LEAD: LazyLock<Regex> = LazyLock::new(|| {
        let words = "please|calculate|compute|evaluate|work out|what is|what's|what are|how much is|how much are|find|convert|\
            tell me|determine|the result of|the value of|and";
        Regex::new(&format!(r"(?i)^(?:(?:{words})\b[\s:,]*)+")).expect("a fixed pattern")
    });
    let text = question.trim().trim_end_matches(['?', '.', '!', ' ']);
    let text = LEAD.replace(text, "");
    let text = spoken(text.trim().trim_matches('`'));
    let digits = text.chars().any(|c| c.is_ascii_digit());
    (digits && is_arithmetic(&text)).then_some(text)
}

/// Words of arithmetic as signs.
fn spoken(text: &str) -> String {
    static WORDS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let pair = |pattern: &str, to| (Regex::new(pattern).expect("a fixed pattern"), to);
        vec![
            pair(r"(?i)\bthe difference between (.+?) and (.+?)( in | to |$)", "($1) - ($2)$3"),
            pair(r"(?i)\bthe (?:sum|total) of (.+?) and (.+?)( in | to |$)", "($1) + ($2)$3"),
            pair(r"(?i)\bthe product of (.+?) and (.+?)( in | to |$)", "($1) * ($2)$3"),
            pair(r"(?i)\b(?:multiplied by|times)\b|×", "*"),
            pair(r"(?i)\bdivided by\b|÷", "/"),
            pair(r"(?i)\bplus\b", "+"),
            pair(r"(?i)\bminus\b|−", "-"),
            pair(r"(?i)\bpercent\b", "%"),
            pair(r"(?i)(\d)\s*%\s+of\s+", "$1 / 100 * "),
            pair(r"(?i)\b(?:the )?square root of (\S+)", "sqrt($1)"),
            pair(r"(?i)\bsquared\b", "^2"),
            pair(r"(?i)\bcubed\b", "^3"),
            pair(r"(?i)\bto the power of\b", "^"),
            pair(r"(\d),(\d{3})\b", "$1$2"),
            pair(r"(?i)\s+(?:in|into|as|expressed in)\s+([a-zµ°]\S*(?:\s*(?:/|per)\s*\S+)?)$", " to $1"),
        ]
    });
    WORDS.iter().fold(text.to_owned(), |text, (pattern, to)| pattern.replace_all(&text, *to).into_owned())
}

/// Whether nothing but numbers, signs, units and functions is left.
fn is_arithmetic(text: &str) -> bool {
    static OPERATES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"[-+*/^%]|\bto\b|sqrt|\b(?:log|ln|sin|cos|tan|abs)\b").expect("a fixed pattern")
    });
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\p{L}[\p{L}µ]*").expect("a fixed pattern"));
    let units = WORD.find_iter(text).all(|word| {
        let word = word.as_str();
        matches!(word, "to" | "sqrt" | "log" | "ln" | "sin" | "cos" | "tan" | "abs" | "pi" | "per" | "mod")
            || run(&format!("1 {word}")).is_some()
    });
    OPERATES.is_match(text) && units
}

/// The days between two dates: fend knows dates, but not their difference.
fn days(text: &str) -> Option<(String, String)> {
    static BETWEEN: LazyLock<Regex> = LazyLock::new(|| {
        let date = r"(\d{4}-\d{2}-\d{2})";
        let span = r"(?i)\b(?:days|time|weeks|long|difference)\b.*?\b(?:between|from)";
        Regex::new(&format!(r"{span}\s+{date}\s+(?:and|to|until)\s+{date}")).expect("a fixed pattern")
    });
    let found = BETWEEN.captures(text)?;
    let (from, to): (Date, Date) = (found[1].parse().ok()?, found[2].parse().ok()?);
    let days = (to - from).get_days();
    let unit = if days.abs() == 1 { "day" } else { "days" };
    Some((format!("{to} - {from}"), format!("{days} {unit}")))
}

/// How two or more found quantities are put together.
#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Difference(Option<String>),
    Ratio,
    Percentage,
    Fold(char, Option<String>),
    Average(Option<String>),
    Convert(String),
}

impl Shape {
    fn expression(&self, operands: &[Operand]) -> String {
        let values: Vec<&str> = operands.iter().map(|o| o.quantity.as_str()).collect();
        let all = |sign: &str| values.join(&format!(" {sign} "));
        let to = |text: String, unit: &Option<String>| match unit {
            Some(unit) if values.len() > 1 => format!("({text}) to {unit}"),
            Some(unit) => format!("{text} to {unit}"),
            None => text,
        };
        match self {
            Self::Difference(unit) => to(larger_first(&values), unit),
            Self::Ratio => values.iter().map(|v| format!("({v})")).collect::<Vec<_>>().join(" / "),
            Self::Percentage => format!("({}) / ({}) to %", values[values.len() - 1], values[0]),
            Self::Fold(sign, unit) => to(all(&sign.to_string()), unit),
            Self::Average(unit) => to(format!("({}) / {}", all("+"), values.len()), unit),
            Self::Convert(unit) => format!("{} to {unit}", values[0]),
        }
    }
}

/// A difference is asked for as a distance: the larger minus the smaller.
fn larger_first(values: &[&str]) -> String {
    if let [a, b] = values
        && run(&format!("({a}) - ({b})")).is_some_and(|d| d.starts_with('-'))
    {
        return format!("{b} - {a}");
    }
    values.join(" - ")
}

/// A quantity taken out of a finding.
#[derive(Clone, Debug, PartialEq)]
struct Operand {
    quantity: String,
    sentence: String,
    source: String,
    held_by: Option<foa_wire::AgentId>,
    certainty: f64,
}

impl Operand {
    fn evidence(&self) -> Evidence {
        Evidence {
            quote: self.sentence.clone(),
            source: self.source.clone(),
            held_by: self.held_by.clone(),
            score: self.certainty,
            artifact: None,
        }
    }
}

/// The computation a question asks for over earlier findings, with its operands.
fn over_findings(question: &str, inputs: &[Finding]) -> Option<(Shape, Vec<Operand>)> {
    static UNIT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:,\s*)?\b(?:in|into|to|as|expressed in)\s+([a-zµ]+(?:/[a-z]+)?|%)[?.!]*\s*$")
            .expect("a fixed pattern")
    });
    let asked = question.split(" (given: ").next().unwrap_or(question).trim();
    let lower = asked.to_lowercase();
    let unit = UNIT.captures(asked).map(|c| c[1].to_owned()).filter(|u| run(&format!("1 {u}")).is_some());
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let (shape, wanted) = if has(&["percentage", "percent of", "what share", "what fraction"]) {
        (Shape::Percentage, 2)
    } else if has(&["ratio", "how many times", "divide", "times larger", "times faster", "times smaller"]) {
        (Shape::Ratio, 2)
    } else if has(&[
        "difference",
        "subtract",
        "how much larger",
        "how much smaller",
        "how much more",
        "how much less",
        "how much bigger",
        "how much faster",
        "how much slower",
        "how much longer",
        "how much higher",
        "by how much",
        "gap",
    ]) {
        (Shape::Difference(unit), 2)
    } else if has(&["average", "mean of"]) {
        (Shape::Average(unit), inputs.len())
    } else if has(&["sum", "total", "add ", "altogether", "in all"]) {
        (Shape::Fold('+', unit), inputs.len())
    } else if has(&["product", "multiply"]) {
        (Shape::Fold('*', unit), inputs.len().min(2))
    } else if let (true, Some(unit)) = (has(&["convert", "express", "how many"]), unit) {
        (Shape::Convert(unit), 1)
    } else {
        return None;
    };
    let references = references(&lower, wanted);
    let operands = operands(&references, inputs)?;
    // One passage cannot stand for two different things: one of the findings repeats the other.
    let same = |a: &Operand, b: &Operand| {
        (&a.quantity, &a.sentence, &a.source) == (&b.quantity, &b.sentence, &b.source)
    };
    let repeats = operands.iter().enumerate().any(|(i, o)| operands[..i].iter().any(|other| same(o, other)));
    (!repeats).then_some((shape, operands))
}

/// What the operands are called: the sides of the comparison, in order, or nothing to tell them by.
fn references(question: &str, wanted: usize) -> Vec<String> {
    static SIDES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:between|of|is|are|divide|multiply|add|does|subtract)\s+(.+?)\s+(?:and|to|than|by|from|fit into|fit in|is)\s+(.+?)(?:,?\s+(?:in|to|as|into)\s+\S+)?[?.!]*$")
            .expect("a fixed pattern")
    });
    let sides = SIDES.captures(question).filter(|_| wanted == 2);
    let mut references: Vec<String> = sides.map_or_else(Vec::new, |c| vec![c[1].to_owned(), c[2].to_owned()]);
    if question.contains("how many times") && question.contains(" fit") {
        references.reverse();
    }
    references.resize(wanted, String::new());
    references
}

/// One quantity for each reference, each from the finding whose question it matches best. Unnamed references take
/// the findings in order.
fn operands(references: &[String], inputs: &[Finding]) -> Option<Vec<Operand>> {
    let mut free: Vec<&Finding> = inputs.iter().collect();
    let mut chosen = Vec::new();
    for (at, reference) in references.iter().enumerate() {
        let names = references.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, r)| r.as_str());
        let asked = inputs.iter().map(|f| f.question.as_str());
        let words = term_set(reference);
        let overlap = |f: &Finding| term_set(&f.question).intersection(&words).count();
        let best = (0..free.len()).max_by_key(|&i| (overlap(free[i]), std::cmp::Reverse(i)));
        let operand = match best {
            Some(i) => {
                let finding = free.remove(i);
                let rest = asked.filter(|q| *q != finding.question);
                quantity(finding, reference, &names.chain(rest).collect::<Vec<_>>())?
            }
            // One finding may hold both values.
            None => {
                let names: Vec<&str> = names.collect();
                let all = inputs.iter().filter_map(|f| quantity(f, reference, &names));
                let taken = |o: &Operand| chosen.iter().any(|c: &Operand| c.quantity == o.quantity);
                all.filter(|o| !taken(o)).max_by(|a, b| a.certainty.total_cmp(&b.certainty))?
            }
        };
        chosen.push(operand);
    }
    (!chosen.is_empty()).then_some(chosen)
}

static QUANTITY: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^\w.,-])((?:~|≤|≥|<|>)?\s*)(\d[\d \u{a0}\u{202f}]*\d{3}|\d+(?:,\d{3})+|\d+)((?:\.\d+)?)(?:\s?(%|°C|[a-zA-Zµ]+(?:/[a-zA-Z]+)?))?")
        .expect("a fixed pattern")
});

/// The quantity in a finding that stands nearest to the words asked for: number and unit.
fn quantity(finding: &Finding, reference: &str, others: &[&str]) -> Option<Operand> {
    let words = weighted(finding, reference, others);
    let quotes =
        finding.evidence.iter().map(|e| (e.quote.as_str(), e.source.as_str(), e.held_by.clone(), e.score));
    let whole = (finding.text.as_str(), finding.subtask.as_str(), None, 0.0);
    let mut best: Option<(f64, Operand)> = None;
    for (rank, (text, source, held_by, score)) in quotes.chain([whole]).enumerate() {
        for found in QUANTITY.captures_iter(text) {
            let number = found.get(2).expect("a quantity has a number");
            let digits: String = number.as_str().chars().filter(char::is_ascii_digit).collect();
            let unit = found.get(4).map(|m| m.as_str()).filter(|u| is_unit(u));
            let near = nearness(text, number.start(), &words);
            let value = near + if unit.is_some() { 0.5 } else { 0.0 } + 0.3 * score - 0.05 * rank as f64;
            if best.as_ref().is_none_or(|(b, _)| value > *b) {
                let quantity =
                    format!("{digits}{}{}", &found[3], unit.map_or(String::new(), |u| format!(" {u}")));
                let operand = Operand {
                    quantity,
                    sentence: text.to_owned(),
                    source: source.to_owned(),
                    held_by: held_by.clone(),
                    certainty: near.clamp(0.0, 1.0),
                };
                best = Some((value, operand));
            }
        }
    }
    best.map(|(_, operand)| operand)
}

/// Whether a word after a number is a unit: known to the calculator and not an everyday word it happens to know.
fn is_unit(word: &str) -> bool {
    const NOT: [&str; 18] = [
        "a", "an", "in", "to", "of", "at", "as", "per", "on", "is", "and", "or", "for", "are", "by", "the",
        "times", "point",
    ];
    !NOT.contains(&word) && run(&format!("2 {word}")).is_some()
}

/// How close the wanted words stand to a position, 0 to 1: a word before counts more than one after, a comma or
/// bracket in between counts much, and each word counts by its weight.
fn nearness(text: &str, at: usize, words: &BTreeMap<String, f64>) -> f64 {
    static WORD: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[\p{L}\d]+").expect("a fixed pattern"));
    let mut best: BTreeMap<&str, f64> = BTreeMap::new();
    for found in WORD.find_iter(text) {
        let Some(stem) = terms(found.as_str()).pop() else { continue };
        let Some((word, _)) = words.get_key_value(&stem) else { continue };
        let (between, factor) =
            if found.end() <= at { (&text[found.end()..at], 1.0) } else { (&text[at..found.start()], 0.6) };
        let breaks = between.chars().filter(|c| matches!(c, ',' | ';' | '(' | ')' | '|' | ':')).count();
        let near = factor / (1.0 + 0.1 * WORD.find_iter(between).count() as f64 + 0.5 * breaks as f64);
        let kept = best.entry(word).or_default();
        *kept = kept.max(near);
    }
    let all: f64 = words.values().sum();
    best.iter().map(|(word, near)| near * words[*word]).sum::<f64>() / all.max(1e-9)
}

/// The words an operand is called by; those that other operands share tell little.
fn weighted(finding: &Finding, reference: &str, others: &[&str]) -> BTreeMap<String, f64> {
    let shared: Vec<_> = others.iter().map(|o| term_set(o)).collect();
    let weight = |word: &String| if shared.iter().any(|o| o.contains(word)) { 0.3 } else { 1.0 };
    let mut words: BTreeMap<String, f64> =
        term_set(&finding.question).into_iter().map(|w| (w.clone(), 0.5 * weight(&w))).collect();
    words.extend(term_set(reference).into_iter().map(|w| (w.clone(), weight(&w))));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(question: &str, quote: &str) -> Finding {
        let evidence = Evidence {
            quote: quote.to_owned(),
            source: "protocol.md § Cards".to_owned(),
            held_by: None,
            score: 0.8,
            artifact: None,
        };
        Finding {
            subtask: "s1".to_owned(),
            question: question.to_owned(),
            text: quote.to_owned(),
            evidence: vec![evidence],
        }
    }

    #[test]
    fn expressions_are_found_in_questions() {
        for (question, answer) in [
            ("Calculate 256 KiB - 224 KiB in bytes", "32768 bytes"),
            ("what is 15% of 80", "12"),
            ("What is 15% of 80?", "12"),
            ("days between 2024-02-28 and 2024-03-01", "2 days"),
            ("How many days between 2024-02-28 and 2024-03-01?", "2 days"),
            ("Convert 3 hours to minutes", "180 minutes"),
            ("What is the square root of 144?", "12"),
            ("What is 1,000 plus 24?", "1024"),
            ("Calculate the difference between 256 KiB and 224 KiB", "32768 bytes"),
            ("2 to the power of 10", "1024"),
        ] {
            let found = compute(question, &[]).unwrap_or_else(|| panic!("{question}: declined"));
            assert!(found.text.ends_with(answer), "{question}: {}", found.text);
        }
    }

    #[test]
    fn what_asks_for_no_computation_is_declined() {
        for question in [
            "How large may an agent card be?",
            "Who holds a job?",
            "What is MQTT 5?",
            "Describe phase 2 of the method",
            "What is in section 4?",
            "How many coordinators are there?",
            "",
        ] {
            assert_eq!(compute(question, &[]), None, "{question}");
        }
    }

    #[test]
    fn one_passage_is_not_both_sides_of_a_difference() {
        let finding = |subtask: &str, question: &str| Finding {
            subtask: subtask.to_owned(),
            question: question.to_owned(),
            text: "It stops within 8000 milliseconds. [a.md]".to_owned(),
            evidence: vec![Evidence {
                quote: "It stops within 8000 milliseconds.".to_owned(),
                source: "a.md".to_owned(),
                held_by: None,
                score: 0.5,
                artifact: None,
            }],
        };
        let inputs =
            [finding("s1", "How fast does a node stop?"), finding("s2", "How long is a grace period?")];
        assert_eq!(compute("Calculate the difference between the two", &inputs), None);
    }

    #[test]
    fn operands_come_from_the_findings_that_match_the_references() {
        let limits =
            "Card ≤ 224 KiB, envelope ≤ 256 KiB (set the packet limits to 320 KiB explicitly), skills ≤ 256.";
        let inputs =
            [finding("What is the card limit?", limits), finding("What is the envelope limit?", limits)];
        let question = "What is the difference between the envelope limit and the card limit, in bytes?";
        let found = compute(question, &inputs).unwrap();
        assert_eq!(found.text, "(256 KiB - 224 KiB) to bytes = 32768 bytes");
        assert_eq!(found.evidence[1].source, "protocol.md § Cards");
        assert!(compute(question, &inputs[..0]).is_none());
    }

    #[test]
    fn ratios_and_conversions_work_over_findings() {
        let slow = finding(
            "How long is a round trip with nodelay off?",
            "a QoS 1 round trip is 92 ms instead of 0.25 ms",
        );
        let fast =
            finding("How long is a round trip with nodelay on?", "with it on, the round trip takes 0.25 ms");
        let ratio = compute(
            "Calculate the ratio of the round trip with nodelay off to the round trip with nodelay on",
            &[slow.clone(), fast],
        );
        assert_eq!(ratio.unwrap().text, "(92 ms) / (0.25 ms) = 368");
        let card = finding("What is the card limit?", "A card has at most 224 KiB.");
        assert_eq!(
            compute("Convert the card limit to bytes", &[card]).unwrap().text,
            "224 KiB to bytes = 229376 bytes"
        );
    }

    #[test]
    fn an_endless_computation_is_interrupted() {
        let started = Instant::now();
        assert_eq!(compute("Calculate 9^9^9^9^9", &[]), None);
        assert!(started.elapsed() < PATIENCE * 4);
    }
}
