//! Who works with whom: a team falls into clusters of agents that are alike.
//!
//! Source: algorithms §6, from the paper: `S = w1·cos(c) + w2·cos(r) + w3·cos(draft) + w4·cos(e)` with c the capability
//! vectors, r resources, e the Specs; then an agglomerative cut at `cluster_sim` with a size cap. A part that one of
//! the two does not have is left out and the other weights grow to fill its place.
//!
//! Units: similarity and threshold in ‰. Limits: every agent is in exactly one cluster; the result is journaled by the
//! holder, so that floats here need not agree between machines.

use foa_capability::{Offer, Vector};
use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

use crate::decompose::linkage::agglomerate;

/// What is known of one member of a team.
#[derive(Clone, Debug, PartialEq)]
pub struct Traits {
    /// The agent.
    pub agent: AgentId,
    /// The meaning of its description.
    pub capability: Option<Vector>,
    /// What it offers.
    pub offer: Offer,
    /// The meaning of its draft.
    pub draft: Option<Vector>,
    /// The meaning of its Spec.
    pub spec: Option<Vector>,
}

/// How much each part of the similarity counts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimilarityWeights {
    /// Capability (w1).
    pub capability: f64,
    /// Resources (w2).
    pub resources: f64,
    /// Drafts (w3).
    pub draft: f64,
    /// Specs (w4).
    pub spec: f64,
}

impl Default for SimilarityWeights {
    /// The same for all: the paper gives no numbers.
    fn default() -> Self {
        Self { capability: 0.25, resources: 0.25, draft: 0.25, spec: 0.25 }
    }
}

/// The clusters of a team, each in order of ids, ordered by their first member. `size` is the most members of one.
#[must_use]
pub fn form(team: &[Traits], weights: SimilarityWeights, cluster_sim: u32, size: usize) -> Vec<Vec<AgentId>> {
    let mut team: Vec<&Traits> = team.iter().collect();
    team.sort_by(|a, b| a.agent.cmp(&b.agent));
    team.dedup_by(|a, b| a.agent == b.agent);
    let groups = agglomerate(
        team.len(),
        i64::from(cluster_sim) * 1000,
        |i, j| micros(similarity(team[i], team[j], weights)),
        |a, b| a.len() + b.len() <= size.max(1),
    );
    groups.iter().map(|members| members.iter().map(|&i| team[i].agent.clone()).collect()).collect()
}

/// How alike two agents are, −1 to 1; 0 when they have nothing to compare.
#[must_use]
pub fn similarity(a: &Traits, b: &Traits, weights: SimilarityWeights) -> f64 {
    let cosine = |a: &Option<Vector>, b: &Option<Vector>| Some(a.as_ref()?.cosine(b.as_ref()?));
    let parts = [
        (weights.capability, cosine(&a.capability, &b.capability)),
        (weights.resources, resource_cosine(&a.offer, &b.offer)),
        (weights.draft, cosine(&a.draft, &b.draft)),
        (weights.spec, cosine(&a.spec, &b.spec)),
    ];
    let known = parts.iter().filter_map(|&(w, part)| Some((w.max(0.0), part?)));
    let (sum, weight) = known.fold((0.0, 0.0), |(sum, weight), (w, part)| (sum + w * part, weight + w));
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// The cosine of two offers on logarithmic scales, so that seconds do not drown tokens; `None` when one is empty.
fn resource_cosine(a: &Offer, b: &Offer) -> Option<f64> {
    let (a, b) = (features(a), features(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let norm = (dot(&a, &a) * dot(&b, &b)).sqrt();
    (norm > 0.0).then(|| dot(&a, &b) / norm)
}

#[expect(clippy::cast_precision_loss, reason = "a logarithm of the figure needs no more than a float holds")]
fn features(offer: &Offer) -> [f64; 8] {
    let figure = |x: Option<u64>| x.map_or(0.0, |x| (x as f64).ln_1p());
    let money = |x: i64| figure(u64::try_from(x).ok());
    [
        money(offer.price.0),
        money(offer.price_per_1k_tokens.0),
        figure(offer.latency_ms),
        figure(offer.tokens_per_second),
        figure(offer.context_tokens),
        figure(offer.token_budget),
        figure(offer.memory_mib),
        figure(offer.energy_joules),
    ]
}

/// A share as an integer in millionths, so that ties are ties.
#[expect(clippy::cast_possible_truncation, reason = "similarities are between -1 and 1")]
pub(crate) fn micros(share: f64) -> i64 {
    (share * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use foa_capability::Money;

    use super::*;

    fn traits(n: usize, capability: [f32; 2]) -> Traits {
        Traits {
            agent: format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap(),
            capability: Some(Vector::new(capability.to_vec()).unwrap()),
            offer: Offer::default(),
            draft: None,
            spec: None,
        }
    }

    fn formed(team: &[Traits], cluster_sim: u32, size: usize) -> Vec<Vec<String>> {
        let clusters = form(team, SimilarityWeights::default(), cluster_sim, size);
        let name = |a: AgentId| a.agent().to_string();
        clusters.into_iter().map(|c| c.into_iter().map(name).collect()).collect()
    }

    #[test]
    fn like_agents_share_a_cluster_whatever_their_order() {
        let mut team =
            vec![traits(3, [0.0, 1.0]), traits(1, [1.0, 0.0]), traits(2, [1.0, 0.1]), traits(4, [0.1, 1.0])];
        assert_eq!(formed(&team, 500, 4), [vec!["a1", "a2"], vec!["a3", "a4"]]);
        team.reverse();
        assert_eq!(formed(&team, 500, 4), [vec!["a1", "a2"], vec!["a3", "a4"]]);
        assert_eq!(formed(&team, 0, 4).len(), 1);
        assert_eq!(formed(&[], 0, 4).len(), 0);
    }

    #[test]
    fn no_cluster_is_larger_than_the_cap() {
        let team: Vec<_> = (0..7).map(|n| traits(n, [1.0, 0.0])).collect();
        for size in 0..8 {
            let clusters = formed(&team, 0, size);
            assert!(clusters.iter().all(|c| c.len() <= size.max(1)), "{size}: {clusters:?}");
            assert_eq!(clusters.iter().map(Vec::len).sum::<usize>(), 7);
        }
    }

    #[test]
    fn a_part_that_one_lacks_does_not_count() {
        let weights = SimilarityWeights::default();
        let (mut a, mut b) = (traits(1, [1.0, 0.0]), traits(2, [1.0, 0.0]));
        assert!((similarity(&a, &b, weights) - 1.0).abs() < 1e-6);
        b.spec = Some(Vector::new(vec![1.0, 0.0]).unwrap());
        assert!((similarity(&a, &b, weights) - 1.0).abs() < 1e-6);
        a.spec = Some(Vector::new(vec![-1.0, 0.0]).unwrap());
        assert!(similarity(&a, &b, weights).abs() < 1e-6);
        a.offer = Offer { price: Money(5), latency_ms: Some(100), ..Offer::default() };
        b.offer = a.offer.clone();
        assert!((similarity(&a, &b, weights) - 1.0 / 3.0).abs() < 1e-6);
    }
}
