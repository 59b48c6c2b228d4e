//! Tests of who may do what: a stranger with a valid key of its own is still a stranger.

use foa_wire::{AgentId, Boot, Connection, JobId, NodeId, Sequence, Term, Topic};
use foa_workflows::job::{Accepted, Control, Durability};

use crate::body::Body;
use crate::effect::{Effect, Output};
use crate::fixture::{NOW, coordinator, identity, says, submits, work};
use crate::machine::NodeMachine;
use crate::status::{NodeStatus, Role};

fn stranger() -> NodeId {
    identity("stranger", 66).id().clone()
}

fn refused(node: &NodeMachine, reason: &str) -> u64 {
    node.refused().get(reason).copied().unwrap_or(0)
}

/// The node with a job of `owner`.
fn holder_of_a_job(owner: &NodeId) -> (NodeMachine, JobId) {
    let mut node = coordinator();
    submits(&mut node, owner, "job-of-somebody");
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
fn what_is_given_up_leaves_the_journal_in_its_turn() {
    let owner = identity("owner", 2).id().clone();
    let (mut node, job) = holder_of_a_job(&owner);
    let fellow = identity("fellow", 4).id().clone();
    let status = NodeStatus {
        online: true,
        seq: Sequence(1),
        roles: vec![Role::Coordinator],
        ..NodeStatus::will(fellow.clone(), Boot(1), Connection(1), NOW)
    };
    says(&mut node, &fellow, "status-0001", Topic::Status(fellow.clone()), Body::Status(status));
    let term = Term { number: 9, holder: fellow.clone() };
    let claim = Accepted { job, term, durability: Durability::Local, replicas: Vec::new() };
    let inbox = Topic::Inbox(node.id().clone());
    let out = says(&mut node, &fellow, "claim-0001", inbox, Body::JobAccepted(claim));
    let erased = out.iter().find(|o| matches!(o.effect, Effect::Forget(_))).expect("the log is given up");
    // Held back until the disk has what came before, it would take a promise given meanwhile with it.
    assert_eq!(erased.after, None);
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
    let mut node = coordinator();
    let agent = AgentId::new("agent".parse().unwrap(), node.id().clone());
    let work = |holder: &NodeId| Body::Work(Box::new(work(&agent, holder, 1)));
    let asks = |out: &[Output]| out.iter().filter(|o| matches!(o.effect, Effect::Ask { .. })).count();
    let first = identity("first", 3).id().clone();
    let topic = || Topic::Tasks(agent.clone());
    let body = work(&first);
    assert_eq!(asks(&says(&mut node, &first, "work-00001", topic(), body)), 1);
    let body = work(&stranger());
    assert_eq!(asks(&says(&mut node, &stranger(), "work-00002", topic(), body)), 0);
    assert_eq!(refused(&node, "work-conflict"), 1);
    let body = work(&first);
    says(&mut node, &first, "work-00003", topic(), body);
    assert_eq!(refused(&node, "work-conflict"), 1, "a repeat by the holder is no conflict");
}
