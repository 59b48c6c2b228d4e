//! Decomposition by consensus: several agents propose a plan, the proposals are merged, the plan is voted on.
//!
//! - [`proposal`]: what counts as a proposal at all;
//! - [`merge`]: many proposals become one plan, by a pure integer function that anybody can recompute;
//! - [`vote`]: the proposers accept the plan or the job falls back to the proposal nearest to all others.
//!
//! Source: *Federation of Agents* (arXiv 2509.20175), section on task decomposition; design notes §4. The paper says
//! that agents propose, that near subtasks merge at a cosine threshold and that there is consensus; how support, edges,
//! cycles, limits and the vote work is ours.

mod audit;
mod graph;
pub mod linkage;
pub mod merge;
pub mod proposal;
mod shape;
pub mod vote;

pub use merge::{MergeInput, Merged, Objection, PlanHash};
pub use proposal::{InvalidProposal, Proposal};
pub use vote::{Ballot, Verdict};
