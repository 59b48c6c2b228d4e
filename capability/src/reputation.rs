//! What agents have shown, as against what their cards say: success by region of the space of tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_wire::{AgentId, Time};
use serde::{Deserialize, Serialize};

use crate::vector::Vector;

/// How much evidence fades: half is gone after this long without new outcomes.
pub const HALF_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Strength of the prior, in outcomes: how much is needed before evidence outweighs it.
pub const PRIOR_STRENGTH: f64 = 4.0;
/// What is expected of an agent nobody knows anything of.
const PRIOR_MEAN: f64 = 0.5;
/// Two tasks nearer than this (cosine) are one region.
pub const REGION_COSINE: f64 = 0.6;
/// Most regions kept for one agent; beyond, the one with least evidence is dropped.
pub const MAX_REGIONS: usize = 16;

/// How a piece of work went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It was useful.
    Success {
        /// How much this counts; 1 for one ordinary outcome, at most 10.
        weight: f64,
    },
    /// It was not, or did not come.
    Failure {
        /// How much this counts; 1 for one ordinary outcome, at most 10.
        weight: f64,
    },
}

impl Outcome {
    /// One ordinary outcome.
    #[must_use]
    pub fn of(delivered: bool) -> Self {
        if delivered { Self::Success { weight: 1.0 } } else { Self::Failure { weight: 1.0 } }
    }
}

#[derive(Clone, Debug)]
struct Region {
    centre: Vector,
    successes: f64,
    failures: f64,
    updated: Time,
}

impl Region {
    fn decayed(&self, now: Time) -> (f64, f64) {
        let left = (-now.since(self.updated).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
        (self.successes * left, self.failures * left)
    }
}

/// A Beta posterior of success for each agent and region.
///
/// The factor it gives to the score is `min(1, posterior mean / prior mean)`: 1 for a newcomer and for anyone as good
/// as the prior expects, so that trust is never bought by early luck; toward 0 for an agent that keeps failing
/// *this kind* of task. Each other kind counts as one outcome at most, and only until there is evidence of this kind:
/// who failed at everything so far is not believed anew for each subject it claims, and who was asked for the wrong
/// thing again and again loses little. Evidence fades with a half-life of 30 days, so the unlucky get another chance.
#[derive(Clone, Debug, Default)]
pub struct Reputation {
    agents: BTreeMap<AgentId, Vec<Region>>,
}

impl Reputation {
    /// Counts an outcome on a task near `near`.
    pub fn report(&mut self, agent: &AgentId, near: &Vector, outcome: Outcome, now: Time) {
        let bounded = |w: f64| if w.is_finite() { w.clamp(0.0, 10.0) } else { 0.0 };
        let (success, failure) = match outcome {
            Outcome::Success { weight } => (bounded(weight), 0.0),
            Outcome::Failure { weight } => (0.0, bounded(weight)),
        };
        let regions = self.agents.entry(agent.clone()).or_default();
        if let Some(region) = nearest(regions, near).map(|i| &mut regions[i]) {
            let (s, f) = region.decayed(now);
            region.successes = s + success;
            region.failures = f + failure;
            region.updated = region.updated.max(now);
            return;
        }
        if regions.len() >= MAX_REGIONS {
            let evidence = |r: &Region| {
                let (s, f) = r.decayed(now);
                s + f
            };
            let weakest =
                (0..regions.len()).min_by(|a, b| evidence(&regions[*a]).total_cmp(&evidence(&regions[*b])));
            regions.remove(weakest.expect("there are MAX_REGIONS of them"));
        }
        regions.push(Region { centre: near.clone(), successes: success, failures: failure, updated: now });
    }

    /// The factor for a task near `near`, 0 to 1; 1 for whom nothing is known of.
    #[must_use]
    pub fn factor(&self, agent: &AgentId, near: &Vector, now: Time) -> f64 {
        (self.mean(agent, near, now) / PRIOR_MEAN).min(1.0)
    }

    /// The posterior mean of success near `near`, 0 to 1; ½ when nothing is known of the agent. For vote weights.
    #[must_use]
    pub fn mean(&self, agent: &AgentId, near: &Vector, now: Time) -> f64 {
        let regions = self.agents.get(agent).map_or(&[][..], Vec::as_slice);
        let here = nearest(regions, near);
        let (mut own, mut others) = ((0.0, 0.0), (0.0, 0.0));
        for (i, region) in regions.iter().enumerate() {
            let (s, f) = region.decayed(now);
            if here == Some(i) {
                own = (s, f);
            } else {
                others = (others.0 + s / (1.0 + s + f), others.1 + f / (1.0 + s + f));
            }
        }
        posterior(own, posterior(others, PRIOR_MEAN))
    }
}

/// The mean of a Beta posterior from successes and failures, and a prior of [`PRIOR_STRENGTH`] outcomes.
fn posterior((successes, failures): (f64, f64), prior: f64) -> f64 {
    (successes + PRIOR_STRENGTH * prior) / (successes + failures + PRIOR_STRENGTH)
}

/// Position of the nearest region that is near enough; ties go to the older.
fn nearest(regions: &[Region], near: &Vector) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (i, region) in regions.iter().enumerate() {
        let cosine = region.centre.cosine(near);
        if cosine >= REGION_COSINE && best.is_none_or(|(_, b)| cosine > b) {
            best = Some((i, cosine));
        }
    }
    best.map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, agent, vector};

    const GOOD: Outcome = Outcome::Success { weight: 1.0 };
    const BAD: Outcome = Outcome::Failure { weight: 1.0 };

    #[test]
    fn newcomers_are_neutral_failures_cost_and_fade() {
        let mut reputation = Reputation::default();
        let (a, task) = (agent("calc", 1), vector([1.0, 0.0, 0.0]));
        assert_eq!((reputation.factor(&a, &task, NOW), reputation.mean(&a, &task, NOW)), (1.0, 0.5));
        reputation.report(&a, &task, BAD, NOW);
        let once = reputation.factor(&a, &task, NOW);
        assert!((once - 0.8).abs() < 1e-9, "one failure against a prior of four gave {once}");
        for _ in 0..12 {
            reputation.report(&a, &task, BAD, NOW);
        }
        let often = reputation.factor(&a, &task, NOW);
        assert!(often < 0.3);
        let later = reputation.factor(&a, &task, NOW + HALF_LIFE);
        assert!(later > often && later < once, "{often} became {later}");
        assert!(reputation.factor(&a, &task, NOW + 20 * HALF_LIFE) > 0.99);
    }

    #[test]
    fn success_repairs_but_never_exceeds_one_and_odd_weights_are_bounded() {
        let mut reputation = Reputation::default();
        let (a, task) = (agent("calc", 1), vector([1.0, 0.0, 0.0]));
        reputation.report(&a, &task, BAD, NOW);
        for weight in [f64::NAN, f64::INFINITY, -5.0] {
            reputation.report(&a, &task, Outcome::Failure { weight }, NOW);
        }
        assert!((reputation.factor(&a, &task, NOW) - 0.8).abs() < 1e-9);
        for _ in 0..50 {
            reputation.report(&a, &task, GOOD, NOW);
        }
        assert_eq!(reputation.factor(&a, &task, NOW), 1.0);
        assert!(reputation.mean(&a, &task, NOW) > 0.9);
    }

    #[test]
    fn failing_at_everything_costs_belief_in_what_was_not_seen_yet_and_being_good_at_most_things_does_not() {
        let mut reputation = Reputation::default();
        let subject = |n: usize| {
            let mut raw = vec![0.0; 8];
            raw[n] = 1.0;
            Vector::new(raw).unwrap()
        };
        let (boaster, specialist) = (agent("boaster", 1), agent("specialist", 1));
        for n in 0..5 {
            reputation.report(&boaster, &subject(n), BAD, NOW);
            reputation.report(&specialist, &subject(n), GOOD, NOW);
        }
        reputation.report(&specialist, &subject(6), BAD, NOW);
        assert!(reputation.factor(&boaster, &subject(7), NOW) < 0.7);
        assert_eq!(reputation.factor(&specialist, &subject(7), NOW), 1.0);
        let (of_one, of_all) = (subject(6), subject(0));
        assert!(reputation.mean(&specialist, &of_one, NOW) < reputation.mean(&specialist, &of_all, NOW));
    }

    #[test]
    fn an_agent_keeps_a_bounded_number_of_regions() {
        let mut reputation = Reputation::default();
        let a = agent("calc", 1);
        for i in 0..40_usize {
            let mut raw = vec![0.0; 40];
            raw[i] = 1.0;
            reputation.report(&a, &Vector::new(raw).unwrap(), BAD, NOW);
        }
        assert_eq!(reputation.agents[&a].len(), MAX_REGIONS);
    }
}
