//! Okapi BM25 by a library of its own: what the score must not fall behind.

use bm25::{Document, Language, SearchEngine, SearchEngineBuilder};

use super::federation::ranked;
use super::metrics::Answer;
use super::set::Request;

/// BM25 over each text of each agent; an agent counts as its best text does.
pub struct Words {
    engine: SearchEngine<usize>,
    owners: Vec<usize>,
}

impl Words {
    /// With the texts of these agents.
    #[must_use]
    pub fn new(agents: &[Vec<String>]) -> Self {
        let of = |(place, own): (usize, &Vec<String>)| {
            own.iter().map(move |text| (place, text.clone())).collect::<Vec<_>>()
        };
        let (owners, texts): (Vec<usize>, Vec<String>) = agents.iter().enumerate().flat_map(of).unzip();
        let documents = texts.into_iter().enumerate().map(|(id, contents)| Document { id, contents });
        let engine = SearchEngineBuilder::with_documents(Language::English, documents).build();
        Self { engine, owners }
    }

    /// The answer to a request.
    #[must_use]
    pub fn route<'a>(&self, request: &'a Request) -> Answer<'a> {
        let mut best = std::collections::BTreeMap::new();
        for hit in self.engine.search(&request.text, None) {
            let place = best.entry(self.owners[hit.document.id]).or_insert(0.0_f64);
            *place = place.max(f64::from(hit.score));
        }
        ranked(best.into_iter().collect(), request)
    }
}
