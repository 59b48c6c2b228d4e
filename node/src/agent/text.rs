//! Words and sentences, the same for every agent without a language model.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bm25::{DefaultTokenizer, Language, Tokenizer as _};

/// Words of asking that a tokenizer takes for content.
const MODAL: [&str; 11] =
    ["may", "can", "shall", "should", "would", "could", "might", "must", "pleas", "much", "mani"];

/// Stems of the words that carry meaning, in order, with repetitions; stop words are gone.
pub(super) fn terms(text: &str) -> Vec<String> {
    static TOKENIZER: LazyLock<DefaultTokenizer> = LazyLock::new(|| DefaultTokenizer::new(Language::English));
    let text = &camel_apart(text);
    let spaced: String = text
        .chars()
        .map(|c| if matches!(c, '_' | '/' | '-' | '.' | ':' | '’' | '\'') { ' ' } else { c })
        .collect();
    let mut terms = TOKENIZER.tokenize(&joined_numbers(text, &spaced));
    terms.retain(|t| !MODAL.contains(&t.as_str()));
    terms.retain(|t| t.len() > 1 || t.chars().all(|c| c.is_ascii_digit()));
    terms
}

/// `AgentCard` as `Agent Card`; `MiB` and `KiB` stay units.
fn camel_apart(text: &str) -> String {
    let mut apart = String::with_capacity(text.len() + 8);
    for word in text.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let mut lower = 0;
        for c in word.chars() {
            // Two small letters before a capital make a word; a unit or an abbreviation has fewer.
            if c.is_uppercase() && lower >= 2 {
                apart.push(' ');
            }
            lower = if c.is_lowercase() { lower + 1 } else { 0 };
            apart.push(c);
        }
    }
    apart
}

/// `spaced`, with decimal points between digits put back, so that `0.25` stays one number.
fn joined_numbers(text: &str, spaced: &str) -> String {
    let original: Vec<char> = text.chars().collect();
    let digit = |i: Option<usize>| i.and_then(|i| original.get(i)).is_some_and(char::is_ascii_digit);
    let point = |i: usize| original[i] == '.' && digit(i.checked_sub(1)) && digit(Some(i + 1));
    spaced.chars().enumerate().map(|(i, c)| if point(i) { '.' } else { c }).collect()
}

/// The distinct [`terms`].
pub(super) fn term_set(text: &str) -> BTreeSet<String> {
    terms(text).into_iter().collect()
}

/// Which bytes of `text` stand inside code, quotes or brackets and must not be split at.
pub(super) fn protected(text: &str) -> Vec<bool> {
    let mut marks = vec![false; text.len()];
    let mut closers: Vec<(char, usize)> = Vec::new();
    let mut code: Option<(usize, usize)> = None;
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        if c == '`' {
            let mut run = 1;
            while chars.next_if(|&(_, c)| c == '`').is_some() {
                run += 1;
            }
            code = match code {
                Some((ticks, from)) if ticks == run => {
                    marks[from..at + run].fill(true);
                    None
                }
                None => Some((run, at)),
                open => open,
            };
        } else if code.is_none() {
            if closers.last().is_some_and(|&(closer, _)| closer == c) {
                let (_, from) = closers.pop().expect("there is a last one");
                marks[from..at + c.len_utf8()].fill(true);
            } else if let Some(closer) = closer(c, before) {
                closers.push((closer, at));
            }
        }
        before = c;
    }
    marks
}

fn closer(c: char, before: char) -> Option<char> {
    match c {
        '(' => Some(')'),
        '[' => Some(']'),
        '{' => Some('}'),
        '“' => Some('”'),
        // An inch mark or the end of a quotation that never began opens nothing.
        '"' if !before.is_alphanumeric() => Some('"'),
        _ => None,
    }
}

/// Sentences, trimmed; line ends do not end one.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let marks = protected(text);
    let mut sentences = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        let rest = &text[end..];
        let stops = match c {
            '?' | '!' => rest.is_empty() || rest.starts_with(char::is_whitespace),
            '.' => ends_sentence(&text[start..at], rest),
            _ => false,
        };
        if stops && !marks[at] {
            sentences.push(text[start..end].trim());
            start = end;
        }
    }
    sentences.push(text[start..].trim());
    sentences.retain(|s| !s.is_empty());
    sentences
}

fn ends_sentence(before: &str, rest: &str) -> bool {
    const ABBREVIATIONS: [&str; 14] =
        ["e.g", "i.e", "etc", "vs", "cf", "dr", "mr", "mrs", "no", "fig", "approx", "st", "al", "resp"];
    if rest.is_empty() {
        return true;
    }
    let next = rest.trim_start();
    let begins = next.chars().next().is_some_and(|c| !c.is_lowercase());
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or("").to_lowercase();
    let initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
    rest.starts_with(char::is_whitespace) && begins && !initial && !ABBREVIATIONS.contains(&word.as_str())
}

/// The first letter made large.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// At most `limit` characters, cut at a word, with an ellipsis when something is missing.
pub(super) fn shortened(text: &str, limit: usize) -> String {
    let Some((cut, _)) = text.char_indices().nth(limit) else { return text.to_owned() };
    let head = &text[..cut];
    let head = head.rsplit_once(char::is_whitespace).map_or(head, |(head, _)| head);
    format!("{}…", head.trim_end_matches([',', ';', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_stems_of_what_carries_meaning() {
        assert_eq!(terms("How large may the agent cards be?"), ["larg", "agent", "card"]);
        assert_eq!(terms("an AgentCard of 224 KiB"), ["agent", "card", "224", "kib"]);
        assert_eq!(terms("tcp_nodelay is 0.25 ms, not 92"), ["tcp", "nodelay", "0.25", "ms", "92"]);
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        let text = "Costs 4.3 ms, e.g. in batches. See `a. B` (first. Second). Why? Because v. 2 says so.";
        assert_eq!(
            sentences(text),
            [
                "Costs 4.3 ms, e.g. in batches.",
                "See `a. B` (first. Second).",
                "Why?",
                "Because v. 2 says so."
            ]
        );
    }

    #[test]
    fn an_open_bracket_or_quote_protects_nothing() {
        assert!(protected("a ( b and \"c").iter().all(|p| !p));
        assert!(protected("a 5\" pipe and b").iter().all(|p| !p));
    }
}
