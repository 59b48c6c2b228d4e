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
