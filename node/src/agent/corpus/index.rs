//! Finds passages two ways at once: by words (BM25) and by meaning (embeddings). The two rankings are added after each
//! is brought to 0..1, because ranks alone forget how sure an arm was.

use std::collections::BTreeMap;

use bm25::{Embedder as TermEmbedder, EmbedderBuilder, Scorer, Tokenizer};
use foa_capability::Vector;

use super::passage::Passage;
use crate::agent::text::{term_set, terms};
use crate::model::{EmbedError, Embedder};

/// The share of meaning in the added score; the rest is words.
const DENSE: f64 = 0.55;

struct Terms;

impl Tokenizer for Terms {
    fn tokenize(&self, text: &str) -> Vec<String> {
        terms(text)
    }
}

/// A passage found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hit {
    pub(super) passage: usize,
    /// Cosine of question and passage.
    pub(super) dense: f64,
    /// Both arms together, 0 to 1.
    pub(super) score: f64,
}

/// Passages with their words and vectors.
pub(super) struct Index {
    pub(super) passages: Vec<Passage>,
    vectors: Vec<Vector>,
    words: TermEmbedder<u32, Terms>,
    scorer: Scorer<usize>,
    /// In how many passages a word stands.
    frequency: BTreeMap<String, usize>,
}

impl Index {
    /// Embeds and counts all passages.
    pub(super) async fn new(passages: Vec<Passage>, embedder: &Embedder) -> Result<Self, EmbedError> {
        let texts: Vec<String> = passages.iter().map(Passage::in_context).collect();
        let vectors = embedder.embed(texts.clone()).await?;
        let corpus: Vec<&str> = texts.iter().map(String::as_str).collect();
        let words = EmbedderBuilder::<u32, Terms>::with_tokenizer_and_fit_to_corpus(Terms, &corpus).build();
        let mut scorer = Scorer::new();
        let mut frequency: BTreeMap<String, usize> = BTreeMap::new();
        for (i, text) in texts.iter().enumerate() {
            scorer.upsert(&i, words.embed(text));
            for term in term_set(text) {
                *frequency.entry(term).or_default() += 1;
            }
        }
        Ok(Self { passages, vectors, words, scorer, frequency })
    }

    /// How rare a word is here: 1 for a word that stands in one passage or in none, towards 0 for one in all.
    pub(super) fn rarity(&self, term: &str) -> f64 {
        let all = self.passages.len().max(2) as f64;
        let found = self.frequency.get(term).map_or(1, |&n| n.max(1)) as f64;
        (1.0 - found.ln() / all.ln()).max(0.05)
    }

    /// The best passages for a question given as text and as a direction, best first.
    pub(super) fn search(&self, text: &str, direction: &Vector, limit: usize) -> Vec<Hit> {
        let mut lexical = vec![0.0_f64; self.passages.len()];
        for found in self.scorer.matches(&self.words.embed(text)) {
            lexical[found.id] = f64::from(found.score);
        }
        let top = lexical.iter().fold(0.0_f64, |m, s| m.max(*s)).max(1e-9);
        let hit = |(passage, vector): (usize, &Vector)| {
            let dense = vector.cosine(direction);
            let score = DENSE * dense.max(0.0) + (1.0 - DENSE) * lexical[passage] / top;
            Hit { passage, dense, score }
        };
        let mut hits: Vec<Hit> = self.vectors.iter().enumerate().map(hit).collect();
        hits.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.passage.cmp(&b.passage)));
        hits.truncate(limit);
        hits
    }
}
