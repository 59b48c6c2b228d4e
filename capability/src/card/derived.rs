//! What follows from a card and is worked out once, however often it is asked for and however many hold the card.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::{Decoded, InvalidCard};

/// Each is empty until it is asked for. A card never changes, so neither do they.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// Bytes as JSON.
    pub(super) size: OnceLock<usize>,
    /// The content hash.
    pub(super) hash: OnceLock<String>,
    /// What it adds to the digest of a directory.
    pub(super) digest_line: OnceLock<String>,
    /// Whether size and signature hold.
    pub(super) verified: OnceLock<Result<(), InvalidCard>>,
    /// The vectors, decoded.
    pub(super) vectors: OnceLock<Result<Decoded, InvalidCard>>,
    /// What its skills can be required by.
    pub(super) keys: OnceLock<BTreeSet<String>>,
    /// The words of its texts.
    pub(super) words: OnceLock<Vec<Vec<String>>>,
}
