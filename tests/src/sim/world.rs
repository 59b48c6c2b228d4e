//! The simulated federation: one clock, one queue of events, the machines of all nodes. Everything happens in the order
//! of (time, sequence), in one thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::time::Duration;

use foa_node_core::admission::Limits;
use foa_node_core::effect::{Effect, EmbedId, NoAnswer, Send};
use foa_node_core::journal::Stream;
use foa_node_core::status::{NodeStatus, Role};
use foa_node_core::{Body, Config, Identity, Input, NodeMachine};
use foa_wire::topic::Qos;
use foa_wire::{AgentId, Boot, Connection, Filter, JobId, NodeKey, Time, Topic, WorkId};
use foa_workflows::JobSubmission;
use foa_workflows::cluster::channel::Entry;
use foa_workflows::job::Control;
use foa_workflows::request::WorkOutcome;
use foa_workflows::work::{Answer, Usage};

use super::agents::{self, Agent, Manner};
use super::client::{Client, Job};
use super::invariants::{self, Invariants, PER_AGENT, Queues, Seen, Truth, Violation};
use super::link::{self, Message, Payload, RECONNECT, Sender};
use super::mqtt::{Broker, Delivery, Outgoing, Peer};
use super::node::{Act, Node, Port};
use super::options::{FaultKind, Options, PlannedFault};
use super::random::{Random, fnv, fold};
use super::report::{Report, Traffic};

/// When a simulation begins: some day in 2026, so that times look like times.
const START: Time = Time::from_millis(1_790_000_000_000);
/// When the first job is submitted: the federation has found itself by then.
const FIRST_JOB: Duration = Duration::from_secs(3);
/// How soon the broker and a client notice that they cannot reach each other.
const KEEP_ALIVE: Duration = Duration::from_secs(8);
/// After the last fault all directories must be equal within six beats of the anti-entropy (a beat is at most 11 s).
pub const HEALED_WITHIN: Duration = Duration::from_secs(66);
/// How long a submitter waits for "accepted" before it asks again.
const REPEAT: Duration = Duration::from_secs(6);
/// Ticks at one moment before a node counts as spinning.
const SPINS: u32 = 20;
/// Jobs one node may hold.
const MAX_JOBS: usize = 10_000;

/// A federation in a box.
pub struct World {
    options: Options,
    now: Time,
    sequence: u64,
    queue: BinaryHeap<Reverse<Scheduled>>,
    random: Random,
    broker: Broker,
    broker_up: bool,
    nodes: Vec<Node>,
    clients: Vec<Client>,
    ports: Vec<Port>,
    invariants: Invariants,
    violations: Vec<Violation>,
    traffic: Traffic,
    quiet_after: Time,
    equal_at: Option<Time>,
    spinning: (usize, Time, u32),
    fingerprint: u64,
    trace: Option<Vec<String>>,
    recorded: Vec<Rc<Message>>,
    record: Option<&'static str>,
    to_the_end: bool,
    over: bool,
}

/// Something that will happen.
struct Scheduled {
    at: Time,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.sequence) == (other.at, other.sequence)
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

/// What can happen.
enum Event {
    /// A client tries to connect.
    Connect(Peer, u64),
    /// A packet with this number of the outbox reaches the broker.
    AtBroker {
        peer: Peer,
        epoch: u64,
        out: u64,
    },
    /// A message reaches the broker that nobody waits for: QoS 0, or for the second time.
    AtBrokerAgain(Rc<Message>),
    /// A message reaches a client.
    Deliver {
        epoch: u64,
        outgoing: Outgoing,
    },
    /// A client and the broker notice that they cannot reach each other.
    Notice {
        peer: Peer,
        epoch: u64,
    },
    Wake {
        node: usize,
        life: u64,
        at: Time,
    },
    Synced {
        node: usize,
        life: u64,
        count: usize,
    },
    Answered {
        node: usize,
        life: u64,
        work: WorkId,
        thought: u64,
        outcome: Result<Answer, NoAnswer>,
        usage: Usage,
    },
    Embedded {
        node: usize,
        life: u64,
        id: EmbedId,
        texts: Vec<String>,
    },
    Start(usize),
    Submit {
        client: usize,
        job: JobId,
    },
    Fault(FaultKind, usize, Duration),
    Mended(Peer),
    BrokerUp,
    Look,
}

impl Event {
    fn name(&self) -> &'static str {
        match self {
            Self::Connect(..) => "connect",
            Self::AtBroker { .. } => "at-broker",
            Self::AtBrokerAgain(_) => "at-broker-again",
            Self::Deliver { .. } => "deliver",
            Self::Notice { .. } => "notice",
            Self::Wake { .. } => "wake",
            Self::Synced { .. } => "synced",
            Self::Answered { .. } => "answered",
            Self::Embedded { .. } => "embedded",
            Self::Start(_) => "start",
            Self::Submit { .. } => "submit",
            Self::Fault(..) => "fault",
            Self::Mended(_) => "mended",
            Self::BrokerUp => "broker-up",
            Self::Look => "look",
        }
    }
}

impl World {
    /// A federation as the options say, before anything happened.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut random = Random::of(options.seed, "federation");
        let mut agents = scripted(&options, &mut random);
        let workers_from = if options.coordinators < options.nodes { options.coordinators } else { 0 };
        let mut nodes = Vec::new();
        for n in 0..options.nodes {
            let roles: Vec<Role> =
                if n < options.coordinators { vec![Role::Coordinator] } else { vec![Role::Worker] };
            let name = if n < options.coordinators { format!("c{n}") } else { format!("w{n}") };
            let places = options.nodes - workers_from;
            let own = if n < workers_from {
                Vec::new()
            } else {
                let mine = |i: &usize| i % places == n - workers_from;
                (0..agents.len()).filter(mine).filter_map(|i| agents[i].take()).collect()
            };
            nodes.push(Node::new(identity(&name, options.seed), roles, own, options.bug));
        }
        let client = identity("submitter", options.seed);
        let mut world = Self::around(options, nodes, client);
        world.plan_jobs(&mut random);
        world.plan_faults(&mut random);
        world
    }

    fn around(options: Options, nodes: Vec<Node>, client: Identity) -> Self {
        let truth = Truth { policies: policies(&nodes), start: START };
        let ports = nodes.iter().map(|node| node.identity.clone()).chain([client.clone()]);
        let ports =
            ports.map(|id| Port::new(Sender::new(id, Boot(1), options.encode, options.bytes))).collect();
        let mut world = Self {
            random: Random::of(options.seed, "chance"),
            now: START,
            sequence: 0,
            queue: BinaryHeap::new(),
            broker: Broker::default(),
            broker_up: true,
            clients: vec![Client { identity: client, jobs: std::collections::BTreeMap::new() }],
            ports,
            invariants: Invariants::new(truth),
            violations: Vec::new(),
            traffic: Traffic::default(),
            quiet_after: START + FIRST_JOB,
            equal_at: None,
            spinning: (0, START, 0),
            fingerprint: fnv(b"foa"),
            trace: None,
            recorded: Vec::new(),
            record: None,
            to_the_end: false,
            over: false,
            nodes,
            options,
        };
        for node in 0..world.nodes.len() {
            let wait = world.random.millis(0, 500);
            world.after(wait, Event::Start(node));
        }
        world.after(Duration::from_millis(1), Event::Connect(world.nodes.len(), 0));
        world.after(Duration::from_secs(1), Event::Look);
        world
    }

    fn plan_jobs(&mut self, random: &mut Random) {
        for n in 0..self.options.jobs {
            let mut submission = JobSubmission::of(format!("{} (number {n})", agents::task(random)));
            submission.budget = self.options.budget.map(foa_capability::Money);
            submission.timeout_ms = self.options.timeout_ms;
            if random.chance(f64::from(self.options.policies) / 1000.0) {
                submission.policies.insert(agents::policy());
            }
            let bare = random.chance(f64::from(self.options.bare) / 1000.0);
            let at = Duration::from_millis(self.options.every_ms * n as u64);
            self.submit_after(FIRST_JOB + at, submission, bare);
        }
    }

    /// Has the submitter submit a job after a while; the job's id.
    pub fn submit_after(&mut self, wait: Duration, mut submission: JobSubmission, bare: bool) -> JobId {
        let number = self.clients[0].jobs.len();
        let job: JobId = format!("job-{:04}-{number:05}", self.options.seed % 10_000)
            .parse()
            .expect("a job id as documented");
        submission.job = Some(job.clone());
        self.clients[0].jobs.insert(job.clone(), Job::new(submission, bare));
        self.after(wait, Event::Submit { client: 0, job: job.clone() });
        self.quiet_after = self.quiet_after.max(self.now + wait);
        job
    }

    fn plan_faults(&mut self, random: &mut Random) {
        let from = Duration::from_secs(2);
        let mut plan: Vec<PlannedFault> = self.options.plan.clone();
        for kind in self.options.faults.clone() {
            for _ in 0..self.options.faults_each {
                let at = from + random.millis(0, self.options.faults_ms);
                let last = match kind {
                    FaultKind::Crash => 12_000,
                    FaultKind::Partition => 25_000,
                    FaultKind::Broker => 3_000,
                };
                let lasting = random.millis(300, last);
                // Half of all faults hit a coordinator.
                let most = if random.chance(0.5) { self.options.coordinators } else { self.options.nodes };
                let node = random.below(most);
                plan.push(PlannedFault { at_ms: millis(at), kind, node, for_ms: millis(lasting) });
            }
        }
        for fault in plan {
            let (at, lasting) = (Duration::from_millis(fault.at_ms), Duration::from_millis(fault.for_ms));
            self.after(at, Event::Fault(fault.kind, fault.node, lasting));
            self.quiet_after = self.quiet_after.max(self.now + at + lasting);
        }
    }

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
        self.to_the_end = true;
        while !self.over && self.step() {}
        self.report()
    }

    /// Runs for a while of simulated time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while !self.over && self.queue.peek().is_some_and(|Reverse(next)| next.at <= until) {
            self.step();
        }
        self.now = self.now.max(until);
    }

    /// Runs until this is true of the world, for at most `most`; whether it came true.
    pub fn run_until(&mut self, most: Duration, mut wanted: impl FnMut(&Self) -> bool) -> bool {
        let until = self.now + most;
        while !wanted(self) {
            let goes_on = self.queue.peek().is_some_and(|Reverse(next)| next.at <= until);
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

    /// Stops a node at once and starts it again after a while.
    pub fn crash(&mut self, node: usize, lasting: Duration) {
        self.fault(FaultKind::Crash, node, lasting);
    }

    /// Stops a node at once and for good.
    pub fn kill(&mut self, node: usize) {
        self.stop(node);
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
        self.route(&Rc::new(message));
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
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled { at: at.max(self.now), sequence: self.sequence, event }));
    }

    /// Does what comes next; `false` when nothing does.
    fn step(&mut self) -> bool {
        let Some(Reverse(next)) = self.queue.pop() else { return false };
        self.now = self.now.max(next.at);
        self.traffic.events += 1;
        self.fingerprint = fold(self.fingerprint, &self.now.as_millis().to_le_bytes());
        self.fingerprint = fold(self.fingerprint, next.event.name().as_bytes());
        self.event(next.event);
        if !self.violations.is_empty() {
            self.over = true;
        }
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connect(peer, life) => self.connect(peer, life),
            Event::AtBroker { peer, epoch, out } => {
                let port = &mut self.ports[peer];
                if port.epoch == epoch
                    && port.connected
                    && !port.cut
                    && let Some(message) = port.outbox.remove(&out)
                {
                    self.route(&message);
                }
            }
            Event::AtBrokerAgain(message) => {
                if self.broker_up {
                    self.route(&message);
                }
            }
            Event::Deliver { epoch, outgoing } => self.deliver(epoch, &outgoing),
            Event::Notice { peer, epoch } => {
                let port = &self.ports[peer];
                if port.epoch == epoch && port.connected && port.cut {
                    self.lose(peer);
                }
            }
            Event::Wake { node, life, at } => {
                if self.nodes[node].life == life && self.nodes[node].wake == Some(at) {
                    self.nodes[node].wake = None;
                    self.spin(node);
                    self.input(node, Input::Tick, None);
                }
            }
            Event::Synced { node, life, count } => {
                if self.nodes[node].life == life {
                    let mut acts = Vec::new();
                    self.nodes[node].synced(count, &mut acts);
                    self.act(node, acts);
                    self.settle(node);
                }
            }
            Event::Answered { node, life, work, thought, outcome, usage } => {
                let here = &mut self.nodes[node];
                if here.life == life && here.thinking.get(&work) == Some(&thought) {
                    here.thinking.remove(&work);
                    self.input(node, Input::Answered { work, outcome, usage }, None);
                }
            }
            Event::Embedded { node, life, id, texts } => {
                if self.nodes[node].life == life {
                    let result = Ok(texts.iter().map(|text| agents::embed(text)).collect());
                    self.input(node, Input::Embedded { id, result }, None);
                }
            }
            Event::Start(node) => self.begin(node),
            Event::Submit { client, job } => self.submit(client, &job),
            Event::Fault(kind, node, lasting) => self.fault(kind, node, lasting),
            Event::Mended(peer) => self.mend(peer),
            Event::BrokerUp => self.broker_up = true,
            Event::Look => self.look(),
        }
    }

    // ---- nodes

    fn begin(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        if node.machine.is_some() {
            return;
        }
        node.life += 1;
        node.boot = Boot((node.boot.0 + 1).max(self.now.as_millis() / 1000));
        let config = Config {
            roles: node.roles.iter().copied().collect(),
            operators: std::collections::BTreeSet::new(),
            coordinators: std::collections::BTreeSet::new(),
            accept_unsigned: true,
            model: agents::model(),
            version: "sim".to_owned(),
            limits: Limits { max_jobs: MAX_JOBS, max_running: MAX_JOBS, unsigned_budget: None },
            max_queue: PER_AGENT,
        };
        let journal = node.disk.read();
        let id = node.identity.id().clone();
        let (boot, life, identity) = (node.boot, node.life, node.identity.clone());
        let machine = NodeMachine::new(identity.clone(), config, boot, journal.clone());
        let broken = machine.broken_logs().clone();
        node.machine = Some(machine);
        let advertised = node.advertised();
        for (job, why) in broken {
            self.found("a journal can be taken up", format!("{job} at {id}: {why}"));
        }
        let found = self.invariants.started(&id, &journal, self.now);
        self.violations.extend(found);
        let (encode, bytes) = (self.options.encode, self.options.bytes);
        self.ports[n].sender = Sender::new(identity, boot, encode, bytes);
        self.note(|| format!("{id} starts as {boot} with {} records", journal.len()));
        self.input(n, Input::Advertise(advertised), None);
        let wait = self.random.millis(5, 50);
        self.after(wait, Event::Connect(n, life));
    }

    fn input(&mut self, n: usize, input: Input, ack: Option<Delivery>) {
        let mut acts = Vec::new();
        let now = self.now;
        let written = self.nodes[n].handle(input, ack, now, &mut acts);
        let id = self.nodes[n].identity.id().clone();
        for record in &written {
            let found = self.invariants.wrote(&id, record, now);
            self.violations.extend(found);
        }
        self.act(n, acts);
        self.settle(n);
    }

    /// Sees to it that the disk is synced and the node woken.
    fn settle(&mut self, n: usize) {
        let most = self.options.disk_ms;
        let wait = self.random.millis(most / 10, most);
        let longest = self.broker.queue_of(n);
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
        let wake = machine.wake().map(|at| at.max(now));
        let sync = (node.disk.pending() > 0 && !node.disk.syncing).then(|| node.disk.pending());
        node.disk.syncing |= sync.is_some();
        let woken = wake.filter(|_| wake != node.wake);
        node.wake = wake;
        if let Some(count) = sync {
            self.after(wait, Event::Synced { node: n, life, count });
        }
        if let Some(at) = woken {
            self.at(at, Event::Wake { node: n, life, at });
        }
        let found = self.invariants.seen(Seen::Queues(queues), now);
        self.violations.extend(found);
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
                Act::Acknowledge(delivery) => self.broker.acknowledge(n, delivery),
                Act::Forgot(Stream::Job(job)) => {
                    self.invariants.forgot(self.nodes[n].identity.id(), &job);
                }
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
            Effect::Unsubscribe(filters) => self.broker.unsubscribe(n, &filters),
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
                let drafts = matches!(*ask, foa_workflows::work::Ask::Draft { .. });
                let writes = scripted.manner == Manner::Writing && drafts;
                let number = self.sequence;
                let life = node.life;
                node.thinking.insert(work.clone(), number);
                let id = AgentId::new(agent, node.identity.id().clone());
                let found = self.invariants.seen(Seen::Asked { agent: &id, work: &work, writes }, self.now);
                self.violations.extend(found);
                let done = self.now + thought.takes;
                let (at, outcome) = match thought.outcome {
                    Some(outcome) if done <= deadline => (done, outcome),
                    Some(_) | None => {
                        let detail = "the agent did not answer before the deadline".to_owned();
                        (deadline, Err(NoAnswer { reason: "timeout".to_owned(), detail }))
                    }
                };
                let usage = thought.usage;
                self.at(at, Event::Answered { node: n, life, work, thought: number, outcome, usage });
            }
            Effect::Abort { work } => {
                self.nodes[n].thinking.remove(&work);
            }
            Effect::Embed { id, texts } => {
                let wait = self.random.millis(4, 30);
                let life = self.nodes[n].life;
                self.after(wait, Event::Embedded { node: n, life, id, texts });
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

    fn stop(&mut self, n: usize) {
        if self.nodes[n].machine.is_none() {
            return;
        }
        self.nodes[n].crash();
        self.ports[n].connected = false;
        self.ports[n].outbox.clear();
        let id = self.nodes[n].identity.id().clone();
        self.note(|| format!("{id} stops"));
        if self.broker_up {
            let found = self.broker.disconnect(n, false);
            self.carry_down(found);
        }
    }

    // ---- faults

    fn fault(&mut self, kind: FaultKind, n: usize, lasting: Duration) {
        self.quiet_after = self.quiet_after.max(self.now + lasting);
        self.equal_at = None;
        *self.traffic.faults.entry(kind).or_default() += 1;
        match kind {
            FaultKind::Crash => {
                if self.nodes[n].machine.is_some() {
                    self.stop(n);
                    self.after(lasting, Event::Start(n));
                }
            }
            FaultKind::Partition => {
                if !self.ports[n].cut {
                    let id = self.nodes[n].identity.id().clone();
                    self.note(|| format!("{id} is cut off for {lasting:?}"));
                    self.ports[n].cut = true;
                    let epoch = self.ports[n].epoch;
                    self.after(KEEP_ALIVE, Event::Notice { peer: n, epoch });
                    self.after(lasting, Event::Mended(n));
                }
            }
            FaultKind::Broker => {
                if self.broker_up {
                    self.note(|| format!("the broker stops for {lasting:?} and forgets everything"));
                    self.broker_up = false;
                    self.broker.forget();
                    for peer in 0..self.ports.len() {
                        if self.ports[peer].connected {
                            self.lose(peer);
                        }
                    }
                    self.after(lasting, Event::BrokerUp);
                }
            }
        }
    }

    fn mend(&mut self, peer: Peer) {
        self.ports[peer].cut = false;
        let port = &self.ports[peer];
        if port.connected && self.broker_up {
            let sent: Vec<u64> = port.outbox.keys().copied().collect();
            let kept = self.broker.kept(peer);
            for out in sent {
                self.carry_up(peer, out);
            }
            self.carry_down(kept);
        }
    }

    /// A connection is lost, and both sides know.
    fn lose(&mut self, peer: Peer) {
        self.ports[peer].connected = false;
        if self.broker_up {
            let found = self.broker.disconnect(peer, false);
            self.carry_down(found);
        }
        let life = self.nodes.get(peer).map_or(0, |node| node.life);
        self.after(RECONNECT, Event::Connect(peer, life));
        if peer < self.nodes.len() {
            self.input(peer, Input::Disconnected, None);
        }
    }

    // ---- the broker

    fn connect(&mut self, peer: Peer, life: u64) {
        let node = self.nodes.get(peer);
        if node.is_some_and(|node| node.machine.is_none() || node.life != life) || self.ports[peer].connected
        {
            return;
        }
        if !self.broker_up || self.ports[peer].cut {
            let wait = RECONNECT + self.random.millis(0, 100);
            return self.after(wait, Event::Connect(peer, life));
        }
        let boot = node.map(|node| (node.boot, node.identity.id().clone()));
        let port = &mut self.ports[peer];
        port.epoch += 1;
        port.connected = true;
        let connection = Connection(port.epoch);
        let now = self.now;
        let will = boot.map(|(boot, id)| {
            let will = NodeStatus::will(id.clone(), boot, connection, now);
            let sealed = port.sender.seal(Topic::Status(id), Body::Status(will), None, now);
            Rc::new(sealed.expect("a status is small"))
        });
        let kept = self.broker.connect(peer, will);
        let sent: Vec<u64> = self.ports[peer].outbox.keys().copied().collect();
        if peer < self.nodes.len() {
            self.input(peer, Input::Connected { connection }, None);
        } else {
            let inbox = Filter::One(Topic::Inbox(self.clients[0].identity.id().clone()));
            let found = self.broker.subscribe(peer, &[inbox, Filter::Results], 0);
            self.carry_down(found);
        }
        for out in sent {
            self.carry_up(peer, out);
        }
        self.carry_down(kept);
    }

    fn publish(&mut self, peer: Peer, topic: Topic, body: Body, expires: Option<Time>) {
        let now = self.now;
        match self.ports[peer].sender.seal(topic, body, expires, now) {
            Ok(message) => self.send(peer, message),
            Err(e) => {
                self.traffic.unsendable += 1;
                self.note(|| format!("a message of {peer} cannot be sent: {e}"));
            }
        }
    }

    fn send(&mut self, peer: Peer, message: Message) {
        let message = Rc::new(message);
        let port = &mut self.ports[peer];
        if message.topic.qos() == Qos::AtMostOnce {
            if port.connected && !port.cut {
                let loss = self.options.loss;
                let arrival = port.up.carry(&message.topic, false, loss, self.now, &mut self.random);
                match arrival.at {
                    Some(at) => self.at(at, Event::AtBrokerAgain(message)),
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

    fn carry_up(&mut self, peer: Peer, out: u64) {
        let port = &mut self.ports[peer];
        let Some(message) = port.outbox.get(&out).cloned() else { return };
        let arrival = port.up.carry(&message.topic, true, self.options.loss, self.now, &mut self.random);
        let epoch = port.epoch;
        if let Some(at) = arrival.at {
            self.at(at, Event::AtBroker { peer, epoch, out });
        }
        if let Some(at) = arrival.again {
            self.at(at, Event::AtBrokerAgain(message));
        }
    }

    fn route(&mut self, message: &Rc<Message>) {
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
        let found = self.broker.publish(message);
        self.carry_down(found);
    }

    fn carry_down(&mut self, found: Vec<Outgoing>) {
        for outgoing in found {
            let port = &mut self.ports[outgoing.to];
            let epoch = port.epoch;
            let certain = outgoing.delivery.is_some();
            let topic = &outgoing.message.topic;
            let arrival = port.down.carry(topic, certain, self.options.loss, self.now, &mut self.random);
            if let Some(at) = arrival.again {
                let twice = Outgoing { delivery: None, ..outgoing.clone() };
                self.at(at, Event::Deliver { epoch, outgoing: twice });
            }
            match arrival.at {
                Some(at) => self.at(at, Event::Deliver { epoch, outgoing }),
                None => self.traffic.lost += 1,
            }
        }
    }

    fn deliver(&mut self, epoch: u64, outgoing: &Outgoing) {
        let port = &self.ports[outgoing.to];
        let taken = outgoing.delivery.is_some_and(|delivery| !self.broker.waits_for(outgoing.to, delivery));
        if port.epoch != epoch || !port.connected || port.cut || taken {
            return;
        }
        self.traffic.delivered += 1;
        let opened = link::open(&outgoing.message, self.now);
        if outgoing.to < self.nodes.len() {
            match opened {
                Some(input) => self.input(outgoing.to, input, outgoing.delivery),
                None => {
                    if let Some(delivery) = outgoing.delivery {
                        self.broker.acknowledge(outgoing.to, delivery);
                    }
                }
            }
            return;
        }
        if let Some(delivery) = outgoing.delivery {
            self.broker.acknowledge(outgoing.to, delivery);
        }
        if let Some(Input::Received(received)) = opened
            && let Err(found) = self.clients[outgoing.to - self.nodes.len()].receive(&received.body, self.now)
        {
            self.found("one result per term", found);
        }
    }

    // ---- the submitter

    fn submit(&mut self, client: usize, id: &JobId) {
        let now = self.now;
        let peer = self.nodes.len() + client;
        let Some(job) = self.clients[client].jobs.get_mut(id) else { return };
        if !job.wants_repeat() {
            return;
        }
        job.submitted.get_or_insert(now);
        let (submission, bare) = (job.submission.clone(), job.bare);
        if bare {
            let body = Body::JobSubmit(submission);
            let port = &mut self.ports[peer];
            let sealed = port.sender.seal(Topic::Jobs, body.clone(), None, now).expect("a job is small");
            let payload = Some(Payload::Plain(Rc::new(body)));
            return self.send(peer, Message { from: None, payload, ..sealed });
        }
        let expires = Some(now + Duration::from_secs(300));
        self.publish(peer, Topic::Jobs, Body::JobSubmit(submission), expires);
        self.after(REPEAT, Event::Submit { client, job: id.clone() });
    }

    // ---- looking

    fn look(&mut self) {
        if self.equal_at.is_none() && self.now >= self.quiet_after && invariants::directories_equal(self) {
            self.equal_at = Some(self.now);
        }
        let jobs_over = self.clients.iter().flat_map(|c| c.jobs.values()).all(super::client::Job::over);
        let idle = self.nodes.iter().all(|n| n.machine.as_ref().is_none_or(NodeMachine::idle));
        let healed = self.equal_at.is_some();
        let late = self.now > self.quiet_after + HEALED_WITHIN && !healed;
        let timeout = Duration::from_millis(self.options.timeout_ms.unwrap_or(300_000));
        let time_up = self.now > self.quiet_after + timeout + Duration::from_secs(60);
        if self.to_the_end && (late || time_up || (jobs_over && idle && healed)) {
            let found = self.invariants.at_end(self);
            self.violations.extend(found);
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

fn identity(name: &str, seed: u64) -> Identity {
    let mut random = Random::of(seed, name);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.draw().to_le_bytes());
    }
    Identity::new(name.parse().expect("a letter and a number make a name"), NodeKey::from_seed(bytes))
}

/// All agents, in order; each is taken by its node.
fn scripted(options: &Options, random: &mut Random) -> Vec<Option<Agent>> {
    let mut manners = Vec::new();
    for (manner, share) in &options.manners {
        let many = options.agents * usize::try_from(*share).unwrap_or(0) / 1000;
        manners.extend(std::iter::repeat_n(*manner, many));
    }
    manners.truncate(options.agents);
    manners.resize(options.agents, Manner::Honest);
    for n in (1..manners.len()).rev() {
        manners.swap(n, random.below(n + 1));
    }
    let agents = manners.into_iter().enumerate();
    agents.map(|(n, manner)| Some(Agent::new(n, manner, options.price, random))).collect()
}

fn policies(nodes: &[Node]) -> std::collections::BTreeMap<AgentId, Vec<foa_capability::Policy>> {
    let of = |node: &Node| {
        let id = node.identity.id().clone();
        let policies = |a: &Agent| {
            (AgentId::new(a.profile.name.clone(), id.clone()), a.profile.policies.iter().cloned().collect())
        };
        node.agents.values().map(policies).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of).collect()
}
