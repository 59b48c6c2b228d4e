//! What a job's log holds. The state of a job is a fold of its records ([`crate::engine::state`]), so recovery is replay.
//!
//! A record is durable before anything it permits happens: dispatch after its orders, a result after its end. `term`
//! and `index` order the log: the index is gap-free from 1, the term names the coordinator that wrote the record.

use std::collections::BTreeMap;
use std::io;

use foa_capability::{Effects, Money};
use foa_wire::{AgentId, ClusterId, Index, JobId, NodeId, Term, Time};
use serde::{Deserialize, Serialize};

use crate::cluster::channel::{Entry, EntryHash};
use crate::decompose::merge::{Dropped, MergeInput, PlanHash, Provenance};
use crate::grounds::Grounds;
use crate::job::JobSubmission;
use crate::plan::Plan;
use crate::result::JobResult;
use crate::settings::Settings;
use crate::work::{Answer, Artifact, Contribution, Usage};

/// As many of the first `records` as take at most `bytes` as JSON; one at least, if there is one.
#[must_use]
pub fn fitting(records: &[Record], bytes: usize) -> &[Record] {
    let mut taken = 0;
    let fits = |record: &&Record| {
        taken += record.bytes();
        taken <= bytes
    };
    let count = records.iter().take_while(fits).count();
    &records[..count.max(1).min(records.len())]
}

/// Records of one job that count, in order and gap-free, as they are told to who watches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobEvents {
    /// The job.
    pub job: JobId,
    /// What happened.
    pub records: Vec<Record>,
}

/// One durable step of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The job.
    pub job: JobId,
    /// The coordinator that wrote it.
    pub term: Term,
    /// Its position.
    pub index: Index,
    /// The last index that a majority of the replica set holds; its own when the set is one coordinator.
    pub committed: Index,
    /// When.
    pub at: Time,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

impl Record {
    /// Its length as JSON.
    #[must_use]
    pub fn bytes(&self) -> usize {
        struct Counted(usize);
        impl io::Write for Counted {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut counted = Counted(0);
        serde_json::to_writer(&mut counted, self).expect("records have string keys and finite numbers");
        counted.0
    }

    /// The artifacts it names first: what came with the task, and what an answer rests on. What is said of them later names
    /// the same.
    #[must_use]
    pub fn artifacts(&self) -> Vec<&Artifact> {
        match &self.step {
            Step::Accepted { submission, .. } => submission.attachments.iter().collect(),
            Step::Answered { reply: Reply::Posted { entry }, .. } => {
                entry.body().contribution().into_iter().flat_map(Contribution::artifacts).collect()
            }
            Step::Answered { reply: Reply::Private { content }, .. } => content.artifacts().collect(),
            _ => Vec::new(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// The job is ours and will end in a result or a named failure. Always record 1. A plan that the submission brings is
    /// adopted with it.
    Accepted {
        /// What was asked.
        submission: JobSubmission,
        /// Who may control it; nobody but operators when the submission was unsigned.
        owner: Option<NodeId>,
        /// The coordinators that keep this log.
        replicas: Vec<NodeId>,
        /// The numbers it runs with.
        settings: Settings,
    },
    /// Another coordinator, or the same after a restart, goes on where the log ended. The first record of its term.
    TookOver {
        /// The term before.
        from: Term,
    },
    /// The task was routed and its best agents are asked for a breakdown.
    Routed {
        /// The candidates, best first, with their scores (‰).
        candidates: Vec<Scored>,
        /// Proposals asked for, and one solo answer.
        orders: Vec<Order>,
        /// What the choice rests on; an older log does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
    /// An agent replied.
    Answered {
        /// Number of the work.
        work: u32,
        /// The reply.
        reply: Reply,
        /// What it cost.
        usage: Usage,
    },
    /// A piece of work came to nothing.
    Failed {
        /// Number of the work.
        work: u32,
        /// A stable name.
        reason: String,
        /// In words.
        detail: String,
        /// What it cost all the same; `None` when nobody knows, which keeps its reservation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<Usage>,
    },
    /// The proposals are one plan; their authors are asked to vote on it.
    Merged {
        /// All the merge depends on.
        input: MergeInput,
        /// The plan.
        plan: Plan,
        /// The hash of both.
        hash: PlanHash,
        /// Where each subtask comes from, in plan order.
        provenance: Vec<Provenance>,
        /// What did not make it, and why.
        dropped: Vec<Dropped>,
        /// Votes asked for.
        orders: Vec<Order>,
    },
    /// This plan runs.
    Adopted {
        /// The plan.
        plan: Plan,
        /// How it came to be.
        how: Adoption,
    },
    /// Agents were found for the subtasks.
    Assigned {
        /// The team of each subtask, best first.
        teams: BTreeMap<String, Vec<Scored>>,
        /// Subtasks that nobody can do, and why.
        unmet: BTreeMap<String, String>,
        /// What the choice rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
    /// A subtask was given to other agents, because its team failed.
    Reassigned {
        /// The subtask.
        subtask: String,
        /// The new team, best first.
        team: Vec<Scored>,
        /// What the choice rests on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
    /// Work goes out.
    Dispatched {
        /// The work.
        orders: Vec<Order>,
        /// Why the synthesis goes to this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
    /// The drafts of a subtask are in, and their authors sit together.
    Clustered {
        /// The subtask.
        subtask: String,
        /// The clusters.
        clusters: Vec<Cluster>,
    },
    /// A round is over.
    RoundClosed {
        /// The cluster.
        cluster: ClusterId,
        /// The round.
        round: u32,
        /// The entries that count, in order.
        entries: Vec<EntryHash>,
        /// Members that did not post in time.
        stragglers: Vec<AgentId>,
    },
    /// A subtask has an outcome.
    Settled {
        /// The subtask.
        subtask: String,
        /// The outcome.
        outcome: SubtaskOutcome,
        /// Why it is given to nobody else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
    /// The owner or an operator stopped the job.
    Cancelled {
        /// Who.
        by: NodeId,
    },
    /// The job is over. Only a takeover may stand behind it.
    Ended {
        /// The result, as published.
        result: Box<JobResult>,
        /// Why nobody is asked, for the task or for its synthesis.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grounds: Option<Box<Grounds>>,
    },
}

impl Step {
    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::TookOver { .. } => "took_over",
            Self::Routed { .. } => "routed",
            Self::Answered { .. } => "answered",
            Self::Failed { .. } => "failed",
            Self::Merged { .. } => "merged",
            Self::Adopted { .. } => "adopted",
            Self::Assigned { .. } => "assigned",
            Self::Reassigned { .. } => "reassigned",
            Self::Dispatched { .. } => "dispatched",
            Self::Clustered { .. } => "clustered",
            Self::RoundClosed { .. } => "round_closed",
            Self::Settled { .. } => "settled",
            Self::Cancelled { .. } => "cancelled",
            Self::Ended { .. } => "ended",
        }
    }
}

/// An agent and how well it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scored {
    /// The agent.
    pub agent: AgentId,
    /// Its score (millionths).
    pub alpha: i64,
    /// What one piece of work may cost at worst.
    pub worst_case: Money,
    /// Whether its work changes anything outside; then nobody else is given it when its outcome is unknown.
    #[serde(default)]
    pub effects: Effects,
    /// The model it runs on, if it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
}

/// A piece of work, bound to an agent, with its cost reserved. Its request follows from the state it was ordered in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Number of the work within the job.
    pub work: u32,
    /// Who does it.
    pub agent: AgentId,
    /// What for.
    #[serde(flatten)]
    pub purpose: Purpose,
    /// The most it may cost: reserved until its usage is known.
    pub reserved: Money,
    /// When its reply is no longer wanted.
    pub deadline: Time,
}

/// What a piece of work is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub enum Purpose {
    /// A proposal.
    Propose,
    /// An answer to the whole task by one agent: what the federation must not fall below.
    Solo,
    /// A vote on the merged plan.
    Judge,
    /// A draft of a subtask.
    Draft {
        /// The subtask.
        subtask: String,
    },
    /// A refinement in a cluster.
    Refine {
        /// The cluster.
        cluster: ClusterId,
        /// The round.
        round: u32,
    },
    /// The synthesis.
    Synthesise,
}

impl Purpose {
    /// For people: `draft of s2`, `round 1 of s2`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Propose => "proposal".to_owned(),
            Self::Solo => "solo answer".to_owned(),
            Self::Judge => "vote".to_owned(),
            Self::Draft { subtask } => format!("draft of {subtask}"),
            Self::Refine { cluster, round } => format!("round {round} of {}", cluster.subtask()),
            Self::Synthesise => "synthesis".to_owned(),
        }
    }
}

/// A reply, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// An answer to the holder.
    Private {
        /// The answer.
        content: Answer,
    },
    /// A blackboard entry.
    Posted {
        /// The entry.
        entry: Box<Entry>,
    },
}

/// Agents that refine one subtask together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id; the channel's topic carries it.
    pub id: ClusterId,
    /// Its members, strongest first.
    pub members: Vec<AgentId>,
}

/// How the plan that runs came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Adoption {
    /// More than half of the weight voted for it.
    Consensus {
        /// The ballots.
        ballots: Vec<Ballot>,
    },
    /// There was one proposal, so nothing to vote on.
    Unopposed {
        /// Whose.
        by: AgentId,
    },
    /// The vote failed; the proposal nearest to all others runs.
    Medoid {
        /// Whose.
        by: AgentId,
        /// The ballots.
        ballots: Vec<Ballot>,
    },
    /// It came with the submission; nobody was asked.
    Given {
        /// The owner; nobody when the submission was unsigned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<NodeId>,
    },
    /// Nobody proposed anything usable; the task runs as one subtask.
    Solo {
        /// Why.
        reason: String,
    },
}

/// One vote, as the record shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Who.
    pub agent: AgentId,
    /// With which weight (‰).
    pub weight: u32,
    /// `None`: silent until the deadline, which counts against.
    pub approve: Option<bool>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What came of a subtask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SubtaskOutcome {
    /// It was answered.
    Answered {
        /// The entry that represents its cluster.
        representative: EntryHash,
        /// How much its peers agree with it (‰ of the weight).
        agreement: u32,
        /// Entries of members that said something else.
        dissent: Vec<EntryHash>,
        /// Rounds it took.
        rounds: u32,
    },
    /// It was not.
    Failed {
        /// Why, in words that name who tried.
        reason: String,
    },
}
