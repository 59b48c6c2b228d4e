//! Things that die in the middle of a job: its coordinator, an agent's node, the broker.

use serde_json::Value;

use crate::broker::Kind;
use crate::federation::{Federation, PATIENCE, list};
use crate::gate::Gate;
use crate::halfway::{completed, in_the_middle};
use crate::wire::{Message, Wire};

/// A coordinator without agents, and nodes whose agent thinks behind the gate, each with a model of the node's name.
fn harbours(gate: &Gate, thinkers: &[&str]) -> Option<Federation> {
    let mut federation = Federation::new(Kind::Embedded)?;
    federation.start("atlas", &["coordinator"], "");
    for name in thinkers {
        federation.start(name, &["worker"], &gate.agent("thinker", name));
    }
    federation.ready(&["atlas"]);
    federation.ready(thinkers);
    federation.agents(thinkers.len());
    Some(federation)
}

/// How often each step stands in the job's log.
fn steps(federation: &Federation, job: &str, step: &str) -> usize {
    let shown = federation.json(&["jobs", "show", job, "--json"]);
    list(&shown["records"]).iter().filter(|r| r["step"] == step).count()
}

#[test]
fn a_killed_coordinator_comes_back_and_finishes_its_job_once() {
    let gate = Gate::new();
    let Some(mut federation) = harbours(&gate, &["borealis"]) else { return };
    let mut events = Wire::join(federation.broker.port(), "watcher", &["foa/jobs/orphaned-job/events"]);
    let (submitted, held) = in_the_middle(&federation, &gate, "orphaned-job");
    let before = federation.json(&["jobs", "show", "orphaned-job", "--json"]);

    federation.take("atlas").kill();
    // One answer comes while nobody listens, the other after the restart.
    gate.release(&held[0]);
    federation.again("atlas");
    federation.ready(&["atlas"]);
    gate.release(&held[1]);

    completed(submitted, "orphaned-job");
    let jobs = federation.json(&["jobs", "list", "--json"]);
    assert_eq!(list(&jobs).len(), 1, "{jobs:#}");
    let after = federation.json(&["jobs", "show", "orphaned-job", "--json"]);
    assert_eq!(after["summary"]["accepted"], before["summary"]["accepted"], "the same job, not a new one");
    for once in ["accepted", "routed", "adopted"] {
        assert_eq!(steps(&federation, "orphaned-job", once), 1, "{once}: {after:#}");
    }
    let messages: Vec<Value> = events.so_far().iter().map(Message::json).collect();
    let records = messages.iter().flat_map(|message| list(&message["body"]["records"]));
    let ends = records.filter(|record| record["step"] == "ended").count();
    assert_eq!(ends, 1, "it ended once");
    assert_eq!(gate.drafts(), 2, "nothing was thought about twice");
}

#[test]
fn a_killed_worker_is_replaced_and_when_nobody_is_left_the_result_says_so() {
    let gate = Gate::new();
    let Some(mut federation) = harbours(&gate, &["borealis", "cygnus"]) else { return };
    let (submitted, held) = in_the_middle(&federation, &gate, "reassigned-job");
    // The part goes out after the answer to the whole.
    let victim = held[1].model.clone();
    let survivor = if victim == "borealis" { "cygnus" } else { "borealis" };
    federation.take(&victim).kill();
    gate.open();
    let result = completed(submitted, "reassigned-job");
    let lost: Vec<&Value> = list(&result["failures"])
        .iter()
        .filter(|f| f["agent"].as_str().is_some_and(|a| a.starts_with(&format!("thinker@{victim}."))))
        .collect();
    assert!(!lost.is_empty(), "wanted the failure of {victim} in the result: {result:#}");
    assert!(lost.iter().all(|f| f["reason"] == "offline"), "{lost:#?}");
    assert_eq!(steps(&federation, "reassigned-job", "reassigned"), 1);
    let authors = result["parts"][0]["outcome"]["authors"][0].as_str().unwrap();
    assert!(authors.starts_with(&format!("thinker@{survivor}.")), "{authors}");

    // Now the last one goes too, and there is nobody to take its place.
    gate.close();
    let (submitted, _) = in_the_middle(&federation, &gate, "abandoned-job");
    federation.take(survivor).kill();
    let ended = submitted.end(2 * PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    let result: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["status"], "failed", "{result:#}");
    let disclosed = list(&result["failures"]).iter().any(|f| {
        f["reason"] == "offline"
            && f["agent"].as_str().is_some_and(|a| a.starts_with(&format!("thinker@{survivor}.")))
    });
    assert!(disclosed, "wanted the failure of {survivor} in the result: {result:#}");
}

#[test]
fn a_broker_that_forgot_everything_does_not_stop_a_job() {
    let gate = Gate::new();
    let Some(mut federation) = harbours(&gate, &["borealis"]) else { return };
    let (submitted, held) = in_the_middle(&federation, &gate, "brokerless-job");
    federation.broker.kill();
    // One answer comes while there is no broker, the other when there is one again.
    gate.release(&held[0]);
    federation.broker.resume();
    federation.agents(1);
    gate.release(&held[1]);
    completed(submitted, "brokerless-job");
    assert_eq!(gate.drafts(), 2, "nothing was thought about twice");
}

#[test]
fn a_coordinator_that_starts_again_knows_whom_it_knew() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    federation.start("atlas", &["coordinator"], "");
    federation.start("abacus", &["worker"], "[[agent]]\nkind = \"calc\"\nname = \"calc\"\n");
    federation.ready(&["atlas", "abacus"]);
    federation.agents(1);
    let stop = |federation: &mut Federation| {
        let node = federation.take("atlas");
        node.signal("INT");
        assert_eq!(node.end(PATIENCE).code, Some(0));
    };
    stop(&mut federation);
    federation.again("atlas");
    federation.node("atlas").says("the directory is known from before agents=1", PATIENCE);
    federation.ready(&["atlas"]);
    federation.agents(1);
    stop(&mut federation);

    // A file that was damaged meanwhile costs nothing but time.
    let file = federation.folder().join("atlas/directory");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    federation.again("atlas");
    federation.node("atlas").says("the directory is learnt anew", PATIENCE);
    federation.ready(&["atlas"]);
    federation.agents(1);
}
