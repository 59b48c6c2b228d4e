//! Who reads whom in a round, and when nothing moves any more.
//!
//! Source: algorithms §6. In the paper every member reads every other. By default here a member reads only those whose
//! contribution ψ = cos(own answer, weighted mean answer) is higher than its own: fewer messages, and no two members talk each other
//! round in circles (the idea of SelfOrg). The mean is weighted by reputation and confidence, so that many agents with
//! nothing to say do not become the centre.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use foa_capability::Vector;
use foa_wire::AgentId;
use serde::{Deserialize, Serialize};

use super::aggregate::{Member, centrality};

/// Who reads whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each reads those with a higher ψ.
    #[default]
    Upward,
    /// Each reads everyone: the paper.
    AllToAll,
}

/// ψ of each member in millionths: the cosine of its answer and the weighted mean of all answers.
#[must_use]
pub fn psi(members: &[Member]) -> BTreeMap<AgentId, i64> {
    members.iter().map(|m| m.agent.clone()).zip(centrality(members)).collect()
}

/// The peers each member reads, highest ψ first (ties by id). With [`Mode::Upward`] the relation has no cycle, and the
/// one with the highest ψ reads nobody.
#[must_use]
pub fn order(members: &[Member], mode: Mode) -> BTreeMap<AgentId, Vec<AgentId>> {
    let mut ranked: Vec<(Reverse<i64>, AgentId)> =
        psi(members).into_iter().map(|(a, p)| (Reverse(p), a)).collect();
    ranked.sort();
    let ranked: Vec<AgentId> = ranked.into_iter().map(|(_, agent)| agent).collect();
    let peers = |(at, agent): (usize, &AgentId)| match mode {
        Mode::Upward => ranked[..at].to_vec(),
        Mode::AllToAll => ranked.iter().filter(|peer| *peer != agent).cloned().collect(),
    };
    ranked.iter().enumerate().map(|(at, agent)| (agent.clone(), peers((at, agent)))).collect()
}

/// Whether nobody's answer moved: everyone in `current` was in `previous` with a cosine of at least `theta`. An agent that
/// fell silent since does not hold up the others; with no answers at all nothing has converged.
#[must_use]
pub fn converged(
    previous: &BTreeMap<AgentId, Vector>,
    current: &BTreeMap<AgentId, Vector>,
    theta: f64,
) -> bool {
    let still =
        |(agent, now): (&AgentId, &Vector)| previous.get(agent).is_some_and(|p| p.cosine(now) >= theta);
    !current.is_empty() && current.iter().all(still)
}

/// Whether every member says that nothing is left to improve (the paper's `TASK_COMPLETE`).
#[must_use]
pub fn all_complete(members: &[Member]) -> bool {
    !members.is_empty() && members.iter().all(|m| m.contribution.complete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Contribution;

    fn agent(n: usize) -> AgentId {
        format!("a{n}@node.aaaaaaaaaaaaaaaa").parse().unwrap()
    }

    fn vector(at: [f32; 2]) -> Vector {
        Vector::new(at.to_vec()).unwrap()
    }

    fn member(n: usize, confidence: f64, at: [f32; 2]) -> Member {
        let contribution = Contribution { text: "x".to_owned(), confidence, ..Contribution::default() };
        Member { agent: agent(n), weight: 1000, contribution, vector: Some(vector(at)) }
    }

    #[test]
    fn the_outer_read_the_inner() {
        let members = [member(1, 0.9, [1.0, 0.0]), member(2, 0.9, [1.0, 0.4]), member(3, 0.9, [1.0, 1.2])];
        let order = order(&members, Mode::Upward);
        assert_eq!(order[&agent(2)], []);
        assert_eq!(order[&agent(1)], [agent(2)]);
        assert_eq!(order[&agent(3)], [agent(2), agent(1)]);
    }

    #[test]
    fn equals_read_by_id_and_the_unsure_are_not_the_centre() {
        let same: Vec<_> = (1..4).rev().map(|n| member(n, 0.9, [1.0, 0.0])).collect();
        assert_eq!(order(&same, Mode::Upward)[&agent(3)], [agent(1), agent(2)]);
        let unsure = [member(1, 0.05, [0.0, 1.0]), member(2, 0.05, [0.0, 1.0]), member(3, 0.9, [1.0, 0.0])];
        assert_eq!(order(&unsure, Mode::Upward)[&agent(3)], []);
    }

    #[test]
    fn it_has_settled_when_nobody_moves() {
        let answers = |of: &[(usize, [f32; 2])]| of.iter().map(|&(n, at)| (agent(n), vector(at))).collect();
        let before: BTreeMap<_, _> = answers(&[(1, [1.0, 0.0]), (2, [0.0, 1.0])]);
        assert!(converged(&before, &before, 0.99));
        assert!(converged(&before, &answers(&[(1, [1.0, 0.05])]), 0.99));
        assert!(!converged(&before, &answers(&[(1, [1.0, 0.05]), (2, [0.5, 1.0])]), 0.99));
        assert!(!converged(&before, &answers(&[(3, [1.0, 0.0])]), 0.99));
        assert!(!converged(&before, &BTreeMap::new(), 0.99));
        // The paper's profile asks for more than 1, which never holds: all rounds are run.
        assert!(!converged(&before, &before, 1.001));
    }

    #[test]
    fn all_must_be_complete() {
        let mut members = [member(1, 0.9, [1.0, 0.0]), member(2, 0.9, [1.0, 0.0])];
        members[0].contribution.complete = true;
        assert!(!all_complete(&members));
        assert!(all_complete(&members[..1]));
        assert!(!all_complete(&[]));
    }
}
