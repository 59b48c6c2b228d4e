//! The embedding model: where its weights and its runtime come from, and how texts become vectors.
//!
//! Nothing is downloaded while building and nothing is taken on trust: [`fetch()`] finds or brings two files, each with a
//! pinned SHA-256, and [`Embedder`] loads them once per process. Start reading at [`Embedder`]; [`source`] holds the
//! table of what is fetched for which platform.

mod cache;
mod embedder;
#[cfg(test)]
pub(crate) use embedder::tests::shared as shared_for_tests;
pub mod fetch;
mod hub;
mod manner;
mod pip;
pub mod source;

pub use cache::{Key, Memory, SledCache, VectorCache};
pub use embedder::{EmbedError, Embedder, LoadError};
pub use fetch::{
    Also, Error, Event, Files, Listed, Options, Origin, Progress, Silent, Verified, fetch, list, verify,
};

/// The name every vector's model id begins with.
pub const NAME: &str = "all-MiniLM-L6-v2";

/// The tokenizer of [`NAME`], compiled in: the weights are 23 MB, these 467 KB.
pub(crate) struct Tokenizer;

impl Tokenizer {
    pub(crate) const VOCABULARY: &[u8] = include_bytes!("../../assets/minilm/tokenizer.json");
    pub(crate) const CONFIG: &[u8] = include_bytes!("../../assets/minilm/config.json");
    pub(crate) const SPECIAL_TOKENS: &[u8] = include_bytes!("../../assets/minilm/special_tokens_map.json");
    pub(crate) const SETTINGS: &[u8] = include_bytes!("../../assets/minilm/tokenizer_config.json");
}
