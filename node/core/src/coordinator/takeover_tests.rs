//! Tests of who asks for a job when its holder is not to be heard.

use std::time::Duration;

use foa_wire::{Boot, Connection, Index, JobId, NodeId, Sequence, Term, Time, Topic};
use foa_workflows::job::{Accepted, Durability};
use foa_workflows::journal::Step;
use foa_workflows::settings::Settings;
use foa_workflows::{JobSubmission, Record};

use crate::body::Body;
use crate::effect::{Effect, Input, Output};
use crate::fixture::{NOW, config, coordinator, identity, says};
use crate::journal::NodeRecord;
use crate::machine::NodeMachine;
use crate::replica::{Message, What};
use crate::status::{NodeStatus, Role};

struct Scene {
    node: NodeMachine,
    /// Who holds the job, and who wants it.
    holder: NodeId,
    rival: NodeId,
    messages: u32,
}

impl Scene {
    /// A replica of a job that somebody else holds in term 1.
    fn new() -> Self {
        let mut scene = Self::before();
        let holder = scene.holder.clone();
        let append = scene.founded_by(&holder, Index(1));
        scene.hears(&holder, Term::first(holder.clone()), append);
        scene
    }

    /// A coordinator that knows two others, and of no job.
    fn before() -> Self {
        let (holder, rival) = (identity("first", 4).id().clone(), identity("second", 5).id().clone());
        let mut scene =
            Self { node: coordinator(), holder: holder.clone(), rival: rival.clone(), messages: 0 };
        scene.status(&holder, true, 1);
        scene.status(&rival, true, 1);
        scene
    }

    /// The first record of the job, by one of the other two, for all three.
    fn founded_by(&self, founder: &NodeId, committed: Index) -> What {
        let submission = JobSubmission::of("do it");
        let settings = Settings::for_submission(&submission);
        let replicas = vec![self.holder.clone(), self.rival.clone(), self.node.id().clone()];
        let record = Record {
            job: "job-of-somebody".parse().unwrap(),
            term: Term::first(founder.clone()),
            index: Index(1),
            committed,
            at: NOW,
            step: Step::Accepted { submission, owner: None, replicas, settings },
        };
        What::Append { previous: None, records: vec![record], committed }
    }

    fn says(&mut self, from: &NodeId, topic: Topic, body: Body) -> Vec<Output> {
        self.messages += 1;
        let id = format!("message-{:04}", self.messages);
        says(&mut self.node, from, &id, topic, body)
    }

    fn status(&mut self, from: &NodeId, online: bool, seq: u64) {
        let status = NodeStatus {
            online,
            seq: Sequence(seq),
            roles: vec![Role::Coordinator],
            ..NodeStatus::will(from.clone(), Boot(1), Connection(1), NOW)
        };
        self.says(from, Topic::Status(from.clone()), Body::Status(status));
    }

    fn hears(&mut self, from: &NodeId, term: Term, what: What) -> Vec<What> {
        let message = Message { job: "job-of-somebody".parse().unwrap(), term, what };
        let inbox = Topic::Inbox(self.node.id().clone());
        said(self.says(from, inbox, Body::Replica(Box::new(message))))
    }

    fn at(&mut self, at: Time) -> Vec<What> {
        said(self.node.handle(Input::Tick, at))
    }
}

/// What it says to other replicas.
fn said(outputs: Vec<Output>) -> Vec<What> {
    let said = outputs.into_iter().filter_map(|output| match output.effect {
        Effect::Send(send) => match send.body {
            Body::Replica(message) => Some(message.what),
            _ => None,
        },
        _ => None,
    });
    said.collect()
}

#[test]
fn a_holder_that_is_there_and_was_heard_keeps_the_job() {
    let mut scene = Scene::new();
    assert_eq!(scene.at(NOW + Duration::from_secs(45)), []);
}

#[test]
fn whoever_was_promised_a_job_and_stays_silent_does_not_keep_it() {
    let mut scene = Scene::new();
    let (holder, rival) = (scene.holder.clone(), scene.rival.clone());
    scene.status(&holder, false, 2);
    let term = Term { number: 2, holder: rival.clone() };
    let replicas = vec![holder.clone(), rival.clone(), scene.node.id().clone()];
    let answer = scene.hears(&rival, term, What::Prepare { replicas });
    assert!(matches!(answer[..], [What::Promise { .. }]), "{answer:?}");
    // The rival is there and says nothing, as one that restarted and no longer knows that it asked.
    assert_eq!(scene.at(NOW + Duration::from_secs(19)), []);
    let asks = scene.at(NOW + Duration::from_secs(45));
    assert!(asks.iter().all(|what| matches!(what, What::Prepare { .. })) && !asks.is_empty(), "{asks:?}");
}

#[test]
fn a_promise_outlives_a_restart_though_no_record_of_the_job_is_here() {
    let now = NOW + Duration::from_secs(100_000);
    let (holder, rival) = (identity("second", 5).id().clone(), identity("first", 4).id().clone());
    let job: JobId = "job-of-somebody".parse().unwrap();
    let promised = Term { number: 2, holder };
    let kept = NodeRecord::Promised { job: job.clone(), term: promised.clone() };
    let me = identity("holder", 1);
    let mut node = NodeMachine::new(me, config(&[Role::Coordinator]), Boot(2), vec![kept]);
    node.handle(Input::Connected { connection: Connection(1) }, now);
    let later = now + Duration::from_secs(60);
    let out = node.handle(Input::Tick, later);
    assert!(!out.iter().any(|o| matches!(o.effect, Effect::Forget(_))), "the promise was forgotten");
    let status = NodeStatus {
        online: true,
        seq: Sequence(1),
        roles: vec![Role::Coordinator],
        ..NodeStatus::will(rival.clone(), Boot(1), Connection(1), later)
    };
    says(&mut node, &rival, "message-0001", Topic::Status(rival.clone()), Body::Status(status));
    let term = Term { number: 1, holder: rival.clone() };
    let replicas = vec![rival.clone(), node.id().clone()];
    let asks = Body::Replica(Box::new(Message { job, term, what: What::Prepare { replicas } }));
    let inbox = Topic::Inbox(node.id().clone());
    let answer = said(says(&mut node, &rival, "message-0002", inbox, asks));
    assert_eq!(answer, [What::Refuse { higher: promised }]);
}

/// One that did not know the others took the job alone; a founder that has not heard of it finds no majority here.
#[test]
fn a_job_that_somebody_took_alone_is_not_taken_together_as_well() {
    let mut scene = Scene::before();
    let (alone, founder) = (scene.holder.clone(), scene.rival.clone());
    let append = scene.founded_by(&founder, Index(0));
    let accepted = Accepted {
        job: "job-of-somebody".parse().unwrap(),
        term: Term::first(alone.clone()),
        durability: Durability::Local,
        replicas: vec![alone.clone()],
    };
    let inbox = Topic::Inbox(scene.node.id().clone());
    scene.says(&alone, inbox, Body::JobAccepted(accepted));
    assert_eq!(scene.hears(&founder, Term::first(founder.clone()), append), []);
}

#[test]
fn a_job_that_nobody_else_took_is_stored() {
    let mut scene = Scene::before();
    let founder = scene.rival.clone();
    let append = scene.founded_by(&founder, Index(0));
    let answer = scene.hears(&founder, Term::first(founder.clone()), append);
    assert!(matches!(answer[..], [What::Stored { .. }]), "{answer:?}");
}
