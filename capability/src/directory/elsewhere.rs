//! A directory that keeps a share of a federation's cards, and knows of all other agents that they are there.
//!
//! Of an agent in a shard that other nodes hold only its id, its newest version and its shards stay here: enough to compare
//! directories, to call the roll, and to know whose card to fetch when the shard becomes ours.

use std::collections::BTreeSet;
use std::sync::Arc;

use foa_wire::{AgentId, Boot, Time, Version};

use super::Directory;
use crate::card::AgentCard;
use crate::lexical::Counted;
use crate::route::{Query, Routed};
use crate::score::grid;
use crate::shards::ShardMap;
use crate::vector::Vector;

/// What is known of an agent whose card others keep; its card was checked when it came by.
#[derive(Debug)]
pub struct Elsewhere {
    pub(crate) order: (Boot, Version),
    pub(crate) hash: Box<str>,
    expires: Time,
    shards: Box<[u32]>,
    /// Its words, which count.
    words: Counted,
}

/// Which part of the cards is kept here.
#[derive(Debug)]
pub(super) struct Share {
    map: ShardMap,
    mine: BTreeSet<u32>,
    /// Agents that belong here and whose cards are not here yet.
    wanted: BTreeSet<AgentId>,
}

impl Directory {
    /// From now on keeps the cards of these shards of the map; agents in none of them are known by name only. Cards that are
    /// here stay until [`Directory::let_others_go`], because their new holders may not have them yet.
    ///
    /// Where agents belong by another map says nothing: those known by name only are forgotten when the map changes, and
    /// have to be heard of again.
    pub fn keep_shards(&mut self, map: &ShardMap, mine: BTreeSet<u32>) {
        if self.share.as_ref().is_some_and(|share| share.map != *map) {
            let names: Vec<AgentId> = self.elsewhere.keys().cloned().collect();
            for agent in names {
                self.forget_elsewhere(&agent);
            }
        }
        let ours = |known: &Elsewhere| known.shards.iter().any(|shard| mine.contains(shard));
        let wanted = self.elsewhere.iter().filter(|(_, known)| ours(known));
        let wanted = wanted.map(|(agent, _)| agent.clone()).collect();
        self.share = Some(Share { map: map.clone(), mine, wanted });
    }

    /// Forgets the cards that others keep, but not their agents; says how many. Cards of this node stay, and those of
    /// another model, which no shard has.
    pub fn let_others_go(&mut self) -> usize {
        let cards = self.agents.values().map(|entry| &entry.card);
        let others: Vec<(AgentCard, BTreeSet<u32>)> =
            cards.filter_map(|card| Some((card.clone(), self.others_shards(card)?))).collect();
        let count = others.len();
        for (card, shards) in others {
            self.put_elsewhere(&card, shards);
        }
        self.changes += count as u64;
        count
    }

    /// The map and the shards kept here; `None` when the federation is not cut into shards.
    #[must_use]
    pub fn shards(&self) -> Option<(&ShardMap, &BTreeSet<u32>)> {
        self.share.as_ref().map(|share| (&share.map, &share.mine))
    }

    /// Agents that belong here and whose cards are not here yet, each with its shards.
    pub fn wanted(&self) -> impl Iterator<Item = (&AgentId, &[u32])> {
        let wanted = self.share.iter().flat_map(|share| &share.wanted);
        wanted.filter_map(|agent| Some((agent, &*self.elsewhere.get(agent)?.shards)))
    }

    /// At most so many vectors of cards that are here, taken evenly, to learn a map from.
    #[must_use]
    pub fn sample(&self, most: usize) -> Vec<Vector> {
        let all = || {
            let cards = self.agents.values().map(|entry| entry.card.capability());
            let comparable = cards.filter(|c| !c.retired).filter_map(|c| c.comparable(&self.model));
            comparable.flat_map(|c| c.vectors)
        };
        let step = all().count().div_ceil(most.max(1)).max(1);
        all().step_by(step).filter_map(|own| Vector::try_from(&own.vector).ok()).collect()
    }

    /// Another node's answer, with what is known here of how its candidates did: who failed here counts for less.
    pub fn temper(&self, routed: &mut Routed, query: &Query, now: Time) {
        for candidate in &mut routed.candidates {
            let here = grid(self.reputation.factor(&candidate.agent, &query.vector, now));
            candidate.factors.reputation = candidate.factors.reputation.min(here);
            candidate.alpha = candidate.factors.alpha();
            candidate.passes = candidate.alpha > self.weights.threshold;
        }
    }

    /// The shards of an agent whose card others keep.
    #[must_use]
    pub fn shards_elsewhere(&self, agent: &AgentId) -> Option<&[u32]> {
        self.elsewhere.get(agent).map(|known| &*known.shards)
    }

    /// How many agents are known, whoever keeps their cards, retired ones included.
    #[must_use]
    pub fn known(&self) -> usize {
        self.agents.len() + self.elsewhere.len()
    }

    /// Agents whose cards others keep, each with its newest version and content hash, in order of id.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&AgentId, (Boot, Version), &str)> {
        self.elsewhere.iter().map(|(agent, known)| (agent, known.order, &*known.hash))
    }

    pub(super) fn is_wanted(&self, agent: &AgentId) -> bool {
        self.share.as_ref().is_some_and(|share| share.wanted.contains(agent))
    }

    /// The shards of a card that others keep; `None` when it belongs here.
    pub(super) fn others_shards(&self, card: &AgentCard) -> Option<BTreeSet<u32>> {
        let share = self.share.as_ref()?;
        let capability = card.capability();
        if capability.retired || self.local.as_ref() == Some(card.agent().node()) {
            return None;
        }
        let vectors = capability.comparable(&self.model)?.vectors;
        let shards = share.map.shards_of(vectors.iter().map(|own| &own.vector));
        (!shards.is_empty() && shards.is_disjoint(&share.mine)).then_some(shards)
    }

    /// Knows an agent by name only, in place of what was known of it.
    pub(super) fn put_elsewhere(&mut self, card: &AgentCard, shards: BTreeSet<u32>) {
        let agent = card.agent().clone();
        self.let_go(&agent);
        self.found(&agent);
        let known = Arc::new(Elsewhere {
            order: card.order(),
            hash: card.hash().into(),
            expires: card.capability().expires(),
            shards: shards.into_iter().collect(),
            words: self.lexical.count(&card.words()),
        });
        self.buckets.put(agent.clone(), Arc::clone(&known));
        self.elsewhere.insert(agent, known);
    }

    /// The card of an agent known by name is here now.
    pub(super) fn found(&mut self, agent: &AgentId) {
        if let Some(known) = self.elsewhere.remove(agent) {
            self.lexical.discount(&known.words);
        }
        if let Some(share) = &mut self.share {
            share.wanted.remove(agent);
        }
    }

    pub(super) fn expire_elsewhere(&mut self, now: Time) {
        let over = self.elsewhere.iter().filter(|(_, known)| now >= known.expires);
        let over: Vec<AgentId> = over.map(|(agent, _)| agent.clone()).collect();
        for agent in over {
            self.forget_elsewhere(&agent);
        }
    }

    fn forget_elsewhere(&mut self, agent: &AgentId) {
        self.found(agent);
        self.buckets.remove(agent);
        self.one_less_of(agent.node());
        self.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::directory::{Applied, Rejected};
    use crate::testing::{NOW, SECOND, agent, card, directory, profile, vector};

    fn map() -> ShardMap {
        ShardMap::learn(1, &[vector([1.0, 0.0, 0.0]), vector([0.0, 1.0, 0.0])], 2, 1).unwrap()
    }

    /// The shard of what looks this way.
    fn shard(raw: [f32; 3]) -> u32 {
        *map().shards_of(std::iter::once(&vector(raw).quantise())).first().unwrap()
    }

    const EAST: [f32; 3] = [1.0, 0.1, 0.0];
    const NORTH: [f32; 3] = [0.1, 1.0, 0.0];

    #[test]
    fn a_card_of_another_shard_is_known_by_name_and_directories_are_equal_all_the_same() {
        let cards = [card(&profile("east"), 1, (5, 1), EAST), card(&profile("north"), 2, (5, 1), NORTH)];
        let (mut whole, mut half, mut early) = (directory(), directory(), directory());
        half.keep_shards(&map(), BTreeSet::from([shard(EAST)]));
        for card in &cards {
            assert_eq!(whole.apply(card.clone(), NOW), Ok(Applied::New));
            assert_eq!(half.apply(card.clone(), NOW), Ok(Applied::New));
            assert_eq!(half.apply(card.clone(), NOW), Ok(Applied::Same));
            assert_eq!(early.apply(card.clone(), NOW), Ok(Applied::New));
        }
        assert_eq!((half.len(), half.known()), (1, 2));
        assert!(half.get(&agent("east", 1)).is_some() && half.get(&agent("north", 2)).is_none());
        assert_eq!(half.order_of(&agent("north", 2)), whole.order_of(&agent("north", 2)));
        assert_eq!(half.digest(), whole.digest());
        assert!(half.compare(&whole.digest()).is_empty());

        // One that had all lets them go when it is told to, not before.
        early.keep_shards(&map(), BTreeSet::from([shard(EAST)]));
        assert_eq!(early.len(), 2);
        assert_eq!(early.let_others_go(), 1);
        assert_eq!((early.len(), early.known(), early.let_others_go()), (1, 2, 0));
        assert_eq!(early.digest(), whole.digest());
    }

    #[test]
    fn what_becomes_ours_is_wanted_until_it_is_here() {
        let mut directory = directory();
        directory.keep_shards(&map(), BTreeSet::from([shard(EAST)]));
        let north = card(&profile("north"), 2, (5, 1), NORTH);
        directory.apply(north.clone(), NOW).unwrap();
        assert_eq!(directory.wanted().count(), 0);
        directory.keep_shards(&map(), BTreeSet::from([shard(EAST), shard(NORTH)]));
        let wanted: Vec<_> = directory.wanted().collect();
        assert_eq!(wanted, [(&agent("north", 2), &[shard(NORTH)][..])]);
        assert_eq!(directory.apply(north, NOW), Ok(Applied::Same));
        assert_eq!((directory.wanted().count(), directory.len(), directory.known()), (0, 1, 1));
    }

    #[test]
    fn the_rules_for_cards_hold_for_those_kept_elsewhere_too() {
        let mut directory = directory();
        directory.keep_shards(&map(), BTreeSet::from([shard(EAST)]));
        let north = |version| card(&profile("north"), 2, (5, version), NORTH);
        assert_eq!(directory.apply(north(2), NOW), Ok(Applied::New));
        assert_eq!(directory.apply(north(1), NOW), Err(Rejected::Stale));
        assert_eq!(directory.apply(north(3), NOW), Ok(Applied::Newer));
        // It moves over here, and away again.
        assert_eq!(directory.apply(card(&profile("north"), 2, (5, 4), EAST), NOW), Ok(Applied::Newer));
        assert_eq!((directory.len(), directory.known()), (1, 1));
        assert_eq!(directory.apply(north(5), NOW), Ok(Applied::Newer));
        assert_eq!((directory.len(), directory.known()), (0, 1));
        let until = north(5).capability().expires();
        directory.expire(until - SECOND);
        assert_eq!(directory.known(), 1);
        directory.expire(until);
        assert_eq!(directory.known(), 0);
        // A new map says nothing of those known by name only.
        directory.apply(north(6), NOW).unwrap();
        let other = ShardMap::learn(2, &[vector([0.0, 0.0, 1.0])], 1, 1).unwrap();
        directory.keep_shards(&other, BTreeSet::new());
        assert_eq!(directory.known(), 0);
    }
}
