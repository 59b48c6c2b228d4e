//! Questions a client may ask a coordinator, and their answers. Sent to its inbox, answered to the asker's.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::card::AgentCard;
use foa_capability::presence::Load;
use foa_capability::route::Routed;
use foa_capability::{Money, Policy};
use foa_wire::{AgentId, JobId, NodeId, Term, Time, Version};
use foa_workflows::{JobResult, Record};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::status::NodeStatus;

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// Echoed in the reply.
    pub id: String,
    /// What is asked.
    #[serde(flatten)]
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "question", rename_all = "snake_case")]
pub enum Question {
    /// Which jobs does this coordinator hold?
    Jobs,
    /// All about one job: its log and its result.
    Job {
        /// The job.
        job: JobId,
    },
    /// Which agents does it know? Answered in pages, by agent id.
    Agents {
        /// Continue after this agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<AgentId>,
    },
    /// One agent's card.
    Agent {
        /// Its id, or its short form `agent@name` when only one such is known.
        agent: String,
    },
    /// Which nodes does it know?
    Nodes,
    /// What has it refused?
    Rejected,
    /// Whom would it ask to do this?
    Route {
        /// The task in words.
        text: String,
        /// Policies required.
        #[serde(default)]
        policies: BTreeSet<Policy>,
        /// Skills required.
        #[serde(default)]
        skills: BTreeSet<String>,
        /// Money there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Money>,
        /// Candidates wanted, at most.
        limit: usize,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QueryReply {
    /// The question's id.
    pub id: String,
    /// The answer.
    #[serde(flatten)]
    pub answer: QueryAnswer,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum QueryAnswer {
    /// To `jobs`.
    Jobs {
        /// Newest first.
        jobs: Vec<JobSummary>,
    },
    /// To `job`: the log without what does not fit one envelope, and the result.
    Job {
        /// In short.
        summary: JobSummary,
        /// Records, in order; the oldest are left out when they do not fit.
        records: Vec<Record>,
        /// The result, once there is one.
        result: Option<Box<JobResult>>,
    },
    /// To `agents`.
    Agents {
        /// By agent id.
        agents: Vec<AgentSummary>,
        /// There are more after the last.
        more: bool,
        /// How many agents there are whose cards other coordinators keep; they are not among these.
        #[serde(default, skip_serializing_if = "is_zero")]
        elsewhere: usize,
    },
    /// To `agent`.
    Agent {
        /// Its card.
        card: Box<AgentCard>,
        /// In short.
        summary: AgentSummary,
    },
    /// To `nodes`.
    Nodes {
        /// By node id.
        nodes: Vec<NodeStatus>,
    },
    /// To `rejected`.
    Rejected {
        /// How many of each reason since it started.
        counts: BTreeMap<String, u64>,
        /// The latest, newest first.
        recent: Vec<Refusal>,
    },
    /// To `route`.
    Route {
        /// The decision.
        routed: Box<Routed>,
    },
    /// There is no such thing, or it cannot be done now.
    Unknown {
        /// In words.
        detail: String,
    },
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A job in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSummary {
    /// The job.
    pub job: JobId,
    /// Who holds it.
    pub term: Term,
    /// Who owns it.
    pub owner: Option<NodeId>,
    /// `routing`, `proposing`, `voting`, `assigning`, `working`, `synthesising`, or how it ended.
    pub phase: String,
    /// What is asked, shortened.
    pub task: String,
    /// When it was accepted.
    pub accepted: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// What agents charged so far.
    pub spent: Money,
    /// Records in its log.
    pub records: u64,
}

/// An agent in one line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// The agent.
    pub agent: AgentId,
    /// What sort of agent it is.
    pub kind: String,
    /// What it does, shortened.
    pub description: String,
    /// Version of its card.
    pub version: Version,
    /// Whether its node is there.
    pub online: bool,
    /// How busy it is.
    pub load: Load,
    /// Number of skills on the card.
    pub skills: usize,
    /// Price of one piece of work.
    pub price: Money,
    /// What it is authorised for.
    pub policies: BTreeSet<Policy>,
}
