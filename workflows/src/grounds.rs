//! The grounds of a choice, as a job's log keeps them: short, and enough to choose again.
//!
//! Every factor stands on a grid of millionths before it is multiplied ([`grid`]), so it is short as a decimal and its
//! product exact. What follows from something else is left out: the text of a question stands in the log, its similarity
//! follows from what is said here, the price factor from price and budget, the turn from seed and agent. Each card stands
//! here once, however many questions its agent is a candidate of. All candidates have their score; their factors are kept of
//! the best and of the chosen.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::route::{Engine, Factors, Loser, Unmet};
use foa_capability::score::{Weights, grid};
use foa_capability::{Effects, ModelId, Money, Needs, Policy, turn};
use foa_wire::{AgentId, Boot, Version};
use serde::{Deserialize, Serialize};

use crate::decision::{Asked, Candidate, Decision, Scoring, hex};

/// Candidates of one question whose factors are kept, at most, besides the chosen.
const WITH_FACTORS: usize = 8;
/// The same of all questions of a step together; two of each at least.
const WITH_FACTORS_IN_ALL: usize = 20;
/// Losers of one question who are named, at most.
const NEAREST: usize = 3;
/// The same of all questions of a step together; one of each at least.
const NEAREST_IN_ALL: usize = 8;
/// Most bytes of the grounds of one step as JSON: a record must fit one message with everything else in it.
const MOST_BYTES: usize = 96 * 1024;
/// Fewer candidates than this always fit.
const SURELY_FIT: usize = 200;

/// What one step of a job rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grounds {
    /// The model whose vectors were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelId>,
    /// τ of the score.
    pub threshold: f64,
    /// λ of the price.
    pub price_weight: f64,
    /// The candidates' cards.
    pub agents: Vec<Card>,
    /// The questions, in the order in which they were asked.
    pub questions: Vec<Question>,
    /// So many candidates were left out, because they do not fit a record.
    #[serde(default, skip_serializing_if = "is_default")]
    pub left_out: usize,
}

/// What counts of a candidate's card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Whose.
    pub agent: AgentId,
    /// Which.
    pub card: (Boot, Version),
    /// What one piece of work is expected to cost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub price: Money,
    /// The most one piece of work may cost.
    #[serde(default, skip_serializing_if = "is_default")]
    pub worst_case: Money,
    /// Pieces of work it does at once.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub concurrency: u32,
    /// Whether its work changes anything.
    #[serde(default, skip_serializing_if = "is_default")]
    pub effects: Effects,
    /// The language model of one that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
}

/// One question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The subtask it is about; none for the whole task and for its synthesis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Nobody has the skills that the plan wishes, so they were not insisted on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub any_skill: bool,
    /// Skills that were required.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skills: BTreeSet<String>,
    /// Policies that were required.
    #[serde(default, skip_serializing_if = "is_default")]
    pub policies: BTreeSet<Policy>,
    /// Resources that were asked for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub needs: Needs,
    /// What was left of the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Agents that were not considered.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exclude: BTreeSet<AgentId>,
    /// Whether work that changes something was allowed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub write: bool,
    /// Most candidates wanted.
    pub limit: usize,
    /// For whose turn it is.
    #[serde(with = "hex")]
    pub seed: u64,
    /// How many agents were known.
    pub considered: usize,
    /// How the nearest were found.
    #[serde(default = "exact", skip_serializing_if = "is_exact")]
    pub engine: Engine,
    /// Who could be chosen, best first.
    pub candidates: Vec<Row>,
    /// How many of the nearest others lost, by what.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lost: BTreeMap<String, usize>,
    /// A few of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nearest: Vec<Loser>,
    /// When there is no candidate: what stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmet: Option<Unmet>,
}

/// A candidate's score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Its place among the cards, from 0.
    pub agent: usize,
    /// The score.
    pub alpha: f64,
    /// How near its vectors are; `None` when no factors are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<f64>,
    /// How much of the rare words its card has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lexical: f64,
    /// How near the requests are that it served before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experience: Option<f64>,
    /// How far its offer meets the needs.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub resources: f64,
    /// How long its queue is.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub load: f64,
    /// How well the Specs agree.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub spec: f64,
    /// Measured success around this task.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub reputation: f64,
}

/// Why nothing can be chosen from some grounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// They were too much for one record.
    #[error("{candidates} candidates were left out, because they do not fit a record")]
    LeftOut {
        /// How many.
        candidates: usize,
    },
    /// A candidate has no card.
    #[error("wanted a card for every candidate, found none at place {place}")]
    NoCard {
        /// Its place.
        place: usize,
    },
}

/// A decision, with what tells it from others of its step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) of: Option<&'a str>,
    pub(crate) any_skill: bool,
    pub(crate) decision: &'a Decision,
}

impl Grounds {
    /// What the log keeps of decisions that were made together, and of whom they chose; `None` without a decision.
    pub(crate) fn of(decisions: &[About<'_>], chosen: &BTreeSet<&AgentId>) -> Option<Self> {
        let Scoring { model, threshold, price_weight } = decisions.first()?.decision.scoring.clone();
        let with_factors = (WITH_FACTORS_IN_ALL / decisions.len()).clamp(2, WITH_FACTORS);
        let nearest = (NEAREST_IN_ALL / decisions.len()).clamp(1, NEAREST);
        let mut agents = Vec::new();
        let mut places: BTreeMap<&AgentId, usize> = BTreeMap::new();
        let mut questions = Vec::new();
        for About { of, any_skill, decision } in decisions {
            let rows = (0..).zip(&decision.candidates).map(|(rank, candidate)| {
                let is_chosen = chosen.contains(&candidate.agent);
                let place = *places.entry(&candidate.agent).or_insert_with(|| {
                    agents.push(Card::of(candidate, is_chosen));
                    agents.len() - 1
                });
                let factors = candidate.factors.as_ref().filter(|_| rank < with_factors || is_chosen);
                Row::of(place, candidate.alpha, factors)
            });
            let candidates = rows.collect();
            let asked = decision.asked.clone();
            questions.push(Question {
                of: of.map(str::to_owned),
                any_skill: *any_skill,
                skills: asked.skills,
                policies: asked.policies,
                needs: asked.needs,
                budget: asked.budget,
                exclude: asked.exclude,
                write: asked.allow_write,
                limit: asked.limit,
                seed: asked.seed,
                considered: decision.considered,
                engine: decision.engine,
                candidates,
                lost: decision.lost.clone(),
                nearest: decision.nearest.iter().take(nearest).cloned().collect(),
                unmet: decision.unmet.clone(),
            });
        }
        let grounds = Self { model, threshold, price_weight, agents, questions, left_out: 0 };
        Some(grounds.fitting())
    }

    /// The same, or without its candidates when they are too many for a record.
    fn fitting(mut self) -> Self {
        let candidates = self.questions.iter().map(|q| q.candidates.len()).sum();
        let fits = |grounds: &Self| serde_json::to_vec(grounds).is_ok_and(|json| json.len() <= MOST_BYTES);
        if candidates > SURELY_FIT && !fits(&self) {
            self.agents.clear();
            for question in &mut self.questions {
                question.candidates.clear();
                question.nearest.clear();
            }
            self.left_out = candidates;
        }
        self
    }

    /// The decision about one of the questions, with every score made again from its factors. `asked` is the question as it
    /// follows from the rest of the log; of what was written here only the budget counts.
    ///
    /// # Errors
    /// When something is missing.
    pub(crate) fn decision(&self, question: &Question, asked: Asked) -> Result<Decision, Unusable> {
        if self.left_out > 0 {
            return Err(Unusable::LeftOut { candidates: self.left_out });
        }
        let asked = Asked { budget: question.budget, ..asked };
        let candidate = |row: &Row| {
            let card = self.agents.get(row.agent).ok_or(Unusable::NoCard { place: row.agent })?;
            let factors = row.factors(card, self.price_weight, &asked);
            Ok(Candidate {
                agent: card.agent.clone(),
                card: card.card,
                alpha: factors.as_ref().map_or(row.alpha, Factors::alpha),
                factors,
                price: card.price,
                worst_case: card.worst_case,
                concurrency: card.concurrency,
                effects: card.effects,
                base_model: card.base_model.clone(),
            })
        };
        let mut candidates: Vec<Candidate> =
            question.candidates.iter().map(candidate).collect::<Result<_, _>>()?;
        candidates.sort_by(|a, b| b.alpha.total_cmp(&a.alpha).then_with(|| a.agent.cmp(&b.agent)));
        let (model, threshold, price_weight) = (self.model.clone(), self.threshold, self.price_weight);
        Ok(Decision {
            asked,
            scoring: Scoring { model, threshold, price_weight },
            engine: question.engine,
            considered: question.considered,
            candidates,
            lost: question.lost.clone(),
            nearest: question.nearest.clone(),
            unmet: question.unmet.clone(),
        })
    }
}

impl Card {
    fn of(candidate: &Candidate, is_chosen: bool) -> Self {
        Self {
            agent: candidate.agent.clone(),
            card: candidate.card,
            price: candidate.price,
            worst_case: candidate.worst_case,
            concurrency: candidate.concurrency,
            effects: candidate.effects,
            base_model: candidate.base_model.clone().filter(|_| is_chosen),
        }
    }
}

impl Row {
    fn of(agent: usize, alpha: f64, factors: Option<&Factors>) -> Self {
        Self {
            agent,
            alpha,
            dense: factors.map(|f| f.dense),
            lexical: factors.map_or(0.0, |f| f.lexical),
            experience: factors.and_then(|f| f.experience),
            resources: factors.map_or(1.0, |f| f.resources),
            load: factors.map_or(1.0, |f| f.load),
            spec: factors.map_or(1.0, |f| f.spec),
            reputation: factors.map_or(1.0, |f| f.reputation),
        }
    }

    /// All factors, from those that are kept.
    fn factors(&self, card: &Card, price_weight: f64, asked: &Asked) -> Option<Factors> {
        let dense = self.dense?;
        let weights = Weights { price: price_weight, ..Weights::default() };
        Some(Factors {
            similarity: weights.similar(dense, self.experience, self.lexical),
            dense,
            best_vector: String::new(),
            lexical: self.lexical,
            experience: self.experience,
            policy: 1.0,
            resources: self.resources,
            price: grid(weights.price(card.price, asked.budget)),
            load: self.load,
            spec: self.spec,
            reputation: self.reputation,
            turn: turn::factor(Some(asked.seed), &card.agent),
        })
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn one() -> u32 {
    1
}

fn is_one(n: &u32) -> bool {
    *n == 1
}

fn whole() -> f64 {
    1.0
}

fn is_whole(factor: &f64) -> bool {
    *factor == 1.0
}

fn exact() -> Engine {
    Engine::Exact
}

fn is_exact(engine: &Engine) -> bool {
    *engine == Engine::Exact
}
