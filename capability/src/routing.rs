//! How the directory answers a routing question: hard requirements first, then the nearest vectors, then the score.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use foa_wire::{AgentId, Time};

use crate::directory::{Directory, Entry};
use crate::index::Cosines;
use crate::lexical::Scores;
use crate::policy::{self, Policy};
use crate::profile::Effects;
use crate::resources::{Money, Offer};
use crate::route::{Candidate, Engine, Factors, Loser, LostBy, MAX_LOSERS, Query, Routed, Unmet};
use crate::score::Weights;
use crate::vector::Vector;

/// Above the index's crossing, so many vectors for each candidate wanted are scored: an agent has several, and the
/// other factors may turn their order.
const VECTORS_PER_CANDIDATE: usize = 8;
/// Fewest vectors scored above the crossing; also how many agents are found by words alone.
const FEWEST_SCORED: usize = 64;

impl Directory {
    /// Who fits a task: candidates best first, everybody else with the reason.
    ///
    /// Filters come first (presence, model, effects, policy, Bloom then skills, price), then the nearest vectors, then
    /// the exact score. Below [`crate::index::CROSSING`] vectors everybody who passes the filters is scored.
    #[must_use]
    pub fn route(&self, query: &Query, now: Time) -> Routed {
        let lexical = self.lexical.scores(&query.text);
        let mut passing: Vec<(&AgentId, &Entry)> = Vec::new();
        let mut refused: Vec<(&AgentId, &Entry)> = Vec::new();
        let (mut considered, mut vectors) = (0, 0);
        for (agent, entry) in self.living() {
            considered += 1;
            if self.meets(query, agent, entry) {
                passing.push((agent, entry));
                vectors += entry.slots.len();
            } else {
                refused.push((agent, entry));
            }
        }
        let engine = self.vectors.engine(vectors);
        let cosines = self.cosines(query, engine);
        let (shortlist, engine) = self.shortlist(query, passing, vectors, engine, &lexical);
        let mut scored = self.best(query, &shortlist, cosines.as_ref(), &lexical, now);
        let beyond = scored.split_off(scored.len().min(query.limit));
        let candidates: Vec<Candidate> = scored.into_iter().map(|s| self.candidate(s)).collect();
        let unmet =
            if candidates.iter().any(|c| c.passes) { None } else { self.unmet(query, candidates.first()) };

        let mut losers = self.nearest_refused(query, refused, cosines.as_ref(), engine);
        losers.extend(beyond.into_iter().take(MAX_LOSERS).map(|s| Loser {
            agent: s.agent.clone(),
            similarity: s.factors.similarity,
            reason: LostBy::Rank { alpha: s.alpha },
        }));
        losers.sort_by(nearest_first);
        losers.truncate(MAX_LOSERS);
        Routed { candidates, losers, threshold: self.weights.threshold, considered, engine, unmet }
    }

    /// The cosine of every vector with the task, where all are compared anyway.
    fn cosines(&self, query: &Query, engine: Engine) -> Option<Cosines> {
        (engine == Engine::Exact).then(|| self.vectors.cosines(&query.vector))
    }

    /// As many of the shortlist as candidates and losers are wanted, best first, ties by agent.
    ///
    /// No factor is above 1, so nobody's score exceeds its similarity. Looked at in falling order of that, the rest
    /// cannot change the answer once the last one wanted scores as much as the next could.
    fn best<'a>(
        &self,
        query: &Query,
        shortlist: &[(&'a AgentId, &'a Entry)],
        cosines: Option<&Cosines>,
        lexical: &Scores,
        now: Time,
    ) -> Vec<Scored<'a>> {
        let wanted = query.limit.saturating_add(MAX_LOSERS);
        let most = |(at, (_, entry)): (usize, &(&AgentId, &Entry))| {
            let cosine = cosine(entry, query, cosines);
            Most { alpha: self.weights.similarity(cosine, lexical.of(entry.number)), at }
        };
        let mut waiting: BinaryHeap<Most> = shortlist.iter().enumerate().map(most).collect();
        // The worst of those kept is on top.
        let mut kept: BinaryHeap<Reverse<Most>> = BinaryHeap::new();
        let mut factors: BTreeMap<usize, Factors> = BTreeMap::new();
        while let Some(next) = waiting.pop() {
            if kept.len() >= wanted && kept.peek().is_some_and(|Reverse(worst)| next < *worst) {
                break;
            }
            let (agent, entry) = shortlist[next.at];
            let found = self.factors(query, agent, entry, lexical.of(entry.number), now);
            kept.push(Reverse(Most { alpha: found.alpha(), at: next.at }));
            factors.insert(next.at, found);
            if kept.len() > wanted
                && let Some(Reverse(worst)) = kept.pop()
            {
                factors.remove(&worst.at);
            }
        }
        let ranked = kept.into_sorted_vec().into_iter();
        let scored = ranked.filter_map(|Reverse(Most { alpha, at })| {
            let (agent, entry) = shortlist[at];
            Some(Scored { alpha, agent, entry, factors: factors.remove(&at)? })
        });
        scored.collect()
    }

    /// Agents that are not gone for good.
    fn living(&self) -> impl Iterator<Item = (&AgentId, &Entry)> {
        self.agents.iter().filter(|(_, e)| !e.retired())
    }

    /// Of those that pass, who is worth scoring: all while the scan is exact, else the nearest by meaning and by words.
    fn shortlist<'a>(
        &'a self,
        query: &Query,
        passing: Vec<(&'a AgentId, &'a Entry)>,
        vectors: usize,
        engine: Engine,
        lexical: &Scores,
    ) -> (Vec<(&'a AgentId, &'a Entry)>, Engine) {
        if engine == Engine::Exact {
            return (passing, Engine::Exact);
        }
        let mut passes = vec![false; self.numbers()];
        for (_, entry) in &passing {
            passes[entry.number as usize] = true;
        }
        let passes = |number: u32| passes.get(number as usize).copied().unwrap_or(false);
        let k = (query.limit.saturating_mul(VECTORS_PER_CANDIDATE)).max(FEWEST_SCORED);
        let (hits, engine) = self.vectors.nearest(&query.vector, k, vectors, &|key| passes(key.agent));
        let mut numbers: BTreeSet<u32> = hits.iter().map(|h| h.key.agent).collect();
        let mut by_words: Vec<(u32, f64)> = lexical.iter().filter(|(n, _)| passes(*n)).collect();
        by_words.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        numbers.extend(by_words.into_iter().take(FEWEST_SCORED).map(|(n, _)| n));
        let mut shortlist: Vec<(&AgentId, &Entry)> =
            numbers.into_iter().filter_map(|n| self.numbered(n)).collect();
        shortlist.sort_by_key(|(agent, _)| *agent);
        (shortlist, engine)
    }

    /// The refused that are nearest to the task.
    fn nearest_refused(
        &self,
        query: &Query,
        mut refused: Vec<(&AgentId, &Entry)>,
        cosines: Option<&Cosines>,
        engine: Engine,
    ) -> Vec<Loser> {
        if engine == Engine::Hnsw {
            let (hits, _) = self.vectors.nearest(&query.vector, 2 * MAX_LOSERS, usize::MAX, &|_| true);
            let near: BTreeSet<u32> = hits.iter().map(|h| h.key.agent).collect();
            refused.retain(|(_, e)| near.contains(&e.number));
        }
        let similarity = |(at, (_, entry)): (usize, &(&AgentId, &Entry))| {
            let similarity = if entry.same_model { cosine(entry, query, cosines).max(0.0) } else { 0.0 };
            Most { alpha: similarity, at }
        };
        let mut nearest: Vec<Most> = refused.iter().enumerate().map(similarity).collect();
        if nearest.len() > MAX_LOSERS {
            nearest.select_nth_unstable_by(MAX_LOSERS - 1, |a, b| b.cmp(a));
            nearest.truncate(MAX_LOSERS);
        }
        let loser = |Most { alpha, at }: Most| {
            let (agent, entry) = refused[at];
            let reason = self.refusals(query, agent, entry).into_iter().next()?;
            Some(Loser { agent: agent.clone(), similarity: alpha, reason })
        };
        nearest.into_iter().filter_map(loser).collect()
    }

    /// Whether an agent meets every hard requirement: the cheap ones first, none of them in words.
    fn meets(&self, query: &Query, agent: &AgentId, entry: &Entry) -> bool {
        let plain = query.policies.is_empty() && query.skills.is_empty() && query.exclude.is_empty();
        if !entry.online || !entry.same_model {
            return false;
        }
        let capability = entry.card.capability();
        if capability.effects == Effects::Write && !query.allow_write {
            return false;
        }
        if query.budget.is_some_and(|budget| expected_price(&capability.offer) > budget) {
            return false;
        }
        plain || self.refusals(query, agent, entry).is_empty()
    }

    /// Every hard requirement this agent fails, in the order they are checked.
    fn refusals(&self, query: &Query, agent: &AgentId, entry: &Entry) -> Vec<LostBy> {
        let capability = entry.card.capability();
        let mut reasons = Vec::new();
        if query.exclude.contains(agent) {
            reasons.push(LostBy::Excluded);
        }
        if !entry.online {
            reasons.push(LostBy::Offline);
        }
        if !entry.same_model {
            reasons.push(LostBy::OtherModel { model: capability.model.clone() });
        }
        if capability.effects == Effects::Write && !query.allow_write {
            reasons.push(LostBy::Effects);
        }
        let lacks = policy::lacking(&query.policies, &capability.policies);
        if !lacks.is_empty() {
            reasons.push(LostBy::Policy { lacks });
        }
        // The filter says no for sure; its yes is confirmed by the list.
        let lacks = |skill: &&String| {
            !capability.skills.maybe_contains(skill) || !entry.skills().contains(&skill.trim().to_lowercase())
        };
        let lacks: Vec<String> = query.skills.iter().filter(lacks).cloned().collect();
        if !lacks.is_empty() {
            reasons.push(LostBy::Skill { lacks });
        }
        let price = expected_price(&capability.offer);
        if let Some(budget) = query.budget.filter(|b| price > *b) {
            reasons.push(LostBy::Price { price, budget });
        }
        reasons
    }

    fn factors(&self, query: &Query, agent: &AgentId, entry: &Entry, lexical: f64, now: Time) -> Factors {
        let offer = &entry.card.capability().offer;
        let (of, cosine) = best_vector(entry, &query.vector);
        Factors {
            similarity: self.weights.similarity(cosine, lexical),
            best_vector: of.to_owned(),
            lexical,
            policy: 1.0,
            resources: self.weights.resources(&query.needs, offer),
            price: self.weights.price(expected_price(offer), query.budget),
            load: self.weights.load(self.load(agent).queue, offer.concurrency),
            spec: Weights::spec(query.spec.as_ref(), entry.spec()),
            reputation: self.reputation.factor(agent, &query.vector, now),
        }
    }

    fn candidate(&self, scored: Scored<'_>) -> Candidate {
        let Scored { alpha, agent, entry, factors } = scored;
        let capability = entry.card.capability();
        Candidate {
            agent: agent.clone(),
            alpha,
            passes: alpha > self.weights.threshold,
            factors,
            version: entry.card.order(),
            model: capability.model.clone(),
            price: expected_price(&capability.offer),
            worst_case: capability.offer.worst_case(),
            concurrency: capability.offer.concurrency.max(1),
            effects: capability.effects,
            skills: entry.skills().clone(),
            base_model: capability.base_model.clone(),
        }
    }

    /// What stands in the way when nobody passes: the requirement that the nearest agent fails, where nearest is who
    /// fails the fewest, then who fits best.
    fn unmet(&self, query: &Query, best: Option<&Candidate>) -> Option<Unmet> {
        let threshold = self.weights.threshold;
        if let Some(best) = best {
            let weakest = best.factors.weakest().to_owned();
            let reason = LostBy::Threshold { alpha: best.alpha, threshold, weakest };
            let nearest = Loser { agent: best.agent.clone(), similarity: best.factors.similarity, reason };
            let lacked_by = self.living().filter(|(a, e)| self.refusals(query, a, e).is_empty()).count();
            let requirement = format!("a score above {threshold}");
            return Some(Unmet { requirement, lacked_by, nearest: Some(nearest) });
        }
        let mut lone: BTreeMap<&'static str, usize> = BTreeMap::new();
        let mut nearest: Option<(usize, Loser)> = None;
        for (agent, entry) in self.living() {
            let reasons = self.refusals(query, agent, entry);
            let count = reasons.len();
            let Some(reason) = reasons.into_iter().next() else { continue };
            if count == 1 {
                *lone.entry(reason.name()).or_default() += 1;
            }
            let loser =
                Loser { agent: agent.clone(), similarity: self.plain_similarity(entry, query), reason };
            let nearer = |(n, l): &(usize, Loser)| {
                count < *n || (count == *n && nearest_first(&loser, l) == Ordering::Less)
            };
            if nearest.as_ref().is_none_or(nearer) {
                nearest = Some((count, loser));
            }
        }
        let Some((_, nearest)) = nearest else {
            return Some(Unmet { requirement: "an agent".to_owned(), lacked_by: 0, nearest: None });
        };
        let lacked_by = lone.get(nearest.reason.name()).copied().unwrap_or(0);
        Some(Unmet { requirement: requirement(&nearest.reason), lacked_by, nearest: Some(nearest) })
    }

    /// The cosine with the task, at least 0; 0 for vectors of another model, which cannot be compared.
    fn plain_similarity(&self, entry: &Entry, query: &Query) -> f64 {
        if entry.same_model { best_vector(entry, &query.vector).1.max(0.0) } else { 0.0 }
    }
}

/// An agent that meets every hard requirement, with its score.
struct Scored<'a> {
    alpha: f64,
    agent: &'a AgentId,
    entry: &'a Entry,
    factors: Factors,
}

/// The most an agent can score, or what it does score; the higher first, ties by position among all agents.
#[derive(Clone, Copy, Debug)]
struct Most {
    alpha: f64,
    at: usize,
}

impl Ord for Most {
    fn cmp(&self, other: &Self) -> Ordering {
        self.alpha.total_cmp(&other.alpha).then_with(|| other.at.cmp(&self.at))
    }
}

impl PartialOrd for Most {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Most {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Most {}

/// What an agent failed, as a requirement in words.
fn requirement(reason: &LostBy) -> String {
    match reason {
        LostBy::Excluded => "an agent that is not excluded".to_owned(),
        LostBy::Offline => "an agent online".to_owned(),
        LostBy::OtherModel { .. } => "an agent with vectors of this model".to_owned(),
        LostBy::Effects => "an agent that only reads".to_owned(),
        LostBy::Policy { lacks } => {
            format!("policy {}", lacks.iter().map(Policy::to_string).collect::<Vec<_>>().join(", "))
        }
        LostBy::Skill { lacks } => format!("skill {}", lacks.join(", ")),
        LostBy::Price { budget, .. } => format!("budget {budget}"),
        LostBy::Threshold { threshold, .. } => format!("a score above {threshold}"),
        LostBy::Rank { .. } => "a place among those wanted".to_owned(),
    }
}

fn nearest_first(a: &Loser, b: &Loser) -> Ordering {
    b.similarity.total_cmp(&a.similarity).then_with(|| a.agent.cmp(&b.agent))
}

/// The best cosine over an agent's vectors, looked up where all were compared.
fn cosine(entry: &Entry, query: &Query, cosines: Option<&Cosines>) -> f64 {
    match cosines {
        Some(cosines) if !entry.slots.is_empty() => {
            entry.slots.iter().map(|slot| cosines.of(*slot)).fold(-1.0, f64::max)
        }
        Some(_) | None => best_vector(entry, &query.vector).1,
    }
}

/// The nearest of an agent's vectors and its cosine; earlier ones win ties.
fn best_vector<'a>(entry: &'a Entry, task: &Vector) -> (&'a str, f64) {
    let mut best = ("description", -1.0);
    for (of, vector) in entry.vectors() {
        let cosine = vector.cosine(task);
        if cosine > best.1 {
            best = (of, cosine);
        }
    }
    best
}

/// What a piece of work of a thousand tokens costs.
fn expected_price(offer: &Offer) -> Money {
    offer.price + offer.price_per_1k_tokens
}

impl Factors {
    /// The factors by name, in the order of the score.
    #[must_use]
    pub fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("similarity", self.similarity),
            ("policy", self.policy),
            ("resources", self.resources),
            ("price", self.price),
            ("load", self.load),
            ("spec", self.spec),
            ("reputation", self.reputation),
        ]
    }

    /// The score α: the product of the factors.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        self.named().iter().map(|(_, factor)| factor).product()
    }

    /// The name of the lowest factor; the earlier of equals.
    #[must_use]
    pub fn weakest(&self) -> &'static str {
        let named = self.named();
        named.iter().min_by(|a, b| a.1.total_cmp(&b.1)).expect("there are seven").0
    }
}

#[cfg(test)]
mod tests;
