//! What a person or program submits, and how they control it afterwards.

use std::collections::BTreeSet;

use foa_capability::{Money, Policy};
use foa_wire::{AgentId, JobId, NodeId, Term};
use serde::{Deserialize, Serialize};

use crate::given::GivenPlan;
use crate::settings::Profile;
use crate::work::{Artifact, SynthesisMode};

/// Longest task accepted, in bytes.
pub const MAX_TASK: usize = 32 * 1024;
/// Most attachments of one job.
pub const MAX_ATTACHMENTS: usize = 16;

/// A job, as submitted. Only `task` is required: `{"task":"…"}` is a whole submission.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSubmission {
    /// What is wanted, in words.
    pub task: String,
    /// The job's id. Missing: the hash of the submission, so the same bytes are one job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The breakdown, if the submitter has one: then nobody proposes or votes, and these subtasks are assigned at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<GivenPlan>,
    /// The most the job may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// The most it may take, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Policies every agent that sees any of it must be authorised for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Policy>,
    /// Skills every agent that works on it must have.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skills: BTreeSet<String>,
    /// The named set of numbers the job runs with.
    #[serde(default)]
    pub profile: Profile,
    /// Refinement rounds, instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u32>,
    /// Agents on one subtask, at most, instead of the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<usize>,
    /// Whether the job may start before others that wait, or after them.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// How the parts become one answer.
    #[serde(default)]
    pub synthesis: SynthesisMode,
    /// Where the job's log must be kept before a record counts. Missing: replicated where three or more coordinators are
    /// enrolled, else local.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// What comes with the task: every agent that drafts is given it. Coordinators hold it before the job is submitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Artifact>,
}

/// Where a job's log must be kept before a record counts, and so what acceptance promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// On the holder's own disk. When the holder is gone the job waits for it to come back; nobody takes over.
    Local,
    /// On a majority of the replica set. Any one of three may be lost for good: another takes over.
    Replicated,
}

impl Durability {
    /// What a replica set of this many promises.
    #[must_use]
    pub fn of(replicas: usize) -> Self {
        if replicas > 1 { Self::Replicated } else { Self::Local }
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Replicated => "replicated",
        }
    }
}

/// Which of the jobs that wait for a coordinator starts first. It decides nothing once a job runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else waits, or after a while.
    Low,
    /// In turn.
    #[default]
    Normal,
    /// Before others.
    High,
}

impl Priority {
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// Why a submission is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refused {
    /// The body makes no sense.
    #[error("invalid: {detail}")]
    Invalid {
        /// What was wanted and what was found.
        detail: String,
    },
    /// The id is taken by another body or owner.
    #[error("conflict: this id is another job's")]
    Conflict,
    /// Too much is going on.
    #[error("overloaded{}, retry after {retry_after_ms} ms", because(.detail))]
    Overloaded {
        /// What there is too much of, and what helps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
        /// When to try again.
        retry_after_ms: u64,
    },
    /// Nobody signed it, and this federation wants to know who asks.
    #[error("unsigned: this federation accepts signed submissions only")]
    Unsigned,
}

fn because(detail: &Option<String>) -> String {
    detail.as_ref().map(|detail| format!(": {detail}")).unwrap_or_default()
}

impl JobSubmission {
    /// A submission of this task with everything else left to the defaults.
    #[must_use]
    pub fn of(task: impl Into<String>) -> Self {
        Self { task: task.into(), ..Self::default() }
    }

    /// Checks what can be checked without knowing anything else.
    ///
    /// # Errors
    /// [`Refused::Invalid`] that says what was wanted.
    pub fn check(&self) -> Result<(), Refused> {
        let invalid = |detail: String| Err(Refused::Invalid { detail });
        if self.task.trim().is_empty() {
            return invalid("wanted a task in words, found an empty one".to_owned());
        }
        if self.task.len() > MAX_TASK {
            return invalid(format!("wanted a task of at most {MAX_TASK} bytes, found {}", self.task.len()));
        }
        if self.budget.is_some_and(|b| b < Money::ZERO) {
            return invalid("wanted a budget of zero or more".to_owned());
        }
        if self.attachments.len() > MAX_ATTACHMENTS {
            let found = self.attachments.len();
            return invalid(format!("wanted at most {MAX_ATTACHMENTS} attachments, found {found}"));
        }
        if self.timeout_ms == Some(0) {
            return invalid("wanted a timeout of at least one millisecond".to_owned());
        }
        if self.rounds.is_some_and(|r| r > 10) {
            return invalid("wanted at most 10 rounds".to_owned());
        }
        if self.team.is_some_and(|t| !(1..=16).contains(&t)) {
            return invalid("wanted a team of 1 to 16 agents".to_owned());
        }
        if let Some(wrong) = self.plan.as_ref().and_then(|plan| plan.to_plan().err()) {
            return invalid(format!("the plan: {wrong}"));
        }
        Ok(())
    }

    /// The texts whose meaning the job needs first. Whoever knows them before the job is accepted saves it a turn of the
    /// embedder, and its log a flush.
    #[must_use]
    pub fn first_texts(&self) -> Vec<String> {
        let texts: BTreeSet<&String> = match &self.plan {
            Some(plan) => plan.subtasks.iter().map(|s| &s.description).collect(),
            None => BTreeSet::from([&self.task]),
        };
        texts.into_iter().cloned().collect()
    }
}

/// The coordinator's word that a job is durable and will end in a result or a named failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The job.
    pub job: JobId,
    /// Who holds it, in which term.
    pub term: Term,
    /// What acceptance promises.
    pub durability: Durability,
    /// Who keeps the log, in the order of succession: whoever of them comes after the holder may speak for the job too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<NodeId>,
}

/// The coordinator's word that a job is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The job.
    pub job: JobId,
    /// Why.
    #[serde(flatten)]
    pub refused: Refused,
}

/// What an owner or operator may ask of a running job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "control", rename_all = "snake_case")]
pub enum Control {
    /// Stop, tell the agents, and report what there is.
    Cancel,
    /// Send the committed records from this index on to the asker's inbox.
    Replay {
        /// First index wanted.
        from: u64,
    },
}

/// Something worth showing while it happens; unnumbered, never journaled, may be lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job.
    pub job: JobId,
    /// Who is working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The node that says so.
    pub node: NodeId,
    /// What is happening, in words.
    pub text: String,
}
