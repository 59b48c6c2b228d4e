//! A broker as brokers are: filters, retained copies that a wildcard gets only a hundred of, sessions that outlive a
//! connection but not the broker, wills. It decides who gets what; when it arrives is the [`super::link`]'s.

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
    wild: BTreeSet<(Filter, Peer)>,
    deliveries: Delivery,
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
                } else {
                    self.wild.insert((filter.clone(), peer));
                }
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
        for filter in filters {
            if let Some(session) = self.sessions.get_mut(&peer) {
                session.filters.remove(filter);
            }
            match filter {
                Filter::One(topic) => {
                    if let Some(peers) = self.exact.get_mut(topic) {
                        peers.remove(&peer);
                        if peers.is_empty() {
                            self.exact.remove(topic);
                        }
                    }
                }
                Filter::TasksOf(node) => {
                    self.tasks.remove(node);
                }
                Filter::Cards
                | Filter::CardUpdates
                | Filter::Statuses
                | Filter::Controls
                | Filter::AllJobEvents
                | Filter::Logs
                | Filter::Results
                | Filter::Everything => {
                    self.wild.remove(&(filter.clone(), peer));
                }
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
        let mut to: BTreeSet<Peer> = self.exact.get(topic).cloned().unwrap_or_default();
        if let Topic::Tasks(agent) = topic {
            to.extend(self.tasks.get(agent.node()).into_iter().flatten());
        }
        to.extend(self.wild.iter().filter(|(filter, _)| filter.matches(topic)).map(|(_, peer)| peer));
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
        *self = Self { deliveries: self.deliveries, ..Self::default() };
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

    fn enqueue(&mut self, peer: Peer, message: &Rc<Message>) -> Option<Outgoing> {
        let session = self.sessions.get_mut(&peer)?;
        let delivery = match message.topic.qos() {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => {
                self.deliveries += 1;
                session.unacknowledged.insert(self.deliveries, Rc::clone(message));
                Some(self.deliveries)
            }
        };
        session.connected.then(|| Outgoing { to: peer, delivery, message: Rc::clone(message) })
    }
}
