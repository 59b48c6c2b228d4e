//! A directory that outgrew one node: who keeps the cards of which shard, how the map comes about, and how cards get to
//! those who keep them.
//!
//! All coordinators know all agents by name; each keeps the cards of its shards only. The first coordinator whose directory
//! grows beyond the limit makes the map, and tells the others. Who holds a shard follows from the map and from who is there,
//! so nobody decides it: when a holder goes, the next in order asks the others for the cards. Cards that a node need not keep
//! any more stay for a while, because their new holders may not have them yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foa_capability::{ModelId, ShardMap};
use foa_wire::{AgentId, NodeId, Time, Topic};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::gossip::{self, CardRequest};
use crate::machine::NodeMachine;
use crate::status::Role;

/// Shards of a map: few enough that a task asks a tenth of the agents at most, many enough to share among dozens of nodes.
const SHARDS: usize = 64;
/// Vectors the map is learnt from, at most.
const SAMPLE: usize = 2048;
/// How long questions go the way they went before a new map: until all have it.
const FORMER: Duration = Duration::from_secs(15);
/// How long cards stay that need not be kept any more.
const GRACE: Duration = Duration::from_secs(30);
/// How often cards we lack are asked for.
const FETCH: Duration = Duration::from_secs(1);
/// Cards asked for at once, and in one message.
const FETCHED: usize = 2000;
const ASKED_AT_ONCE: usize = 500;

/// When a directory is cut into shards, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharding {
    /// A coordinator with more cards than this shares them with others; `None` is never.
    pub above: Option<usize>,
    /// How many coordinators keep each card.
    pub replicas: usize,
}

impl Default for Sharding {
    fn default() -> Self {
        Self { above: None, replicas: 3 }
    }
}

/// How the directory is cut into shards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectoryMap {
    /// The map.
    pub map: ShardMap,
    /// The model of its vectors.
    pub model: ModelId,
    /// When it was made.
    pub made: Time,
}

/// What a coordinator does about its shards.
#[derive(Debug, Default)]
pub struct Shards {
    made: Option<Time>,
    /// The map that questions follow until then; `None` in it is the time before the first map, when everybody had all.
    former: Option<(Option<ShardMap>, Time)>,
    let_go_at: Option<Time>,
    fetch_at: Option<Time>,
    fetches: usize,
    /// A peer has confirmed, since the connection, that we know everybody.
    pub(crate) confirmed: bool,
}

impl Shards {
    pub(crate) fn wake(&self) -> Option<Time> {
        [self.let_go_at, self.fetch_at].into_iter().flatten().min()
    }

    /// The map that questions follow, if they go anywhere: the present one, or, while a new one spreads, the one before.
    pub(crate) fn followed<'a>(&'a self, present: &'a ShardMap, now: Time) -> Option<&'a ShardMap> {
        match &self.former {
            Some((former, until)) if now < *until => former.as_ref(),
            Some(_) | None => Some(present),
        }
    }
}

impl NodeMachine {
    /// The coordinators that can hold shards now, this one included.
    pub(crate) fn shard_nodes(&self) -> BTreeSet<NodeId> {
        let here = self.membership.nodes.values().map(|known| &known.status);
        let here = here.filter(|s| s.online && !s.draining && s.roles.contains(&Role::Coordinator));
        here.map(|status| &status.node).chain([self.id()]).cloned().collect()
    }

    /// The version of the map in force.
    pub(crate) fn map_version(&self) -> Option<u64> {
        let (map, _) = self.membership.directory.as_ref()?.shards()?;
        Some(map.version())
    }

    /// Whether every card of our shards is here, as far as anybody can know.
    pub(crate) fn shards_whole(&self) -> bool {
        let lacks = |directory: &foa_capability::Directory| directory.wanted().next().is_some();
        self.membership.ready
            && self.membership.shards.confirmed
            && !self.membership.directory.as_ref().is_none_or(lacks)
    }

    /// Looks again at which shards are ours: coordinators came or went.
    pub(crate) fn reshard(&mut self, now: Time) {
        let nodes = self.shard_nodes();
        let me = self.id().clone();
        let Some(directory) = &mut self.membership.directory else { return };
        let Some((map, before)) = directory.shards() else { return };
        let mine = shards_of(&me, map, &nodes);
        if mine == *before {
            return;
        }
        let map = map.clone();
        directory.keep_shards(&map, mine);
        self.membership.shards.let_go_at = Some(now + GRACE);
        self.membership.shards.fetch_at = Some(now);
    }

    /// Makes the first map, when the directory is too large and this is the coordinator to do it.
    pub(crate) fn cut_directory(&mut self, now: Time) {
        let Sharding { above: Some(above), replicas } = self.config.sharding else { return };
        let Some(directory) = &self.membership.directory else { return };
        if directory.len() <= above || directory.shards().is_some() || !self.membership.ready {
            return;
        }
        let nodes = self.shard_nodes();
        let first = nodes.iter().max_by_key(|node| gossip::rendezvous("shards", node));
        if nodes.len() < 2 || first != Some(self.id()) {
            return;
        }
        let Some(map) = ShardMap::learn(1, &directory.sample(SAMPLE), SHARDS, replicas) else { return };
        tracing::info!(agents = directory.len(), shards = map.len(), "the directory is cut into shards");
        let made = DirectoryMap { map, model: directory.model().clone(), made: now };
        let me = self.id().clone();
        for node in nodes.into_iter().filter(|node| *node != me) {
            self.command(Topic::Inbox(node), Body::DirectoryMap(Box::new(made.clone())), now);
        }
        self.follow_map(&made, now);
    }

    /// Another coordinator's map.
    pub(crate) fn directory_map(&mut self, theirs: &DirectoryMap, from: &NodeId, now: Time) {
        let Some(directory) = &self.membership.directory else { return };
        let problem = if !self.membership.is_enrolled(from) {
            "wanted a map from a coordinator"
        } else if theirs.model != *directory.model() || !theirs.map.is_sound(theirs.model.dimension()) {
            "wanted a map of vectors of the directory's model"
        } else {
            return self.follow_map(theirs, now);
        };
        let subject = format!("map {}", theirs.map.version());
        self.refuse("bad-map", from.to_string(), subject, problem.to_owned(), now);
    }

    fn follow_map(&mut self, new: &DirectoryMap, now: Time) {
        let nodes = self.shard_nodes();
        let me = self.id().clone();
        let membership = &mut self.membership;
        let Some(directory) = &mut membership.directory else { return };
        let before = directory.shards().map(|(map, _)| map.clone());
        if before.as_ref().is_some_and(|before| !new.map.supersedes(before)) {
            return;
        }
        if before.is_some() {
            // Where agents belong is not known of those whose cards are not here: hear of all again.
            membership.roll_due = true;
        }
        let made = new.made.min(now);
        membership.shards.former = (now.since(made) < FORMER).then_some((before, now + FORMER));
        membership.shards.made = Some(made);
        membership.shards.let_go_at = Some(now + GRACE);
        membership.shards.fetch_at = Some(now);
        directory.keep_shards(&new.map, shards_of(&me, &new.map, &nodes));
    }

    /// Tells a coordinator the map, if its own is older or it has none.
    pub(crate) fn tell_map(&mut self, to: &NodeId, theirs: Option<u64>, now: Time) {
        let Some(made) = self.membership.shards.made else { return };
        let Some((map, _)) = self.membership.directory.as_ref().and_then(|d| d.shards()) else { return };
        if theirs.is_none_or(|version| version < map.version()) {
            let map = DirectoryMap { map: map.clone(), model: self.config.model.clone(), made };
            self.command(Topic::Inbox(to.clone()), Body::DirectoryMap(Box::new(map)), now);
        }
    }

    pub(crate) fn shards_tick(&mut self, now: Time) {
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.membership.shards.let_go_at) {
            self.membership.shards.let_go_at = None;
            if let Some(directory) = &mut self.membership.directory {
                let count = directory.let_others_go();
                tracing::debug!(count, "cards that others keep were let go");
            }
        }
        if due(self.membership.shards.fetch_at) {
            self.membership.shards.fetch_at = None;
            self.fetch_cards(now);
        }
    }

    /// Asks for the cards of our shards that are not here: their other holders in turn, and last the agent's own node.
    fn fetch_cards(&mut self, now: Time) {
        if !self.connected {
            return;
        }
        let nodes = self.shard_nodes();
        let Some(directory) = &self.membership.directory else { return };
        let Some((map, _)) = directory.shards() else { return };
        let mut holders: BTreeMap<u32, Vec<&NodeId>> = BTreeMap::new();
        let mut asked: BTreeMap<NodeId, Vec<AgentId>> = BTreeMap::new();
        for (agent, shards) in directory.wanted().take(FETCHED) {
            let mut of = |shard: &u32| {
                let holders = holders.entry(*shard).or_insert_with(|| map.holders(*shard, nodes.iter()));
                holders.iter().copied().filter(|node| *node != self.id()).collect::<Vec<_>>()
            };
            let mut sources: Vec<&NodeId> = shards.iter().flat_map(&mut of).collect();
            sources.push(agent.node());
            let source = sources[self.membership.shards.fetches % sources.len()];
            asked.entry(source.clone()).or_default().push(agent.clone());
        }
        if asked.is_empty() {
            return;
        }
        for (node, agents) in asked {
            for agents in agents.chunks(ASKED_AT_ONCE) {
                let request = CardRequest { agents: agents.to_vec() };
                self.command(Topic::Inbox(node.clone()), Body::CardRequest(request), now);
            }
        }
        self.membership.shards.fetches += 1;
        self.membership.shards.fetch_at = Some(now + FETCH);
    }
}

/// The shards of a map that one of these nodes holds.
fn shards_of(node: &NodeId, map: &ShardMap, nodes: &BTreeSet<NodeId>) -> BTreeSet<u32> {
    let all = 0..u32::try_from(map.len()).expect("a map has some hundred shards at most");
    all.filter(|shard| map.holders(*shard, nodes.iter()).contains(&node)).collect()
}
