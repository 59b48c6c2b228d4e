//! A federation from options: its nodes, agents, jobs and faults, as the seed decides.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_node_core::Identity;
use foa_node_core::status::Role;
use foa_wire::{AgentId, Boot, JobId, NodeKey};
use foa_workflows::JobSubmission;

use super::queue::{Event, Queue};
use super::{FIRST_JOB, START, World, millis};
use crate::sim::agents::{self, Agent, Manner};
use crate::sim::client::{Client, Job};
use crate::sim::clock::Clock;
use crate::sim::cluster::Cluster;
use crate::sim::faults::{FaultKind, PlannedFault};
use crate::sim::invariants::{Invariants, Truth};
use crate::sim::link::{Sender, Weather};
use crate::sim::node::Node;
use crate::sim::options::Options;
use crate::sim::port::Port;
use crate::sim::random::{Random, fnv};
use crate::sim::report::Traffic;

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
                let mine = (n - workers_from..agents.len()).step_by(places);
                mine.filter_map(|i| agents[i].take()).collect()
            };
            let mut node = Node::new(identity(&name, options.seed), roles, own, options.bug);
            node.clock = clock(&options, &mut random);
            nodes.push(node);
        }
        let client = identity("submitter", options.seed);
        let mut world = Self::around(options, nodes, client);
        world.plan_jobs(&mut random);
        world.plan_faults(&mut random);
        world
    }

    fn around(options: Options, nodes: Vec<Node>, client: Identity) -> Self {
        let truth = Truth {
            policies: policies(&nodes),
            start: START,
            clocks_agree: options.skew_ms == 0 && !options.has(FaultKind::Clock),
        };
        let weather = Weather { loss: options.loss, ..Weather::default() };
        let ports = nodes.iter().map(|node| node.identity.clone()).chain([client.clone()]);
        let port = |id| Port::new(Sender::new(id, Boot(1), options.encode, options.bytes), weather);
        let mut world = Self {
            random: Random::of(options.seed, "chance"),
            now: START,
            queue: Queue::default(),
            broker: Cluster::new(options.queued),
            broker_up: true,
            clients: vec![Client::new(client)],
            ports: ports.map(port).collect(),
            invariants: Invariants::new(truth, nodes.len()),
            violations: Vec::new(),
            traffic: Traffic::default(),
            quiet_after: START + FIRST_JOB,
            set_back: Duration::ZERO,
            equal_at: None,
            looks: 0,
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
        let Options { nodes, coordinators, .. } = self.options;
        let mut plan: Vec<PlannedFault> = self.options.plan.clone();
        let mut lost = plan.iter().any(|fault| fault.kind == FaultKind::Kill && fault.node < coordinators);
        for kind in self.options.faults.clone() {
            for _ in 0..self.options.faults_each {
                let at = from + random.millis(0, self.options.faults_ms);
                let lasting = kind.lasts(random);
                // Half of all faults hit a coordinator.
                let most = if random.chance(0.5) { coordinators } else { nodes };
                let mut node = random.below(most);
                if kind == FaultKind::Kill && node < coordinators {
                    // Of the three that keep a job one may be lost for good; a second would take the job with it.
                    if lost && nodes > coordinators {
                        node = coordinators + random.below(nodes - coordinators);
                    }
                    lost = true;
                }
                plan.push(PlannedFault { at_ms: millis(at), kind, node, for_ms: millis(lasting) });
            }
        }
        for fault in plan {
            let (at, lasting) = (Duration::from_millis(fault.at_ms), Duration::from_millis(fault.for_ms));
            self.after(at, Event::Fault(fault.kind, fault.node, lasting));
            self.quiet_after = self.quiet_after.max(self.now + at + lasting);
        }
    }
}

pub(super) fn identity(name: &str, seed: u64) -> Identity {
    let mut random = Random::of(seed, name);
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&random.draw().to_le_bytes());
    }
    Identity::new(name.parse().expect("a letter and a number make a name"), NodeKey::from_seed(bytes))
}

fn clock(options: &Options, random: &mut Random) -> Clock {
    let mut between = |most: u64| {
        let drawn = random.draw() % (2 * most + 1);
        i64::try_from(drawn).unwrap_or(0) - i64::try_from(most).unwrap_or(0)
    };
    Clock { ahead_ms: between(options.skew_ms), gains_ppm: between(options.drift_ppm), since: START }
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
    let agent = |(n, manner)| {
        let agent = Agent::new(n, manner, options.price, random);
        Some(match options.vocabulary {
            Some(words) => agent.knowing(words, random),
            None => agent,
        })
    };
    manners.into_iter().enumerate().map(agent).collect()
}

fn policies(nodes: &[Node]) -> BTreeMap<AgentId, Vec<foa_capability::Policy>> {
    let of = |node: &Node| {
        let id = node.identity.id().clone();
        let policies = |a: &Agent| {
            (AgentId::new(a.profile.name.clone(), id.clone()), a.profile.policies.iter().cloned().collect())
        };
        node.agents.values().map(policies).collect::<Vec<_>>()
    };
    nodes.iter().flat_map(of).collect()
}
