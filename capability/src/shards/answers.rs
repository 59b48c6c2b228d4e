//! Several nodes' answers to one question as one.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use foa_wire::AgentId;

use crate::route::{Candidate, Engine, Loser, MAX_LOSERS, Routed};

/// The best of several answers to one task, at most `limit`: each agent once, by its newest card, best first, ties by
/// agent.
#[must_use]
pub fn merge(answers: impl IntoIterator<Item = Vec<Candidate>>, limit: usize) -> Vec<Candidate> {
    let mut best: BTreeMap<_, Candidate> = BTreeMap::new();
    for candidate in answers.into_iter().flatten() {
        let newer = |known: &Candidate| {
            let order = candidate.version.cmp(&known.version);
            order.then(candidate.alpha.total_cmp(&known.alpha)) == Ordering::Greater
        };
        if best.get(&candidate.agent).is_none_or(newer) {
            best.insert(candidate.agent.clone(), candidate);
        }
    }
    let mut all: Vec<Candidate> = best.into_values().collect();
    all.sort_by(|a, b| b.alpha.total_cmp(&a.alpha).then_with(|| a.agent.cmp(&b.agent)));
    all.truncate(limit);
    all
}

/// The same of whole answers; `None` when there is none. Whoever is a candidate for one node is no loser for another, and
/// what stands in the way when nobody passes is what keeps out the nearest.
#[must_use]
pub fn merged(answers: Vec<Routed>, limit: usize) -> Option<Routed> {
    let first = answers.first()?;
    let (threshold, model, seed) = (first.threshold, first.model.clone(), first.seed);
    let price_weight = first.price_weight;
    let considered = answers.iter().map(|routed| routed.considered).sum();
    let walked = answers.iter().any(|routed| routed.engine == Engine::Hnsw);
    let engine = if walked { Engine::Hnsw } else { Engine::Exact };
    let (mut found, mut lost, mut unmet) = (Vec::new(), Vec::new(), Vec::new());
    for routed in answers {
        found.push(routed.candidates);
        lost.extend(routed.losers);
        unmet.extend(routed.unmet);
    }
    let candidates = merge(found, limit);
    let chosen: BTreeSet<&AgentId> = candidates.iter().map(|candidate| &candidate.agent).collect();
    lost.retain(|loser: &Loser| !chosen.contains(&loser.agent));
    lost.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then_with(|| a.agent.cmp(&b.agent)));
    let mut seen = BTreeSet::new();
    lost.retain(|loser| seen.insert(loser.agent.clone()));
    lost.truncate(MAX_LOSERS);
    let nearness =
        |unmet: &crate::route::Unmet| unmet.nearest.as_ref().map_or(-1.0, |loser| loser.similarity);
    let unmet = if candidates.iter().any(|candidate| candidate.passes) {
        None
    } else {
        unmet.into_iter().max_by(|a, b| nearness(a).total_cmp(&nearness(b)))
    };
    let (losers, spread) = (lost, None);
    Some(Routed {
        candidates,
        losers,
        threshold,
        considered,
        engine,
        model,
        seed,
        price_weight,
        unmet,
        spread,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use crate::route::Query;
    use crate::testing::{NOW, card, directory, profile, vector};

    fn knowing(cards: &[(&str, u64, f32)]) -> Directory {
        let mut directory = directory();
        for (name, version, x) in cards {
            directory.apply(card(&profile(name), 1, (1, *version), [1.0, *x, 0.0]), NOW).unwrap();
        }
        directory
    }

    fn question() -> Query {
        Query { limit: 2, ..Query::new("adds", vector([1.0, 0.0, 0.0])) }
    }

    fn named(candidates: &[Candidate]) -> Vec<&str> {
        candidates.iter().map(|c| c.agent.agent().as_str()).collect()
    }

    #[test]
    fn answers_are_merged_by_score_and_each_agent_counts_once() {
        let part = |cards: &[(&str, u64, f32)]| knowing(cards).route(&question(), NOW).candidates;
        // An old replica knows `one` by a card that fitted better.
        let (old, new) = (part(&[("one", 1, 0.0)]), part(&[("one", 2, 1.0)]));
        let other = part(&[("two", 1, 0.5), ("three", 1, 0.5)]);
        let whole = merge([old, new.clone(), other.clone()], 10);
        assert_eq!(named(&whole), ["three", "two", "one"]);
        assert_eq!(whole[2], new[0]);
        assert_eq!(merge([new, other], 1).len(), 1);
    }

    #[test]
    fn two_halves_answer_as_the_whole_does() {
        let (east, west) = ([("one", 1, 0.1), ("two", 1, 0.9)], [("three", 1, 0.4), ("four", 1, 2.0)]);
        let whole = knowing(&[east, west].concat()).route(&question(), NOW);
        let halves = [&east, &west].map(|half| knowing(half).route(&question(), NOW));
        let together = merged(halves.to_vec(), 2).unwrap();
        assert_eq!(named(&together.candidates), named(&whole.candidates));
        assert_eq!((together.considered, together.unmet), (4, None));
        let losers: BTreeSet<&AgentId> = together.losers.iter().map(|loser| &loser.agent).collect();
        assert!(together.candidates.iter().all(|c| !losers.contains(&c.agent)));
        assert!(merged(Vec::new(), 2).is_none());
        // Nobody has the skill: who came nearest in any half is named.
        let mut strict = question();
        strict.skills.insert("tides".to_owned());
        let halves = [&east, &west].map(|half| knowing(half).route(&strict, NOW));
        let unmet = merged(halves.to_vec(), 2).unwrap().unmet.unwrap();
        assert_eq!(unmet.requirement, "skill tides");
        assert_eq!(unmet.nearest.unwrap().agent.agent().as_str(), "one");
    }
}
