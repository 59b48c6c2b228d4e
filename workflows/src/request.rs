//! Work as it crosses the wire, and the reply to it.
//!
//! A [`Request`] is what the holder of a job sends to the node of an agent. It differs from the [`crate::work::Ask`]
//! the agent is given in two places: a refinement names blackboard entries by hash, and a vote carries all that the
//! proposer's node needs to recompute the merge for itself.

use foa_capability::Money;
use foa_wire::{AgentId, ClusterId, JobId, NodeId, Term, Time, WorkId};
use serde::{Deserialize, Serialize};

use crate::cluster::channel::{Entry, EntryHash};
use crate::decompose::merge::{MergeInput, PlanHash};
use crate::plan::{Plan, Subtask};
use crate::work::{Answer, Finding, Part, ProposeLimits, SynthesisMode, Usage};

/// One piece of work for one agent. A repeat keeps the id and gets the stored reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Its id, unique in the federation.
    pub work: WorkId,
    /// Who is to do it.
    pub agent: AgentId,
    /// Who wants the reply, at its inbox: the holder of this term. A higher term's holder takes the work over.
    pub term: Term,
    /// Who may hold the job: a work id stays with the set that was named first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<NodeId>,
    /// When the reply is no longer wanted.
    pub deadline: Time,
    /// The most it may cost; the agent must stop before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Money>,
    /// What is to be done.
    #[serde(flatten)]
    pub request: Request,
}

impl Work {
    /// Who wants the reply.
    #[must_use]
    pub fn holder(&self) -> &NodeId {
        &self.term.holder
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Break the task down.
    Propose {
        /// The job's task.
        task: String,
        /// How many subtasks are wanted.
        limits: ProposeLimits,
    },
    /// Recompute the merge, then accept or reject the plan.
    Judge {
        /// The job's task.
        task: String,
        /// All the merge depends on.
        input: MergeInput,
        /// The plan that came of it.
        plan: Plan,
        /// The hash of both.
        hash: PlanHash,
    },
    /// Answer a subtask alone.
    Draft {
        /// The subtask.
        subtask: Subtask,
        /// The job's task.
        task: String,
        /// Outcomes it builds on.
        #[serde(default)]
        inputs: Vec<Finding>,
    },
    /// Answer again, having read the peers.
    Refine {
        /// The channel the entries stand on.
        cluster: ClusterId,
        /// The round, from 1.
        round: u32,
        /// The subtask.
        subtask: Subtask,
        /// The job's task.
        task: String,
        /// Outcomes it builds on.
        #[serde(default)]
        inputs: Vec<Finding>,
        /// The agent's own last entry.
        own: EntryHash,
        /// The entries to read.
        read: Vec<EntryHash>,
        /// Definitions and output shape, by the strongest member.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frame: Option<String>,
    },
    /// Put the parts together.
    Synthesise {
        /// The job's task.
        task: String,
        /// The outcomes, in plan order.
        parts: Vec<Part>,
        /// How.
        mode: SynthesisMode,
        /// The key of the part that everything else leads to, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lead: Option<String>,
    },
}

impl Request {
    /// The kind of work: `propose`, `judge`, `draft`, `refine`, `synthesise`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Propose { .. } => "propose",
            Self::Judge { .. } => "judge",
            Self::Draft { .. } => "draft",
            Self::Refine { .. } => "refine",
            Self::Synthesise { .. } => "synthesise",
        }
    }
}

/// The reply to one piece of work, sent to the holder's inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkReply {
    /// The work.
    pub work: WorkId,
    /// Who did it.
    pub agent: AgentId,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: WorkOutcome,
    /// What it cost.
    #[serde(default)]
    pub usage: Usage,
}

/// What came of one piece of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum WorkOutcome {
    /// An answer that goes to the holder alone.
    Answered {
        /// The answer.
        content: Answer,
    },
    /// A contribution for the blackboard, signed by the author's node.
    Posted {
        /// The entry.
        entry: Box<Entry>,
    },
    /// Nothing, and why.
    Failed {
        /// A stable name: `timeout`, `overloaded`, `invalid-output`, `unknown-agent`, …
        reason: String,
        /// In words.
        #[serde(default)]
        detail: String,
    },
}

/// A work that is no longer wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkCancel {
    /// The work.
    pub work: WorkId,
}

/// Asks the holder of a cluster's job for entries one lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRequest {
    /// The job, whose holder keeps the whole channel.
    pub job: JobId,
    /// The channel.
    pub cluster: ClusterId,
    /// The entries wanted; empty for all.
    #[serde(default)]
    pub entries: Vec<EntryHash>,
}

/// Entries of a channel, as asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChannelEntries {
    /// The channel.
    pub cluster: ClusterId,
    /// The entries, each signed by its author.
    pub entries: Vec<Entry>,
}
