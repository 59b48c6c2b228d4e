//! What tests of a node have in common: who it is, what it is told at its start, its one agent.

use std::collections::BTreeSet;
use std::time::Duration;

use foa_capability::{AgentProfile, Effects, Embedding, ModelId, Offer, Vector};
use foa_wire::{AgentId, Boot, Connection, NodeId, NodeKey, Term, Time, Topic, WorkId};
use foa_workflows::JobSubmission;
use foa_workflows::request::{Request, Work};
use foa_workflows::work::{Artifact, ProposeLimits};

use crate::admission::Limits;
use crate::body::Body;
use crate::effect::{Advertised, Effect, Input, Output, Received};
use crate::machine::{Config, Identity, NodeMachine};
use crate::shards::Sharding;
use crate::status::Role;

pub(crate) const NOW: Time = Time::from_millis(1_000_000);

pub(crate) fn identity(name: &str, seed: u8) -> Identity {
    Identity::new(name.parse().unwrap(), NodeKey::from_seed([seed; 32]))
}

pub(crate) fn config(roles: &[Role]) -> Config {
    Config {
        roles: roles.iter().copied().collect(),
        operators: BTreeSet::new(),
        coordinators: BTreeSet::new(),
        accept_unsigned: false,
        model: model(),
        version: String::new(),
        limits: Limits::default(),
        max_queue: 10,
        sharding: Sharding::default(),
    }
}

/// The model of all vectors.
pub(crate) fn model() -> ModelId {
    "test/2@0123456789ab".parse().unwrap()
}

/// An agent called `agent` that does one thing at a time.
pub(crate) fn agent() -> Advertised {
    let profile = AgentProfile {
        name: "agent".parse().unwrap(),
        description: "answers".to_owned(),
        skills: Vec::new(),
        policies: BTreeSet::new(),
        offer: Offer { concurrency: 1, ..Offer::default() },
        spec: None,
        effects: Effects::Read,
        kind: "test".to_owned(),
        base_model: None,
        base: foa_capability::Base::default(),
    };
    let vectors = vec![Vector::new(vec![1.0, 0.0]).unwrap()];
    Advertised { profile, embeddings: vec![Embedding { model: model(), vectors }] }
}

/// A connected coordinator with one agent, that trusts its directory.
pub(crate) fn coordinator() -> NodeMachine {
    let roles = [Role::Coordinator, Role::Worker];
    let mut node = NodeMachine::new(identity("holder", 1), config(&roles), Boot(1), Vec::new());
    node.handle(Input::Advertise(vec![agent()]), NOW);
    node.handle(Input::Connected { connection: Connection(1) }, NOW);
    // Nobody confirms its directory; after a while it trusts it.
    node.handle(Input::Tick, NOW + Duration::from_secs(2));
    node
}

/// A message of `from` arrives.
pub(crate) fn says(node: &mut NodeMachine, from: &NodeId, id: &str, topic: Topic, body: Body) -> Vec<Output> {
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

/// `owner` submits a job. Nobody says what its words mean, so it is accepted without.
pub(crate) fn submits(node: &mut NodeMachine, owner: &NodeId, job: &str) -> Vec<Output> {
    submits_with(node, owner, job, Vec::new())
}

/// The same, with attachments.
pub(crate) fn submits_with(
    node: &mut NodeMachine,
    owner: &NodeId,
    job: &str,
    attachments: Vec<Artifact>,
) -> Vec<Output> {
    let job = job.parse().unwrap();
    let id = format!("submission-{job}");
    let submission = JobSubmission { job: Some(job), attachments, ..JobSubmission::of("do it") };
    let mut out = says(node, owner, &id, Topic::Jobs, Body::JobSubmit(submission));
    let embeds = out.iter().filter_map(|output| match &output.effect {
        Effect::Embed { id, .. } => Some(*id),
        _ => None,
    });
    for id in embeds.collect::<Vec<_>>() {
        out.extend(node.handle(Input::Embedded { id, result: Err("no model".to_owned()) }, NOW));
    }
    out
}

/// A piece of work for one of our agents, as the first holder of `job-of-somebody` asks for it.
pub(crate) fn work(agent: &AgentId, holder: &NodeId, number: u32) -> Work {
    Work {
        work: WorkId::new(&"job-of-somebody".parse().unwrap(), number),
        agent: agent.clone(),
        term: Term::first(holder.clone()),
        replicas: Vec::new(),
        deadline: NOW + Duration::from_secs(30),
        cap: None,
        request: Request::Propose { task: "do it".to_owned(), limits: ProposeLimits { min: 1, max: 4 } },
    }
}
