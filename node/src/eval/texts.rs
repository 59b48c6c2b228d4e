//! The vectors of all texts of an evaluation, made before anything is measured.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::{ModelId, Vector};

use crate::model::{EmbedError, Embedder};

/// Texts embedded between two reports of progress.
const STEP: usize = 64;

/// Why a text has no vector.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model failed.
    #[error(transparent)]
    Model(#[from] EmbedError),
    /// Nobody asked for it to be embedded.
    #[error("wanted the vector of a text that was embedded, found a new text: {0:?}")]
    Unknown(String),
}

/// Texts and their vectors.
pub struct Embedded {
    model: ModelId,
    vectors: BTreeMap<String, Vector>,
}

impl Embedded {
    /// No texts yet.
    #[must_use]
    pub fn new(model: ModelId) -> Self {
        Self { model, vectors: BTreeMap::new() }
    }

    /// The model that made the vectors.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// Embeds those texts that are new; `progress` hears how many of how many are done.
    ///
    /// # Errors
    /// When the model fails.
    pub async fn add(
        &mut self,
        texts: impl Iterator<Item = String>,
        embedder: &Embedder,
        progress: &dyn Fn(usize, usize),
    ) -> Result<(), Error> {
        let new: BTreeSet<String> = texts.filter(|text| !self.vectors.contains_key(text)).collect();
        let mut new: Vec<String> = new.into_iter().collect();
        // Texts of one length share a batch without padding.
        new.sort_by_key(String::len);
        for (done, chunk) in new.chunks(STEP).enumerate() {
            progress(done * STEP, new.len());
            let vectors = embedder.embed(chunk.to_vec()).await?;
            self.vectors.extend(chunk.iter().cloned().zip(vectors));
        }
        Ok(())
    }

    /// The vector of a text.
    ///
    /// # Errors
    /// When it was not embedded.
    pub fn one(&self, text: &str) -> Result<&Vector, Error> {
        self.vectors.get(text).ok_or_else(|| Error::Unknown(text.to_owned()))
    }

    /// The vectors of texts, in their order.
    ///
    /// # Errors
    /// When one was not embedded.
    pub fn of(&self, texts: &[String]) -> Result<Vec<Vector>, Error> {
        texts.iter().map(|text| self.one(text).cloned()).collect()
    }
}
