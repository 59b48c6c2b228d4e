//! From clauses to steps: who refers to whom, and what a pronoun stands for, so that every step can be read alone.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::clauses::Clause;
use super::{Step, compare};
use crate::agent::text::term_set;

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a fixed pattern")
}

static ALL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:all of (?:them|these|this|it|the above)|all (?:the )?(?:results|answers|findings|values|three|four)|everything|the above|the results|the findings|overall)\b",
    )
});
static TWO: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\b(?:both|the two|these two|those two|their (?:difference|sum|ratio|product|average|total|differences)|between them|add them|compare them|compare these|these (?:values|numbers|limits|figures)|those (?:values|numbers|limits|figures)|one from the other|the two (?:values|numbers|limits))\b",
    )
});
static RESULT: LazyLock<Regex> = LazyLock::new(|| {
    let things = "value|number|result|limit|answer|figure|time|size|amount|date|count|total|difference";
    pattern(&format!(
        r"(?i)\b(?:(?:that|this) (?:{things})|the (?:result|answer|resulting \w+)|the latter)\b|\b(?:that|this)\s*(?:$|[?.,;!]|(?:to|in|into|by|with|from|up|down)\b)"
    ))
});
static DERIVED: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)\bthe (?:difference|sum|ratio|product|average|total)\b\s*(?:$|[?.,;!]|(?:to|in|into|as|by)\b)",
    )
});
static PRONOUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i)\b(it|its|they|their|them)\b"));
static SUBJECT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?i)^(?:what|who)\s+(?:is|are|was|were)\s+(.+?)[?.!]*$|^(?:define|describe|explain|summari[sz]e|outline|introduce|read|review|find|look up|investigate|analy[sz]e)\s+(.+?)[?.!]*$",
    )
});

/// The steps of a plan, each after those it builds on.
pub(super) fn steps(clauses: &[Clause]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    // Where the step of each clause so far stands: a reference means what a request asked, not its preparations.
    let mut ends: Vec<usize> = Vec::new();
    // Where the clauses begin that "then" would come after.
    let mut group = 0;
    for clause in clauses {
        let mut after = BTreeSet::new();
        if clause.follows && !ends.is_empty() {
            after.extend(&ends[group..]);
            group = ends.len();
        }
        if clause.last {
            after.extend(ends.iter().copied());
        }
        let text = refer(clause, &steps, &ends, &mut after);
        // What a reference was resolved to is for the reader; only the request itself compares or computes.
        let request = text.split(" (given: ").next().unwrap_or(&text);
        let computes = compare::computes(request);
        if let Some(comparison) = compare::read(request) {
            for lookup in comparison.lookups {
                after.insert(find_or_add(&mut steps, lookup));
            }
        } else if computes && after.is_empty() {
            after.extend(operands(request, &steps));
        }
        ends.push(steps.len());
        steps.push(Step { text, computes, after });
    }
    drop_implied(&mut steps);
    steps
}

/// Follows what a clause points at; gives back its text with the pronoun resolved where that is safe.
fn refer(clause: &Clause, steps: &[Step], ends: &[usize], after: &mut BTreeSet<usize>) -> String {
    let text = clause.text.clone();
    let Some(&last) = ends.last() else { return text };
    if ALL.is_match(&text) {
        after.extend(ends.iter().copied());
    } else if TWO.is_match(&text) {
        after.extend(ends.iter().rev().take(2).copied());
    } else if DERIVED.is_match(&text) {
        after.extend(ends.iter().rev().find(|&&i| steps[i].computes).copied().or(Some(last)));
    } else if RESULT.is_match(&text) {
        after.insert(last);
    } else if let Some(pronoun) = PRONOUN.find(&text) {
        let plural = matches!(pronoun.as_str().to_lowercase().as_str(), "they" | "their" | "them");
        if let Some(subject) = subject(&steps[last].text).filter(|_| !plural || ends.len() == 1) {
            return replace(&text, pronoun.as_str(), &subject);
        }
        if plural && ends.len() > 1 {
            after.extend(ends.iter().rev().take(2).copied());
        } else {
            after.insert(last);
        }
    } else {
        return text;
    }
    about(&text, after, steps)
}

/// Names, for the reader, what a reference means.
fn about(text: &str, after: &BTreeSet<usize>, steps: &[Step]) -> String {
    let bare = |i: &usize| steps[*i].text.split(" (given: ").next().unwrap_or_default();
    let asked: Vec<&str> = after.iter().map(|i| bare(i).trim_end_matches(['?', '.', '!', ' '])).collect();
    let text = text.trim_end_matches(['.', ' ']);
    format!("{text} (given: {})", asked.join("; "))
}

/// What the step before is about, when it is a plain "what is X" or "describe X".
fn subject(text: &str) -> Option<String> {
    let found = SUBJECT.captures(text)?;
    let subject = found.get(1).or_else(|| found.get(2))?.as_str().trim();
    let simple =
        subject.split_whitespace().count() <= 6 && !compare::is_comparison(text) && !subject.contains(',');
    let definite = match subject.split_once(' ') {
        Some(("a" | "an" | "A" | "An", rest)) => format!("the {rest}"),
        _ => subject.to_owned(),
    };
    simple.then_some(definite)
}

fn replace(text: &str, pronoun: &str, subject: &str) -> String {
    let word = pattern(&format!(r"\b{pronoun}\b"));
    let owned = match pronoun.to_lowercase().as_str() {
        "its" => format!("{subject}'s"),
        "their" => format!("{subject}'"),
        _ => subject.to_owned(),
    };
    word.replacen(text, 1, regex::NoExpand(&owned)).into_owned()
}

/// The step that already asks this, or a new one.
fn find_or_add(steps: &mut Vec<Step>, lookup: String) -> usize {
    let wanted = term_set(&lookup);
    let same =
        steps.iter().position(|s| !s.computes && !wanted.is_empty() && wanted.is_subset(&term_set(&s.text)));
    same.unwrap_or_else(|| {
        steps.push(Step { text: lookup, computes: false, after: BTreeSet::new() });
        steps.len() - 1
    })
}

/// Earlier lookups a computation uses without a pronoun: those it shares two words with, or all but one of theirs.
fn operands(text: &str, steps: &[Step]) -> Vec<usize> {
    let own = term_set(text);
    let shares = |step: &Step| {
        let terms = term_set(&step.text);
        let common = terms.intersection(&own).count();
        common >= 2 || (common == 1 && terms.len() <= 2)
    };
    (0..steps.len()).filter(|&i| shares(&steps[i])).collect()
}

/// Drops an edge that two others imply, so that a chain reads as a chain.
fn drop_implied(steps: &mut [Step]) {
    let mut reach: Vec<BTreeSet<usize>> = Vec::new();
    for step in steps.iter_mut() {
        let below: BTreeSet<usize> = step.after.iter().flat_map(|&b| reach[b].iter().copied()).collect();
        step.after.retain(|b| !below.contains(b));
        reach.push(step.after.iter().copied().chain(below).collect());
    }
}
