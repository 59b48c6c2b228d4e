//! A routing question and its answer: who fits, by how much and why, and why the others do not.

use std::collections::BTreeSet;
use std::fmt;

use foa_wire::{AgentId, Boot, Version};
use serde::{Deserialize, Serialize};

use crate::model::ModelId;
use crate::policy::Policy;
use crate::profile::Effects;
use crate::resources::{Money, Needs};
use crate::vector::Vector;

/// Most agents a [`Routed`] names as not chosen.
pub const MAX_LOSERS: usize = 25;

/// A task as the directory sees it, or as one node asks another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Query {
    /// The task's words.
    pub text: String,
    /// Its meaning, by the directory's model.
    pub vector: Vector,
    /// The meanings of its parts, when it has more than one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Vector>,
    /// The meaning of the rules it must be worked by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Vector>,
    /// Skill ids or tags an agent must have, all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub skills: BTreeSet<String>,
    /// Policies an agent must have been granted, all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<Policy>,
    /// Resources it asks for.
    #[serde(default)]
    pub needs: Needs,
    /// The most one piece of work may cost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Agents not to consider.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<AgentId>,
    /// Whether an agent whose work changes something outside may be chosen.
    #[serde(default)]
    pub allow_write: bool,
    /// Most candidates wanted.
    pub limit: usize,
    /// For whose turn it is among agents that fit about equally ([`crate::turn`]); without it, scores alone decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Query {
    /// The question with no requirement but its meaning, for at most ten agents that only read.
    #[must_use]
    pub fn new(text: impl Into<String>, vector: Vector) -> Self {
        Self {
            text: text.into(),
            vector,
            parts: Vec::new(),
            spec: None,
            skills: BTreeSet::new(),
            policies: BTreeSet::new(),
            needs: Needs::default(),
            budget: None,
            exclude: BTreeSet::new(),
            allow_write: false,
            limit: 10,
            seed: None,
        }
    }

    /// The same for a task in parts, by the vectors of its [`crate::parts::texts`]; `None` without a vector.
    #[must_use]
    pub fn in_parts(text: impl Into<String>, vectors: Vec<Vector>) -> Option<Self> {
        let mut vectors = vectors.into_iter();
        let whole = vectors.next()?;
        Some(Self { parts: vectors.collect(), ..Self::new(text, whole) })
    }
}

/// What the directory answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Routed {
    /// Best first, ties by agent id. Those that do not pass the threshold are there too, marked.
    pub candidates: Vec<Candidate>,
    /// Who was not chosen and why, nearest first, at most [`MAX_LOSERS`].
    pub losers: Vec<Loser>,
    /// The threshold τ a score must exceed.
    pub threshold: f64,
    /// How many agents were known when the question was asked.
    pub considered: usize,
    /// How the nearest were found: `exact` or `hnsw`.
    pub engine: Engine,
    /// The model whose vectors were compared; an older node does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// The seed of the question, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// λ of the price, by which the factor follows from price and budget; an older node does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_weight: Option<f64>,
    /// When no candidate passes: what stands in the way, and who came nearest.
    pub unmet: Option<Unmet>,
    /// Whom the question went to, where the directory is cut into shards and not all that is near was at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// How far a question went in a directory that is cut into shards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// Shards there are.
    pub shards: usize,
    /// Shards near the task.
    pub asked: usize,
    /// Times another node was asked.
    pub nodes: usize,
    /// Shards near the task that nobody answered for.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub silent: BTreeSet<u32>,
}

impl Routed {
    /// The candidates whose score passes the threshold.
    pub fn passing(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|c| c.passes)
    }
}

/// How the nearest vectors were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// Every vector was compared.
    Exact,
    /// A walk through a navigable graph; the nearest with high probability.
    Hnsw,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Hnsw => "hnsw",
        })
    }
}

/// An agent that meets every hard requirement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub agent: AgentId,
    /// The score α, 0 to 1.
    pub alpha: f64,
    /// Whether α exceeds the threshold.
    pub passes: bool,
    /// What the score is made of.
    pub factors: Factors,
    /// The card the score was made from.
    pub version: (Boot, Version),
    /// The model of its vectors.
    pub model: ModelId,
    /// What one piece of work is expected to cost.
    pub price: Money,
    /// The most one piece of work may cost.
    pub worst_case: Money,
    /// Pieces of work it does at once.
    pub concurrency: u32,
    /// Whether its work changes anything.
    pub effects: Effects,
    /// Ids and tags of its skills, lower case.
    pub skills: BTreeSet<String>,
    /// The language model it thinks with.
    pub base_model: Option<String>,
}

/// The factors of a score, each 0 to 1 and on the [`grid`]; α is the product of all but `dense`, `lexical`, `experience` and
/// `best_vector`, which explain `similarity`.
///
/// [`grid`]: crate::score::grid
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factors {
    /// What meaning and words say together: `1 − (1 − d)(1 − lexical)`, where `d` is the larger of `dense` and
    /// `experience`.
    pub similarity: f64,
    /// How near the agent's vectors are to the task and its parts.
    #[serde(default)]
    pub dense: f64,
    /// Which of the agent's vectors was nearest to the whole task: `description`, or `skill:` or `examples:` and an id.
    pub best_vector: String,
    /// How much of the task's rare words the agent's card has.
    pub lexical: f64,
    /// How near the requests are that the agent served before; `None` when it served none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experience: Option<f64>,
    /// 1 when every required policy was granted, else 0.
    pub policy: f64,
    /// How far the offer meets the needs.
    pub resources: f64,
    /// Falls with the price as part of the budget.
    pub price: f64,
    /// Falls with the queue.
    pub load: f64,
    /// How well the Specs agree; 1 when either side has none.
    pub spec: f64,
    /// Measured success around this task; 1 for a newcomer.
    pub reputation: f64,
    /// Whose turn it is among about equals, as drawn from the question's seed; 1 without one.
    #[serde(default = "one")]
    pub turn: f64,
}

fn one() -> f64 {
    1.0
}

/// An agent that was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loser {
    /// Who.
    pub agent: AgentId,
    /// The plain similarity to the task, so that people see what was lost.
    pub similarity: f64,
    /// Why not.
    pub reason: LostBy,
}

/// Why an agent was not chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "lost_by", rename_all = "kebab-case")]
pub enum LostBy {
    /// The query excludes it.
    Excluded,
    /// Its node is not there.
    Offline,
    /// Its vectors are of another model.
    OtherModel {
        /// Which.
        model: ModelId,
    },
    /// Its work changes something, which the query does not allow.
    Effects,
    /// It was not granted what the task requires.
    Policy {
        /// What it lacks.
        lacks: Vec<Policy>,
    },
    /// It has not all required skills.
    Skill {
        /// What it lacks.
        lacks: Vec<String>,
    },
    /// It costs more than the task may.
    Price {
        /// What it asks.
        price: Money,
        /// What there is.
        budget: Money,
    },
    /// It meets every requirement, but its score does not exceed the threshold.
    Threshold {
        /// Its score.
        alpha: f64,
        /// What it would have to exceed.
        threshold: f64,
        /// Its lowest factor, by name.
        weakest: String,
    },
    /// Others fit better and the query wanted no more.
    Rank {
        /// Its score.
        alpha: f64,
    },
}

impl LostBy {
    /// The requirement, as one stable word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Excluded => "excluded",
            Self::Offline => "offline",
            Self::OtherModel { .. } => "other-model",
            Self::Effects => "effects",
            Self::Policy { .. } => "policy",
            Self::Skill { .. } => "skill",
            Self::Price { .. } => "price",
            Self::Threshold { .. } => "threshold",
            Self::Rank { .. } => "rank",
        }
    }
}

impl fmt::Display for LostBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Excluded => f.write_str("excluded by the request"),
            Self::Offline => f.write_str("offline"),
            Self::OtherModel { model } => write!(f, "other model: {model}"),
            Self::Effects => f.write_str("effects: writes, and the request allows reading only"),
            Self::Policy { lacks } => {
                write!(
                    f,
                    "policy: lacks {}",
                    lacks.iter().map(Policy::to_string).collect::<Vec<_>>().join(", ")
                )
            }
            Self::Skill { lacks } => write!(f, "skill: lacks {}", lacks.join(", ")),
            Self::Price { price, budget } => write!(f, "price {price} > budget {budget}"),
            Self::Threshold { alpha, threshold, weakest } => {
                write!(f, "score {alpha:.3} <= {threshold}, least for its {weakest}")
            }
            Self::Rank { alpha } => write!(f, "others fit better (score {alpha:.3})"),
        }
    }
}

/// Why nobody can be chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unmet {
    /// What keeps the nearest agent out, as a requirement in words: `policy gdpr`, `skill translate`, `budget 0.01`,
    /// `an agent online`, `a score above 0.2`.
    pub requirement: String,
    /// How many agents that alone keeps out.
    pub lacked_by: usize,
    /// Who fails the fewest requirements, and of those fits the task best.
    pub nearest: Option<Loser>,
}
