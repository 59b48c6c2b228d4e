//! Many proposals become one plan: a pure function in integers, so that whoever has its input can check its output.
//!
//! Source: algorithms §4.2–4.7, after *Federation of Agents* (arXiv 2509.20175), which says that subtasks merge at a
//! cosine of `merge_sim`. The steps:
//!
//! 1. subtasks of different proposals merge by average linkage; two of one proposal never do;
//! 2. a merged subtask is kept when proposers with `quorum` ‰ of the weight saw it, or when a kept one builds on it;
//! 3. "a before b" is kept when more than half of the weight that proposed both says so, directly or through others
//!    (so of two opposite orders the heavier wins, and a tie drops both);
//! 4. cycles lose their lightest edge until there is none, then edges that follow from others go;
//! 5. beyond the limit, the budget or the deadline, the least supported subtasks are shed, and their order passed on.
//!
//! If no subtask finds a quorum the proposal nearest to all others runs instead ([`Basis::Medoid`]). Every tie is broken
//! by proposal id, then by position. No float, no clock, no random number takes part. All shares are ‰ (1000 = whole).
//!
//! Limits: [`MAX_NODES`] subtasks over all proposals; the policies of merged subtasks add up, everything else is the
//! representative's.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use foa_capability::Money;
use foa_capability::vector::Quantised;
use foa_wire::{AgentId, WorkId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

pub use super::audit::{Objection, verify};
use super::graph;
use super::shape::Shape;
use crate::decompose::proposal::{self, InvalidProposal, Proposal};
use crate::plan::Plan;
use crate::work::ProposeLimits;

/// The version of the merge described here. A node refuses to judge one it does not know.
pub const MERGE_VERSION: u32 = 1;
/// Most subtasks over all proposals of one merge.
pub const MAX_NODES: usize = graph::MAX_NODES;

/// All that a merge depends on. Make it with [`MergeInput::normalised`]; what comes from elsewhere is checked by
/// [`MergeInput::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MergeInput {
    /// [`MERGE_VERSION`].
    pub version: u32,
    /// The valid proposals, by id, one per agent.
    pub proposals: Vec<Proposal>,
    /// The meaning of each description, by `{proposal id}/{key}`. One that is missing is like nothing but equal text.
    #[serde(default)]
    pub vectors: BTreeMap<String, Quantised>,
    /// What each proposer's word weighs, ‰.
    pub weights: BTreeMap<AgentId, u32>,
    /// Similarity from which two subtasks are one, ‰.
    pub merge_sim: u32,
    /// Share of the weight that a subtask needs, ‰.
    pub quorum: u32,
    /// Most subtasks of the plan.
    pub max_subtasks: usize,
    /// What each subtask would cost and take with its provisional team, by `{proposal id}/{key}`. Missing: nothing.
    #[serde(default)]
    pub prices: BTreeMap<String, Price>,
    /// The most the plan may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// The most the longest chain of subtasks may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

/// What a subtask is expected to cost and to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Price {
    /// Its cost.
    pub cost: Money,
    /// Its time in milliseconds.
    pub time_ms: u64,
}

/// Why a [`MergeInput`] cannot be merged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInput {
    /// Another version of the merge.
    #[error("wanted merge version {wanted}, found {found}")]
    Version {
        /// The one known here.
        wanted: u32,
        /// The one found.
        found: u32,
    },
    /// Nobody proposed anything.
    #[error("wanted at least one proposal, found none")]
    NoProposals,
    /// More subtasks than anybody should have to merge.
    #[error("wanted at most {most} subtasks over all proposals, found {found}")]
    TooLarge {
        /// [`MAX_NODES`].
        most: usize,
        /// How many there were.
        found: usize,
    },
    /// The proposals are out of order, or one is there twice.
    #[error("wanted proposals in the order of their ids, found {id} out of place")]
    Unordered {
        /// The one out of place.
        id: WorkId,
    },
    /// An agent proposed twice.
    #[error("wanted one proposal per agent, found a second by {by}")]
    Twice {
        /// The agent.
        by: AgentId,
    },
    /// A proposal is none.
    #[error("wanted a valid proposal, found {id} is not: {source}")]
    Proposal {
        /// The proposal.
        id: WorkId,
        /// What is wrong with it.
        source: InvalidProposal,
    },
    /// The weights are not those of the proposers.
    #[error("wanted one weight for every proposer and nobody else, found otherwise for {agent}")]
    Weights {
        /// Who has a weight without a proposal, or a proposal without a weight.
        agent: AgentId,
    },
}

/// A plan and how it came to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// The plan.
    pub plan: Plan,
    /// What it rests on.
    #[serde(flatten)]
    pub basis: Basis,
    /// Where each subtask comes from, in plan order.
    pub provenance: Vec<Provenance>,
    /// Subtasks that are not in the plan.
    #[serde(default)]
    pub dropped: Vec<Dropped>,
    /// Dependencies that found no place, between subtasks of the proposals.
    #[serde(default)]
    pub dropped_edges: Vec<DroppedEdge>,
    /// What the plan is expected to cost.
    pub cost: Money,
    /// What its longest chain is expected to take.
    pub time_ms: u64,
}

/// What a plan rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum Basis {
    /// Several proposals.
    Consensus,
    /// The only proposal there was.
    Single,
    /// No subtask found a quorum: the proposal nearest to all others.
    Medoid {
        /// That proposal.
        proposal: WorkId,
    },
}

/// Where a subtask of the plan comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Its key in the plan.
    pub key: String,
    /// Share of the weight that proposed it, ‰.
    pub support: u32,
    /// The variant whose words stand in the plan, `{proposal id}/{key}`.
    pub representative: String,
    /// What each proposer wrote, by proposal.
    pub variants: Vec<Variant>,
}

/// One proposer's version of a subtask.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// `{proposal id}/{key}`.
    pub node: String,
    /// The proposer.
    pub by: AgentId,
    /// Its words.
    pub description: String,
}

/// A subtask that is not in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// What it asked, in the words of its representative.
    pub description: String,
    /// Who proposed it.
    pub by: BTreeSet<AgentId>,
    /// Share of the weight that proposed it, ‰.
    pub support: u32,
    /// Why it is out.
    pub reason: DropReason,
}

/// Why a subtask is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropReason {
    /// Too few saw it and nothing kept builds on it.
    NoQuorum,
    /// The plan had too many subtasks.
    Limit,
    /// The plan cost too much.
    Budget,
    /// The plan took too long.
    Deadline,
}

/// A dependency that is not in the plan, by the representatives of its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedEdge {
    /// `{proposal id}/{key}` of what was to come first.
    pub before: String,
    /// `{proposal id}/{key}` of what was to come after.
    pub after: String,
    /// Why it is out.
    pub reason: EdgeDropReason,
}

/// Why a dependency is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EdgeDropReason {
    /// Half or more of the weight that proposed both ends sees no such order, or the opposite one.
    Minority,
    /// It was the weakest on a cycle.
    Cycle,
}

impl MergeInput {
    /// The same input in its one form: proposals by id, a weight for each proposer (1000 where none is given) and no
    /// other, vectors and prices of existing subtasks alone. Arrival order leaves no trace.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        self.proposals.sort_by(|a, b| a.id.cmp(&b.id));
        let weight = |by: &AgentId| self.weights.get(by).copied().unwrap_or(1000);
        self.weights = self.proposals.iter().map(|p| (p.by.clone(), weight(&p.by))).collect();
        let nodes: BTreeSet<String> =
            self.proposals.iter().flat_map(|p| p.subtasks.iter().map(|s| p.node(&s.key))).collect();
        self.vectors.retain(|node, _| nodes.contains(node));
        self.prices.retain(|node, _| nodes.contains(node));
        self
    }

    /// Whether this can be merged.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), InvalidInput> {
        if self.version != MERGE_VERSION {
            return Err(InvalidInput::Version { wanted: MERGE_VERSION, found: self.version });
        }
        if self.proposals.is_empty() {
            return Err(InvalidInput::NoProposals);
        }
        let found = self.proposals.iter().map(|p| p.subtasks.len()).sum();
        if found > MAX_NODES {
            return Err(InvalidInput::TooLarge { most: MAX_NODES, found });
        }
        if let Some(pair) = self.proposals.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(InvalidInput::Unordered { id: pair[1].id.clone() });
        }
        let limits = ProposeLimits { min: 1, max: proposal::MAX_SUBTASKS };
        let mut proposers = BTreeSet::new();
        for p in &self.proposals {
            if !proposers.insert(&p.by) {
                return Err(InvalidInput::Twice { by: p.by.clone() });
            }
            proposal::check(&p.subtasks, &p.edges, limits)
                .map_err(|source| InvalidInput::Proposal { id: p.id.clone(), source })?;
        }
        let weighed: BTreeSet<&AgentId> = self.weights.keys().collect();
        match proposers.symmetric_difference(&weighed).next() {
            Some(&agent) => Err(InvalidInput::Weights { agent: agent.clone() }),
            None => Ok(()),
        }
    }
}

/// Merges the proposals into one plan.
///
/// # Errors
/// When [`MergeInput::check`] finds something wrong; never for an input that passes it.
pub fn merge(input: &MergeInput) -> Result<Merged, InvalidInput> {
    input.check()?;
    let shape = Shape::of(input);
    let merged = match shape.consensus() {
        _ if input.proposals.len() == 1 => shape.one_proposal(0, Basis::Single),
        Some(merged) => merged,
        None => shape.nearest_proposal(),
    };
    Ok(merged)
}

/// The plan of the proposal nearest to all others: what runs when the vote finds no quorum.
///
/// # Errors
/// When [`MergeInput::check`] finds something wrong.
pub fn fallback(input: &MergeInput) -> Result<Merged, InvalidInput> {
    input.check()?;
    Ok(Shape::of(input).nearest_proposal())
}

/// The position in `input.proposals` of the proposal nearest to all others, by weight; the first among equals.
///
/// # Errors
/// When [`MergeInput::check`] finds something wrong.
pub fn medoid(input: &MergeInput) -> Result<usize, InvalidInput> {
    input.check()?;
    Ok(Shape::of(input).medoid_proposal())
}

/// The hash that is voted on: SHA-256 over `foa/merge/1\n` and the RFC 8785 form of `{"input": …, "plan": …}`, both as
/// they stand on the wire.
#[must_use]
pub fn hash(input: &MergeInput, plan: &Plan) -> PlanHash {
    let both = serde_json::json!({ "input": input, "plan": plan });
    let mut sha = Sha256::new_with_prefix(b"foa/merge/1\n");
    sha.update(foa_wire::codec::canonical(&both));
    PlanHash(HEXLOWER.encode(&sha.finalize()))
}

/// The hash of a [`MergeInput`] and the plan that came of it. Text form: 64 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanHash(String);

impl PlanHash {
    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no [`PlanHash`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted 64 lower-case hexadecimal digits, found {found:?}")]
pub struct InvalidPlanHash {
    found: String,
}

impl FromStr for PlanHash {
    type Err = InvalidPlanHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPlanHash { found: text.chars().take(80).collect() })
        }
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for PlanHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for PlanHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
