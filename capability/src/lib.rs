//! Capability vectors, agent cards, the directory, semantic routing.
pub mod policy;
pub mod resources;

pub use policy::Policy;
pub use resources::{Money, Needs, Offer};
