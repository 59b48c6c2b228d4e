//! A flood: one key submits a hundred thousand jobs to five coordinators, another key now and then one.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use federation_tests::sim::agents;
use foa_node_core::admission::Limits;
use foa_node_core::effect::{Effect, EmbedId, Output, Received};
use foa_node_core::status::Role;
use foa_node_core::{Body, Config, Identity, Input, NodeMachine};
use foa_wire::{Boot, Connection, JobId, NodeId, NodeKey, Time, Topic};
use foa_workflows::JobSubmission;
use foa_workflows::job::{Durability, Refused};

const NODES: usize = 5;
const FLOOD: usize = 100_000;
/// The other one submits after this many of the flood.
const EVERY: usize = 1000;
const NOW: Time = Time::from_millis(1_790_000_000_000);
/// When every node has looked around.
const LATER: Time = Time::from_millis(1_790_000_030_000);

fn identity(name: &str, n: u8) -> Identity {
    Identity::new(name.parse().unwrap(), NodeKey::from_seed([n; 32]))
}

/// A coordinator, and what it told submitters.
struct Node {
    machine: NodeMachine,
    accepted: BTreeMap<NodeId, usize>,
    turned_away: BTreeMap<NodeId, usize>,
    longest_wait: Duration,
    most_jobs: usize,
    most_submissions: usize,
    ended: Vec<JobId>,
    /// Texts asked about before, and questions that are left open.
    asked: BTreeSet<Vec<String>>,
    open: Vec<(EmbedId, Vec<String>)>,
}

impl Node {
    fn new(n: usize) -> Self {
        let config = Config {
            roles: [Role::Coordinator].into(),
            operators: BTreeSet::new(),
            coordinators: BTreeSet::new(),
            accept_unsigned: true,
            model: agents::model(),
            version: "test".to_owned(),
            limits: Limits::default(),
            max_queue: 10,
            sharding: foa_node_core::shards::Sharding::default(),
        };
        let me = identity(&format!("c{n}"), u8::try_from(n).unwrap());
        let mut node = Self {
            machine: NodeMachine::new(me, config, Boot(1), Vec::new()),
            accepted: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            longest_wait: Duration::ZERO,
            most_jobs: 0,
            most_submissions: 0,
            ended: Vec::new(),
            asked: BTreeSet::new(),
            open: Vec::new(),
        };
        node.input(Input::Connected { connection: Connection(1) }, NOW);
        for second in 1..=30 {
            node.input(Input::Tick, NOW + Duration::from_secs(second));
        }
        assert!(node.machine.ready());
        node
    }

    fn input(&mut self, input: Input, now: Time) {
        for Output { effect, .. } in self.machine.handle(input, now) {
            match effect {
                // A job is accepted without being understood, and then asks again.
                Effect::Embed { id, texts } if self.asked.insert(texts.clone()) => {
                    self.input(Input::Embedded { id, result: Err("busy".to_owned()) }, now);
                }
                Effect::Embed { id, texts } => self.open.push((id, texts)),
                Effect::Send(send) => match (send.topic, send.body) {
                    (Topic::Inbox(to), Body::JobAccepted(_)) => *self.accepted.entry(to).or_default() += 1,
                    (Topic::Inbox(to), Body::JobRejected(rejection)) => {
                        let Refused::Overloaded { retry_after_ms, .. } = rejection.refused else {
                            panic!("refused: {}", rejection.refused)
                        };
                        self.longest_wait = self.longest_wait.max(Duration::from_millis(retry_after_ms));
                        *self.turned_away.entry(to).or_default() += 1;
                    }
                    (Topic::Result(job), Body::JobResult(_)) => self.ended.push(job),
                    _ => {}
                },
                _ => {}
            }
        }
        let backlog = self.machine.backlog();
        self.most_jobs = self.most_jobs.max(backlog.jobs);
        self.most_submissions = self.most_submissions.max(backlog.submissions);
    }

    fn submit(&mut self, from: &NodeId, job: &str, now: Time) {
        let submission = JobSubmission {
            job: Some(job.parse().unwrap()),
            durability: Some(Durability::Local),
            timeout_ms: Some(3_600_000),
            ..JobSubmission::of(format!("find the tide of {job}"))
        };
        let received = Received {
            topic: Topic::Jobs,
            from: Some(from.clone()),
            boot: Boot(1),
            id: Some(format!("message-{job}").parse().unwrap()),
            expires: Some(now + Duration::from_secs(60)),
            body: Body::JobSubmit(submission),
            job: None,
        };
        self.input(Input::Received(Box::new(received)), now);
    }
}

#[test]
fn a_flood_of_one_key_neither_grows_without_bound_nor_starves_another() {
    let flooder = identity("flooder", 100).id().clone();
    let other = identity("other", 101).id().clone();
    let mut nodes: Vec<Node> = (0..NODES).map(Node::new).collect();
    // The embedder is busy, so nothing ends while the flood lasts: the worst case.
    for n in 0..FLOOD {
        let now = LATER + Duration::from_micros(10 * n as u64);
        let node = &mut nodes[n % NODES];
        node.submit(&flooder, &format!("flood-{n:06}"), now);
        if n % EVERY == EVERY / 2 {
            for node in &mut nodes {
                node.submit(&other, &format!("other-{n:06}-{}", node.machine.id().name()), now);
            }
        }
    }
    let limits = Limits::default();
    for node in &nodes {
        assert!(node.most_jobs <= limits.max_jobs, "{} jobs", node.most_jobs);
        assert!(node.most_submissions <= 256, "{} submissions", node.most_submissions);
        let flooded = node.accepted[&flooder];
        let half = limits.max_jobs / 2;
        assert!((half - 10..=half + 1).contains(&flooded), "a half for whoever is first: {flooded}");
        assert_eq!(node.turned_away[&flooder], FLOOD / NODES - node.accepted[&flooder]);
        assert_eq!(node.accepted[&other], FLOOD / EVERY, "the other one always gets in");
        assert_eq!(node.turned_away.get(&other), None);
        assert!(node.longest_wait > Duration::from_secs(2), "{:?}", node.longest_wait);
    }
    // The embedder answers: jobs end, since nobody is there to do them, and others take their slots.
    for node in &mut nodes {
        let now = LATER + Duration::from_secs(2);
        while let Some((id, texts)) = node.open.pop() {
            let result = Ok(texts.iter().map(|text| agents::embed(text)).collect());
            node.input(Input::Embedded { id, result }, now);
        }
        let others = node.ended.iter().filter(|job| job.as_str().starts_with("other")).count();
        assert_eq!(others, FLOOD / EVERY, "of {} that ended", node.ended.len());
        assert_eq!(node.ended.len(), node.accepted.values().sum::<usize>());
    }
}
