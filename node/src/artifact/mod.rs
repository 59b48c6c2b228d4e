//! Artifacts on this node: what is too large for an envelope, kept on disk under the hash of its content.
//!
//! - [`store`]: the disk: content-addressed files within a quota, least recently used out first, old ones expired;
//! - [`partial`]: one that is on its way here, and goes on after a restart where it stopped.
//!
//! How they move between nodes is in [`foa_broker::p2p`].

pub mod partial;
pub mod store;
#[cfg(test)]
mod tests;

pub use self::partial::PartialFile;
pub use self::store::{ArtifactStore, Kept, Limits, StoreError};
