//! Words of cards: Okapi BM25 over each text of each card, so that a task that names the very thing an agent is about
//! finds it even where meanings are close together.
//!
//! A question costs what its rare words cost: they are looked up rarest first, until [`MAX_POSTINGS`] places were seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::saved::{self, Section, Unreadable};
use crate::words::words;

/// BM25's saturation and length normalisation, at their usual values.
const K1: f64 = 1.2;
const B: f64 = 0.75;
/// Most places of words that one question looks at, except that its rarest word is always looked up when it is rarer
/// than [`COMMON`]. A federation of a hundred thousand has words that tens of thousands use; they tell nobody apart.
pub(crate) const MAX_POSTINGS: usize = 8_192;
/// From so many texts on, words that at least one text in two has are passed over.
const COMMON: usize = 256;

/// Another number, another layout.
const MARK: &[u8] = b"foa-words-1\n";

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
    /// In how many texts of other nodes' agents it is.
    elsewhere: u32,
}

impl Posting {
    fn holders(&self) -> usize {
        self.documents.len() + self.elsewhere as usize
    }
}

/// Texts that only count: how rare a word is depends on all texts, wherever their cards are. For each, its length, how many
/// terms it has, and the terms.
pub(crate) type Counted = Box<[u32]>;

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
    /// Texts that only count.
    elsewhere: usize,
    total_length: usize,
}

/// How well each agent's words meet a text: BM25 of its best text, by the agent's number, rising. Agents that share no
/// word that was looked up are not there.
#[derive(Debug, Default)]
pub(crate) struct Scores(Vec<(u32, f64)>);

impl Scores {
    /// 0 when they share no word.
    pub(crate) fn of(&self, agent: u32) -> f64 {
        self.0.binary_search_by_key(&agent, |(number, _)| *number).map_or(0.0, |at| self.0[at].1)
    }

    /// The agents that share a word with the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, f64)> {
        self.0.iter().copied()
    }

    /// The same as a list, in rising order of number.
    pub(crate) fn rising(&self) -> &[(u32, f64)] {
        &self.0
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
        let posting = Posting { word: Arc::clone(&word), documents: Vec::new(), elsewhere: 0 };
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
                let documents = &mut self.postings[term as usize].documents;
                if let Ok(at) = documents.binary_search_by_key(&number, |(document, _)| *document) {
                    documents.remove(at);
                }
                self.drop_unused(term);
            }
            self.free.push(number);
        }
    }

    fn drop_unused(&mut self, term: u32) {
        let posting = &self.postings[term as usize];
        if posting.holders() == 0 {
            self.vocabulary.remove(&posting.word);
            self.unused.push(term);
        }
    }

    /// Counts the texts of an agent whose card is elsewhere.
    pub(crate) fn count(&mut self, texts: &[Vec<String>]) -> Counted {
        let mut counted = Vec::new();
        let number = |n: usize| u32::try_from(n).expect("a card is small");
        for words in texts {
            let mut terms: Vec<u32> = words.iter().map(|word| self.term(word)).collect();
            self.total_length += terms.len();
            self.elsewhere += 1;
            counted.push(number(terms.len()));
            terms.sort_unstable();
            terms.dedup();
            for term in &terms {
                self.postings[*term as usize].elsewhere += 1;
            }
            counted.push(number(terms.len()));
            counted.extend(terms);
        }
        counted.into()
    }

    /// Counts them no more.
    pub(crate) fn discount(&mut self, counted: &Counted) {
        let mut rest = &counted[..];
        while let [length, terms, behind @ ..] = rest {
            let (terms, behind) = behind.split_at((*terms as usize).min(behind.len()));
            self.total_length -= *length as usize;
            self.elsewhere -= 1;
            for term in terms {
                self.postings[*term as usize].elsewhere -= 1;
                self.drop_unused(*term);
            }
            rest = behind;
        }
    }

    /// The texts as bytes.
    pub(crate) fn save(&self) -> Vec<u8> {
        let mut out = Section::new(MARK);
        out.numbers(self.documents.iter().flat_map(|document| [document.agent, document.length]));
        out.numbers(self.free.iter().copied());
        for Posting { word, documents, .. } in &self.postings {
            out.bytes(word.as_bytes());
            out.numbers(documents.iter().flat_map(|(document, times)| [*document, *times]));
        }
        out.finish()
    }

    /// The texts that were saved, of those agents who pass.
    pub(crate) fn load(bytes: &[u8], passes: impl Fn(u32) -> bool) -> Result<Self, Unreadable> {
        let (mut rest, _) = saved::open(MARK, bytes)?;
        let mut own = Self::default();
        let documents = rest.numbers()?;
        let (documents, _) = documents.as_chunks::<2>();
        own.free = rest.numbers()?;
        let free: BTreeSet<u32> = own.free.iter().copied().collect();
        for (number, [agent, length]) in (0..).zip(documents) {
            if !free.contains(&number) {
                own.of_agent.entry(*agent).or_default().push(number);
            }
            own.total_length += *length as usize;
        }
        let mut terms: Vec<Vec<u32>> = vec![Vec::new(); documents.len()];
        let mut words = Vec::new();
        while !rest.is_empty() {
            let term = u32::try_from(own.postings.len()).expect("fewer words than fit in memory");
            let word = std::str::from_utf8(rest.bytes()?).map_err(|_| Unreadable::Unsound("no word"))?;
            let places = rest.numbers()?;
            let (places, _) = places.as_chunks::<2>();
            for [document, _] in places {
                let of = terms.get_mut(*document as usize);
                of.ok_or(Unreadable::Unsound("a word of no text"))?.push(term);
            }
            let word: Arc<str> = word.into();
            if places.is_empty() {
                own.unused.push(term);
            } else {
                words.push((Arc::clone(&word), term));
            }
            let documents = places.iter().map(|[document, times]| (*document, *times)).collect();
            own.postings.push(Posting { word, documents, elsewhere: 0 });
        }
        own.vocabulary = words.into_iter().collect();
        let document = |(terms, [agent, length]): (Vec<u32>, &[u32; 2])| Document {
            agent: *agent,
            terms: terms.into(),
            length: *length,
        };
        own.documents = terms.into_iter().zip(documents).map(document).collect();
        let gone: Vec<u32> = own.of_agent.keys().copied().filter(|agent| !passes(*agent)).collect();
        for agent in gone {
            own.remove(agent);
        }
        Ok(own)
    }

    /// BM25 of each agent that shares a word with the text: the sum over shared words of how rare the word is among all
    /// texts, times how much of the agent's best text it is. 0 and up; some 10 for two rare words among a thousand texts.
    pub(crate) fn scores(&self, text: &str) -> Scores {
        let mut terms: Vec<&Posting> = words(text)
            .iter()
            .filter_map(|w| self.vocabulary.get(w.as_str()))
            .map(|t| &self.postings[*t as usize])
            .collect();
        terms.sort_by(|a, b| a.holders().cmp(&b.holders()).then_with(|| a.word.cmp(&b.word)));
        terms.dedup_by(|a, b| a.word == b.word);
        let live = self.documents.len() - self.free.len() + self.elsewhere;
        let count = live as f64;
        let mean = (self.total_length as f64 / count.max(1.0)).max(1.0);
        // One list after the other, each in order of document: what a stable sort merges in no time.
        let mut found: Vec<(u32, f64)> = Vec::new();
        let mut seen = 0;
        for posting in terms {
            let (documents, holders) = (&posting.documents, posting.holders());
            let common = live > COMMON && holders > live / 2;
            if common || (seen > 0 && seen + holders > MAX_POSTINGS) {
                break;
            }
            seen += holders;
            let rarity = (1.0 + (count - holders as f64 + 0.5) / (holders as f64 + 0.5)).ln();
            found.extend(documents.iter().map(|(number, times)| {
                let length = f64::from(self.documents[*number as usize].length);
                let times = f64::from(*times);
                let part = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / mean));
                (*number, rarity * part)
            }));
        }
        found.sort_by_key(|(number, _)| *number);
        let of_document = |same: &[(u32, f64)]| {
            let score = same.iter().map(|(_, part)| part).sum::<f64>();
            (self.documents[same[0].0 as usize].agent, score)
        };
        let mut best: Vec<(u32, f64)> = found.chunk_by(|a, b| a.0 == b.0).map(of_document).collect();
        best.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.total_cmp(&a.1)));
        best.dedup_by_key(|(agent, _)| *agent);
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
        texts.iter().map(|text| words(text)).collect()
    }

    #[test]
    fn rare_words_count_and_common_ones_hardly() {
        let mut lexical = Lexical::default();
        lexical.insert(1, &texts(&["Answers questions about the broker", "quarantine of retained messages"]));
        lexical.insert(2, &texts(&["Answers questions about routing"]));
        lexical.insert(3, &texts(&["Answers questions about plans"]));
        let scores = lexical.scores("answers about retained quarantine");
        assert!(scores.of(2) > 0.0 && scores.of(2) < scores.of(1) / 2.0, "{scores:?}");
    }

    #[test]
    fn the_score_is_bm25_of_the_best_text() {
        let mut lexical = Lexical::default();
        lexical.insert(4, &texts(&["broker broker plans", "broker"]));
        lexical.insert(9, &texts(&["plans routes"]));
        // Three texts of mean length 2; two have "broker".
        let rarity = (1.0_f64 + 1.5 / 2.5).ln();
        let part = |times: f64, length: f64| times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / 2.0));
        let wanted = rarity * part(2.0, 3.0).max(part(1.0, 1.0));
        let scores = lexical.scores("a broker, Brokers");
        assert!((scores.of(4) - wanted).abs() < 1e-12 && scores.of(9) == 0.0, "{scores:?}");
        assert_eq!(scores.iter().count(), 1);
    }

    #[test]
    fn a_question_looks_at_so_many_places_and_no_more() {
        let mut lexical = Lexical::default();
        let many = u32::try_from(MAX_POSTINGS).unwrap();
        for agent in 0..2 * many {
            let text = match agent {
                0 => "quarantine broker",
                a if a < many / 2 => "broker",
                a if a < many => "plans",
                _ => "routes",
            };
            lexical.insert(agent, &texts(&[text]));
        }
        let scores = lexical.scores("quarantine broker");
        assert_eq!(scores.iter().count(), MAX_POSTINGS / 2, "both words are rare enough");
        let scores = lexical.scores("quarantine plans broker");
        assert_eq!(scores.iter().count(), MAX_POSTINGS / 2, "the third word is one too many");
        assert!(scores.of(0) > scores.of(many - 1));
        assert_eq!(lexical.scores("routes").iter().count(), MAX_POSTINGS, "a word alone is looked up");
        lexical.insert(2 * many, &texts(&["routes"]));
        assert_eq!(lexical.scores("routes").iter().count(), 0, "unless most texts have it");
    }

    #[test]
    fn what_is_elsewhere_counts_and_is_not_found() {
        let all =
            [texts(&["broker broker plans", "broker"]), texts(&["plans routes"]), texts(&["a rare tide"])];
        let mut whole = Lexical::default();
        (1..).zip(&all).for_each(|(agent, texts)| whole.insert(agent, texts));
        let mut part = Lexical::default();
        let far = part.count(&all[0]);
        part.insert(2, &all[1]);
        let farther = part.count(&all[2]);
        let scores = part.scores("plans of a broker");
        assert_eq!(scores.rising(), [(2, whole.scores("plans of a broker").of(2))]);
        part.remove(2);
        part.discount(&far);
        assert_eq!((part.vocabulary.len(), part.elsewhere), (2, 1));
        part.discount(&farther);
        assert!(part.vocabulary.is_empty() && part.unused.len() == part.postings.len());
        assert_eq!((part.total_length, part.elsewhere), (0, 0));
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
