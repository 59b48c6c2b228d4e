//! What agents say they can do, what they have shown, and who fits a task: the *Federation of Agents* paper
//! (arXiv 2509.20175) calls it versioned capability vectors and semantic routing.
//!
//! The way of a capability: an operator's [`AgentProfile`] → embedded texts → a signed [`AgentCard`] (A2A 1.0 JSON that
//! carries the versioned capability vector) → every [`Directory`], which keeps the newest card of each agent →
//! [`Directory::route`], which answers a [`Query`] with candidates, each with every factor of its score, and with
//! everybody who lost and why.
//!
//! ```text
//! α(task, agent) = similarity · policy · resources · price · load · spec · reputation        each 0 to 1
//!
//! similarity   best cosine over the agent's vectors and what it served before, and rare      score, parts,
//!              words its card shares                                                        experience, lexical
//! policy       1 when every required policy was granted, else the agent is out              policy
//! resources    exp(−λ Σ shortfall/need): better than needed is not better                   resources, score
//! price, load  exp(−λ price/budget), exp(−λ queue/concurrency)                              score, presence
//! spec         (1 + cosine)/2 of how the task must and how the agent does work              score
//! reputation   measured success near this task, 1 for newcomers                             reputation
//! ```
//!
//! Directories learn from one another by comparing a [`Digest`] and sending what the other lacks; what a directory
//! holds depends on what it learnt, never on the order. Nothing from the network is an error here: a card that is not
//! taken is a counted, named [`Rejected`].
//!
//! This crate has no clock, no threads of its own, no files and no embedding model: vectors and time come in as
//! arguments. Below [`index::CROSSING`] vectors the same cards give the same answer on every run; integers decide
//! wherever two machines must agree ([`Quantised::cosine_permille`]).
//!
//! Start reading at [`route`] (the question and the answer), then [`directory`] and [`card`].

pub mod card;
pub mod delta;
pub mod digest;
pub mod directory;
pub mod experience;
pub mod index;
mod kind;
mod lexical;
pub mod model;
pub mod parts;
pub mod policy;
pub mod presence;
pub mod profile;
pub mod reputation;
pub mod resources;
pub mod route;
mod routing;
pub mod saved;
pub mod score;
pub mod shards;
pub mod skills;
#[cfg(test)]
mod testing;
pub mod turn;
pub mod vector;
mod words;

pub use card::{AgentCard, Base, Capability, Embedding, InvalidCard};
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
pub use shards::ShardMap;
pub use skills::{Bloom, Skill};
pub use vector::{InvalidVector, Quantised, Vector};

/// The page on the score holds an example that is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../SCORE.md")]
struct ScorePage;
