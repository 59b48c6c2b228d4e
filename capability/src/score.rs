//! The alignment score α: how well an agent fits a task, as a product of factors that people can read.

use crate::resources::{Money, Needs, Offer};
use crate::vector::Vector;

/// Which numbers are in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Ours, where measurement differs from the paper.
    #[default]
    Default,
    /// Those of *Federation of Agents* (arXiv 2509.20175).
    Paper,
}

/// The numbers of the score. `Default` has ours, with the reason beside each.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// τ: a score must exceed it.
    pub threshold: f64,
    /// λ of each resource need that is not met.
    pub resource: f64,
    /// λ of price as part of the budget.
    pub price: f64,
    /// λ of queue as part of concurrency.
    pub load: f64,
    /// The most a lexical hit may lift the similarity toward 1.
    pub lexical: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            // A product of factors is small, and sentence embeddings of related texts have cosines of 0.3 to 0.6.
            threshold: 0.2,
            // An offer at half of the need costs 39 %, none at all 63 %.
            resource: 1.0,
            // An agent that takes the whole budget loses 39 %: half as much as an unmet need, because it is allowed.
            price: 0.5,
            // A queue as long as the agent's concurrency costs 22 %: enough to prefer an idle equal, not to prefer
            // the wrong agent.
            load: 0.25,
            // A task that names exactly what a card is about may rise by at most three tenths of what it lacks.
            lexical: 0.3,
        }
    }
}

impl Weights {
    /// The numbers of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::Default => Self::default(),
            // The paper has τ = 0.3, no words, and no formula for the rest.
            Profile::Paper => Self { threshold: 0.3, lexical: 0.0, ..Self::default() },
        }
    }

    /// The similarity that counts: the cosine, at least 0, lifted toward 1 by the lexical score.
    #[must_use]
    pub fn similarity(&self, cosine: f64, lexical: f64) -> f64 {
        let dense = unit(cosine);
        unit(dense + (1.0 - dense) * self.lexical * unit(lexical))
    }

    /// How far the offer meets the needs: `exp(−Σ λ · shortfall / need)`. Being better than needed changes nothing.
    #[must_use]
    pub fn resources(&self, needs: &Needs, offer: &Offer) -> f64 {
        // An unknown figure meets no need: a whole shortfall.
        let at_least = |need: Option<u64>, have: Option<u64>| match need {
            None | Some(0) => 0.0,
            Some(need) => (need.saturating_sub(have.unwrap_or(0))) as f64 / need as f64,
        };
        let at_most = match (needs.latency_ms, offer.latency_ms) {
            (None, _) => 0.0,
            (Some(_), None) => 1.0,
            (Some(need), Some(have)) => have.saturating_sub(need) as f64 / need.max(1) as f64,
        };
        let shortfall = at_most
            + at_least(needs.tokens_per_second, offer.tokens_per_second)
            + at_least(needs.context_tokens, offer.context_tokens)
            + at_least(needs.memory_mib, offer.memory_mib);
        (-self.resource * shortfall).exp()
    }

    /// `exp(−λ · price / budget)`; 1 without a budget or a price.
    #[must_use]
    pub fn price(&self, price: Money, budget: Option<Money>) -> f64 {
        match budget {
            Some(budget) if price.0 > 0 => (-self.price * price.0 as f64 / budget.0.max(1) as f64).exp(),
            Some(_) | None => 1.0,
        }
    }

    /// `exp(−λ · queue / concurrency)`.
    #[must_use]
    pub fn load(&self, queue: u32, concurrency: u32) -> f64 {
        (-self.load * f64::from(queue) / f64::from(concurrency.max(1))).exp()
    }

    /// `(1 + cos) / 2`; 1 when either side has no Spec.
    #[must_use]
    pub fn spec(task: Option<&Vector>, agent: Option<&Vector>) -> f64 {
        match (task, agent) {
            (Some(task), Some(agent)) => unit((1.0 + task.cosine(agent)) / 2.0),
            (Some(_) | None, _) => 1.0,
        }
    }
}

/// The number, held within 0 and 1; 0 for what is not a number.
fn unit(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unmet_need_costs_and_a_surplus_does_not() {
        let weights = Weights::default();
        let needs = Needs { context_tokens: Some(1000), latency_ms: Some(100), ..Needs::default() };
        let offer =
            |context, latency| Offer { context_tokens: context, latency_ms: latency, ..Offer::default() };
        assert_eq!(weights.resources(&needs, &offer(Some(1000), Some(100))), 1.0);
        assert_eq!(weights.resources(&needs, &offer(Some(9000), Some(1))), 1.0);
        assert!((weights.resources(&needs, &offer(Some(500), Some(100))) - (-0.5_f64).exp()).abs() < 1e-9);
        assert!((weights.resources(&needs, &offer(None, Some(100))) - (-1.0_f64).exp()).abs() < 1e-9);
        assert!((weights.resources(&needs, &offer(None, None)) - (-2.0_f64).exp()).abs() < 1e-9);
        assert_eq!(weights.resources(&Needs::default(), &Offer::default()), 1.0);
    }

    #[test]
    fn two_opposed_specs_do_not_help_and_a_missing_one_does_not_hurt() {
        let vector = |x: f32| Vector::new(vec![x, 0.0]).unwrap();
        assert_eq!(Weights::spec(Some(&vector(1.0)), Some(&vector(-1.0))), 0.0);
        assert_eq!(Weights::spec(Some(&vector(1.0)), Some(&vector(1.0))), 1.0);
        assert_eq!(Weights::spec(Some(&vector(1.0)), None), 1.0);
        assert_eq!(Weights::spec(None, Some(&vector(1.0))), 1.0);
    }

    #[test]
    fn the_paper_profile_has_the_papers_threshold_and_no_words() {
        let paper = Weights::of(Profile::Paper);
        assert_eq!((paper.threshold, paper.similarity(0.5, 1.0)), (0.3, 0.5));
    }

    proptest! {
        #[test]
        fn every_factor_is_within_bounds_and_monotone(
            cosine in -1.0_f64..1.0, more in 0.0_f64..0.5, lexical in 0.0_f64..1.0,
            price in 0_i64..1_000_000, budget in 0_i64..1_000_000, queue in 0_u32..1000, concurrency in 0_u32..50,
        ) {
            let w = Weights::default();
            let similarity = w.similarity(cosine, lexical);
            let (price_f, load) = (w.price(Money(price), Some(Money(budget))), w.load(queue, concurrency));
            for factor in [similarity, price_f, load] {
                prop_assert!((0.0..=1.0).contains(&factor));
            }
            prop_assert!(w.similarity(cosine + more, lexical) >= similarity);
            prop_assert!(w.similarity(cosine, lexical + more) >= similarity);
            prop_assert!(w.price(Money(price + 10), Some(Money(budget))) <= price_f);
            prop_assert!(w.load(queue + 1, concurrency) <= load);
            prop_assert!(w.load(queue, concurrency + 1) >= load);
        }
    }
}
