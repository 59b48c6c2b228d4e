//! A node's shell: what the daemon does around the same machine, with a simulated disk, clock and agents.

use std::collections::BTreeSet;

use foa_node_core::admission::Limits;
use foa_node_core::effect::{Effect, NoAnswer, Send};
use foa_node_core::journal::{NodeRecord, Stream};
use foa_node_core::shards::Sharding;
use foa_node_core::{Body, Config, Input, NodeMachine};
use foa_wire::{AgentId, Boot, JobId};
use foa_workflows::cluster::channel::Entry;
use foa_workflows::request::WorkOutcome;
use foa_workflows::work::Ask;

use super::queue::{Answered, Event};
use super::{MAX_JOBS, SPINS, World};
use crate::sim::agents::Manner;
use crate::sim::invariants::{PER_AGENT, Queues};
use crate::sim::link::Sender;
use crate::sim::mqtt::Delivery;
use crate::sim::node::Act;
use crate::sim::random::fnv;

impl World {
    pub(super) fn begin(&mut self, n: usize) {
        let coordinators = self.nodes.iter().take(self.options.coordinators);
        let fixed = coordinators.filter(|_| self.options.fixed).map(|c| c.identity.id().clone()).collect();
        let node = &mut self.nodes[n];
        if node.machine.is_some() || node.gone {
            return;
        }
        let shown = node.clock.shows(self.now);
        node.life += 1;
        node.boot = Boot((node.boot.0 + 1).max(shown.as_millis() / 1000));
        let config = Config {
            roles: node.roles.iter().copied().collect(),
            operators: BTreeSet::new(),
            coordinators: fixed,
            accept_unsigned: true,
            model: node.model().id(),
            version: "sim".to_owned(),
            limits: Limits { max_jobs: MAX_JOBS, max_running: MAX_JOBS, unsigned_budget: None },
            max_queue: PER_AGENT,
            sharding: Sharding { above: self.options.max_cards, replicas: 3 },
        };
        let journal = node.disk.read();
        let id = node.identity.id().clone();
        let (boot, life, identity) = (node.boot, node.life, node.identity.clone());
        let records = journal.iter().map(|record| (**record).clone()).collect();
        let machine = NodeMachine::new(identity.clone(), config, boot, records);
        let broken = machine.broken_logs().clone();
        node.machine = Some(machine);
        let advertised = node.advertised();
        for (job, why) in broken {
            self.found("a journal can be taken up", format!("{job} at {id}: {why}"));
        }
        let found = self.invariants.started(n, &journal);
        self.all_found(found);
        let (encode, bytes) = (self.options.encode, self.options.bytes);
        self.ports[n].sender = Sender::new(identity, boot, encode, bytes);
        self.note(|| format!("{id} starts as {boot} with {} records", journal.len()));
        self.input(n, Input::Advertise(advertised), None);
        let wait = self.random.millis(5, 50);
        self.after(wait, Event::Connect(n, life));
    }

    pub(super) fn input(&mut self, n: usize, input: Input, ack: Option<Delivery>) {
        let mut acts = Vec::new();
        let shown = self.nodes[n].clock.shows(self.now);
        let mut touched = about(&input);
        let written = self.nodes[n].handle(input, ack, shown, &mut acts);
        for record in &written {
            let found = self.invariants.wrote(n, record);
            self.all_found(found);
            if let NodeRecord::Job { record } = &**record {
                touched.insert(record.job.clone());
            }
        }
        for job in touched {
            let Some(machine) = &self.nodes[n].machine else { break };
            let found = self.invariants.looked(n, machine, &job);
            self.all_found(found);
        }
        self.act(n, acts);
        self.settle(n);
    }

    /// Sees to it that the disk is synced and the node woken.
    pub(super) fn settle(&mut self, n: usize) {
        let most = self.options.disk_ms;
        let wait = self.random.millis(most / 10, most);
        let longest = self.broker.at(n).queue_of(n);
        let now = self.now;
        let node = &mut self.nodes[n];
        let life = node.life;
        let Some(machine) = &node.machine else { return };
        let backlog = machine.backlog();
        let queues = Queues {
            waiting: backlog.waiting,
            agents: node.agents.len(),
            submissions: backlog.submissions,
            held: node.held(),
            outbox: self.ports[n].outbox.len(),
            broker: longest,
        };
        let wake = machine.wake();
        let sync = (node.disk.pending() > 0 && !node.disk.syncing).then(|| node.disk.pending());
        node.disk.syncing |= sync.is_some();
        let woken = wake.filter(|_| wake != node.wake);
        node.wake = wake;
        let clock = node.clock;
        if let Some(count) = sync {
            self.after(wait, Event::Synced { node: n, life, count });
        }
        if let Some(at) = woken {
            self.at(clock.when(at).max(now), Event::Wake { node: n, life, at });
        }
        let found = self.invariants.queues(queues);
        self.all_found(found);
    }

    /// A disk has synced, or could not.
    pub(super) fn synced(&mut self, n: usize, count: usize) {
        let disk = &self.nodes[n].disk;
        if disk.breaks || disk.full {
            let why = if disk.full { "is full" } else { "cannot be synced" };
            let id = self.nodes[n].identity.id().clone();
            self.note(|| format!("the disk of {id} {why}"));
            return self.stop(n);
        }
        let mut acts = Vec::new();
        let safe = self.nodes[n].synced(count, &mut acts);
        if let Some(machine) = &self.nodes[n].machine {
            let found = self.invariants.synced(n, machine, &safe);
            self.all_found(found);
        }
        self.act(n, acts);
        self.settle(n);
    }

    pub(super) fn woken(&mut self, n: usize, life: u64, at: foa_wire::Time) {
        if self.nodes[n].life != life || self.nodes[n].wake != Some(at) {
            return;
        }
        let clock = self.nodes[n].clock;
        if clock.shows(self.now) < at {
            // It was set back meanwhile.
            return self.at(clock.when(at), Event::Wake { node: n, life, at });
        }
        self.nodes[n].wake = None;
        self.spin(n);
        self.input(n, Input::Tick, None);
    }

    /// A node that is woken again and again at one moment would burn a processor.
    fn spin(&mut self, n: usize) {
        let (node, at, times) = self.spinning;
        let times = if (node, at) == (n, self.now) { times + 1 } else { 1 };
        self.spinning = (n, self.now, times);
        if times > SPINS {
            let id = self.nodes[n].identity.id().to_string();
            self.found("no node spins", format!("{id} wants to be woken again and again at one moment"));
        }
    }

    fn act(&mut self, n: usize, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Acknowledge(delivery) => {
                    if !self.ports[n].cut.up {
                        self.broker.acknowledge(n, delivery);
                    }
                }
                Act::Forgot(Stream::Job(job)) => self.invariants.forgot(n, &job),
                Act::Forgot(Stream::Node | Stream::Work(_)) => {}
                Act::Effect(effect) => self.effect(n, effect),
            }
        }
    }

    fn effect(&mut self, n: usize, effect: Effect) {
        match effect {
            Effect::Send(send) => {
                let Send { topic, expires, body } = *send;
                let body = self.tampered(n, body);
                self.publish(n, topic, body, expires);
            }
            Effect::Subscribe(filters) => {
                if self.ports[n].connected {
                    let turn = self.random.below(1000);
                    let found = self.broker.subscribe(n, &filters, turn);
                    self.carry_down(found);
                }
            }
            Effect::Unsubscribe(filters) => self.broker.of(n).unsubscribe(n, &filters),
            Effect::Clear(topic) => {
                let message = self.ports[n].sender.empty(topic);
                self.send(n, message);
            }
            Effect::Ask { work, agent, ask, deadline, cap: _ } => {
                let node = &mut self.nodes[n];
                let Some(scripted) = node.agents.get(&agent) else {
                    return self.found("asked agents exist", format!("nobody is called {agent}"));
                };
                let thought = scripted.think(&work, &ask, self.options.seed);
                let writes = scripted.manner == Manner::Writing && matches!(*ask, Ask::Draft { .. });
                let number = self.queue.sequence();
                let (life, deadline) = (node.life, node.clock.when(deadline).max(self.now));
                node.thinking.insert(work.clone(), number);
                if writes {
                    let id = AgentId::new(agent, node.identity.id().clone());
                    let found = self.invariants.asked(&id, &work);
                    self.all_found(found);
                }
                let done = self.now + thought.takes;
                let (at, outcome) = match thought.outcome {
                    Some(outcome) if done <= deadline => (done, outcome),
                    Some(_) | None => {
                        let detail = "the agent did not answer before the deadline".to_owned();
                        (deadline, Err(NoAnswer { reason: "timeout".to_owned(), detail }))
                    }
                };
                let usage = thought.usage;
                let answered = Answered { node: n, life, work, thought: number, outcome, usage };
                self.at(at, Event::Answered(Box::new(answered)));
            }
            Effect::Abort { work } => {
                self.nodes[n].thinking.remove(&work);
            }
            Effect::Embed { id, texts } => {
                let wait = self.random.millis(4, 30);
                let life = self.nodes[n].life;
                self.after(wait, Event::Embedded { node: n, life, id, texts });
            }
            Effect::LookUp { .. } | Effect::Admit { .. } | Effect::Fetch { .. } => {
                unreachable!("no agent of the simulator answers with an artifact, and no job comes with one")
            }
            Effect::Persist { .. } | Effect::Forget(_) => {
                unreachable!("the node's shell keeps what is for the disk")
            }
        }
    }

    /// What a lying agent's node makes of a reply: an entry of another round.
    fn tampered(&self, n: usize, body: Body) -> Body {
        let Body::WorkReply(mut reply) = body else { return body };
        let lies = self.nodes[n].agents.get(reply.agent.agent()).is_some_and(|a| a.manner == Manner::Lying);
        if let (true, WorkOutcome::Posted { entry }) = (lies, &mut reply.outcome)
            && fnv(reply.work.to_string().as_bytes()).is_multiple_of(3)
        {
            let mut content = entry.content().clone();
            content.round += 7;
            **entry = Entry::sign(content, self.nodes[n].identity.key());
        }
        Body::WorkReply(reply)
    }

    /// A node stops at once. A disk writes in order: some of what was not synced may be there all the same.
    pub(super) fn stop(&mut self, n: usize) {
        if self.nodes[n].machine.is_none() {
            return;
        }
        let kept = self.random.below(self.nodes[n].disk.pending() + 1);
        self.nodes[n].crash(kept);
        self.ports[n].connected = false;
        self.ports[n].outbox.clear();
        let id = self.nodes[n].identity.id().clone();
        self.note(|| format!("{id} stops"));
        if self.broker_up {
            let found = self.broker.of(n).disconnect(n, false);
            self.carry_down(found);
        }
    }
}

/// The job whose log a message is about.
fn about(input: &Input) -> BTreeSet<JobId> {
    match input {
        Input::Received(received) => match &received.body {
            Body::Replica(message) => BTreeSet::from([message.job.clone()]),
            _ => BTreeSet::new(),
        },
        _ => BTreeSet::new(),
    }
}
