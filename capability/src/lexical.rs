//! Words of cards: Okapi BM25 over each skill, so that a task that names the very thing an agent is about finds it
//! even where meanings are close together.

use std::collections::BTreeMap;
use std::fmt;

use bm25::{DefaultTokenizer, Language, Tokenizer};

/// BM25's saturation and length normalisation, at their usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// From so many texts on, words that most of them have are passed over.
const MANY: usize = 256;

/// One piece of text of one agent: a card's name and description, or a skill.
#[derive(Clone, Debug, Default)]
struct Document {
    agent: u32,
    /// Its distinct terms, to take it out again.
    terms: Vec<String>,
    length: usize,
}

/// An inverted index over the texts of cards.
pub(crate) struct Lexical {
    tokenizer: DefaultTokenizer,
    /// For each term, the documents that have it, by number, and how often.
    postings: BTreeMap<String, BTreeMap<u32, u32>>,
    documents: Vec<Document>,
    free: Vec<u32>,
    of_agent: BTreeMap<u32, Vec<u32>>,
    total_length: usize,
}

impl Default for Lexical {
    fn default() -> Self {
        Self {
            // A fixed language: guessing it from a few words would make the same card mean different things.
            tokenizer: DefaultTokenizer::new(Language::English),
            postings: BTreeMap::new(),
            documents: Vec::new(),
            free: Vec::new(),
            of_agent: BTreeMap::new(),
            total_length: 0,
        }
    }
}

impl Lexical {
    /// Puts the texts of an agent in, in place of what it had.
    pub(crate) fn insert(&mut self, agent: u32, texts: &[String]) {
        self.remove(agent);
        for text in texts {
            let number = self.free.pop().unwrap_or_else(|| {
                self.documents.push(Document::default());
                u32::try_from(self.documents.len() - 1).expect("fewer texts than fit in memory")
            });
            let mut terms = self.tokenizer.tokenize(text);
            let length = terms.len();
            self.total_length += length;
            for term in &terms {
                *self.postings.entry(term.clone()).or_default().entry(number).or_default() += 1;
            }
            terms.sort();
            terms.dedup();
            self.documents[number as usize] = Document { agent, terms, length };
            self.of_agent.entry(agent).or_default().push(number);
        }
    }

    /// Takes the texts of an agent out.
    pub(crate) fn remove(&mut self, agent: u32) {
        for number in self.of_agent.remove(&agent).unwrap_or_default() {
            let document = std::mem::take(&mut self.documents[number as usize]);
            self.total_length -= document.length;
            for term in document.terms {
                if let Some(posting) = self.postings.get_mut(&term) {
                    posting.remove(&number);
                    if posting.is_empty() {
                        self.postings.remove(&term);
                    }
                }
            }
            self.free.push(number);
        }
    }

    /// For each agent that shares a word with the text, how much of the text's weight in rare words its best document
    /// covers, 0 to 1.
    ///
    /// BM25 over what it is when every word of the text stands once in a text of mean length; more does not count.
    /// Words no card has count as much as the rarest, so that one chance hit in a long request stays small. A word that
    /// more than half of many texts have tells nobody from another and is not looked up.
    pub(crate) fn scores(&self, text: &str) -> BTreeMap<u32, f64> {
        let mut terms = self.tokenizer.tokenize(text);
        terms.sort();
        terms.dedup();
        let live = self.documents.len() - self.free.len();
        let count = live as f64;
        let mean = (self.total_length as f64 / count.max(1.0)).max(1.0);
        let mut scores = vec![0.0_f64; self.documents.len()];
        let mut most = 0.0;
        for term in &terms {
            let posting = self.postings.get(term);
            let holders = posting.map_or(0, BTreeMap::len);
            let rarity = (1.0 + (count - holders as f64 + 0.5) / (holders as f64 + 0.5)).ln();
            most += rarity;
            if live > MANY && holders > live / 2 {
                continue;
            }
            for (number, times) in posting.into_iter().flatten() {
                let length = self.documents[*number as usize].length as f64;
                let times = f64::from(*times);
                let part = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean));
                scores[*number as usize] += rarity * part.min(1.0);
            }
        }
        let mut best: BTreeMap<u32, f64> = BTreeMap::new();
        for (document, score) in self.documents.iter().zip(scores).filter(|(_, score)| *score > 0.0) {
            let place = best.entry(document.agent).or_default();
            *place = place.max((score / most).min(1.0));
        }
        best
    }
}

impl fmt::Debug for Lexical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lexical({} texts, {} words)", self.documents.len() - self.free.len(), self.postings.len())
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
        assert!(lexical.postings.is_empty() && lexical.of_agent.is_empty() && lexical.total_length == 0);
        assert_eq!(lexical.free.len(), lexical.documents.len());
        assert!(lexical.scores("").is_empty());
    }
}
