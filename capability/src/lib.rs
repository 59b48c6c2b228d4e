//! Capability vectors, agent cards, the directory, semantic routing.
pub mod card;
pub mod delta;
pub mod digest;
pub mod directory;
pub mod index;
mod lexical;
pub mod model;
pub mod policy;
pub mod presence;
pub mod profile;
pub mod reputation;
pub mod resources;
pub mod route;
mod routing;
pub mod score;
pub mod skills;
#[cfg(test)]
mod testing;
pub mod vector;

pub use card::{AgentCard, Capability, InvalidCard};
pub use delta::CardDelta;
pub use digest::{Difference, Digest};
pub use directory::{Applied, Directory, Entry, Rejected, Rejection};
pub use model::ModelId;
pub use policy::Policy;
pub use presence::{Load, Presence};
pub use profile::{AgentProfile, Effects};
pub use reputation::{Outcome, Reputation};
pub use resources::{Money, Needs, Offer};
pub use route::{Candidate, Engine, Factors, Loser, LostBy, Query, Routed, Unmet};
pub use score::{Profile, Weights};
pub use skills::{Bloom, Skill};
pub use vector::{InvalidVector, Quantised, Vector};
