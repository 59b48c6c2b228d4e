//! A routing decision: the question, and of the directory's answer what the choice rests on. The engine chooses from this
//! alone; [`crate::grounds`] is its form in the log, so a replay chooses from the same.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::route::{Engine, Factors, Loser, Query, Routed, Unmet};
use foa_capability::{Effects, ModelId, Money, Needs, Policy, Vector, Weights, turn};
use foa_wire::{AgentId, Boot, JobId, Version};
use serde::Serialize;

/// Most candidates wanted of the directory.
const CANDIDATES: usize = 16;

/// A question to the directory, but for what its text means.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    /// The task, or what is to be done of it.
    pub text: String,
    /// Skills an agent must have.
    pub skills: BTreeSet<String>,
    /// Policies an agent must have been granted.
    pub policies: BTreeSet<Policy>,
    /// Resources it asks for.
    pub needs: Needs,
    /// What was left of the budget.
    pub budget: Option<Money>,
    /// Agents not to consider.
    pub exclude: BTreeSet<AgentId>,
    /// Whether an agent whose work changes something may be chosen.
    pub allow_write: bool,
    /// Most candidates wanted.
    pub limit: usize,
    /// For whose turn it is: of the job and the text.
    #[serde(with = "hex")]
    pub seed: u64,
}

impl Asked {
    /// The question with no requirement but its text, on behalf of a job.
    #[must_use]
    pub fn new(job: &JobId, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            seed: turn::seed(job.as_str(), &text),
            text,
            skills: BTreeSet::new(),
            policies: BTreeSet::new(),
            needs: Needs::default(),
            budget: None,
            exclude: BTreeSet::new(),
            allow_write: false,
            limit: CANDIDATES,
        }
    }

    /// For the directory, by what the text and its parts mean; `None` without a meaning.
    #[must_use]
    pub fn query(&self, meanings: Vec<Vector>) -> Option<Query> {
        let mut query = Query::in_parts(self.text.as_str(), meanings)?;
        query.skills.clone_from(&self.skills);
        query.policies.clone_from(&self.policies);
        query.needs = self.needs.clone();
        query.budget = self.budget;
        query.exclude.clone_from(&self.exclude);
        query.allow_write = self.allow_write;
        query.limit = self.limit;
        query.seed = Some(self.seed);
        Some(query)
    }
}

/// What was asked, and the answer as far as a choice rests on it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// The question.
    pub asked: Asked,
    /// How the directory scored.
    pub scoring: Scoring,
    /// How the nearest were found.
    pub engine: Engine,
    /// How many agents were known.
    pub considered: usize,
    /// Who meets every requirement, best first, ties by agent id.
    pub candidates: Vec<Candidate>,
    /// How many of the nearest others lost, by what.
    pub lost: BTreeMap<String, usize>,
    /// The nearest of them.
    pub nearest: Vec<Loser>,
    /// When there is no candidate: what stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Unmet>,
}

/// The model and the numbers of a score that are not in its factors.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scoring {
    /// The model whose vectors were compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// τ, which a score must exceed to be asked for a proposal.
    pub threshold: f64,
    /// λ of the price.
    pub price_weight: f64,
}

/// An agent that could be chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// Who.
    pub agent: AgentId,
    /// The card the score was made from.
    pub card: (Boot, Version),
    /// The score.
    pub alpha: f64,
    /// What it is the product of; the log keeps it of the best and of the chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factors: Option<Factors>,
    /// What one piece of work is expected to cost.
    pub price: Money,
    /// The most one piece of work may cost.
    pub worst_case: Money,
    /// Pieces of work it does at once.
    pub concurrency: u32,
    /// Whether its work changes anything.
    pub effects: Effects,
    /// The language model it thinks with; the log keeps it of the chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
}

impl Decision {
    /// The directory's answer to a question.
    #[must_use]
    pub fn of(asked: Asked, routed: Routed) -> Self {
        let mut lost = BTreeMap::new();
        for loser in &routed.losers {
            *lost.entry(loser.reason.name().to_owned()).or_default() += 1;
        }
        let scoring = Scoring {
            model: routed.model,
            threshold: routed.threshold,
            price_weight: routed.price_weight.unwrap_or(Weights::default().price),
        };
        let candidate = |c: foa_capability::Candidate| Candidate {
            agent: c.agent,
            card: c.version,
            alpha: c.alpha,
            factors: Some(c.factors),
            price: c.price,
            worst_case: c.worst_case,
            concurrency: c.concurrency,
            effects: c.effects,
            base_model: c.base_model,
        };
        let unmet = routed.unmet.filter(|_| routed.candidates.is_empty());
        Self {
            asked,
            scoring,
            engine: routed.engine,
            considered: routed.considered,
            candidates: routed.candidates.into_iter().map(candidate).collect(),
            lost,
            nearest: routed.losers,
            unmet,
        }
    }

    /// The candidates whose score passes the threshold.
    pub fn passing(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|c| c.alpha > self.scoring.threshold)
    }

    /// Why nobody can be asked, in words.
    #[must_use]
    pub fn nobody(&self) -> String {
        let Some(unmet) = &self.unmet else {
            return format!("nobody suitable among {} known agents", self.considered);
        };
        let nearest = unmet.nearest.as_ref().map_or(String::new(), |loser| {
            format!("; {} comes nearest (similarity {:.2}): {}", loser.agent, loser.similarity, loser.reason)
        });
        format!(
            "nobody suitable: no agent of {} meets the requirement {}{nearest}",
            self.considered, unmet.requirement
        )
    }
}

/// A seed as 16 hexadecimal digits: not every JSON library reads such large numbers.
pub(crate) mod hex {
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{seed:016x}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("wanted 16 hexadecimal digits, found {text:?}"));
        if text.len() != 16 {
            return Err(wrong());
        }
        u64::from_str_radix(&text, 16).map_err(|_| wrong())
    }
}
