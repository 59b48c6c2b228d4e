//! Texts as words: what two texts can share.

use std::sync::LazyLock;

use bm25::{DefaultTokenizer, Language, Tokenizer};
use foa_wire::AgentName;

/// Characters of an agent's name, at most.
const MAX_NAME: usize = 32;

/// A fixed language: guessing it from a few words would make the same card mean different things.
static TOKENIZER: LazyLock<DefaultTokenizer> = LazyLock::new(|| DefaultTokenizer::new(Language::English));

/// The words of a text in their order, stemmed, without those that say nothing. A name that programmers glued together
/// counts as itself and as its parts: `getStockPrice` is also `get`, `stock` and `price`.
pub(crate) fn words(text: &str) -> Vec<String> {
    TOKENIZER.tokenize(&unglued(text))
}

/// A name as one would say it: `get_stock-price` and `getStockPrice` are "get stock price". A name of several words is said
/// as it stands.
pub(crate) fn spoken(name: &str) -> String {
    if name.contains(char::is_whitespace) {
        return name.to_owned();
    }
    let pieces = name.split(|c: char| !c.is_alphanumeric()).flat_map(parts);
    let words: Vec<String> =
        pieces.map(|part| if is_acronym(part) { part.to_owned() } else { part.to_lowercase() }).collect();
    words.join(" ")
}

/// A title as the name of an agent: what a name cannot hold becomes one hyphen, and what does not fit is cut.
pub(crate) fn slug(title: &str) -> Option<AgentName> {
    let mut name = String::new();
    for letter in title.chars().flat_map(char::to_lowercase) {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == MAX_NAME {
            break;
        }
    }
    name.trim_end_matches('-').parse().ok()
}

/// The name of an agent as one would say it, without numbers: they tell agents apart, not what they are for.
pub(crate) fn called(name: &str) -> String {
    let spoken = spoken(name);
    let words: Vec<&str> = spoken.split(' ').filter(|w| w.contains(|c: char| !c.is_numeric())).collect();
    words.join(" ")
}

fn is_acronym(part: &str) -> bool {
    part.chars().skip(1).any(char::is_uppercase)
}

/// The text with the parts of every glued name behind the name.
fn unglued(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    while !rest.is_empty() {
        let in_name = |c: char| c.is_alphanumeric() || c == '_';
        let name = &rest[..rest.find(|c| !in_name(c)).unwrap_or(rest.len())];
        let parts = parts(name);
        if parts.len() > 1 {
            out.extend(name.chars().filter(|c| *c != '_'));
            for part in parts {
                out.push(' ');
                out.push_str(part);
            }
        } else {
            out.push_str(name);
        }
        rest = &rest[name.len()..];
        let between = rest.find(in_name).unwrap_or(rest.len());
        out.push_str(&rest[..between]);
        rest = &rest[between..];
    }
    out
}

/// `snake_case`, `camelCase` and `PDFReader` in their parts.
fn parts(name: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for piece in name.split('_').filter(|piece| !piece.is_empty()) {
        let letters: Vec<(usize, char)> = piece.char_indices().collect();
        let mut start = 0;
        for (i, &(at, letter)) in letters.iter().enumerate().skip(1) {
            let before = letters[i - 1].1;
            let after = letters.get(i + 1).map(|(_, c)| *c);
            let opens =
                letter.is_uppercase() && (!before.is_uppercase() || after.is_some_and(char::is_lowercase));
            if opens {
                parts.push(&piece[start..at]);
                start = at;
            }
        }
        parts.push(&piece[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glued_names_are_taken_apart() {
        for (name, wanted) in [
            ("get_stock_price", &["get", "stock", "price"][..]),
            ("getStockPrice", &["get", "Stock", "Price"]),
            ("PDFReader", &["PDF", "Reader"]),
            ("base64Encode", &["base64", "Encode"]),
            ("plain", &["plain"]),
            ("GDPR", &["GDPR"]),
            ("__", &[]),
            ("ÄrzteÜbersicht", &["Ärzte", "Übersicht"]),
        ] {
            assert_eq!(parts(name), wanted, "{name}");
        }
        assert_eq!(unglued("call getPrice, now"), "call getPrice get Price, now");
        assert_eq!(unglued("a_b"), "ab a b");
    }

    #[test]
    fn names_are_said() {
        for (name, wanted) in [
            ("get_stock-price", "get stock price"),
            ("getStockPrice", "get stock price"),
            ("fs/readPDFFile", "fs read PDF file"),
            ("Stock prices by GitHub", "Stock prices by GitHub"),
            ("calc", "calc"),
            ("", ""),
        ] {
            assert_eq!(spoken(name), wanted);
        }
        assert_eq!(called("tax-adviser-12"), "tax adviser");
    }

    #[test]
    fn a_title_becomes_a_name() {
        for (title, wanted) in [
            ("Recipe Agent", Some("recipe-agent")),
            ("calc-1", Some("calc-1")),
            ("  GitHub (v3) / REST!", Some("github-v3-rest")),
            ("Über Köche", Some("ber-k-che")),
            ("料理", None),
            ("", None),
            ("a very long title of an agent for everything", Some("a-very-long-title-of-an-agent-fo")),
            ("thirty-one letters and a hyphen - x", Some("thirty-one-letters-and-a-hyphen")),
        ] {
            assert_eq!(slug(title).map(|name| name.to_string()).as_deref(), wanted, "{title}");
        }
    }

    #[test]
    fn a_name_counts_whole_and_in_parts() {
        assert_eq!(words("getStockPrices"), ["getstockpric", "get", "stock", "price"]);
        assert_eq!(words("What is the price of a stock?"), ["price", "stock"]);
        assert_eq!(words(""), Vec::<String>::new());
    }
}
