//! The answer to a job, with its provenance: who contributed what, what it cost, who disagreed, what failed.

use foa_capability::Money;
use foa_wire::{AgentId, JobId, Term, Time};
use serde::{Deserialize, Serialize};

use crate::journal::Adoption;
use crate::plan::Plan;
use crate::work::{Part, Usage};

/// How a job ended and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The coordinator that ended it.
    pub term: Term,
    /// How it ended.
    #[serde(flatten)]
    pub status: Status,
    /// What was asked.
    pub task: String,
    /// The answer, as Markdown; says so when it is partial. Empty when there is none.
    pub answer: String,
    /// The outcome of each subtask, in plan order.
    pub parts: Vec<Part>,
    /// The plan that ran, if it came to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// How the plan came to be, with the votes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<Adoption>,
    /// Rounds of each subtask that had a cluster, in plan order.
    #[serde(default)]
    pub rounds: Vec<Rounds>,
    /// Who did what, by agent id.
    pub contributors: Vec<Contributor>,
    /// Work that came to nothing, in order.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// What deserves a reader's caution, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Cost and tokens of everything together.
    pub usage: Usage,
    /// The budget, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// When the job was accepted.
    pub accepted: Time,
    /// When it ended.
    pub ended: Time,
    /// Milliseconds spent in each phase, in order.
    #[serde(default)]
    pub phases: Vec<PhaseTime>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Status {
    /// Every subtask was answered.
    Completed,
    /// Some were; the answer names the others.
    Partial,
    /// None was.
    Failed {
        /// Why: a requirement nobody met, a deadline, a budget.
        reason: String,
    },
    /// The owner or an operator stopped it.
    Cancelled,
}

impl Status {
    /// In one word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What one agent did for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contributor {
    /// The agent.
    pub agent: AgentId,
    /// What it did: `proposal`, `draft of s1`, …
    pub did: Vec<String>,
    /// What that cost.
    pub usage: Usage,
}

/// One piece of work that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Who was asked.
    pub agent: AgentId,
    /// For what.
    pub purpose: String,
    /// A stable name.
    pub reason: String,
    /// In words.
    pub detail: String,
}

/// How a subtask's clusters came to their answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rounds {
    /// The subtask.
    pub subtask: String,
    /// The members, strongest first.
    pub members: Vec<AgentId>,
    /// Rounds played.
    pub rounds: u32,
    /// Weight that agrees with the representative (‰).
    pub agreement: u32,
}

/// How long a phase took.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// `route`, `propose`, `vote`, `assign`, `work`, `synthesise`.
    pub phase: String,
    /// Milliseconds.
    pub ms: u64,
}
