//! From passages found to an answer: the sentences that say it, each with where it stands, and how sure that is.

use foa_capability::Vector;
use foa_wire::AgentId;
use foa_workflows::work::{Contribution, Evidence};

use super::index::Index;
use crate::agent::text::{sentences, shortened, term_set};
use crate::model::{EmbedError, Embedder};

/// Passages whose sentences are looked at.
const PASSAGES: usize = 8;
/// Sentences an answer quotes at most.
const QUOTES: usize = 3;
/// A further quotation must be nearly as good as the best.
const NEARLY: f64 = 0.82;
/// A list item longer than this many words is quoted by the sentence.
const LONG: usize = 45;
/// Confidence below which the agent says that it holds no answer. Found on questions over this project's design
/// documents: answerable ones score 0.42 and more, questions about anything else 0.24 and less.
const HOLDS: f64 = 0.34;
/// What is left of the score of a quotation that asks instead of answering.
const ECHO: f64 = 0.4;
/// What is left of the score of a quotation without a number where one is wanted.
const NO_NUMBER: f64 = 0.7;
/// Quotations that are compared by meaning: embedding one takes milliseconds.
const COMPARED: usize = 16;
/// The longest quotation.
const MAX_QUOTE: usize = 1200;

/// A question, prepared.
pub(super) struct Question {
    text: String,
    pub(super) direction: Vector,
    terms: Vec<(String, f64)>,
    wants_number: bool,
}

impl Question {
    /// Reads a question against what is rare in `index`.
    pub(super) async fn new(text: &str, index: &Index, embedder: &Embedder) -> Result<Self, EmbedError> {
        let direction = embedder.embed_one(text).await?;
        let terms = term_set(text).into_iter().map(|t| (index.rarity(&t), t)).map(|(r, t)| (t, r)).collect();
        let lower = text.to_lowercase();
        let asks =
            ["how many", "how much", "how large", "how long", "how big", "how fast", "how old", "how often"];
        let names = ["limit", "maximum", "minimum", "size", "percentage", "number of", "at most", "at least"];
        let wants_number = asks.iter().chain(&names).any(|w| lower.contains(w));
        Ok(Self { text: text.to_owned(), direction, terms, wants_number })
    }

    /// The words of the question.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The share of the question's words a text has, rare ones counting more.
    fn coverage(&self, text: &str) -> f64 {
        let found = term_set(text);
        let all: f64 = self.terms.iter().map(|(_, r)| r).sum();
        let has: f64 = self.terms.iter().filter(|(t, _)| found.contains(t)).map(|(_, r)| r).sum();
        if all > 0.0 { has / all } else { 0.0 }
    }

    /// How well a quotation answers, 0 to 1; its source counts as context.
    fn score(&self, quote: &str, context: &str, vector: &Vector) -> f64 {
        let words = 0.7 * self.coverage(quote) + 0.3 * self.coverage(&format!("{context} {quote}"));
        let dense = ((vector.cosine(&self.direction) - 0.1) / 0.7).clamp(0.0, 1.0);
        ((0.5 * dense + 0.5 * words) * self.form(quote)).clamp(0.0, 1.0)
    }

    /// Whether a quotation can be an answer at all, by its form: a question is none, and "how large" wants a number.
    fn form(&self, quote: &str) -> f64 {
        if quote.contains('?') {
            ECHO
        } else if self.wants_number && !has_number(quote) {
            NO_NUMBER
        } else {
            1.0
        }
    }

    /// A first guess at [`Self::score`] that needs no vector of the quotation.
    fn promise(&self, quote: &str, passage: f64) -> f64 {
        (0.6 * self.coverage(quote) + 0.4 * passage) * self.form(quote)
    }
}

/// What this index holds on a question, best first. `text` and `direction` are what is searched for, which peers may
/// have sharpened; the question itself decides the order.
pub(super) async fn evidence(
    question: &Question,
    (text, direction): (&str, &Vector),
    index: &Index,
    embedder: &Embedder,
    holder: &AgentId,
) -> Result<Vec<Evidence>, EmbedError> {
    let hits = index.search(text, direction, PASSAGES);
    let mut found: Vec<(String, usize, f64)> = Vec::new();
    for hit in &hits {
        let passage = &index.passages[hit.passage];
        for quote in passage.pieces.iter().flat_map(|piece| quotes(piece)) {
            found.push((quote, hit.passage, hit.score));
        }
    }
    let promise = |(quote, _, passage): &(String, usize, f64)| question.promise(quote, passage.min(1.0));
    found.sort_by(|a, b| promise(b).total_cmp(&promise(a)).then_with(|| a.0.cmp(&b.0)));
    found.truncate(COMPARED);
    let vectors = embedder.embed(found.iter().map(|(quote, ..)| quote.clone()).collect()).await?;
    let mut evidence: Vec<Evidence> = found
        .into_iter()
        .zip(vectors)
        .map(|((quote, passage, passage_score), vector)| {
            let passage = &index.passages[passage];
            let context = format!("{} {}", passage.headings.join(" "), passage.text());
            let own = question.score(&quote, &context, &vector);
            Evidence {
                quote,
                source: passage.source(),
                held_by: Some(holder.clone()),
                score: rounded(0.85 * own + 0.15 * passage_score.min(1.0)),
                artifact: None,
            }
        })
        .collect();
    rank(&mut evidence);
    evidence.truncate(2 * QUOTES);
    Ok(evidence)
}

/// Scores quotations of others by the same measure.
pub(super) async fn rescore(
    question: &Question,
    evidence: &mut [Evidence],
    embedder: &Embedder,
) -> Result<(), EmbedError> {
    let quotes = evidence.iter().map(|e| e.quote.clone()).collect();
    for (e, vector) in evidence.iter_mut().zip(embedder.embed(quotes).await?) {
        let own = question.score(&e.quote, &e.source, &vector);
        // A holder has seen the passage around it; half of the trust stays with its own measure.
        e.score = rounded(0.5 * own + 0.5 * e.score.clamp(0.0, 1.0));
    }
    Ok(())
}

/// Best first; of equal quotations the better one.
pub(super) fn rank(evidence: &mut Vec<Evidence>) {
    evidence.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then_with(|| a.quote.cmp(&b.quote))
            .then_with(|| a.held_by.cmp(&b.held_by))
    });
    let mut seen = std::collections::BTreeSet::new();
    evidence.retain(|e| seen.insert(e.quote.clone()));
}

/// Whether the best quotation is good enough to be called an answer.
pub(super) fn holds(evidence: &[Evidence]) -> bool {
    evidence.first().is_some_and(|best| best.score >= HOLDS)
}

/// The answer these quotations make: the best, and what comes near it.
pub(super) fn contribution(mut evidence: Vec<Evidence>, complete: bool) -> Contribution {
    let confidence = evidence.first().map_or(0.0, |best| best.score);
    evidence.retain(|e| e.score >= NEARLY * confidence);
    evidence.truncate(QUOTES);
    let lines: Vec<String> = evidence.iter().map(|e| format!("{} [{}]", e.quote, e.source)).collect();
    Contribution { text: lines.join("\n"), evidence, confidence, complete }
}

/// What a piece can be quoted in: itself, or its sentences when it is long; a very short sentence goes with the next.
fn quotes(piece: &str) -> Vec<String> {
    let words = |t: &str| t.split_whitespace().count();
    if words(piece) <= LONG {
        return vec![shortened(piece, MAX_QUOTE)];
    }
    let mut quotes: Vec<String> = Vec::new();
    for sentence in sentences(piece) {
        match quotes.last_mut() {
            Some(last) if words(last) < 8 || words(sentence) < 4 => *last = format!("{last} {sentence}"),
            _ => quotes.push(sentence.to_owned()),
        }
    }
    quotes.iter().map(|q| shortened(q, MAX_QUOTE)).collect()
}

/// Whether a number stands by itself, not as part of a name like `blake3`.
fn has_number(text: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric()).any(|word| word.starts_with(|c: char| c.is_ascii_digit()))
}

/// Three decimals: what is shown, sent and compared is the same.
fn rounded(score: f64) -> f64 {
    (score * 1000.0).round() / 1000.0
}
