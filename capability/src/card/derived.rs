//! What follows from a card and is worked out once, however often it is asked for and however many hold the card.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::InvalidCard;

/// Each is empty until it is asked for. A card never changes, so neither do they.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// The content hash.
    pub(super) hash: OnceLock<Box<str>>,
    /// Whether size and signature hold.
    pub(super) verified: OnceLock<Result<(), Box<InvalidCard>>>,
    /// What its skills can be required by.
    pub(super) keys: OnceLock<BTreeSet<String>>,
}
