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
    /// What one point of BM25 counts: the distance to a perfect similarity shrinks by this share.
    pub lexical: f64,
    /// How much the parts of a request count against the whole, 0 to 1.
    pub parts: f64,
    /// How much what an agent served before counts against what it says of itself, 0 to 1.
    pub experience: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            // Of the labelled requests that somebody fits, 98 to 100 % have a best similarity above it, whatever the set
            // (clinc150, whose cards say next to nothing: 95 %); the other factors have room to cost something.
            threshold: 0.2,
            // An offer at half of the need costs 39 %, none at all 63 %.
            resource: 1.0,
            // An agent that takes the whole budget loses 39 %: half as much as an unmet need, because it is allowed.
            price: 0.5,
            // A queue as long as the agent's concurrency costs 22 %: enough to prefer an idle equal, not to prefer
            // the wrong agent.
            load: 0.25,
            // Two rare words among a thousand texts take a fifth off the distance. Between 60 and 90 the labelled sets
            // hardly notice.
            lexical: 1.0 / 75.0,
            // The whole says what it is about, the parts who is needed.
            parts: 0.5,
            // Measured outcomes are as good as words.
            experience: 1.0,
        }
    }
}

impl Weights {
    /// The numbers of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        match profile {
            Profile::Default => Self::default(),
            // The paper has τ = 0.3, one vector of the task, no words, and no formula for the rest.
            Profile::Paper => {
                Self { threshold: 0.3, lexical: 0.0, parts: 0.0, experience: 0.0, ..Self::default() }
            }
        }
    }

    /// How near an agent's vectors are to a request of several parts: its best cosine with the whole, and, as far as parts
    /// count, halfway between its best part and the mean of all.
    #[must_use]
    pub fn near(&self, whole: f64, parts: &[f64]) -> f64 {
        if parts.is_empty() {
            return whole;
        }
        let best = parts.iter().copied().fold(-1.0, f64::max);
        let mean = parts.iter().sum::<f64>() / parts.len() as f64;
        (1.0 - self.parts) * whole + self.parts * (best + mean) / 2.0
    }

    /// The lexical factor: `1 − exp(−λ · BM25)`, 0 to 1.
    #[must_use]
    pub fn words(&self, bm25: f64) -> f64 {
        if bm25 > 0.0 { unit(1.0 - (-self.lexical * bm25).exp()) } else { 0.0 }
    }

    /// The similarity that counts. Meaning and words are two independent reasons to think that an agent fits, so what is
    /// left of doubt is the product: `1 − (1 − dense) · (1 − lexical)`.
    #[must_use]
    pub fn similarity(&self, dense: f64, lexical: f64) -> f64 {
        unit(1.0 - (1.0 - unit(dense)) * (1.0 - unit(lexical)))
    }

    /// The same on the [`grid`], where experience counts instead of `dense` when it is nearer.
    #[must_use]
    pub fn similar(&self, dense: f64, experience: Option<f64>, lexical: f64) -> f64 {
        grid(self.similarity(experience.map_or(dense, |served| dense.max(served)), lexical))
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

/// The nearest millionth. Whatever a score is made of stands on this grid, and so does the score: it is short as a decimal,
/// reads back as the same number, and its product is the same on every machine, so that a decision can be made again from
/// what was written of it.
#[must_use]
pub fn grid(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
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
        assert_eq!((paper.threshold, paper.similarity(0.5, paper.words(40.0))), (0.3, 0.5));
        assert_eq!(paper.near(0.5, &[0.9, 0.8]), 0.5);
    }

    #[test]
    fn a_part_that_fits_well_counts_beside_the_whole() {
        let w = Weights::default();
        assert_eq!(w.near(0.4, &[]), 0.4);
        assert!((w.near(0.4, &[0.8, 0.0]) - (0.2 + 0.5 * (0.8 + 0.4) / 2.0)).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn every_factor_is_within_bounds_and_monotone(
            cosine in -1.0_f64..1.0, more in 0.0_f64..0.5, lexical in 0.0_f64..1.0,
            price in 0_i64..1_000_000, budget in 0_i64..1_000_000, queue in 0_u32..1000, concurrency in 0_u32..50,
        ) {
            let w = Weights::default();
            let similarity = w.similarity(cosine, lexical);
            let words = w.words(100.0 * lexical);
            let (price_f, load) = (w.price(Money(price), Some(Money(budget))), w.load(queue, concurrency));
            for factor in [similarity, words, price_f, load] {
                prop_assert!((0.0..=1.0).contains(&factor));
            }
            prop_assert!(w.similarity(cosine + more, lexical) >= similarity);
            prop_assert!(w.similarity(cosine, lexical + more) >= similarity);
            prop_assert!(w.words(100.0 * (lexical + more)) >= words);
            prop_assert!(w.near(cosine, &[cosine + more, cosine]) >= w.near(cosine, &[cosine, cosine]));
            prop_assert!(w.price(Money(price + 10), Some(Money(budget))) <= price_f);
            prop_assert!(w.load(queue + 1, concurrency) <= load);
            prop_assert!(w.load(queue, concurrency + 1) >= load);
        }
    }
}
