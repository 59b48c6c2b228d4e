//! Tests of who may do what: a stranger with a valid key of its own is still a stranger.

use std::time::Duration;

use foa_wire::{AgentId, Boot, Connection, JobId, NodeId, Term, Time, Topic, WorkId};
use foa_workflows::JobSubmission;
use foa_workflows::job::{Accepted, Control, Durability};
use foa_workflows::request::{Request, Work};
use foa_workflows::work::ProposeLimits;

use crate::body::Body;
use crate::effect::{Effect, Input, Output, Received};
use crate::fixture::{agent, config, identity};
use crate::machine::NodeMachine;
use crate::status::Role;

const NOW: Time = Time::from_millis(1_000_000);

fn stranger() -> NodeId {
    identity("stranger", 66).id().clone()
}

/// A connected coordinator with one agent.
fn node() -> NodeMachine {
    let mut node = NodeMachine::new(
        identity("holder", 1),
        config(&[Role::Coordinator, Role::Worker]),
        Boot(1),
        Vec::new(),
    );
    node.handle(Input::Advertise(vec![agent()]), NOW);
    node.handle(Input::Connected { connection: Connection(1) }, NOW);
    // Nobody confirms its directory; after a while it trusts it.
    node.handle(Input::Tick, NOW + Duration::from_secs(2));
    node
}

fn says(node: &mut NodeMachine, from: &NodeId, id: &str, topic: Topic, body: Body) -> Vec<Output> {
    let received = Received {
        topic,
        from: Some(from.clone()),
        boot: Boot(1),
        id: Some(id.parse().unwrap()),
        expires: Some(NOW + Duration::from_secs(60)),
        body,
        job: Some("job-of-somebody".parse().unwrap()),
    };
    node.handle(Input::Received(Box::new(received)), NOW)
}

fn refused(node: &NodeMachine, reason: &str) -> u64 {
    node.refused().get(reason).copied().unwrap_or(0)
}

/// The node with a job of `owner`.
fn holder_of_a_job(owner: &NodeId) -> (NodeMachine, JobId) {
    let mut node = node();
    let submission = Body::JobSubmit(JobSubmission::of("do it"));
    for output in says(&mut node, owner, "submission-1", Topic::Jobs, submission) {
        if let Effect::Embed { id, .. } = output.effect {
            node.handle(Input::Embedded { id, result: Err("no model".to_owned()) }, NOW);
        }
    }
    // Nobody says what the task means: it is taken after a while all the same.
    node.handle(Input::Tick, NOW + Duration::from_secs(4));
    assert!(!node.idle(), "the job was not accepted");
    (node, "job-of-somebody".parse().unwrap())
}

#[test]
fn a_stranger_cannot_claim_a_job_away_from_its_holder() {
    let owner = identity("owner", 2).id().clone();
    let (mut node, job) = holder_of_a_job(&owner);
    let thief = stranger();
    let term = Term { number: 9, holder: thief.clone() };
    let claim =
        Body::JobAccepted(Accepted { job, term, durability: Durability::Local, replicas: Vec::new() });
    let inbox = Topic::Inbox(node.id().clone());
    let out = says(&mut node, &thief, "claim-0001", inbox, claim);
    assert!(!out.iter().any(|o| matches!(o.effect, Effect::Forget(_))), "the log was given up");
    assert!(!node.idle(), "the job was given up");
    assert_eq!(refused(&node, "not-coordinator"), 1);
}

#[test]
fn only_the_owner_cancels() {
    let owner = identity("owner", 2).id().clone();
    let (mut node, job) = holder_of_a_job(&owner);
    let control = || Body::JobControl(Control::Cancel);
    says(&mut node, &stranger(), "cancel-0001", Topic::JobControl(job.clone()), control());
    assert!(!node.idle());
    assert_eq!(refused(&node, "not-owner"), 1);
    says(&mut node, &owner, "cancel-0002", Topic::JobControl(job), control());
    assert!(node.idle());
}

#[test]
fn work_belongs_to_the_holder_that_asked_first() {
    let mut node = node();
    let agent = AgentId::new("agent".parse().unwrap(), node.id().clone());
    let work = |holder: &NodeId, task: &str| {
        Body::Work(Box::new(Work {
            work: WorkId::new(&"job-of-somebody".parse().unwrap(), 1),
            agent: agent.clone(),
            term: Term { number: 1, holder: holder.clone() },
            replicas: Vec::new(),
            deadline: NOW + Duration::from_secs(30),
            cap: None,
            request: Request::Propose { task: task.to_owned(), limits: ProposeLimits { min: 1, max: 4 } },
        }))
    };
    let asks = |out: &[Output]| out.iter().filter(|o| matches!(o.effect, Effect::Ask { .. })).count();
    let first = identity("first", 3).id().clone();
    let topic = || Topic::Tasks(agent.clone());
    let body = work(&first, "the real one");
    assert_eq!(asks(&says(&mut node, &first, "work-00001", topic(), body)), 1);
    let body = work(&stranger(), "mine");
    assert_eq!(asks(&says(&mut node, &stranger(), "work-00002", topic(), body)), 0);
    assert_eq!(refused(&node, "work-conflict"), 1);
    let body = work(&first, "the real one");
    says(&mut node, &first, "work-00003", topic(), body);
    assert_eq!(refused(&node, "work-conflict"), 1, "a repeat by the holder is no conflict");
}
