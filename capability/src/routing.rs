//! How the directory answers a routing question: hard requirements first, then the score.

use foa_wire::{AgentId, Time};

use crate::directory::{Directory, Entry};
use crate::policy;
use crate::resources::{Money, Offer};
use crate::route::{Candidate, Engine, Factors, Loser, LostBy, MAX_LOSERS, Query, Routed, Unmet};
use crate::score::Weights;
use crate::skills;
use crate::vector::Vector;

impl Directory {
    /// Who fits a task: candidates best first, everybody else with the reason.
    #[must_use]
    pub fn route(&self, query: &Query, now: Time) -> Routed {
        let mut candidates = Vec::new();
        let mut losers = Vec::new();
        let mut considered = 0;
        for (agent, entry) in self.agents.iter().filter(|(_, e)| !e.retired()) {
            considered += 1;
            let (of, cosine) = best_vector(entry, &query.vector);
            match self.refusals(query, agent, entry).into_iter().next() {
                Some(reason) => {
                    losers.push(Loser { agent: agent.clone(), similarity: cosine.max(0.0), reason })
                }
                None => candidates.push(self.candidate(query, agent, entry, of, cosine, 0.0, now)),
            }
        }
        candidates.sort_by(|a, b| b.alpha.total_cmp(&a.alpha).then_with(|| a.agent.cmp(&b.agent)));
        let unmet = if candidates.is_empty() { self.unmet(query) } else { None };
        for beyond in candidates.split_off(candidates.len().min(query.limit)) {
            let reason = LostBy::Rank { alpha: beyond.alpha };
            losers.push(Loser { agent: beyond.agent, similarity: beyond.factors.similarity, reason });
        }
        losers.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then_with(|| a.agent.cmp(&b.agent)));
        losers.truncate(MAX_LOSERS);
        Routed {
            candidates,
            losers,
            threshold: self.weights.threshold,
            considered,
            engine: Engine::Exact,
            unmet,
        }
    }

    /// Every hard requirement this agent fails, in the order they are checked.
    fn refusals(&self, query: &Query, agent: &AgentId, entry: &Entry) -> Vec<LostBy> {
        let capability = entry.card.capability();
        let mut reasons = Vec::new();
        if query.exclude.contains(agent) {
            reasons.push(LostBy::Excluded);
        }
        if !self.is_online(agent.node()) {
            reasons.push(LostBy::Offline);
        }
        if capability.model != self.model {
            reasons.push(LostBy::OtherModel { model: capability.model.clone() });
        }
        if capability.effects == crate::Effects::Write && !query.allow_write {
            reasons.push(LostBy::Effects);
        }
        let lacks = policy::lacking(&query.policies, &capability.policies);
        if !lacks.is_empty() {
            reasons.push(LostBy::Policy { lacks });
        }
        let surely_lacks = query.skills.iter().any(|s| !capability.skills.maybe_contains(s));
        if surely_lacks || !query.skills.is_empty() {
            let has = skills::keys(entry.card.skills());
            let lacks: Vec<String> =
                query.skills.iter().filter(|s| !has.contains(&s.trim().to_lowercase())).cloned().collect();
            if !lacks.is_empty() {
                reasons.push(LostBy::Skill { lacks });
            }
        }
        let price = expected_price(&capability.offer);
        if let Some(budget) = query.budget.filter(|b| price > *b) {
            reasons.push(LostBy::Price { price, budget });
        }
        reasons
    }

    #[expect(clippy::too_many_arguments, reason = "what was found on the way here")]
    fn candidate(
        &self,
        query: &Query,
        agent: &AgentId,
        entry: &Entry,
        of: &str,
        cosine: f64,
        lexical: f64,
        now: Time,
    ) -> Candidate {
        let capability = entry.card.capability();
        let offer = &capability.offer;
        let price = expected_price(offer);
        let load = self.load(agent);
        let factors = Factors {
            similarity: self.weights.similarity(cosine, lexical),
            best_vector: of.to_owned(),
            lexical,
            policy: 1.0,
            resources: self.weights.resources(&query.needs, offer),
            price: self.weights.price(price, query.budget),
            load: self.weights.load(load.queue, offer.concurrency),
            spec: Weights::spec(query.spec.as_ref(), entry.spec.as_ref()),
            reputation: self.reputation.factor(agent, &query.vector, now),
        };
        let alpha = factors.alpha();
        Candidate {
            agent: agent.clone(),
            alpha,
            passes: alpha > self.weights.threshold,
            factors,
            version: entry.card.order(),
            model: capability.model.clone(),
            price,
            worst_case: offer.worst_case(),
            concurrency: offer.concurrency.max(1),
            effects: capability.effects,
            skills: skills::keys(entry.card.skills()),
            base_model: capability.base_model.clone(),
        }
    }

    /// Which requirement stands in the way: the one that most of those who fail it fail alone.
    fn unmet(&self, query: &Query) -> Option<Unmet> {
        let mut alone: Vec<(LostBy, Loser)> = Vec::new();
        let mut fewest: Option<(usize, Loser)> = None;
        for (agent, entry) in self.agents.iter().filter(|(_, e)| !e.retired()) {
            let mut reasons = self.refusals(query, agent, entry);
            let count = reasons.len();
            let Some(reason) = reasons.pop() else { continue };
            let similarity = best_vector(entry, &query.vector).1.max(0.0);
            let loser = Loser { agent: agent.clone(), similarity, reason: reason.clone() };
            if count == 1 {
                alone.push((reason, loser.clone()));
            }
            let better = |(n, l): &(usize, Loser)| count < *n || (count == *n && similarity > l.similarity);
            if fewest.as_ref().is_none_or(better) {
                fewest = Some((count, loser));
            }
        }
        let (_, nearest) = fewest?;
        let requirement = requirement(&nearest.reason);
        let lacked_by = alone.iter().filter(|(r, _)| r.name() == nearest.reason.name()).count();
        Some(Unmet { requirement, lacked_by, nearest: Some(nearest) })
    }
}

/// What an agent failed, as a requirement in words.
fn requirement(reason: &LostBy) -> String {
    match reason {
        LostBy::Excluded => "an agent that is not excluded".to_owned(),
        LostBy::Offline => "an agent online".to_owned(),
        LostBy::OtherModel { .. } => "an agent with vectors of this model".to_owned(),
        LostBy::Effects => "an agent that only reads".to_owned(),
        LostBy::Policy { lacks } => {
            format!("policy {}", lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        LostBy::Skill { lacks } => format!("skill {}", lacks.join(", ")),
        LostBy::Price { budget, .. } => format!("budget {budget}"),
        LostBy::Rank { .. } => "a better score".to_owned(),
    }
}

/// The nearest of an agent's vectors and its cosine; earlier ones win ties.
fn best_vector<'a>(entry: &'a Entry, task: &Vector) -> (&'a str, f64) {
    let mut best = ("description", -1.0);
    for (of, vector) in &entry.vectors {
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
    /// The score α: the product of the factors.
    #[must_use]
    pub fn alpha(&self) -> f64 {
        let Self { similarity, best_vector: _, lexical: _, policy, resources, price, load, spec, reputation } =
            self;
        similarity * policy * resources * price * load * spec * reputation
    }
}
