//! A simulated node: the machine the daemon runs, and a shell that keeps the daemon's promises. What a record stands
//! before waits for the disk; a message is acknowledged when all that came of it is on disk; a crash loses the rest.

use std::collections::{BTreeMap, VecDeque};

use foa_node_core::effect::{Advertised, Effect, Output};
use foa_node_core::journal::{NodeRecord, Stream};
use foa_node_core::status::Role;
use foa_node_core::{Identity, Input, NodeMachine};
use foa_wire::{AgentName, Boot, Time, WorkId};

use super::agents::{self, Agent};
use super::link::{Lanes, Message, Sender};
use super::mqtt::Delivery;
use super::options::Bug;

/// A node and its machine's surroundings.
#[derive(Debug)]
pub struct Node {
    /// Who it is.
    pub identity: Identity,
    /// What it is for.
    pub roles: Vec<Role>,
    /// Its agents.
    pub agents: BTreeMap<AgentName, Agent>,
    /// What runs; `None` after a crash.
    pub machine: Option<NodeMachine>,
    /// Counts starts and crashes: what was begun in an earlier life means nothing.
    pub life: u64,
    /// Its start counter.
    pub boot: Boot,
    /// What is on its disk.
    pub disk: Disk,
    /// Its agents' work under way.
    pub thinking: BTreeMap<WorkId, u64>,
    /// When it will be woken.
    pub wake: Option<Time>,
    held: VecDeque<(u64, Due)>,
    synced: u64,
    appended: u64,
    bug: Option<Bug>,
}

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: BTreeMap<Stream, Vec<NodeRecord>>,
    pending: Vec<Write>,
    /// Whether a sync is under way.
    pub syncing: bool,
    /// How often it was synced.
    pub syncs: u64,
}

#[derive(Clone, Debug)]
enum Write {
    Record(u64, Box<NodeRecord>),
    Forget(Stream),
}

#[derive(Debug)]
enum Due {
    Effect(Effect),
    Acknowledge(Delivery),
}

/// What a shell does once it may.
#[derive(Debug)]
pub enum Act {
    /// Anything but the journal.
    Effect(Effect),
    /// A job's records will be removed from the disk.
    Forgot(Stream),
    /// The message needs no repeat.
    Acknowledge(Delivery),
}

impl Node {
    /// A node that was never started.
    #[must_use]
    pub fn new(identity: Identity, roles: Vec<Role>, agents: Vec<Agent>, bug: Option<Bug>) -> Self {
        Self {
            identity,
            roles,
            agents: agents.into_iter().map(|a| (a.profile.name.clone(), a)).collect(),
            machine: None,
            life: 0,
            boot: Boot(0),
            disk: Disk::default(),
            thinking: BTreeMap::new(),
            wake: None,
            held: VecDeque::new(),
            synced: 0,
            appended: 0,
            bug,
        }
    }

    /// Its agents as they are advertised.
    #[must_use]
    pub fn advertised(&self) -> Vec<Advertised> {
        let advertised = |agent: &Agent| Advertised {
            profile: agent.profile.clone(),
            vectors: agent.profile.texts().iter().map(|text| agents::embed(text)).collect(),
        };
        self.agents.values().map(advertised).collect()
    }

    /// Everything stops; what was not synced is lost.
    pub fn crash(&mut self) {
        self.life += 1;
        self.machine = None;
        self.disk.pending.clear();
        self.disk.syncing = false;
        self.held.clear();
        self.thinking.clear();
        self.wake = None;
        self.synced = 0;
        self.appended = 0;
    }

    /// Feeds the machine and sorts what it wants into what may happen now and what waits for the disk.
    pub fn handle(
        &mut self,
        input: Input,
        ack: Option<Delivery>,
        now: Time,
        acts: &mut Vec<Act>,
    ) -> Vec<NodeRecord> {
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let outputs = machine.handle(input, now);
        self.perform(outputs, ack, acts)
    }

    fn perform(
        &mut self,
        outputs: Vec<Output>,
        ack: Option<Delivery>,
        acts: &mut Vec<Act>,
    ) -> Vec<NodeRecord> {
        let mut written = Vec::new();
        let early = self.bug == Some(Bug::SendBeforeSync);
        for Output { after, effect } in outputs {
            match after.filter(|seq| *seq > self.synced && !early) {
                Some(after) => self.held.push_back((after, Due::Effect(effect))),
                None => self.effect(effect, acts, &mut written),
            }
        }
        if let Some(delivery) = ack {
            if self.appended > self.synced && self.bug != Some(Bug::AckBeforeSync) {
                self.held.push_back((self.appended, Due::Acknowledge(delivery)));
            } else {
                acts.push(Act::Acknowledge(delivery));
            }
        }
        written
    }

    fn effect(&mut self, effect: Effect, acts: &mut Vec<Act>, written: &mut Vec<NodeRecord>) {
        match effect {
            Effect::Persist { seq, record } => {
                self.appended = seq;
                written.push((*record).clone());
                self.disk.pending.push(Write::Record(seq, record));
            }
            Effect::Forget(stream) => {
                self.disk.pending.push(Write::Forget(stream.clone()));
                acts.push(Act::Forgot(stream));
            }
            Effect::Send(_)
            | Effect::Subscribe(_)
            | Effect::Unsubscribe(_)
            | Effect::Clear(_)
            | Effect::Ask { .. }
            | Effect::Abort { .. }
            | Effect::Embed { .. } => acts.push(Act::Effect(effect)),
        }
    }

    /// The disk has the first `count` writes that were waiting: what stood behind them may happen.
    pub fn synced(&mut self, count: usize, acts: &mut Vec<Act>) {
        self.disk.syncing = false;
        self.disk.syncs += 1;
        if let Some(last) = self.disk.sync(count) {
            self.synced = last;
        }
        let mut written = Vec::new();
        while self.held.front().is_some_and(|(after, _)| *after <= self.synced) {
            match self.held.pop_front() {
                Some((_, Due::Effect(effect))) => self.effect(effect, acts, &mut written),
                Some((_, Due::Acknowledge(delivery))) => acts.push(Act::Acknowledge(delivery)),
                None => {}
            }
        }
        debug_assert!(written.is_empty(), "records never wait for records");
    }

    /// Effects that wait for the disk.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

impl Disk {
    /// What a start finds.
    #[must_use]
    pub fn read(&self) -> Vec<NodeRecord> {
        self.durable.values().flatten().cloned().collect()
    }

    /// Writes that are not on disk yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    fn sync(&mut self, count: usize) -> Option<u64> {
        let mut last = None;
        let mut forgotten = Vec::new();
        for write in self.pending.drain(..count) {
            match write {
                Write::Record(seq, record) => {
                    last = Some(seq);
                    self.durable.entry(record.stream()).or_default().push(*record);
                }
                Write::Forget(stream) => forgotten.push(stream),
            }
        }
        for stream in forgotten {
            self.durable.remove(&stream);
        }
        last
    }
}

/// A connection to the broker, of a node or a client.
#[derive(Debug)]
pub struct Port {
    /// Signs what it says.
    pub sender: Sender,
    /// Counts connections; what travels on an earlier one is lost with it.
    pub epoch: u64,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it cannot reach the broker, though neither may know yet.
    pub cut: bool,
    /// What the broker has not confirmed.
    pub outbox: BTreeMap<u64, std::rc::Rc<Message>>,
    /// Numbers the outbox.
    pub next: u64,
    /// To the broker.
    pub up: Lanes,
    /// From the broker.
    pub down: Lanes,
}

impl Port {
    /// A port that was never connected.
    #[must_use]
    pub fn new(sender: Sender) -> Self {
        Self {
            sender,
            epoch: 0,
            connected: false,
            cut: false,
            outbox: BTreeMap::new(),
            next: 0,
            up: Lanes::default(),
            down: Lanes::default(),
        }
    }
}
