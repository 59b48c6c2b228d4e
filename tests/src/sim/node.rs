//! A simulated node: the machine the daemon runs, and a shell that keeps the daemon's promises. What a record stands
//! before waits for the disk; a message is acknowledged when all that came of it is on disk; a crash loses the rest.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use foa_capability::Embedding;
use foa_node_core::effect::{Advertised, Effect, Output};
use foa_node_core::journal::{NodeRecord, Stream};
use foa_node_core::status::Role;
use foa_node_core::{Identity, Input, NodeMachine};
use foa_wire::{AgentName, Boot, Time, WorkId};

use super::agents::{Agent, Model};
use super::clock::Clock;
use super::disk::Disk;
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
    /// The embedding models of its cards; it compares vectors of the first.
    pub models: Vec<Model>,
    /// What runs; `None` after a crash.
    pub machine: Option<NodeMachine>,
    /// Counts starts and crashes: what was begun in an earlier life means nothing.
    pub life: u64,
    /// Its start counter.
    pub boot: Boot,
    /// What is on its disk.
    pub disk: Disk,
    /// What time it thinks it is.
    pub clock: Clock,
    /// Whether it stopped for good.
    pub gone: bool,
    /// Its agents' work under way.
    pub thinking: BTreeMap<WorkId, u64>,
    /// When it will be woken.
    pub wake: Option<Time>,
    held: VecDeque<(u64, Due)>,
    synced: u64,
    appended: u64,
    bug: Option<Bug>,
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
    /// What belongs together will be removed from the disk.
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
            models: vec![Model::default()],
            machine: None,
            life: 0,
            boot: Boot(0),
            disk: Disk::default(),
            clock: Clock::default(),
            gone: false,
            thinking: BTreeMap::new(),
            wake: None,
            held: VecDeque::new(),
            synced: 0,
            appended: 0,
            bug,
        }
    }

    /// The model whose vectors it compares.
    #[must_use]
    pub fn model(&self) -> Model {
        self.models.first().copied().unwrap_or_default()
    }

    /// Its agents as they are advertised.
    #[must_use]
    pub fn advertised(&self) -> Vec<Advertised> {
        let of = |model: Model, agent: &Agent| Embedding {
            model: model.id(),
            vectors: agent.profile.texts().iter().map(|text| model.embed(text)).collect(),
        };
        let advertised = |agent: &Agent| Advertised {
            profile: agent.profile.clone(),
            embeddings: self.models.iter().map(|model| of(*model, agent)).collect(),
        };
        self.agents.values().map(advertised).collect()
    }

    /// Everything stops; of what was not synced only the first `kept` writes had reached the disk.
    pub fn crash(&mut self, kept: usize) {
        self.life += 1;
        self.machine = None;
        self.disk.crash(kept);
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
    ) -> Vec<Rc<NodeRecord>> {
        let Some(machine) = &mut self.machine else { return Vec::new() };
        let outputs = machine.handle(input, now);
        self.perform(outputs, ack, acts)
    }

    fn perform(
        &mut self,
        outputs: Vec<Output>,
        ack: Option<Delivery>,
        acts: &mut Vec<Act>,
    ) -> Vec<Rc<NodeRecord>> {
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

    fn effect(&mut self, effect: Effect, acts: &mut Vec<Act>, written: &mut Vec<Rc<NodeRecord>>) {
        match effect {
            Effect::Persist { seq, record } => {
                self.appended = seq;
                let record = Rc::from(record);
                written.push(Rc::clone(&record));
                self.disk.append(seq, record);
            }
            Effect::Forget(stream) => {
                self.disk.forget(stream.clone());
                acts.push(Act::Forgot(stream));
            }
            Effect::Send(_)
            | Effect::Subscribe(_)
            | Effect::Unsubscribe(_)
            | Effect::Clear(_)
            | Effect::Ask { .. }
            | Effect::Abort { .. }
            | Effect::LookUp { .. }
            | Effect::Admit { .. }
            | Effect::Fetch { .. }
            | Effect::Embed { .. } => acts.push(Act::Effect(effect)),
        }
    }

    /// The disk has the first `count` writes that were waiting: what stood behind them may happen. The records among them.
    pub fn synced(&mut self, count: usize, acts: &mut Vec<Act>) -> Vec<Rc<NodeRecord>> {
        let safe = self.disk.sync(count);
        if let Some((last, _)) = safe.last() {
            self.synced = *last;
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
        safe.into_iter().map(|(_, record)| record).collect()
    }

    /// Effects that wait for the disk.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }
}
