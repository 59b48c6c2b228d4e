//! What an agent is asked and what it answers.
//!
//! An [`Ask`] is sealed: it carries all an agent may see. Everything a peer wrote arrives as data inside it and has no
//! authority over tools.

use std::collections::BTreeSet;

use foa_capability::{Money, Needs, Policy};
use foa_wire::{AgentId, ArtifactId, NodeId};
use serde::{Deserialize, Serialize};

use crate::plan::{Plan, Subtask};

/// One question to one agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How would you break this task down?
    Propose {
        /// The job's task, as submitted.
        task: String,
        /// How many subtasks are wanted.
        limits: ProposeLimits,
    },
    /// Do you accept this merged plan?
    Judge {
        /// The job's task, as submitted.
        task: String,
        /// The plan to be voted on.
        plan: Plan,
    },
    /// Answer this subtask alone.
    Draft {
        /// The subtask to answer.
        subtask: Subtask,
        /// The job's task, as submitted.
        task: String,
        /// Outcomes of the subtasks this one builds on, in plan order.
        #[serde(default)]
        inputs: Vec<Finding>,
    },
    /// Improve your answer, having read your peers'.
    Refine {
        /// The subtask to answer.
        subtask: Subtask,
        /// The job's task, as submitted.
        task: String,
        /// Outcomes of the subtasks this one builds on, in plan order.
        #[serde(default)]
        inputs: Vec<Finding>,
        /// What this agent said last.
        own: Contribution,
        /// What the peers it should read said last.
        peers: Vec<PeerContribution>,
        /// Definitions and output shape set by the strongest member, in round 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        frame: Option<String>,
        /// Round number, from 1.
        round: u32,
    },
    /// Put the parts together into one answer.
    Synthesise {
        /// The job's task, as submitted.
        task: String,
        /// The outcomes, in plan order.
        parts: Vec<Part>,
        /// How to put them together.
        mode: SynthesisMode,
        /// The key of the part that everything else leads to, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lead: Option<String>,
    },
}

impl Ask {
    /// The kind of work, as it stands in the envelope's type: `propose`, `judge`, `draft`, `refine`, `synthesise`.
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

/// How many subtasks a proposal may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposeLimits {
    /// Fewest subtasks; a proposal may always be a single one.
    pub min: usize,
    /// Most subtasks.
    pub max: usize,
}

/// One agent's answer to one [`Ask`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Answer {
    /// To `propose`.
    Proposal {
        /// The subtasks, each with a key unique in this proposal.
        subtasks: Vec<ProposedSubtask>,
        /// Dependencies between keys, `[before, after]`.
        #[serde(default)]
        edges: Vec<[String; 2]>,
    },
    /// To `judge`.
    Verdict {
        /// Whether the plan may run.
        approve: bool,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// To `draft` and `refine`.
    Contribution(Contribution),
    /// To `synthesise`.
    Synthesis {
        /// The whole answer, or its beginning.
        text: String,
        /// The whole answer, when a message does not carry it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        whole: Option<Artifact>,
    },
    /// The agent judged for itself that it holds no answer, or cannot do this.
    Declined {
        /// Why.
        reason: String,
    },
}

impl Answer {
    /// The artifacts it rests on, or is.
    pub fn artifacts(&self) -> Box<dyn Iterator<Item = &Artifact> + '_> {
        match self {
            Self::Contribution(contribution) => Box::new(contribution.artifacts()),
            Self::Synthesis { whole, .. } => Box::new(whole.iter()),
            Self::Proposal { .. } | Self::Verdict { .. } | Self::Declined { .. } => {
                Box::new(std::iter::empty())
            }
        }
    }

    /// The same, to say more of them.
    pub fn artifacts_mut(&mut self) -> Box<dyn Iterator<Item = &mut Artifact> + '_> {
        match self {
            Self::Contribution(contribution) => {
                Box::new(contribution.evidence.iter_mut().filter_map(|evidence| evidence.artifact.as_mut()))
            }
            Self::Synthesis { whole, .. } => Box::new(whole.iter_mut()),
            Self::Proposal { .. } | Self::Verdict { .. } | Self::Declined { .. } => {
                Box::new(std::iter::empty())
            }
        }
    }
}

/// A subtask as one proposer sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProposedSubtask {
    /// Unique within the proposal.
    pub key: String,
    /// What is to be done, readable alone.
    pub description: String,
    /// Skills it takes.
    pub skills: BTreeSet<String>,
    /// Policies its agents must be authorised for.
    pub policies: BTreeSet<Policy>,
    /// Resources it takes.
    pub needs: Needs,
    /// How one can tell that it is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_when: Option<String>,
}

/// An answer to a subtask, with what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// The answer.
    pub text: String,
    /// The passages or computations it rests on, strongest first.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// The agent's own confidence, 0 to 1.
    pub confidence: f64,
    /// The agent sees nothing left to improve (the paper's `TASK_COMPLETE`).
    #[serde(default)]
    pub complete: bool,
}

impl Contribution {
    /// The same with figures that are within 0 and 1: what is no number is 0, and no message could carry it.
    #[must_use]
    pub fn sane(mut self) -> Self {
        let within = |figure: f64| if figure.is_nan() { 0.0 } else { figure.clamp(0.0, 1.0) };
        self.confidence = within(self.confidence);
        for evidence in &mut self.evidence {
            evidence.score = within(evidence.score);
        }
        self
    }

    /// The artifacts it rests on.
    pub fn artifacts(&self) -> impl Iterator<Item = &Artifact> {
        self.evidence.iter().filter_map(|evidence| evidence.artifact.as_ref())
    }
}

/// Something an answer rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The passage, word for word, or the computation.
    pub quote: String,
    /// Where it stands: `README.md § Quick start`.
    pub source: String,
    /// The agent that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<AgentId>,
    /// How well it answers the question, 0 to 1, by the holder's measure.
    pub score: f64,
    /// The whole of it, when it is too large to stand here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Artifact>,
}

/// Content that is too large for a message: what it is, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Its name, which is its hash.
    pub artifact: ArtifactId,
    /// Its size.
    pub bytes: u64,
    /// What kind of content it is: `text/markdown`, `application/pdf`.
    pub media_type: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Nodes that held it when this was written, its author's first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<NodeId>,
}

impl Artifact {
    /// Whether an agent can read it as words.
    #[must_use]
    pub fn is_text(&self) -> bool {
        let kind = self.media_type.split(';').next().unwrap_or_default().trim();
        kind.starts_with("text/") || kind == "application/json"
    }

    /// What people call it; its hash when nobody does.
    #[must_use]
    pub fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.artifact.to_string())
    }
}

/// What a peer said, with who said it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerContribution {
    /// The peer.
    pub author: AgentId,
    /// Its latest answer.
    pub contribution: Contribution,
}

/// The outcome of an earlier subtask, as input to a later one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The earlier subtask's key.
    pub subtask: String,
    /// What it asked.
    pub question: String,
    /// What was answered.
    pub text: String,
    /// What the answer rests on.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
}

/// One subtask's outcome, as synthesis sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The subtask's key in the plan.
    pub key: String,
    /// What it asked.
    pub description: String,
    /// What came of it.
    pub outcome: PartOutcome,
}

/// What came of a subtask. A failure is an outcome like any other: it is never dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PartOutcome {
    /// It was answered.
    Answered {
        /// The representative answer.
        text: String,
        /// What it rests on.
        evidence: Vec<Evidence>,
        /// Who wrote it, the representative first.
        authors: Vec<AgentId>,
        /// Confidence, 0 to 1.
        confidence: f64,
        /// Answers that disagreed.
        #[serde(default)]
        dissent: Vec<PeerContribution>,
    },
    /// It was not.
    Failed {
        /// Why, by name.
        reason: String,
    },
}

/// How parts become one answer (the paper's `SYNTH`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SynthesisMode {
    /// One after the other.
    #[default]
    Concatenate,
    /// Settle conflicts between parts.
    Rebase,
    /// Summarise the views.
    Merge,
}

/// What an answer cost, signed by the agent's node with the rest of its reply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// What the agent charges.
    pub cost: Money,
    /// The language model that did the work, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

impl Usage {
    /// The same, within what any honest piece of work can use and any JSON reader can read.
    #[must_use]
    pub fn sane(self) -> Self {
        const MOST: u64 = 1 << 40;
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        Self {
            tokens_in: self.tokens_in.min(MOST),
            tokens_out: self.tokens_out.min(MOST),
            cost: Money(self.cost.0.clamp(0, most)),
            model: self.model.map(|m| m.chars().take(128).collect()),
        }
    }

    /// Both together; the model of the first that names one.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            tokens_in: self.tokens_in.saturating_add(other.tokens_in),
            tokens_out: self.tokens_out.saturating_add(other.tokens_out),
            cost: self.cost + other.cost,
            model: self.model.clone().or_else(|| other.model.clone()),
        }
    }
}
