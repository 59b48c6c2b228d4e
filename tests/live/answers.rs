//! A question in two steps, over both brokers; and a question from somebody without a key.

use std::time::Instant;

use foa_wire::{JobId, codec};

use crate::broker::Kind;
use crate::federation::{Federation, agent, list};
use crate::program::say;
use crate::wire::Wire;

const QUESTION: &str = "How long is the Alder bridge, and how long is the Birch bridge? \
                        Then calculate the difference between the two in metres.";

/// Two libraries that each hold half of the answer, a calculator, and a coordinator that plans.
fn bridges(kind: Kind) -> Option<Federation> {
    let mut federation = Federation::new(kind)?;
    let library = |name: &str, text: &str| {
        let folder = federation.folder().join(format!("docs-{name}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.md")), text).unwrap();
        agent("corpus", "library", &[("path", &format!("docs-{name}"))])
    };
    let alder = library(
        "alder",
        "# The Alder bridge\n\nThe Alder bridge is 412 metres long and crosses the river Alder. It was opened in 1931 \
         and carries a road.\n\n## Tolls\n\nCars pay two crowns, lorries pay five.\n",
    );
    let birch = library(
        "birch",
        "# The Birch bridge\n\nThe Birch bridge is 287 metres long and crosses the Birch sound. It was opened in 1954 \
         and carries a railway.\n\n## Repairs\n\nIts bearings were renewed in 1999.\n",
    );
    federation.start("atlas", &["coordinator", "worker"], &agent("planner", "planner", &[("grain", "fine")]));
    federation.start("borealis", &["worker"], &alder);
    federation.start("cygnus", &["worker"], &birch);
    federation.start("abacus", &["worker"], &agent("calc", "calc", &[]));
    federation.ready(&["atlas", "borealis", "cygnus", "abacus"]);
    federation.agents(4);
    Some(federation)
}

fn a_two_step_question_is_answered(kind: Kind) {
    let Some(federation) = bridges(kind) else { return };
    let mut all = Wire::join(federation.broker.port(), "counter", &["foa/#"]);
    all.so_far();
    let begun = Instant::now();
    let ended = federation.run(&["submit", "--job", "two-bridges", "--json", QUESTION]);
    let took = begun.elapsed();
    let result = ended.json();
    let mut work = 0;
    let mut bytes = 0;
    for message in all.so_far() {
        if !message.retained {
            work += 1;
            bytes += message.payload.len();
        }
    }
    say(&format!("two steps over {kind:?}: answered in {took:.1?}, {work} messages, {} KB", bytes / 1000));

    assert_eq!(result["status"], "completed", "{result:#}");
    let answer = result["answer"].as_str().unwrap();
    for wanted in ["412", "287", "125", "alder.md", "birch.md"] {
        assert!(answer.contains(wanted), "wanted {wanted:?} in the answer: {result:#}");
    }
    let contributors: Vec<&str> =
        list(&result["contributors"]).iter().filter_map(|c| c["agent"].as_str()).collect();
    for wanted in ["library@borealis.", "library@cygnus.", "calc@abacus."] {
        assert!(contributors.iter().any(|c| c.starts_with(wanted)), "wanted {wanted}: {contributors:?}");
    }
    assert!(!list(&result["plan"]["edges"]).is_empty(), "wanted a plan with an edge: {:#}", result["plan"]);

    // Kept by the broker for whoever comes later, and by the coordinator for whoever asks.
    let mut late = Wire::join(federation.broker.port(), "late", &["foa/result/two-bridges"]);
    let kept = late.until("the retained result", |m| m.retained.then(|| m.json()));
    assert_eq!((&kept["type"], &kept["body"]["answer"]), (&"job.result".into(), &result["answer"]));
    let shown = federation.json(&["jobs", "show", "two-bridges", "--json"]);
    assert_eq!(shown["result"]["answer"], result["answer"]);
    let steps: Vec<&str> = list(&shown["records"]).iter().filter_map(|r| r["step"].as_str()).collect();
    assert_eq!((steps.first(), steps.last()), (Some(&"accepted"), Some(&"answered")), "{steps:?}");
    let read = federation.run(&["jobs", "show", "two-bridges"]);
    assert!(read.code == Some(0) && read.stdout.contains("125"), "{read:#?}");

    // Every decision follows from the log.
    let replay = federation.json(&["replay", "two-bridges", "--json"]);
    assert_eq!(replay["counts"]["differ"], 0, "{replay:#}");
    let reproduced = |d: &&serde_json::Value| d["outcome"] == "reproduced";
    let steps: Vec<&str> =
        list(&replay["decisions"]).iter().filter(reproduced).filter_map(|d| d["step"].as_str()).collect();
    for wanted in ["routed", "adopted", "assigned", "ended"] {
        assert!(steps.contains(&wanted), "wanted {wanted} reproduced: {replay:#}");
    }
    let read = federation.run(&["replay", "two-bridges"]);
    assert!(read.code == Some(0) && read.stdout.contains(" 0 differ"), "{read:#?}");

    // The same words from somebody without a key, as mosquitto_pub would send them.
    let bare = serde_json::json!({ "task": QUESTION });
    let job = JobId::of_body(&codec::canonical(&bare));
    let topic = format!("foa/result/{job}");
    let mut stranger = Wire::join(federation.broker.port(), "stranger", &[&topic]);
    stranger.say("foa/orchestrator/jobs", bare.to_string().as_bytes());
    let unsigned = stranger.until("the result of the unsigned job", |m| (m.topic == topic).then(|| m.json()));
    assert_eq!(unsigned["body"]["status"], "completed", "{unsigned:#}");
    assert!(unsigned["body"]["answer"].as_str().unwrap().contains("125"), "{unsigned:#}");
    let mut later = Wire::join(federation.broker.port(), "later", &[&topic]);
    later.until("the same result, retained", |m| m.retained.then_some(()));
}

#[test]
fn a_two_step_question_is_answered_over_the_embedded_broker() {
    a_two_step_question_is_answered(Kind::Embedded);
}

#[test]
fn a_two_step_question_is_answered_over_mosquitto() {
    a_two_step_question_is_answered(Kind::Mosquitto);
}
