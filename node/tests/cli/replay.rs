//! `foa replay` on an exported log, as it was written and with something in it changed.

use foa_capability::score::grid;
use foa_capability::{
    Candidate, Effects, Engine, Factors, Loser, LostBy, Money, Query, Routed, Vector, Weights, turn,
};
use foa_node::store::{Append, SegmentStore, Store, Stream};
use foa_node_core::journal::NodeRecord;
use foa_wire::{AgentId, Boot, JobId, NodeId, NodeKey, Term, Time, Version};
use foa_workflows::engine::{Command, Input, JobMachine};
use foa_workflows::{JobSubmission, Record, Step};

use super::Place;

fn node() -> NodeId {
    NodeId::new("atlas".parse().unwrap(), &NodeKey::from_seed([1; 32]).public())
}

fn agent(name: &str) -> AgentId {
    AgentId::new(name.parse().unwrap(), node())
}

fn candidate(name: &str, dense: f64, query: &Query) -> Candidate {
    let weights = Weights::default();
    let factors = Factors {
        similarity: weights.similar(dense, None, 0.113),
        dense,
        best_vector: "description".to_owned(),
        lexical: 0.113,
        experience: None,
        policy: 1.0,
        resources: 1.0,
        price: grid(weights.price(Money(20_000), query.budget)),
        load: grid(weights.load(1, 2)),
        spec: 1.0,
        reputation: 1.0,
        turn: turn::factor(query.seed, &agent(name)),
    };
    Candidate {
        agent: agent(name),
        alpha: factors.alpha(),
        passes: true,
        factors,
        version: (Boot(5), Version(2)),
        model: "toy/3@000000000000".parse().unwrap(),
        price: Money(20_000),
        worst_case: Money(30_000),
        concurrency: 2,
        effects: Effects::Read,
        skills: [].into(),
        base_model: None,
    }
}

fn routed(query: &Query) -> Routed {
    let offline = Loser { agent: agent("away"), similarity: 0.4, reason: LostBy::Offline };
    Routed {
        candidates: vec![candidate("translator", 0.4775, query), candidate("reader", 0.31, query)],
        losers: vec![offline],
        threshold: 0.2,
        considered: 3,
        engine: Engine::Exact,
        model: Some("toy/3@000000000000".parse().unwrap()),
        seed: query.seed,
        price_weight: Some(0.5),
        unmet: None,
        spread: None,
    }
}

/// The log of a job that was routed and then cancelled.
fn log() -> Vec<Record> {
    let job: JobId = "job-replayed".parse().unwrap();
    let now = Time::from_millis(1_769_851_800_250);
    let submission =
        JobSubmission { budget: Some(Money(100_000)), ..JobSubmission::of("translate the invoices of May") };
    let (term, replicas) = (Term::first(node()), vec![node()]);
    let (mut machine, mut commands) = JobMachine::accept(job, submission, None, term, replicas, None, now);
    commands.extend(machine.handle(Input::Resume, now));
    let mut log = Vec::new();
    while !commands.is_empty() {
        for command in std::mem::take(&mut commands) {
            let input = match command {
                Command::Commit(record) => {
                    let cancel =
                        matches!(record.step, Step::Routed { .. }).then(|| Input::Cancel { by: node() });
                    log.push(*record);
                    cancel
                }
                Command::Embed(texts) => {
                    let meaning = Vector::new(vec![1.0, 0.0, 0.0]).unwrap();
                    Some(Input::Embedded(texts.into_iter().map(|t| (t, meaning.clone())).collect()))
                }
                Command::Route { key, query } => Some(Input::Routed { key, routed: routed(&query) }),
                Command::Send(_)
                | Command::Withdraw { .. }
                | Command::Post { .. }
                | Command::Moderate { .. }
                | Command::Grade { .. } => None,
            };
            commands.extend(input.into_iter().flat_map(|input| machine.handle(input, now)));
        }
    }
    log
}

/// What `foa replay` says of this log, exported from a store.
fn replayed(log: Vec<Record>, more: &[&str]) -> String {
    let place = Place::new();
    let store = SegmentStore::open(&place.path().join("data/journal")).unwrap();
    for record in log {
        let stream = Stream::Job(record.job.clone());
        let body = serde_json::to_vec(&NodeRecord::Job { record: Box::new(record) }).unwrap();
        store.append(&[Append { stream: &stream, body: &body }]).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let mut export = place.command(&["jobs", "export", "job-replayed", "-o", "log.jsonl"]);
    assert!(export.env("FOA_DATA_DIR", place.path().join("data")).status().unwrap().success());
    place.shown(&[&["replay", "job-replayed", "--file", "log.jsonl"], more].concat())
}

#[test]
fn a_log_says_the_same_again() {
    let shown = replayed(log(), &[]);
    assert!(shown.starts_with("exit 0\n"), "{shown}");
    insta::assert_snapshot!(shown);
    let json = replayed(log(), &["--json"]);
    assert!(json.contains("\"outcome\": \"reproduced\"") && json.contains("\"differ\": 0"), "{json}");
}

#[test]
fn a_log_that_was_changed_is_noticed() {
    let mut log = log();
    let Step::Routed { grounds: Some(grounds), .. } = &mut log[1].step else { panic!("not routed") };
    grounds.questions[0].candidates[1].load = 0.99;
    let shown = replayed(log, &[]);
    assert!(shown.starts_with("exit 1\n"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn a_job_that_is_not_in_the_file_is_named() {
    let place = Place::new();
    place.write("log.jsonl", "{\"foa\":\"jobs\",\"version\":1,\"streams\":0,\"records\":0}\n");
    let shown = place.shown(&["replay", "job-replayed", "--file", "log.jsonl"]);
    assert!(shown.starts_with("exit 1\n"), "{shown}");
    assert!(shown.contains("wanted records of job-replayed, found none"), "{shown}");
}
