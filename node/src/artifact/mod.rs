//! Artifacts on this node: what is too large for an envelope, kept on disk under the hash of its content.
//!
//! - [`store`]: the disk: content-addressed files within a quota, least recently used out first, old ones expired;
//! - [`mover`]: the disk on one side, the network on the other;
//! - [`given`]: artifacts as agents see them: words to read, and answers that are too long;
//! - [`handover`]: the command line giving one to the coordinators, or fetching one;
//! - [`partial`]: one that is on its way here, and goes on after a restart where it stopped.
//!
//! How they move between nodes is in [`foa_broker::p2p`].

pub mod given;
pub mod handover;
pub mod mover;
pub mod partial;
pub mod store;
#[cfg(test)]
mod tests;

pub use self::mover::{MoveError, Mover};
pub use self::partial::PartialFile;
pub use self::store::{ArtifactStore, Kept, Limits, StoreError};
