//! Words of cards: Okapi BM25 over each skill, so that a task that names the very thing an agent is about finds it
//! even where meanings are close together.

use std::collections::BTreeMap;
use std::fmt;

use bm25::{DefaultTokenizer, Language, Tokenizer};

/// BM25's saturation and length normalisation, at their usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// One piece of text of one agent: 0 the card's name and description, then its skills.
type Document = (u32, u32);

/// An inverted index over the texts of cards.
pub(crate) struct Lexical {
    tokenizer: DefaultTokenizer,
    postings: BTreeMap<String, BTreeMap<Document, u32>>,
    /// The terms of each document, to take it out again.
    documents: BTreeMap<Document, Vec<String>>,
    total_terms: usize,
}

impl Default for Lexical {
    fn default() -> Self {
        Self {
            // A fixed language: guessing it from a few words would make the same card mean different things.
            tokenizer: DefaultTokenizer::new(Language::English),
            postings: BTreeMap::new(),
            documents: BTreeMap::new(),
            total_terms: 0,
        }
    }
}

impl Lexical {
    /// Puts the texts of an agent in, in place of what it had.
    pub(crate) fn insert(&mut self, agent: u32, texts: &[String]) {
        self.remove(agent);
        for (part, text) in (0..).zip(texts) {
            let terms = self.tokenizer.tokenize(text);
            self.total_terms += terms.len();
            for term in &terms {
                *self.postings.entry(term.clone()).or_default().entry((agent, part)).or_default() += 1;
            }
            self.documents.insert((agent, part), terms);
        }
    }

    /// Takes the texts of an agent out.
    pub(crate) fn remove(&mut self, agent: u32) {
        let own: Vec<Document> =
            self.documents.range((agent, 0)..=(agent, u32::MAX)).map(|(d, _)| *d).collect();
        for document in own {
            let terms = self.documents.remove(&document).unwrap_or_default();
            self.total_terms -= terms.len();
            for term in terms {
                if let Some(posting) = self.postings.get_mut(&term) {
                    posting.remove(&document);
                    if posting.is_empty() {
                        self.postings.remove(&term);
                    }
                }
            }
        }
    }

    /// For each agent that shares a word with the text, how much of the text's weight in rare words its best document
    /// covers, 0 to 1.
    ///
    /// BM25 over what it is when every word of the text stands once in a text of mean length; more does not count.
    /// Words no card has count as much as the rarest, so that one chance hit in a long request stays small.
    pub(crate) fn scores(&self, text: &str) -> BTreeMap<u32, f64> {
        let mut terms = self.tokenizer.tokenize(text);
        terms.sort();
        terms.dedup();
        let count = self.documents.len() as f64;
        let mean = (self.total_terms as f64 / count.max(1.0)).max(1.0);
        let mut scores: BTreeMap<Document, f64> = BTreeMap::new();
        let mut most = 0.0;
        for term in &terms {
            let posting = self.postings.get(term);
            let holders = posting.map_or(0, BTreeMap::len) as f64;
            let rarity = (1.0 + (count - holders + 0.5) / (holders + 0.5)).ln();
            most += rarity;
            for (document, times) in posting.into_iter().flatten() {
                let length = self.documents.get(document).map_or(0, Vec::len) as f64;
                let times = f64::from(*times);
                let part = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean));
                *scores.entry(*document).or_default() += rarity * part.min(1.0);
            }
        }
        let mut best: BTreeMap<u32, f64> = BTreeMap::new();
        for ((agent, _), score) in scores {
            let place = best.entry(agent).or_default();
            *place = place.max((score / most).min(1.0));
        }
        best
    }
}

impl fmt::Debug for Lexical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lexical({} texts, {} words)", self.documents.len(), self.postings.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rare_words_count_and_common_ones_hardly() {
        let mut lexical = Lexical::default();
        lexical.insert(1, &texts(&["Answers questions about the broker", "quarantine of retained messages"]));
        lexical.insert(2, &texts(&["Answers questions about routing"]));
        lexical.insert(3, &texts(&["Answers questions about plans"]));
        let scores = lexical.scores("answers about retained quarantine");
        assert!(scores[&1] > 0.3 && scores[&1] <= 1.0, "{scores:?}");
        assert!(scores[&2] < scores[&1] / 2.0, "{scores:?}");
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut lexical = Lexical::default();
        lexical.insert(1, &texts(&["a broker of messages", "messages"]));
        lexical.insert(1, &texts(&["plans"]));
        assert!(lexical.scores("messages").is_empty());
        lexical.remove(1);
        assert!(lexical.postings.is_empty() && lexical.documents.is_empty() && lexical.total_terms == 0);
        assert!(lexical.scores("").is_empty());
    }
}
