//! The vote on a merged plan: more than half of the weight must approve, and silence counts against.
//!
//! Source: algorithms §4.7. A plan that only one agent proposed needs no quorum: it is adopted and recorded as
//! unopposed. Limits: the tally knows nothing of time; the caller decides when the ballots are in.

use std::collections::BTreeMap;

use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

/// One proposer's vote, as it is journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// Who votes.
    pub agent: AgentId,
    /// The weight it had, ‰: for readers of the record. [`tally`] counts by the committed weights alone.
    pub weight: u32,
    /// Whether the plan may run.
    pub approve: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What came of a vote. All figures are sums of weights, ‰ each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// More than half of the weight approved.
    Adopted {
        /// Weight that approved.
        r#for: u64,
        /// Weight that rejected.
        against: u64,
        /// Weight that said nothing.
        silent: u64,
    },
    /// It did not.
    Rejected {
        /// Weight that approved.
        r#for: u64,
        /// Weight that rejected.
        against: u64,
        /// Weight that said nothing.
        silent: u64,
    },
    /// There was one proposer, and it did not object.
    Unopposed,
}

impl Verdict {
    /// Whether the plan may run.
    #[must_use]
    pub fn is_adopted(&self) -> bool {
        match self {
            Self::Adopted { .. } | Self::Unopposed => true,
            Self::Rejected { .. } => false,
        }
    }
}

/// Counts the ballots of those who have weight. An agent with several ballots approves only if all of them do; an
/// agent without weight does not vote. If all weights are zero, every proposer weighs the same.
#[must_use]
pub fn tally(weights: &BTreeMap<AgentId, u32>, ballots: &[Ballot]) -> Verdict {
    let all_zero = weights.values().all(|&w| w == 0);
    let (mut r#for, mut against, mut silent) = (0, 0, 0);
    for (agent, &weight) in weights {
        let weight = if all_zero { 1 } else { u64::from(weight) };
        let own: Vec<&Ballot> = ballots.iter().filter(|b| b.agent == *agent).collect();
        if own.is_empty() {
            silent += weight;
        } else if own.iter().all(|b| b.approve) {
            r#for += weight;
        } else {
            against += weight;
        }
    }
    if weights.len() <= 1 && against == 0 {
        Verdict::Unopposed
    } else if r#for > against + silent {
        Verdict::Adopted { r#for, against, silent }
    } else {
        Verdict::Rejected { r#for, against, silent }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(n: usize) -> AgentId {
        format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap()
    }

    fn ballot(n: usize, approve: bool) -> Ballot {
        Ballot { agent: agent(n), weight: 0, approve, reason: None }
    }

    fn weights(of: &[u32]) -> BTreeMap<AgentId, u32> {
        of.iter().enumerate().map(|(i, &w)| (agent(i), w)).collect()
    }

    #[test]
    fn more_than_half_of_the_weight_is_needed_and_silence_counts_against() {
        let cases: [(&[u32], &[Ballot], Verdict); 8] = [
            (
                &[1, 1, 1],
                &[ballot(0, true), ballot(1, true)],
                Verdict::Adopted { r#for: 2, against: 0, silent: 1 },
            ),
            (&[1, 1], &[ballot(0, true)], Verdict::Rejected { r#for: 1, against: 0, silent: 1 }),
            (
                &[900, 400, 400],
                &[ballot(0, true), ballot(1, false), ballot(2, false)],
                Verdict::Adopted { r#for: 900, against: 800, silent: 0 },
            ),
            // Both of an agent's ballots count, so it cannot be outvoted by its own past.
            (
                &[1, 0],
                &[ballot(0, true), ballot(0, false)],
                Verdict::Rejected { r#for: 0, against: 1, silent: 0 },
            ),
            // No weight, no vote.
            (
                &[1, 1],
                &[ballot(7, true), ballot(8, true)],
                Verdict::Rejected { r#for: 0, against: 0, silent: 2 },
            ),
            (
                &[0, 0, 0],
                &[ballot(0, true), ballot(1, true)],
                Verdict::Adopted { r#for: 2, against: 0, silent: 1 },
            ),
            (&[500], &[], Verdict::Unopposed),
            (&[500], &[ballot(0, false)], Verdict::Rejected { r#for: 0, against: 500, silent: 0 }),
        ];
        for (given, ballots, wanted) in cases {
            assert_eq!(tally(&weights(given), ballots), wanted, "{given:?} {ballots:?}");
        }
    }

    proptest! {
        #[test]
        fn an_approval_never_hurts_and_a_rejection_never_helps(
            given in prop::collection::vec(0u32..=1000, 1..6),
            votes in prop::collection::vec((0usize..6, any::<bool>()), 0..6),
            who in 0usize..6,
        ) {
            let weights = weights(&given);
            // One ballot per agent: the last one it sent.
            let one_each: BTreeMap<usize, bool> = votes.into_iter().collect();
            let ballots = |votes: &BTreeMap<usize, bool>| {
                votes.iter().map(|(&n, &approve)| ballot(n, approve)).collect::<Vec<_>>()
            };
            let before = tally(&weights, &ballots(&one_each)).is_adopted();
            let mut with = one_each.clone();
            with.insert(who, true);
            prop_assert!(!before || tally(&weights, &ballots(&with)).is_adopted());
            with.insert(who, false);
            prop_assert!(before || !tally(&weights, &ballots(&with)).is_adopted());
        }

        #[test]
        fn every_weight_is_counted_once(given in prop::collection::vec(1u32..=1000, 2..6), split in 0usize..6) {
            let weights = weights(&given);
            let ballots: Vec<_> = (0..split.min(given.len())).map(|n| ballot(n, n % 2 == 0)).collect();
            let (Verdict::Adopted { r#for, against, silent } | Verdict::Rejected { r#for, against, silent }) =
                tally(&weights, &ballots) else { panic!("several proposers are never unopposed") };
            prop_assert_eq!(r#for + against + silent, given.iter().map(|&w| u64::from(w)).sum::<u64>());
        }
    }
}
