//! Words of cards: Okapi BM25 over each skill, so that a task that names the very thing an agent is about finds it
//! even where meanings are close together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use bm25::{DefaultTokenizer, Language, Tokenizer};

/// BM25's saturation and length normalisation, at their usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// From so many texts on, words that most of them have are passed over.
const MANY: usize = 256;

/// A fixed language: guessing it from a few words would make the same card mean different things.
static TOKENIZER: LazyLock<DefaultTokenizer> = LazyLock::new(|| DefaultTokenizer::new(Language::English));

/// The words of texts, stemmed, without those that say nothing.
pub(crate) fn words(texts: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    texts.map(|text| TOKENIZER.tokenize(&text)).collect()
}

/// One piece of text of one agent: a card's name and description, or a skill.
#[derive(Clone, Debug, Default)]
struct Document {
    agent: u32,
    /// Its distinct terms by number, to take it out again.
    terms: Box<[u32]>,
    length: u32,
}

/// A word and where it stands.
#[derive(Clone, Debug)]
struct Posting {
    word: Arc<str>,
    documents: Vec<(u32, u32)>,
}

/// An inverted index over the texts of cards.
#[derive(Default)]
pub(crate) struct Lexical {
    /// Every word in use, with its number.
    vocabulary: BTreeMap<Arc<str>, u32>,
    /// For each word, the documents that have it, by number, and how often.
    postings: Vec<Posting>,
    unused: Vec<u32>,
    documents: Vec<Document>,
    free: Vec<u32>,
    of_agent: BTreeMap<u32, Vec<u32>>,
    total_length: usize,
}

/// How well each agent's words meet a text, by the agent's number.
#[derive(Debug, Default)]
pub(crate) struct Scores(Vec<f64>);

impl Scores {
    /// 0 to 1; 0 when they share no word.
    pub(crate) fn of(&self, agent: u32) -> f64 {
        self.0.get(agent as usize).copied().unwrap_or(0.0)
    }

    /// The agents that share a word with the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f64)> {
        (0..).zip(self.0.iter().copied()).filter(|(_, score)| *score > 0.0)
    }
}

impl Lexical {
    /// Puts the texts of an agent in, each as its [`words`], in place of what it had.
    pub(crate) fn insert(&mut self, agent: u32, texts: &[Vec<String>]) {
        self.remove(agent);
        for words in texts {
            let number = self.free.pop().unwrap_or_else(|| {
                self.documents.push(Document::default());
                u32::try_from(self.documents.len() - 1).expect("fewer texts than fit in memory")
            });
            let mut terms: Vec<u32> = words.iter().map(|word| self.term(word)).collect();
            self.total_length += terms.len();
            let length = u32::try_from(terms.len()).expect("a card is small");
            terms.sort_unstable();
            for same in terms.chunk_by(|a, b| a == b) {
                let times = u32::try_from(same.len()).expect("a card is small");
                let posting = &mut self.postings[same[0] as usize].documents;
                let at = posting.partition_point(|(document, _)| *document < number);
                posting.insert(at, (number, times));
            }
            terms.dedup();
            self.documents[number as usize] = Document { agent, terms: terms.into(), length };
            self.of_agent.entry(agent).or_default().push(number);
        }
    }

    fn term(&mut self, word: &str) -> u32 {
        if let Some(term) = self.vocabulary.get(word) {
            return *term;
        }
        let word: Arc<str> = word.into();
        let posting = Posting { word: Arc::clone(&word), documents: Vec::new() };
        let term = match self.unused.pop() {
            Some(term) => {
                self.postings[term as usize] = posting;
                term
            }
            None => {
                self.postings.push(posting);
                u32::try_from(self.postings.len() - 1).expect("fewer words than fit in memory")
            }
        };
        self.vocabulary.insert(word, term);
        term
    }

    /// Takes the texts of an agent out.
    pub(crate) fn remove(&mut self, agent: u32) {
        for number in self.of_agent.remove(&agent).unwrap_or_default() {
            let document = std::mem::take(&mut self.documents[number as usize]);
            self.total_length -= document.length as usize;
            for term in document.terms {
                let Posting { word, documents } = &mut self.postings[term as usize];
                if let Ok(at) = documents.binary_search_by_key(&number, |(document, _)| *document) {
                    documents.remove(at);
                }
                if documents.is_empty() {
                    self.vocabulary.remove(word);
                    self.unused.push(term);
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
    pub(crate) fn scores(&self, text: &str) -> Scores {
        let mut terms = TOKENIZER.tokenize(text);
        terms.sort();
        terms.dedup();
        let live = self.documents.len() - self.free.len();
        let count = live as f64;
        let mean = (self.total_length as f64 / count.max(1.0)).max(1.0);
        let mut scores = vec![0.0_f64; self.documents.len()];
        let mut most = 0.0;
        for term in &terms {
            let posting = self.vocabulary.get(term.as_str());
            let posting = posting.map_or(&[][..], |t| &self.postings[*t as usize].documents);
            let holders = posting.len();
            let rarity = (1.0 + (count - holders as f64 + 0.5) / (holders as f64 + 0.5)).ln();
            most += rarity;
            if live > MANY && holders > live / 2 {
                continue;
            }
            for (number, times) in posting {
                let length = f64::from(self.documents[*number as usize].length);
                let times = f64::from(*times);
                let part = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean));
                scores[*number as usize] += rarity * part.min(1.0);
            }
        }
        let agents = self.of_agent.last_key_value().map_or(0, |(agent, _)| *agent as usize + 1);
        let mut best = vec![0.0_f64; agents];
        for (document, score) in self.documents.iter().zip(scores).filter(|(_, score)| *score > 0.0) {
            let place = &mut best[document.agent as usize];
            *place = place.max((score / most).min(1.0));
        }
        Scores(best)
    }
}

impl fmt::Debug for Lexical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Lexical({} texts, {} words)",
            self.documents.len() - self.free.len(),
            self.vocabulary.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<Vec<String>> {
        words(texts.iter().map(ToString::to_string))
    }

    #[test]
    fn rare_words_count_and_common_ones_hardly() {
        let mut lexical = Lexical::default();
        lexical.insert(1, &texts(&["Answers questions about the broker", "quarantine of retained messages"]));
        lexical.insert(2, &texts(&["Answers questions about routing"]));
        lexical.insert(3, &texts(&["Answers questions about plans"]));
        let scores = lexical.scores("answers about retained quarantine");
        assert!(scores.of(1) > 0.3 && scores.of(1) <= 1.0, "{scores:?}");
        assert!(scores.of(2) < scores.of(1) / 2.0, "{scores:?}");
    }

    #[test]
    fn what_is_taken_out_leaves_nothing_behind() {
        let mut lexical = Lexical::default();
        lexical.insert(1, &texts(&["a broker of messages", "messages"]));
        lexical.insert(1, &texts(&["plans"]));
        assert_eq!(lexical.scores("messages").iter().count(), 0);
        lexical.remove(1);
        assert!(lexical.vocabulary.is_empty() && lexical.unused.len() == lexical.postings.len());
        assert!(lexical.of_agent.is_empty() && lexical.total_length == 0);
        assert_eq!(lexical.free.len(), lexical.documents.len());
        assert_eq!(lexical.scores("").iter().count(), 0);
    }
}
