//! A job's holder is gone for longer than it may be: killed for good, cut off, or frozen. Another coordinator finishes the
//! job in a higher term, and when the old one comes back it steps down, and there is still one result.

use std::time::Instant;

use foa_node_core::query::QueryAnswer;
use foa_wire::{JobId, NodeId};
use serde_json::Value;

use crate::broker::Kind;
use crate::federation::{Federation, PATIENCE, list};
use crate::game::COORDINATORS;
use crate::gate::{ANSWER, Gate, Held};
use crate::halfway::in_the_middle;
use crate::process::Process;
use crate::proxy::{Link, Proxy};
use crate::submitter::Submitter;

/// Three coordinators, each with a way to the broker of its own, and a job that stands still in the middle.
struct Stage {
    federation: Federation,
    proxies: Vec<Proxy>,
    gate: Gate,
}

impl Stage {
    fn new() -> Option<Self> {
        let gate = Gate::new();
        let mut federation = Federation::new(Kind::Embedded)?;
        let proxies: Vec<Proxy> = COORDINATORS.iter().map(|_| Proxy::to(federation.broker.port())).collect();
        for (name, proxy) in COORDINATORS.iter().zip(&proxies) {
            federation.start_at(&proxy.url(), name, &["coordinator"], "");
        }
        federation.start("draco", &["worker"], &gate.agent("thinker", "draco"));
        federation.ready(&COORDINATORS);
        federation.ready(&["draco"]);
        federation.agents(1);
        Some(Self { federation, proxies, gate })
    }

    /// The submission, what is held of it, and which coordinator holds it.
    fn begin(&self, job: &str) -> (Process, Vec<Held>, usize) {
        let (submitted, held) = in_the_middle(&self.federation, &self.gate, job);
        let shown = self.federation.json(&["jobs", "show", job, "--json"]);
        let term = &shown["summary"]["term"];
        assert_eq!(term["number"], 1, "{shown:#}");
        let holder = term["holder"].as_str().unwrap();
        let at = COORDINATORS.iter().position(|name| holder.starts_with(&format!("{name}.")));
        (submitted, held, at.unwrap_or_else(|| panic!("wanted one of {COORDINATORS:?}, found {holder}")))
    }

    /// The result comes in a higher term, by another, although its holder is away; nobody thought twice.
    fn finished_by_another(&self, submitted: Process, old: usize) -> Value {
        let result = submitted.end(2 * PATIENCE).json();
        assert_eq!(result["status"], "completed", "{result:#}");
        assert!(result["answer"].as_str().unwrap().contains(ANSWER), "{result:#}");
        assert!(result["term"]["number"].as_u64().unwrap() >= 2, "{result:#}");
        let holder = result["term"]["holder"].as_str().unwrap();
        assert!(!holder.starts_with(&format!("{}.", COORDINATORS[old])), "{result:#}");
        assert_eq!(self.gate.drafts(), 2, "nothing was thought about twice");
        result
    }

    /// Each coordinator that runs learns this result, whatever it believed before, and no other.
    fn shown(&self, job: &str, result: &Value) {
        let job: JobId = job.parse().unwrap();
        let mut asker = Submitter::new(self.federation.broker.port(), "asker");
        let nodes = self.federation.json(&["nodes", "--json"]);
        let ids: Vec<NodeId> = list(&nodes).iter().filter_map(|n| n["node"].as_str()?.parse().ok()).collect();
        for name in COORDINATORS.iter().filter(|name| self.federation.runs(name)) {
            let id = ids.iter().find(|id| id.name().as_str() == *name);
            let id = id.unwrap_or_else(|| panic!("wanted {name} among {ids:?}"));
            let until = Instant::now() + PATIENCE;
            let known = loop {
                match asker.ask(id, &job) {
                    QueryAnswer::Job { result: Some(known), .. } => break known,
                    other => assert!(Instant::now() < until, "wanted {name} to know the result: {other:#?}"),
                }
            };
            assert_eq!(serde_json::to_value(known).unwrap(), *result, "{name} knows another result");
        }
    }

    /// Everybody, also the one who was away, knows this result and no other.
    fn one_result(&self, job: &str, result: &Value) {
        let known = self.federation.until("three coordinators", &["nodes", "--json"], |nodes| {
            let online = |n: &&Value| {
                n["online"] == true && list(&n["roles"]).iter().any(|role| role == "coordinator")
            };
            (list(nodes).iter().filter(online).count() == COORDINATORS.len()).then_some(COORDINATORS.len())
        });
        assert_eq!(known, COORDINATORS.len());
        self.shown(job, result);
        let jobs = self.federation.json(&["jobs", "list", "--json"]);
        assert_eq!(list(&jobs).len(), 1, "{jobs:#}");
    }
}

#[test]
fn a_coordinator_that_is_killed_for_good_is_succeeded() {
    let Some(mut stage) = Stage::new() else { return };
    let (submitted, held, old) = stage.begin("bequeathed-job");
    stage.federation.take(COORDINATORS[old]).kill();
    // One answer comes while nobody holds the job, the other whenever.
    stage.gate.release(&held[0]);
    stage.gate.release(&held[1]);
    let result = stage.finished_by_another(submitted, old);
    stage.shown("bequeathed-job", &result);
}

#[test]
fn a_coordinator_that_is_cut_off_is_succeeded_and_steps_down_when_it_is_back() {
    let Some(stage) = Stage::new() else { return };
    let (submitted, held, old) = stage.begin("severed-holder");
    stage.proxies[old].set(Link::Cut);
    stage.proxies[old].felt();
    for draft in &held {
        stage.gate.release(draft);
    }
    let result = stage.finished_by_another(submitted, old);
    stage.proxies[old].set(Link::Open);
    stage.federation.node(COORDINATORS[old]).says("stepping down", PATIENCE);
    stage.one_result("severed-holder", &result);
}

#[test]
fn a_coordinator_that_is_frozen_is_succeeded_and_steps_down_when_it_goes_on() {
    let Some(stage) = Stage::new() else { return };
    let (submitted, held, old) = stage.begin("frozen-holder");
    stage.federation.node(COORDINATORS[old]).signal("STOP");
    for draft in &held {
        stage.gate.release(draft);
    }
    // The broker gives it up after one and a half keep-alives, the others five seconds later.
    let result = stage.finished_by_another(submitted, old);
    stage.federation.node(COORDINATORS[old]).signal("CONT");
    stage.federation.node(COORDINATORS[old]).says("stepping down", PATIENCE);
    stage.one_result("frozen-holder", &result);
}
