//! A broker as brokers are: filters, retained copies that a wildcard gets only a hundred of, sessions that outlive a
//! connection but not the broker, wills, queues with an end. It decides who gets what; when it arrives is the
//! [`super::link`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use foa_wire::topic::Qos;
use foa_wire::{Filter, NodeId, Topic};

use super::link::Message;

/// Retained messages that one wildcard subscription is given, as measured with rumqttd.
const RETAINED_FOR_A_WILDCARD: usize = 100;

/// A client of the broker, by number.
pub type Peer = usize;

/// A message on its way to a client; acknowledged by this number.
pub type Delivery = u64;

/// The broker.
#[derive(Debug, Default)]
pub struct Broker {
    sessions: BTreeMap<Peer, Session>,
    retained: BTreeMap<Topic, Rc<Message>>,
    exact: BTreeMap<Topic, BTreeSet<Peer>>,
    tasks: BTreeMap<NodeId, BTreeSet<Peer>>,
    wild: BTreeMap<Filter, BTreeSet<Peer>>,
    deliveries: Delivery,
    /// Messages kept for one client, at most; what comes then is dropped, as Mosquitto does.
    most: Option<usize>,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Session {
    connected: bool,
    filters: BTreeSet<Filter>,
    unacknowledged: BTreeMap<Delivery, Rc<Message>>,
    will: Option<Rc<Message>>,
}

/// A message to bring to a client.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// To whom.
    pub to: Peer,
    /// Its number; QoS 0 has none.
    pub delivery: Option<Delivery>,
    /// What.
    pub message: Rc<Message>,
}

impl Broker {
    /// A broker that keeps so many messages for one client.
    #[must_use]
    pub fn new(most: Option<usize>) -> Self {
        Self { most, ..Self::default() }
    }

    /// A client connects and gets what its session kept for it.
    pub fn connect(&mut self, peer: Peer, will: Option<Rc<Message>>) -> Vec<Outgoing> {
        let session = self.sessions.entry(peer).or_default();
        session.connected = true;
        session.will = will;
        self.kept(peer)
    }

    /// A client is gone. Its will goes out unless it said goodbye.
    pub fn disconnect(&mut self, peer: Peer, goodbye: bool) -> Vec<Outgoing> {
        let Some(session) = self.sessions.get_mut(&peer) else { return Vec::new() };
        session.connected = false;
        match session.will.take() {
            Some(will) if !goodbye => self.publish(&will),
            Some(_) | None => Vec::new(),
        }
    }

    /// A client's session is over: its filters and what waited for it.
    pub fn end_session(&mut self, peer: Peer) {
        let Some(session) = self.sessions.get_mut(&peer) else { return };
        let filters: Vec<Filter> = std::mem::take(&mut session.filters).into_iter().collect();
        self.unsubscribe(peer, &filters);
        self.sessions.remove(&peer);
    }

    /// A client wants what matches; it is given what is retained for filters it did not have.
    pub fn subscribe(&mut self, peer: Peer, filters: &[Filter], turn: usize) -> Vec<Outgoing> {
        let mut found: Vec<Rc<Message>> = Vec::new();
        for filter in filters {
            let session = self.sessions.entry(peer).or_default();
            if !session.filters.insert(filter.clone()) {
                continue;
            }
            if let Filter::One(topic) = filter {
                self.exact.entry(topic.clone()).or_default().insert(peer);
                found.extend(self.retained.get(topic).cloned());
            } else {
                if let Filter::TasksOf(node) = filter {
                    self.tasks.entry(node.clone()).or_default().insert(peer);
                    continue;
                }
                self.wild.entry(filter.clone()).or_default().insert(peer);
                let matching: Vec<&Rc<Message>> =
                    self.retained.iter().filter(|(topic, _)| filter.matches(topic)).map(|(_, m)| m).collect();
                // Which hundred is up to the broker.
                let from = if matching.is_empty() { 0 } else { turn % matching.len() };
                let some =
                    matching.iter().cycle().skip(from).take(RETAINED_FOR_A_WILDCARD.min(matching.len()));
                found.extend(some.map(|m| Rc::clone(m)));
            }
        }
        found.iter().filter_map(|message| self.enqueue(peer, message)).collect()
    }

    /// A client no longer wants it.
    pub fn unsubscribe(&mut self, peer: Peer, filters: &[Filter]) {
        fn leave<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Peer>>, key: &K, peer: Peer) {
            if let Some(peers) = map.get_mut(key) {
                peers.remove(&peer);
                if peers.is_empty() {
                    map.remove(key);
                }
            }
        }
        for filter in filters {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.filters.remove(filter);
            }
            match filter {
                Filter::One(topic) => leave(&mut self.exact, topic, peer),
                Filter::TasksOf(node) => leave(&mut self.tasks, node, peer),
                Filter::Cards
                | Filter::CardUpdates
                | Filter::Statuses
                | Filter::Controls
                | Filter::AllJobEvents
                | Filter::Results
                | Filter::Everything => leave(&mut self.wild, filter, peer),
            }
        }
    }

    /// A message reached the broker.
    pub fn publish(&mut self, message: &Rc<Message>) -> Vec<Outgoing> {
        let topic = &message.topic;
        if topic.retained() {
            if message.payload.is_none() {
                self.retained.remove(topic);
            } else {
                self.retained.insert(topic.clone(), Rc::clone(message));
            }
        }
        let mut to: Vec<Peer> = self.exact.get(topic).into_iter().flatten().copied().collect();
        if let Topic::Tasks(agent) = topic {
            to.extend(self.tasks.get(agent.node()).into_iter().flatten());
        }
        let wild = self.wild.iter().filter(|(filter, _)| filter.matches(topic));
        to.extend(wild.flat_map(|(_, peers)| peers));
        to.sort_unstable();
        to.dedup();
        to.into_iter().filter_map(|peer| self.enqueue(peer, message)).collect()
    }

    /// A client has taken a message for good.
    pub fn acknowledge(&mut self, peer: Peer, delivery: Delivery) {
        if let Some(session) = self.sessions.get_mut(&peer) {
            session.unacknowledged.remove(&delivery);
        }
    }

    /// Whether a message still waits for this client's acknowledgement.
    #[must_use]
    pub fn waits_for(&self, peer: Peer, delivery: Delivery) -> bool {
        self.sessions.get(&peer).is_some_and(|s| s.unacknowledged.contains_key(&delivery))
    }

    /// The broker stops and forgets everything.
    pub fn forget(&mut self) {
        *self = Self { deliveries: self.deliveries, dropped: self.dropped, ..Self::new(self.most) };
    }

    /// The broker stops; what it knew it knows again, but for who is there and their wills.
    pub fn stop(&mut self) {
        for session in self.sessions.values_mut() {
            session.connected = false;
            session.will = None;
        }
    }

    /// Gives these clients to another half of the cluster, which has the same retained messages.
    pub fn split_off(&mut self, peers: &BTreeSet<Peer>) -> Self {
        let mut other =
            Self { retained: self.retained.clone(), deliveries: self.deliveries, ..Self::new(self.most) };
        for peer in peers {
            let Some(session) = self.sessions.get(peer) else { continue };
            let filters: Vec<Filter> = session.filters.iter().cloned().collect();
            for filter in &filters {
                match filter {
                    Filter::One(topic) => other.exact.entry(topic.clone()).or_default().insert(*peer),
                    Filter::TasksOf(node) => other.tasks.entry(node.clone()).or_default().insert(*peer),
                    wild => other.wild.entry(wild.clone()).or_default().insert(*peer),
                };
            }
            self.unsubscribe(*peer, &filters);
            if let Some(session) = self.sessions.remove(peer) {
                other.sessions.insert(*peer, Session { filters: filters.into_iter().collect(), ..session });
            }
        }
        other
    }

    /// What waits for this client.
    #[must_use]
    pub fn kept(&self, peer: Peer) -> Vec<Outgoing> {
        let kept = self.sessions.get(&peer).into_iter().flat_map(|s| &s.unacknowledged);
        kept.map(|(delivery, message)| Outgoing {
            to: peer,
            delivery: Some(*delivery),
            message: Rc::clone(message),
        })
        .collect()
    }

    /// How many messages wait for this client.
    #[must_use]
    pub fn queue_of(&self, peer: Peer) -> usize {
        self.sessions.get(&peer).map_or(0, |s| s.unacknowledged.len())
    }

    /// Messages dropped because too many waited.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn enqueue(&mut self, peer: Peer, message: &Rc<Message>) -> Option<Outgoing> {
        let session = self.sessions.get_mut(&peer)?;
        let delivery = match message.topic.qos() {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => {
                if self.most.is_some_and(|most| session.unacknowledged.len() >= most) {
                    self.dropped += 1;
                    return None;
                }
                self.deliveries += 1;
                session.unacknowledged.insert(self.deliveries, Rc::clone(message));
                Some(self.deliveries)
            }
        };
        session.connected.then(|| Outgoing { to: peer, delivery, message: Rc::clone(message) })
    }
}
