//! Bugs that the simulator found, each named for what went wrong.

use federation_tests::sim::agents;
use foa_node_core::effect::{Effect, Output, Received};
use foa_node_core::journal::NodeRecord;
use foa_node_core::status::{NodeStatus, Role};
use foa_node_core::{Body, Config, Identity, Input, NodeMachine};
use foa_wire::{Boot, Connection, JobId, NodeId, NodeKey, Sequence, Term, Time, Topic};
use foa_workflows::JobSubmission;
use foa_workflows::job::{Accepted, Durability};

const NOW: Time = Time::from_millis(1_790_000_000_000);

fn identity(name: &str, n: u8) -> Identity {
    Identity::new(name.parse().unwrap(), NodeKey::from_seed([n; 32]))
}

/// A coordinator that knows another one, and a job whose first in order is that other one.
struct Pair {
    machine: NodeMachine,
    other: NodeId,
    job: JobId,
    written: Vec<u64>,
    sent: Vec<(Topic, Body)>,
    messages: u64,
}

impl Pair {
    fn new() -> Self {
        let config = Config {
            roles: [Role::Coordinator].into(),
            coordinators: std::collections::BTreeSet::new(),
            operators: std::collections::BTreeSet::new(),
            accept_unsigned: true,
            model: agents::model(),
            version: "test".to_owned(),
            limits: foa_node_core::admission::Limits::default(),
            max_queue: 10,
            sharding: foa_node_core::shards::Sharding::default(),
        };
        let me = identity("c0", 1);
        let other = identity("c1", 2).id().clone();
        let first = |job: &JobId| {
            let rank = |node: &NodeId| foa_node_core::gossip::rendezvous(job.as_str(), node);
            rank(&other) > rank(me.id())
        };
        let job = (0..).map(|n| format!("job-{n:05}").parse().unwrap()).find(first).unwrap();
        let machine = NodeMachine::new(me, config, Boot(1), Vec::new());
        let mut pair = Self { machine, other, job, written: Vec::new(), sent: Vec::new(), messages: 0 };
        pair.input(Input::Connected { connection: Connection(1) }, NOW);
        pair.other_is(true, 1, NOW);
        // Nobody confirms the directory, so it is trusted after a while.
        pair.input(Input::Tick, seconds(0));
        assert!(pair.machine.ready());
        pair
    }

    fn input(&mut self, input: Input, now: Time) {
        for Output { effect, .. } in self.machine.handle(input, now) {
            match effect {
                Effect::Persist { record, .. } => {
                    if let NodeRecord::Job { record } = *record {
                        self.written.push(record.index.0);
                    }
                }
                Effect::Send(send) => self.sent.push((send.topic, send.body)),
                _ => {}
            }
        }
    }

    fn receive(&mut self, from: NodeId, topic: Topic, body: Body, now: Time) {
        self.messages += 1;
        let id = format!("message-{}", self.messages).parse().unwrap();
        let expires = Some(now + std::time::Duration::from_secs(60));
        let received =
            Received { topic, from: Some(from), boot: Boot(1), id: Some(id), expires, body, job: None };
        self.input(Input::Received(Box::new(received)), now);
    }

    /// Nobody says what the task means: the job is taken after a while all the same, and stays open.
    fn submit(&mut self, now: Time) {
        let submission = JobSubmission { job: Some(self.job.clone()), ..JobSubmission::of("find the tide") };
        let submitter = identity("submitter", 3).id().clone();
        self.receive(submitter, Topic::Jobs, Body::JobSubmit(submission), now);
        self.input(Input::Tick, now + std::time::Duration::from_millis(1100));
    }

    fn other_is(&mut self, online: bool, connection: u64, now: Time) {
        let node = self.other.clone();
        let mut status = NodeStatus::will(node.clone(), Boot(1), Connection(connection), now);
        if online {
            status.online = true;
            status.seq = Sequence(1);
            status.roles = vec![Role::Coordinator];
        }
        self.receive(node.clone(), Topic::Status(node), Body::Status(status), now);
    }

    fn claims(&mut self) -> usize {
        let claims = self.sent.drain(..).filter(|(topic, body)| {
            matches!(body, Body::JobAccepted(_)) && *topic == Topic::Inbox(self.other.clone())
        });
        claims.count()
    }
}

fn seconds(n: u64) -> Time {
    NOW + std::time::Duration::from_secs(2 + n)
}

#[test]
fn a_submission_kept_for_another_and_accepted_after_a_repeat_is_not_accepted_again_later() {
    let mut pair = Pair::new();
    pair.submit(seconds(1));
    assert_eq!(pair.written, [0_u64; 0], "the other one is first in order");
    pair.other_is(false, 1, seconds(3));
    pair.submit(seconds(4));
    assert_eq!(pair.written, [1], "nobody else is there");
    // The time that the first in order has is over; the job is ours already.
    pair.input(Input::Tick, seconds(20));
    assert_eq!(pair.written.iter().filter(|index| **index == 1).count(), 1, "{:?}", pair.written);
}

#[test]
fn a_repeat_of_a_job_that_another_holds_is_left_to_it() {
    let mut pair = Pair::new();
    let term = Term::first(pair.other.clone());
    let accepted =
        Accepted { job: pair.job.clone(), term, durability: Durability::Local, replicas: Vec::new() };
    let me = pair.machine.id().clone();
    pair.receive(pair.other.clone(), Topic::Inbox(me), Body::JobAccepted(accepted), seconds(1));
    pair.other_is(false, 1, seconds(3));
    pair.submit(seconds(4));
    pair.input(Input::Tick, seconds(30));
    assert_eq!(pair.written, [0_u64; 0], "its holder has the only log and comes back");
}

#[test]
fn a_coordinator_that_returns_hears_of_open_jobs_again() {
    let mut pair = Pair::new();
    pair.other_is(false, 1, seconds(1));
    pair.submit(seconds(2));
    pair.claims();
    // The broker has forgotten what it kept for the other one.
    pair.other_is(true, 2, seconds(4));
    assert_eq!(pair.claims(), 1);
}
