//! The simulated federation: one clock, one queue of events, the machines of all nodes. Everything happens in the order
//! of (time, sequence), in one thread.

mod bugs;
mod build;
mod mishaps;
mod queue;
mod shell;
mod submitter;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use foa_node_core::{Body, Input, NodeMachine};
use foa_wire::{JobId, Time, Topic};
use foa_workflows::job::Control;

use self::queue::{Answered, Event, Queue};
use super::agents::Model;
use super::client::{Client, Job};
use super::cluster::Cluster;
use super::faults::FaultKind;
use super::invariants::{self, Invariants, Violation};
use super::link::Message;
use super::node::Node;
use super::options::Options;
use super::port::Port;
use super::random::{Random, fold};
use super::report::{Report, Traffic};

/// When a simulation begins: some day in 2026, so that times look like times.
const START: Time = Time::from_millis(1_790_000_000_000);
/// When the first job is submitted: the federation has found itself by then.
const FIRST_JOB: Duration = Duration::from_secs(3);
/// How soon the broker and a client notice that they cannot reach each other.
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// After the last fault all directories must be equal within six beats of the anti-entropy (a beat is at most 11 s).
/// Clocks that were set back add what they were set back by.
pub const HEALED_WITHIN: Duration = Duration::from_secs(66);
/// How long a submitter waits for "accepted" before it asks again.
const REPEAT: Duration = Duration::from_secs(6);
/// A watcher asks for what it missed each so many seconds.
const REPLAY_EVERY: u64 = 4;
/// Ticks at one moment before a node counts as spinning.
const SPINS: u32 = 20;
/// Jobs one node may hold.
const MAX_JOBS: usize = 10_000;

/// A federation in a box.
#[derive(Debug)]
pub struct World {
    options: Options,
    now: Time,
    queue: Queue,
    random: Random,
    broker: Cluster,
    broker_up: bool,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    ports: Vec<Port>,
    invariants: Invariants,
    violations: Vec<Violation>,
    traffic: Traffic,
    quiet_after: Time,
    set_back: Duration,
    equal_at: Option<Time>,
    looks: u64,
    spinning: (usize, Time, u32),
    fingerprint: u64,
    trace: Option<Vec<String>>,
    recorded: Vec<Rc<Message>>,
    record: Option<&'static str>,
    to_the_end: bool,
    over: bool,
}

impl World {
    /// Keeps a line for everything that happens.
    pub fn trace(&mut self) {
        self.trace = Some(Vec::new());
    }

    /// The lines kept since the last call.
    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Keeps every message of this type that reaches the broker, to be looked at or sent again.
    pub fn record(&mut self, kind: &'static str) {
        self.record = Some(kind);
    }

    /// The messages kept.
    #[must_use]
    pub fn recorded(&self) -> &[Rc<Message>] {
        &self.recorded
    }

    /// Runs until all is over: every job ended, every fault healed; or an invariant fails; or time is up.
    pub fn run(&mut self) -> Report {
        self.run_watched(|_| {})
    }

    /// The same; shows itself every simulated second.
    pub fn run_watched(&mut self, mut watch: impl FnMut(&Self)) -> Report {
        self.to_the_end = true;
        let mut next = self.now;
        while !self.over && self.step() {
            if self.now >= next {
                watch(self);
                next = self.now + Duration::from_secs(1);
            }
        }
        self.report()
    }

    /// Runs for a while of simulated time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while !self.over && self.queue.next_at().is_some_and(|at| at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Runs until this is true of the world, for at most `most`; whether it came true.
    pub fn run_until(&mut self, most: Duration, mut wanted: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now + most;
        while !wanted(self) {
            let goes_on = self.queue.next_at().is_some_and(|at| at <= until);
            if self.over || !goes_on || !self.step() {
                return wanted(self);
            }
        }
        true
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report::of(self, &self.traffic, self.fingerprint, self.violations.clone())
    }

    /// The options it was made from.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The nodes, coordinators first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    /// One node.
    #[must_use]
    pub fn node(&self, n: usize) -> &Node {
        &self.nodes[n]
    }

    /// The submitters.
    #[must_use]
    pub fn clients(&self) -> &[Client] {
        &self.clients
    }

    /// What the submitter knows of a job.
    #[must_use]
    pub fn job(&self, job: &JobId) -> &Job {
        &self.clients[0].jobs[job]
    }

    /// Simulated time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.now.since(START)
    }

    /// The simulated time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Messages the broker dropped because too many waited for one client.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.broker.dropped()
    }

    /// Something goes wrong now.
    pub fn suffer(&mut self, kind: FaultKind, node: usize, lasting: Duration) {
        self.fault(kind, node, lasting);
    }

    /// Stops a node at once and starts it again after a while.
    pub fn crash(&mut self, node: usize, lasting: Duration) {
        self.fault(FaultKind::Crash, node, lasting);
    }

    /// Stops a node at once, until it is started by hand.
    pub fn kill(&mut self, node: usize) {
        self.stop(node);
    }

    /// Starts a node that was killed with other embedding models than before.
    pub fn start_with(&mut self, node: usize, models: &[Model]) {
        self.nodes[node].models = models.to_vec();
        self.start(node);
    }

    /// Starts a node that was killed.
    pub fn start(&mut self, node: usize) {
        self.event(Event::Start(node));
    }

    /// Stops the broker, which forgets everything, for a while.
    pub fn restart_broker(&mut self, lasting: Duration) {
        self.fault(FaultKind::Broker, 0, lasting);
    }

    /// Has a node take nothing new.
    pub fn drain(&mut self, node: usize) {
        self.input(node, Input::Drain, None);
    }

    /// Brings a message to the broker, from whoever it says it is from.
    pub fn inject(&mut self, message: Message) {
        self.route(0, &Rc::new(message));
    }

    /// A node's own key and counters, to say something in its name.
    pub fn speak_as(&mut self, node: usize, topic: Topic, body: Body, expires: Option<Time>) {
        let now = self.now;
        let sealed =
            self.ports[node].sender.seal(topic, body, expires, now).expect("a test says what can be sent");
        self.inject(sealed);
    }

    /// The submitter cancels a job.
    pub fn cancel(&mut self, job: &JobId) {
        let peer = self.nodes.len();
        let expires = Some(self.now + Duration::from_secs(300));
        self.publish(peer, Topic::JobControl(job.clone()), Body::JobControl(Control::Cancel), expires);
    }

    fn after(&mut self, wait: Duration, event: Event) {
        self.at(self.now + wait, event);
    }

    fn at(&mut self, at: Time, event: Event) {
        self.queue.push(at.max(self.now), event);
    }

    /// Does what comes next; `false` when nothing does.
    fn step(&mut self) -> bool {
        let Some((at, event)) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.traffic.events += 1;
        self.fingerprint = fold(self.fingerprint, &self.now.as_millis().to_le_bytes());
        self.fingerprint = fold(self.fingerprint, event.name().as_bytes());
        self.event(event);
        if !self.violations.is_empty() {
            self.over = true;
        }
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connect(peer, life) => self.connect(peer, life),
            Event::AtBroker { peer, epoch, out } => self.at_broker(peer, epoch, out),
            Event::AtBrokerAgain(peer, message) => {
                if self.broker_up && !self.ports[peer].cut.up {
                    self.route(peer, &message);
                }
            }
            Event::Deliver { epoch, outgoing } => self.deliver(epoch, &outgoing),
            Event::Notice { peer, epoch } => {
                let port = &self.ports[peer];
                if port.epoch == epoch && port.connected && port.cut.any() {
                    self.lose(peer);
                }
            }
            Event::Wake { node, life, at } => self.woken(node, life, at),
            Event::Synced { node, life, count } => {
                if self.nodes[node].life == life {
                    self.synced(node, count);
                }
            }
            Event::Answered(answered) => {
                let Answered { node, life, work, thought, outcome, usage } = *answered;
                let here = &mut self.nodes[node];
                if here.life == life && here.thinking.get(&work) == Some(&thought) {
                    here.thinking.remove(&work);
                    self.input(node, Input::Answered { work, outcome, usage }, None);
                }
            }
            Event::Embedded { node, life, id, texts } => {
                if self.nodes[node].life == life {
                    let model = self.nodes[node].model();
                    let result = Ok(texts.iter().map(|text| model.embed(text)).collect());
                    self.input(node, Input::Embedded { id, result }, None);
                }
            }
            Event::Start(node) => {
                if !self.nodes[node].disk.full {
                    self.begin(node);
                }
            }
            Event::Submit { client, job } => self.submit(client, &job),
            Event::Fault(kind, node, lasting) => self.fault(kind, node, lasting),
            Event::Over(kind, node) => self.over(kind, node),
            Event::BrokerUp => self.broker_up = true,
            Event::Look => self.look(),
        }
    }

    fn look(&mut self) {
        if self.equal_at.is_none() && self.now >= self.quiet_after && invariants::directories_equal(self) {
            self.equal_at = Some(self.now);
        }
        if self.to_the_end && self.looks.is_multiple_of(REPLAY_EVERY) {
            (0..self.clients.len()).for_each(|client| self.replay_missed(client));
        }
        self.looks += 1;
        let mut jobs = self.clients.iter().flat_map(|c| c.jobs.values());
        let jobs_over = jobs.all(|job| job.over() && job.missing_event().is_none());
        let idle = self.nodes.iter().all(|n| n.machine.as_ref().is_none_or(NodeMachine::idle));
        let healed = self.equal_at.is_some();
        let late = self.now > self.quiet_after + HEALED_WITHIN + self.set_back && !healed;
        let timeout = Duration::from_millis(self.options.timeout_ms.unwrap_or(300_000));
        let time_up = self.now > self.quiet_after + timeout + Duration::from_secs(60) + self.set_back;
        if self.to_the_end && (late || time_up || (jobs_over && idle && healed)) {
            let found = self.invariants.at_end(self);
            self.all_found(found);
            self.over = true;
            return;
        }
        self.after(Duration::from_secs(1), Event::Look);
    }

    /// How long after the last fault all directories were equal, if they were.
    #[must_use]
    pub fn healed_after(&self) -> Option<Duration> {
        self.equal_at.map(|at| at.since(self.quiet_after))
    }

    fn all_found(&mut self, found: Vec<Violation>) {
        let at_ms = millis(self.elapsed());
        self.violations.extend(found.into_iter().map(|violation| Violation { at_ms, ..violation }));
    }

    fn found(&mut self, invariant: &'static str, found: String) {
        let at_ms = millis(self.elapsed());
        self.violations.push(Violation { invariant, found, at_ms });
    }

    fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.elapsed().as_millis();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>8} {}", line()));
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
