//! Between the nodes and the broker: who is connected, what is under way, what arrives.

use std::rc::Rc;

use foa_node_core::status::NodeStatus;
use foa_node_core::{Body, Input};
use foa_wire::topic::Qos;
use foa_wire::{Connection, Filter, Time, Topic};

use super::World;
use super::queue::Event;
use crate::sim::link::{self, Message, RECONNECT};
use crate::sim::mqtt::{Outgoing, Peer};
use crate::sim::random::fold;

impl World {
    pub(super) fn connect(&mut self, peer: Peer, life: u64) {
        let node = self.nodes.get(peer);
        if node.is_some_and(|node| node.machine.is_none() || node.life != life) || self.ports[peer].connected
        {
            return;
        }
        if !self.broker_up || self.ports[peer].cut.any() {
            let wait = RECONNECT + self.random.millis(0, 100);
            return self.after(wait, Event::Connect(peer, life));
        }
        let boot = node.map(|node| (node.boot, node.identity.id().clone()));
        let now = self.shown(peer);
        let port = &mut self.ports[peer];
        port.epoch += 1;
        port.connected = true;
        let connection = Connection(port.epoch);
        let will = boot.map(|(boot, id)| {
            let will = NodeStatus::will(id.clone(), boot, connection, now);
            let sealed = port.sender.seal(Topic::Status(id), Body::Status(will), None, now);
            Rc::new(sealed.expect("a status is small"))
        });
        let kept = self.broker.of(peer).connect(peer, will);
        let sent: Vec<u64> = self.ports[peer].outbox.keys().copied().collect();
        if peer < self.nodes.len() {
            self.input(peer, Input::Connected { connection }, None);
        } else {
            let inbox = Filter::One(Topic::Inbox(self.clients[0].identity.id().clone()));
            let filters = [inbox, Filter::Results, Filter::AllJobEvents];
            let found = self.broker.subscribe(peer, &filters, 0);
            self.carry_down(found);
        }
        for out in sent {
            self.carry_up(peer, out);
        }
        self.carry_down(kept);
    }

    /// What time it is to a node or a client.
    pub(super) fn shown(&self, peer: Peer) -> Time {
        self.nodes.get(peer).map_or(self.now, |node| node.clock.shows(self.now))
    }

    pub(super) fn publish(&mut self, peer: Peer, topic: Topic, body: Body, expires: Option<Time>) {
        let now = self.shown(peer);
        match self.ports[peer].sender.seal(topic, body, expires, now) {
            Ok(message) => self.send(peer, message),
            Err(e) => {
                self.traffic.unsendable += 1;
                self.note(|| format!("a message of {peer} cannot be sent: {e}"));
            }
        }
    }

    pub(super) fn send(&mut self, peer: Peer, message: Message) {
        let message = Rc::new(message);
        let port = &mut self.ports[peer];
        if message.topic.qos() == Qos::AtMostOnce {
            if port.connected && !port.cut.up {
                let arrival = port.up.carry(&message.topic, false, port.weather, self.now, &mut self.random);
                match arrival.at {
                    Some(at) => self.at(at, Event::AtBrokerAgain(peer, message)),
                    None => self.traffic.lost += 1,
                }
            }
            return;
        }
        port.next += 1;
        let out = port.next;
        port.outbox.insert(out, message);
        if port.connected {
            self.carry_up(peer, out);
        }
    }

    pub(super) fn carry_up(&mut self, peer: Peer, out: u64) {
        let port = &mut self.ports[peer];
        let Some(message) = port.outbox.get(&out).cloned() else { return };
        let arrival = port.up.carry(&message.topic, true, port.weather, self.now, &mut self.random);
        let epoch = port.epoch;
        if let Some(at) = arrival.at {
            self.at(at, Event::AtBroker { peer, epoch, out });
        }
        if let Some(at) = arrival.again {
            self.at(at, Event::AtBrokerAgain(peer, message));
        }
    }

    /// A packet reaches the broker, which confirms it; whoever hears nothing sends it again when it connects again.
    pub(super) fn at_broker(&mut self, peer: Peer, epoch: u64, out: u64) {
        let port = &mut self.ports[peer];
        if port.epoch != epoch || !port.connected || port.cut.up {
            return;
        }
        let message = if port.cut.down { port.outbox.get(&out).cloned() } else { port.outbox.remove(&out) };
        if let Some(message) = message {
            self.route(peer, &message);
        }
    }

    pub(super) fn route(&mut self, from: Peer, message: &Rc<Message>) {
        self.traffic.published(message);
        self.fingerprint = fold(self.fingerprint, message.kind.as_bytes());
        if self.record.is_some_and(|kind| kind == message.kind) {
            self.recorded.push(Rc::clone(message));
        }
        if self.trace.is_some() {
            let from = message.from.as_ref().map_or_else(|| "nobody".to_owned(), |f| f.name().to_string());
            let about = message.about();
            self.note(|| format!("{from} -> {} {}{about}", message.topic, message.kind));
        }
        let found = self.broker.publish(from, message);
        self.carry_down(found);
    }

    pub(super) fn carry_down(&mut self, found: Vec<Outgoing>) {
        for outgoing in found {
            let port = &mut self.ports[outgoing.to];
            let epoch = port.epoch;
            let certain = outgoing.delivery.is_some();
            let topic = &outgoing.message.topic;
            let arrival = port.down.carry(topic, certain, port.weather, self.now, &mut self.random);
            if let Some(at) = arrival.again {
                let twice = Outgoing { delivery: None, ..outgoing.clone() };
                self.at(at, Event::Deliver { epoch, outgoing: twice });
            }
            match arrival.at {
                Some(at) => {
                    let at = self.ports[outgoing.to].take(at);
                    self.at(at, Event::Deliver { epoch, outgoing });
                }
                None => self.traffic.lost += 1,
            }
        }
    }

    pub(super) fn deliver(&mut self, epoch: u64, outgoing: &Outgoing) {
        let to = outgoing.to;
        let port = &self.ports[to];
        let taken = outgoing.delivery.is_some_and(|delivery| !self.broker.at(to).waits_for(to, delivery));
        if port.epoch != epoch || !port.connected || port.cut.down || taken {
            return;
        }
        self.traffic.delivered += 1;
        if to >= self.nodes.len() {
            if let Some(delivery) = outgoing.delivery {
                self.broker.acknowledge(to, delivery);
            }
            return self.told(to - self.nodes.len(), &outgoing.message);
        }
        match link::open(&outgoing.message, self.nodes[to].identity.id(), self.shown(to)) {
            Some(input) => {
                let input = if self.options.bug.is_some() { self.mistaken(to, input) } else { input };
                self.input(to, input, outgoing.delivery);
            }
            None => {
                if let Some(delivery) = outgoing.delivery {
                    self.broker.acknowledge(to, delivery);
                }
            }
        }
    }
}
