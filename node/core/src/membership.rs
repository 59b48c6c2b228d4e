//! Who is there: our cards and status, everyone else's, and the anti-entropy that makes all directories equal.
//!
//! Retained cards give a late coordinator most of the directory on most brokers, and never all of it on every broker. So a
//! coordinator that connects (1) calls the roll: nodes whose cards it lacks publish them again; (2) exchanges digests with
//! a few peers, at once and then at a slow beat (the paper's Δ-gossip). Its first routes wait until a peer has confirmed the
//! directory or 1.2 seconds have passed.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_capability::card::AgentCard;
use foa_capability::delta::CardDelta;
use foa_capability::digest::Digest;
use foa_capability::directory::{Applied, Directory};
use foa_capability::presence::{Load, Presence, order};
use foa_wire::{AgentId, AgentName, NodeId, Sequence, Time, Topic, Version};
use foa_workflows::engine;

use crate::body::Body;
use crate::effect::{Advertised, Effect};
use crate::gossip::{self, CardRequest, Cards, DirectoryDigest, Roll};
use crate::journal::NodeRecord;
use crate::machine::{Config, NodeMachine};
use crate::shards::Shards;
use crate::status::{NodeStatus, Role};

/// A status goes out at least this often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A node that was silent for this long is taken for gone, will or not.
const SILENCE: Duration = Duration::from_secs(50);
/// Changes of load are told at most this often.
const STATUS_PAUSE: Duration = Duration::from_millis(500);
/// How often directories are compared.
const BEAT: Duration = Duration::from_secs(10);
/// When the first comparison happens after a connection: statuses of peers arrive before.
const FIRST_BEAT: Duration = Duration::from_millis(300);
/// How long first routes wait for a peer to confirm the directory.
pub(crate) const CONFIRM_WITHIN: Duration = Duration::from_millis(1200);
/// Nodes known, at most: ids cost nothing to make.
const NODES: usize = 20_000;
/// Coordinators that count, at most.
const ENROLLED: usize = 64;
/// A coordinator nobody has heard of for this long counts no more.
const ENROLLED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Peers a digest goes to.
const PEERS: usize = 3;
/// A card lives this long and is issued anew at half of it.
const CARD_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Cards sent in one message, by size.
const CARDS_BYTES: usize = 160 * 1024;
/// Nodes in one message of the roll, at most: about 100 bytes each.
const ROLL_PART: usize = 1_500;
/// A node that missed the roll waits up to this long, so that not all answer at once.
const ROLL_SPREAD_MS: u64 = 400;

/// What this node knows of itself and of others.
#[derive(Debug)]
pub struct Membership {
    pub(crate) own: BTreeMap<AgentName, Own>,
    pub(crate) directory: Option<Directory>,
    pub(crate) nodes: BTreeMap<NodeId, Known>,
    pub(crate) ready: bool,
    pub(crate) shards: Shards,
    /// Coordinators that count when replica sets are formed, and when each was last heard of.
    pub(crate) enrolled: BTreeMap<NodeId, Time>,
    fixed: bool,
    ready_at: Option<Time>,
    version: Version,
    status_seq: Sequence,
    status_at: Option<Time>,
    status_dirty: bool,
    next_beat: Option<Time>,
    republish_at: Option<Time>,
    beats: u64,
    /// Whether the roll is to be called at the next beat: after each connection, since a broker may have forgotten.
    pub(crate) roll_due: bool,
}

/// One of our agents.
#[derive(Debug)]
pub struct Own {
    pub(crate) advertised: Advertised,
    pub(crate) card: AgentCard,
}

/// Another node.
#[derive(Clone, Debug)]
pub struct Known {
    pub(crate) status: NodeStatus,
    pub(crate) seen: Time,
    /// Since when it is there, gone, or draining, in this start of it.
    pub(crate) since: Time,
}

impl Membership {
    pub(crate) fn new(config: &Config, me: NodeId) -> Self {
        let coordinator = config.roles.contains(&Role::Coordinator);
        Self {
            own: BTreeMap::new(),
            directory: coordinator.then(|| Directory::new(config.model.clone(), Some(me))),
            nodes: BTreeMap::new(),
            ready: false,
            shards: Shards::default(),
            enrolled: config.coordinators.iter().map(|node| (node.clone(), Time::ZERO)).collect(),
            fixed: !config.coordinators.is_empty(),
            ready_at: None,
            version: Version(0),
            status_seq: Sequence(0),
            status_at: None,
            status_dirty: false,
            next_beat: None,
            republish_at: None,
            beats: 0,
            roll_due: false,
        }
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let dirty = self.status_dirty.then(|| self.status_at.map_or(Time::ZERO, |at| at + STATUS_PAUSE));
        let heartbeat = self.status_at.map(|at| at + HEARTBEAT);
        let ready = if self.ready { None } else { self.ready_at };
        let wakes = [dirty, heartbeat, self.next_beat, self.republish_at, ready, self.shards.wake()];
        wakes.into_iter().flatten().min()
    }

    /// Whether a node is known, online and a coordinator.
    pub(crate) fn is_coordinator(&self, node: &NodeId) -> bool {
        let known = self.nodes.get(node);
        known.is_some_and(|k| k.status.online && k.status.roles.contains(&Role::Coordinator))
    }

    /// Whether a node counts as a coordinator, there or not.
    pub(crate) fn is_enrolled(&self, node: &NodeId) -> bool {
        self.enrolled.contains_key(node)
    }

    /// All coordinators that count, there or not, in the order in which they may hold this job.
    pub(crate) fn enrolled_for(&self, job: &foa_wire::JobId, me: &NodeId) -> Vec<NodeId> {
        let mut all: Vec<NodeId> = self.enrolled.keys().cloned().collect();
        if !self.fixed && !self.enrolled.contains_key(me) {
            all.push(me.clone());
        }
        all.sort();
        all.sort_by_cached_key(|node| std::cmp::Reverse(gossip::rendezvous(job.as_str(), node)));
        all
    }

    pub(crate) fn remember_enrolled(&mut self, node: NodeId) {
        if !self.fixed {
            self.enrolled.insert(node, Time::ZERO);
        }
    }

    /// The online coordinators in the order in which they may hold this job.
    pub(crate) fn coordinators_for(&self, job: &foa_wire::JobId, me: Option<&NodeId>) -> Vec<NodeId> {
        let online =
            |k: &&Known| k.status.online && !k.status.draining && k.status.roles.contains(&Role::Coordinator);
        let mut all: Vec<NodeId> =
            self.nodes.values().filter(online).map(|k| k.status.node.clone()).collect();
        all.extend(me.cloned());
        all.sort();
        all.dedup();
        all.sort_by_cached_key(|node| std::cmp::Reverse(gossip::rendezvous(job.as_str(), node)));
        all
    }
}

impl NodeMachine {
    /// Takes our agents as they are now: new and changed ones get a new version, missing ones are retired.
    pub(crate) fn advertise(&mut self, agents: Vec<Advertised>, now: Time) {
        let mut present = BTreeMap::new();
        for advertised in agents {
            let name = advertised.profile.name.clone();
            let same = self.membership.own.get(&name).is_some_and(|own| {
                own.advertised.profile == advertised.profile
                    && own.advertised.embeddings == advertised.embeddings
            });
            if let (true, Some(own)) = (same, self.membership.own.remove(&name)) {
                present.insert(name, own);
            } else if let Some(own) = self.issue(advertised, now) {
                present.insert(name, own);
            }
        }
        let gone = std::mem::replace(&mut self.membership.own, present);
        for (name, own) in gone {
            if !self.membership.own.contains_key(&name) {
                self.retire(&own.card, now);
            }
        }
        self.worker.keep_agents(self.membership.own.keys());
        self.republish_cards(now);
        self.membership.status_dirty = true;
    }

    fn issue(&mut self, advertised: Advertised, now: Time) -> Option<Own> {
        self.membership.version = self.membership.version.next();
        let id = AgentId::new(advertised.profile.name.clone(), self.id().clone());
        let issued = AgentCard::issue(
            &advertised.profile,
            &advertised.embeddings,
            id.clone(),
            self.boot,
            self.membership.version,
            now,
            CARD_LIFE,
            self.me.key(),
        );
        match issued {
            Ok(card) => Some(Own { advertised, card }),
            Err(e) => {
                let me = self.id().to_string();
                self.refuse("own-card", me, id.to_string(), e.to_string(), now);
                None
            }
        }
    }

    fn retire(&mut self, card: &AgentCard, now: Time) {
        self.membership.version = self.membership.version.next();
        let version = self.membership.version;
        if let Ok(card) = card.retire(version, now, now + CARD_LIFE, self.me.key()) {
            self.learn_own(&card, now);
            if self.connected {
                self.send(Topic::Card(card.agent().clone()), Body::Card(Box::new(card)));
            }
        }
    }

    pub(crate) fn republish_cards(&mut self, now: Time) {
        let cards: Vec<AgentCard> = self.membership.own.values().map(|own| own.card.clone()).collect();
        for card in cards {
            self.learn_own(&card, now);
            if self.connected {
                self.send(Topic::Card(card.agent().clone()), Body::Card(Box::new(card)));
            }
        }
    }

    fn learn_own(&mut self, card: &AgentCard, now: Time) {
        if let Some(directory) = &mut self.membership.directory {
            // Our own card is as good as we made it; a stale one is one we have replaced already.
            let _ = directory.apply(card.clone(), now);
        }
    }

    pub(crate) fn status_changed(&mut self) {
        self.membership.status_dirty = true;
    }

    pub(crate) fn publish_status(&mut self, now: Time) {
        if !self.connected {
            return;
        }
        self.membership.status_seq = self.membership.status_seq.next();
        self.membership.status_at = Some(now);
        self.membership.status_dirty = false;
        let status = NodeStatus {
            node: self.id().clone(),
            online: true,
            draining: self.draining,
            boot: self.boot,
            connection: self.connection,
            seq: self.membership.status_seq,
            at: now,
            roles: self.config.roles.iter().copied().collect(),
            load: self.worker.load(),
            jobs: u32::try_from(self.coordinator.open_jobs()).unwrap_or(u32::MAX),
            version: self.config.version.clone(),
            addresses: self.artifacts.addresses.clone(),
        };
        self.status_known(status.clone(), now);
        self.send(Topic::Status(self.id().clone()), Body::Status(status));
    }

    /// Says goodbye: the last status.
    pub(crate) fn leave(&mut self, now: Time) {
        self.draining = true;
        self.membership.status_seq = self.membership.status_seq.next();
        let mut status = NodeStatus::will(self.id().clone(), self.boot, self.connection, now);
        status.roles = self.config.roles.iter().copied().collect();
        self.send(Topic::Status(self.id().clone()), Body::Status(status));
    }

    /// Takes another node's status, or its will.
    pub(crate) fn status(&mut self, status: NodeStatus, now: Time) {
        if status.node == *self.id() {
            self.own_status_seen(&status, now);
            return;
        }
        let node = status.node.clone();
        if self.membership.nodes.len() >= NODES && !self.membership.nodes.contains_key(&node) {
            let detail = format!("{NODES} nodes are known already");
            return self.refuse("overloaded", node.to_string(), Topic::Status(node).to_string(), detail, now);
        }
        let was =
            self.membership.nodes.get(&node).map(|k| (k.status.online, k.status.boot, k.status.connection));
        let (online, boot, connection) = (status.online, status.boot, status.connection);
        let is_coordinator = status.roles.contains(&Role::Coordinator);
        if !self.status_known(status, now) {
            return;
        }
        let restarted = was.is_some_and(|(_, known, _)| known != boot);
        if !online || restarted {
            self.node_lost(&node, now);
        }
        let is_new = was.is_none_or(|(was_online, ..)| !was_online) || restarted;
        if online && is_new && is_coordinator && self.is(Role::Coordinator) && !self.membership.ready {
            // A peer that can confirm the directory: ask it now instead of at the next beat.
            self.send_digest(&node, true, now);
        }
        if !self.is(Role::Coordinator) {
            return;
        }
        if online && is_coordinator {
            self.enrol(&node, now);
            if is_new {
                self.tell_map(&node, None, now);
            }
            let reconnected = was.is_some_and(|(_, _, known)| known != connection);
            if is_new || reconnected {
                self.coordinator_returned(&node, now);
            }
        }
        let draining = self.membership.nodes.get(&node).is_some_and(|known| known.status.draining);
        if is_new || !online || draining {
            self.retime_all();
            if is_coordinator {
                self.reshard(now);
            }
        }
    }

    /// The broker kept something about us that is not what we last said: say it again.
    fn own_status_seen(&mut self, status: &NodeStatus, now: Time) {
        let ours = status.boot == self.boot && status.connection == self.connection && status.online;
        if !ours && !self.draining {
            tracing::debug!(boot = %status.boot, online = status.online, "publishing over an old status");
            self.publish_status(now);
        }
    }

    fn status_known(&mut self, status: NodeStatus, now: Time) -> bool {
        let presence = Presence {
            online: status.online,
            boot: status.boot,
            connection: status.connection,
            seq: status.seq,
            load: status.load.clone(),
        };
        let newer = match self.membership.nodes.get(&status.node) {
            None => true,
            Some(Known { status: known, .. }) => {
                presence.order() > order(known.boot, known.connection, known.online, known.seq)
            }
        };
        if newer {
            if let Some(directory) = &mut self.membership.directory {
                directory.presence(status.node.clone(), presence, now);
            }
            let before = self.membership.nodes.get(&status.node);
            let mark = |s: &NodeStatus| (s.online, s.draining, s.boot);
            let since = before.filter(|k| mark(&k.status) == mark(&status)).map_or(now, |k| k.since);
            self.membership.nodes.insert(status.node.clone(), Known { status, seen: now, since });
        }
        newer
    }

    /// A coordinator counts from when it is first seen until nobody has heard of it for a day.
    fn enrol(&mut self, node: &NodeId, seen: Time) {
        let membership = &mut self.membership;
        if let Some(known) = membership.enrolled.get_mut(node) {
            *known = seen.max(*known);
        } else if !membership.fixed && membership.enrolled.len() < ENROLLED && node != self.me.id() {
            membership.enrolled.insert(node.clone(), seen);
            self.persist(NodeRecord::Enrolled { node: node.clone() });
        }
    }

    /// What a peer knows of coordinators we may never have seen.
    fn enrolled_elsewhere(&mut self, theirs: &BTreeMap<NodeId, Time>, from: &NodeId, now: Time) {
        if !self.is(Role::Coordinator) || !self.membership.is_enrolled(from) {
            return;
        }
        for (node, seen) in theirs.iter().take(ENROLLED) {
            let seen = (*seen).min(now);
            if now.since(seen) < ENROLLED_FOR {
                self.enrol(node, seen);
            }
        }
    }

    fn expire_enrolled(&mut self, now: Time) {
        let there: Vec<NodeId> = self
            .membership
            .enrolled
            .iter()
            // Just loaded from disk, or just there.
            .filter(|(node, seen)| **seen == Time::ZERO || self.membership.is_coordinator(node))
            .map(|(node, _)| node.clone())
            .collect();
        for node in there {
            self.membership.enrolled.insert(node, now);
        }
        if !self.membership.fixed {
            self.membership.enrolled.retain(|_, seen| now.since(*seen) < ENROLLED_FOR);
        }
    }

    fn node_lost(&mut self, node: &NodeId, now: Time) {
        tracing::info!(peer = %node, "a node went offline");
        self.afar_lost(node, now);
        self.each_job(&engine::Input::Offline(node.clone()), now);
    }

    /// Comes to know the others after a connection.
    pub(crate) fn introduce(&mut self, now: Time) {
        if self.is(Role::Coordinator) {
            self.membership.ready_at = Some(now + CONFIRM_WITHIN);
            self.membership.next_beat = Some(now + FIRST_BEAT);
            self.membership.roll_due = true;
            self.membership.shards.confirmed = false;
        } else {
            self.membership.ready = true;
        }
    }

    pub(crate) fn membership_tick(&mut self, now: Time) {
        if self.membership.republish_at.is_some_and(|at| at <= now) {
            self.membership.republish_at = None;
            self.republish_cards(now);
        }
        let due = |at: Option<Time>, wait: Duration| at.is_some_and(|at| at + wait <= now);
        let dirty = self.membership.status_dirty
            && self.membership.status_at.is_none_or(|at| at + STATUS_PAUSE <= now);
        if self.connected && (dirty || due(self.membership.status_at, HEARTBEAT)) {
            self.publish_status(now);
        } else if !self.connected {
            // Nobody can hear us; do not wake up for it.
            self.membership.status_at = Some(now);
            self.membership.status_dirty = false;
        }
        if self.membership.next_beat.is_some_and(|at| at <= now) {
            self.beat(now);
        }
        if !self.membership.ready && self.membership.ready_at.is_some_and(|at| at <= now) {
            self.directory_ready(now);
        }
        self.shards_tick(now);
    }

    fn beat(&mut self, now: Time) {
        // A few per cent of jitter, different for each node, keep the beats of a federation apart.
        let jitter = gossip::rendezvous(&self.membership.beats.to_string(), self.id()) % 1000;
        self.membership.next_beat = Some(now + BEAT + Duration::from_millis(jitter));
        self.membership.beats += 1;
        self.renew_cards(now);
        self.expire_nodes(now);
        self.expire_enrolled(now);
        if !self.connected {
            return;
        }
        self.cut_directory(now);
        self.reshard(now);
        if std::mem::take(&mut self.membership.roll_due) || self.membership.beats.is_multiple_of(6) {
            self.call_roll(now);
        }
        let salt = self.membership.beats.to_string();
        let mut peers: Vec<NodeId> = self
            .membership
            .nodes
            .values()
            .filter(|k| k.status.online && k.status.roles.contains(&Role::Coordinator))
            .map(|k| k.status.node.clone())
            .filter(|node| node != self.id())
            .collect();
        peers.sort_by_cached_key(|node| gossip::rendezvous(&salt, node));
        for peer in peers.into_iter().take(PEERS) {
            self.send_digest(&peer, true, now);
        }
    }

    /// Issues our cards anew at half of their life.
    fn renew_cards(&mut self, now: Time) {
        let old = |own: &&Own| now.since(own.card.capability().issued) * 2 > CARD_LIFE;
        let due: Vec<Advertised> =
            self.membership.own.values().filter(old).map(|own| own.advertised.clone()).collect();
        for advertised in due {
            if let Some(own) = self.issue(advertised, now) {
                let card = own.card.clone();
                self.membership.own.insert(own.advertised.profile.name.clone(), own);
                self.learn_own(&card, now);
                self.send(Topic::Card(card.agent().clone()), Body::Card(Box::new(card)));
            }
        }
    }

    /// Nodes that were silent for long are gone, and so are cards whose time is over.
    fn expire_nodes(&mut self, now: Time) {
        if let Some(directory) = &mut self.membership.directory {
            directory.expire(now);
        }
        if !self.connected {
            for known in self.membership.nodes.values_mut() {
                known.seen = now;
            }
            return;
        }
        let me = self.id().clone();
        let silent = |k: &&Known| k.status.online && k.status.node != me && now.since(k.seen) > SILENCE;
        let lost: Vec<NodeId> =
            self.membership.nodes.values().filter(silent).map(|k| k.status.node.clone()).collect();
        for node in lost {
            // Forgotten rather than marked: whatever it says next is news.
            self.membership.nodes.remove(&node);
            if let Some(directory) = &mut self.membership.directory {
                directory.forget_presence(&node);
            }
            self.node_lost(&node, now);
            self.retime_all();
        }
    }

    fn call_roll(&mut self, now: Time) {
        let Some(directory) = &self.membership.directory else { return };
        let here = directory.iter().filter(|(_, e)| !e.retired()).map(|(_, e)| gossip::marked(e.card()));
        let mut by_node: BTreeMap<NodeId, BTreeMap<&AgentId, gossip::Marked<'_>>> = BTreeMap::new();
        for marked in here.chain(directory.elsewhere()) {
            by_node.entry(marked.0.node().clone()).or_default().insert(marked.0, marked);
        }
        let marks = by_node.into_iter().map(|(node, cards)| (node, gossip::mark(cards.into_values())));
        let nodes = marks.collect();
        for part in Roll::parts(nodes, ROLL_PART) {
            self.command(Topic::Calls, Body::Roll(part), now);
        }
    }

    /// A coordinator says whose cards it holds; if ours are missing they go out again. That we are here is said in any case:
    /// a broker that hands out only a part of what it keeps may have left our status out.
    pub(crate) fn roll_call(&mut self, roll: &Roll, now: Time) {
        if !roll.speaks_of(self.id()) {
            return;
        }
        self.membership.status_dirty = true;
        if self.membership.own.is_empty() {
            return;
        }
        let mine = gossip::mark(self.membership.own.values().map(|own| gossip::marked(&own.card)));
        if roll.nodes.get(self.id()) == Some(&mine) {
            return;
        }
        let salt = now.to_string();
        let wait = Duration::from_millis(gossip::rendezvous(&salt, self.id()) % ROLL_SPREAD_MS);
        self.membership.republish_at.get_or_insert(now + wait);
    }

    fn send_digest(&mut self, to: &NodeId, answer: bool, now: Time) {
        let Some(directory) = &self.membership.directory else { return };
        let coordinators = self.membership.enrolled.clone();
        let map = self.map_version();
        let digest = DirectoryDigest { digest: directory.digest(), answer, coordinators, map };
        self.command(Topic::Inbox(to.clone()), Body::Digest(digest), now);
    }

    /// A peer says what it holds: send what it lacks, ask for what we lack.
    pub(crate) fn digest(&mut self, theirs: &DirectoryDigest, from: &NodeId, now: Time) {
        self.enrolled_elsewhere(&theirs.coordinators, from, now);
        if !matches!(theirs.digest, Digest::Part { .. }) {
            self.tell_map(from, theirs.map, now);
        }
        let Some(directory) = &self.membership.directory else { return };
        let difference = directory.compare(&theirs.digest);
        let lacked: Vec<AgentCard> = difference
            .they_lack
            .iter()
            .filter_map(|agent| directory.get(agent))
            .map(|entry| entry.card().clone())
            .collect();
        let part = (!difference.ask_buckets.is_empty()).then(|| directory.digest_of(&difference.ask_buckets));
        let confirmed = difference.we_lack.is_empty() && difference.ask_buckets.is_empty();
        self.send_cards(from, lacked, now);
        if !difference.we_lack.is_empty() {
            for agents in difference.we_lack.chunks(1000) {
                let request = CardRequest { agents: agents.to_vec() };
                self.command(Topic::Inbox(from.clone()), Body::CardRequest(request), now);
            }
        }
        if let Some(digest) = part {
            let coordinators = BTreeMap::new();
            let body = Body::Digest(DirectoryDigest { digest, answer: true, coordinators, map: None });
            self.command(Topic::Inbox(from.clone()), body, now);
        } else if theirs.answer {
            self.send_digest(from, false, now);
        }
        if confirmed {
            self.membership.shards.confirmed = true;
            if !self.membership.ready {
                self.directory_ready(now);
            }
        }
    }

    fn send_cards(&mut self, to: &NodeId, cards: Vec<AgentCard>, now: Time) {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for card in cards {
            let size = card.size();
            if bytes + size > CARDS_BYTES && !batch.is_empty() {
                let cards = std::mem::take(&mut batch);
                self.command(Topic::Inbox(to.clone()), Body::Cards(Cards { cards }), now);
                bytes = 0;
            }
            bytes += size;
            batch.push(card);
        }
        if !batch.is_empty() {
            self.command(Topic::Inbox(to.clone()), Body::Cards(Cards { cards: batch }), now);
        }
    }

    /// A coordinator lacks cards: those we keep, and those of our own agents.
    pub(crate) fn card_request(&mut self, request: &CardRequest, from: &NodeId, now: Time) {
        let kept = |agent: &AgentId| self.membership.directory.as_ref()?.get(agent).map(|e| e.card().clone());
        let own = |agent: &AgentId| {
            let ours = (agent.node() == self.id()).then_some(agent)?;
            self.membership.own.get(ours.agent()).map(|own| own.card.clone())
        };
        let cards = request.agents.iter().filter_map(|agent| kept(agent).or_else(|| own(agent))).collect();
        self.send_cards(from, cards, now);
    }

    pub(crate) fn cards(&mut self, cards: Cards, from: &NodeId, now: Time) {
        for card in cards.cards {
            self.card(card, from, now);
        }
    }

    /// Takes a card, from its node or relayed.
    pub(crate) fn card(&mut self, card: AgentCard, from: &NodeId, now: Time) {
        let agent = card.agent().clone();
        if agent.node() == self.id() {
            return;
        }
        let Some(directory) = &mut self.membership.directory else { return };
        match directory.apply(card, now) {
            Ok(Applied::New | Applied::Newer | Applied::Same | Applied::Retired) => {}
            Err(rejected) => {
                self.refuse(rejected.name(), from.to_string(), agent.to_string(), rejected.to_string(), now);
            }
        }
    }

    /// Applies a change to a card we hold; asks for the whole card when it does not fit.
    pub(crate) fn card_delta(&mut self, delta: &CardDelta, from: &NodeId, now: Time) {
        let Some(directory) = &self.membership.directory else { return };
        let applied = directory.get(&delta.agent).map(|entry| delta.apply(entry.card()));
        match applied {
            Some(Ok(card)) => self.card(card, from, now),
            Some(Err(_)) | None => {
                let request = CardRequest { agents: vec![delta.agent.clone()] };
                self.command(Topic::Inbox(from.clone()), Body::CardRequest(request), now);
            }
        }
    }

    fn directory_ready(&mut self, now: Time) {
        self.membership.ready = true;
        self.coordinator_ready(now);
    }

    /// How busy an agent is, as far as is known.
    pub(crate) fn load_of(&self, agent: &AgentId) -> Load {
        self.membership.directory.as_ref().map(|d| d.load(agent)).unwrap_or_default()
    }

    pub(crate) fn clear_retained(&mut self, topic: Topic) {
        self.effect(Effect::Clear(topic));
    }
}

#[cfg(test)]
mod tests {

    use foa_wire::{Boot, Connection};

    use super::*;
    use crate::effect::{Input, Output, Received};
    use crate::fixture::{config, identity};

    fn statuses(out: &[Output]) -> usize {
        let status =
            |o: &&Output| matches!(&o.effect, Effect::Send(send) if matches!(send.body, Body::Status(_)));
        out.iter().filter(status).count()
    }

    /// A late coordinator knew 300 agents and took them all for offline, until their nodes' next heartbeat: the broker had
    /// handed out 100 retained cards and no status.
    #[test]
    fn a_node_answers_the_roll_with_its_status_even_when_its_cards_are_known() {
        let mut node = NodeMachine::new(identity("worker", 1), config(&[Role::Worker]), Boot(1), Vec::new());
        let start = Time::from_millis(1_000_000);
        assert_eq!(statuses(&node.handle(Input::Connected { connection: Connection(1) }, start)), 1);
        let later = start + Duration::from_secs(1);
        assert_eq!(statuses(&node.handle(Input::Tick, later)), 0, "nothing is new");
        let roll = Received {
            topic: Topic::Calls,
            from: Some(identity("late", 2).id().clone()),
            boot: Boot(1),
            id: Some("roll-0001".parse().unwrap()),
            expires: Some(later + Duration::from_secs(60)),
            body: Body::Roll(Roll { nodes: BTreeMap::new(), after: None, until: None }),
            job: None,
        };
        node.handle(Input::Received(Box::new(roll)), later);
        assert!(node.wake().is_some_and(|at| at <= later));
        assert_eq!(statuses(&node.handle(Input::Tick, later)), 1);
    }
}
