//! What is too large for a message, between real nodes: an attachment and a long answer, and the death of one holder each.

use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::broker::Kind;
use crate::endpoint::{Request, serve};
use crate::federation::{Federation, PATIENCE, agent, list};

const ABOUT: &str = "Reads reports about lighthouses and says what stands in them";
const FACT: &str = "The lighthouse of Eskby is 43 m high.";
const TASK: &str = "Say how high the lighthouse of Eskby is";

/// What a model says, whose drafts are these.
fn says(request: &Request, answer: impl Fn(&Request) -> String) -> Value {
    match request.shape.as_str() {
        "propose" => json!({"subtasks": [{"key": "s1", "description": request.subject}], "edges": []}),
        "judge" => json!({"approve": true, "reason": ""}),
        "synthesise" => json!({"text": request.subject}),
        _ => json!({"can_answer": true, "answer": answer(request), "confidence": 0.9, "complete": true}),
    }
}

/// Answers by what it was given.
fn reads(request: &Request) -> String {
    let given = if request.prompt.contains(FACT) { FACT } else { "nothing was given" };
    given.to_owned()
}

/// These coordinators and a reader behind this model.
fn federation(
    coordinators: &[&str],
    model: impl Fn(&Request) -> Value + Send + Sync + 'static,
) -> Option<Federation> {
    let address = serve(model);
    let mut federation = Federation::new(Kind::Embedded)?;
    let url = format!("http://{address}/v1");
    let reader =
        agent("openai", "reader", &[("description", ABOUT), ("base_url", &url), ("model", "reader")]);
    for name in coordinators {
        federation.start(name, &["coordinator"], "");
    }
    federation.start("cygnus", &["worker"], &reader);
    federation.ready(coordinators);
    federation.ready(&["cygnus"]);
    federation.agents(1);
    coordinate(&federation, coordinators.len());
    Some(federation)
}

/// So many coordinators know each other: whichever is asked lists them all.
fn coordinate(federation: &Federation, wanted: usize) {
    federation.until(&format!("{wanted} coordinators"), &["nodes", "--json"], |nodes| {
        let there = |node: &&Value| {
            node["online"] == true && list(&node["roles"]).iter().any(|role| role == "coordinator")
        };
        (nodes.as_array()?.iter().filter(there).count() == wanted).then_some(())
    });
}

/// The short names of an artifact's holders.
fn holders(artifact: &Value) -> Vec<String> {
    let names = list(&artifact["holders"]).iter().filter_map(Value::as_str);
    names.filter_map(|id| id.split_once('.')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn an_attachment_of_50_mb_outlives_its_first_holder() {
    let model = |request: &Request| says(request, reads);
    let Some(mut federation) = federation(&["atlas", "borealis"], model) else { return };
    let report = federation.folder().join("report.txt");
    let mut text = format!("{FACT}\n");
    for line in 0.. {
        if text.len() >= 50_000_000 {
            break;
        }
        writeln!(text, "Line {line} of the report says that the sea was calm and nothing else happened.")
            .unwrap();
    }
    fs::write(&report, &text).unwrap();
    let put = federation.json(&["artifacts", "put", report.to_str().unwrap(), "--json"]);
    assert_eq!(put["bytes"], text.len());
    let holders = holders(&put);
    assert_eq!(holders.len(), 2, "{put:#}");

    federation.take(&holders[0]).kill();
    let id = put["artifact"].as_str().unwrap();
    let result = federation.json(&["submit", "--attach", id, "--json", TASK]);
    assert_eq!(result["status"], "completed", "{result:#}");
    assert!(result["answer"].as_str().unwrap().contains(FACT), "{result:#}");

    let kept = federation.folder().join("cygnus/artifacts").join(id.trim_start_matches("blake3:"));
    assert_eq!(fs::metadata(&kept).unwrap().len(), text.len() as u64, "the agent's node fetched all of it");
    let copy = federation.folder().join("copy.txt");
    let got = federation.run(&["artifacts", "get", id, "-o", copy.to_str().unwrap()]);
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert!(fs::read(&copy).unwrap() == text.as_bytes(), "the copy is another");
    assert!(!federation.folder().join("copy.txt.partial").exists());
}

#[test]
fn an_answer_too_long_for_a_message_outlives_its_author() {
    let long = format!("{FACT}\n{}", "And the sea was calm. ".repeat(15_000));
    let said = long.clone();
    let model = move |request: &Request| says(request, |_| said.clone());
    let Some(mut federation) = federation(&["atlas", "borealis"], model) else { return };
    let result = federation.json(&["submit", "--team", "1", "--json", TASK]);
    assert_eq!(result["status"], "completed", "{result:#}");
    let evidence = list(&result["parts"][0]["outcome"]["evidence"]);
    let evidence = if evidence.is_empty() { list(&result["parts"][0]["evidence"]) } else { evidence };
    let artifact = &evidence.first().unwrap_or_else(|| panic!("no evidence: {result:#}"))["artifact"];
    assert_eq!(artifact["bytes"], long.len(), "{artifact:#}");
    let holders = holders(artifact);
    assert_eq!((holders.len(), holders[0].as_str()), (2, "cygnus"), "{artifact:#}");

    federation.take("cygnus").kill();
    let id = artifact["artifact"].as_str().unwrap();
    let got = federation.run(&["artifacts", "get", id]);
    assert_eq!(got.code, Some(0), "{got:#?}");
    assert_eq!(got.stdout.trim_end(), long.trim_end());
}

/// What the only holder of an attachment and the reader had, the replicas of the job have once it is accepted.
#[test]
fn an_attachment_is_with_the_replicas_of_the_job_when_its_only_holder_dies() {
    let gate = Arc::new((Mutex::new(false), Condvar::new()));
    let opens = Arc::clone(&gate);
    let model = move |request: &Request| {
        if request.shape == "propose" {
            let (open, changed) = &*opens;
            drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
        }
        says(request, reads)
    };
    let Some(mut federation) = federation(&["atlas"], model) else { return };
    let report = federation.folder().join("report.txt");
    fs::write(&report, format!("{FACT}\n")).unwrap();
    let put = federation.json(&["artifacts", "put", report.to_str().unwrap(), "--json"]);
    assert_eq!(holders(&put), ["atlas"], "{put:#}");
    let others = ["borealis", "draco"];
    for name in others {
        federation.start(name, &["coordinator"], "");
    }
    federation.ready(&others);
    coordinate(&federation, 3);

    let id = put["artifact"].as_str().unwrap();
    let replicated = ["--durability", "replicated", "--json", TASK];
    let submitted = federation.begin(&[&["submit", "--attach", id], &replicated[..]].concat());
    for name in others {
        let config = federation.folder().join(format!("{name}.toml"));
        let until = Instant::now() + PATIENCE;
        loop {
            let listed = federation.run_as(&config, &["artifacts", "list", "--json"]);
            let whole = |kept: &Value| kept["artifact"] == id && kept["whole"] == true;
            if list(&listed.json()).iter().any(whole) {
                break;
            }
            assert!(Instant::now() < until, "wanted {id} at {name}, found {listed:#?}");
        }
    }
    federation.take("atlas").kill();
    *gate.0.lock().unwrap() = true;
    gate.1.notify_all();
    let result = submitted.end(2 * PATIENCE).json();
    assert_eq!(result["status"], "completed", "{result:#}");
    assert!(result["answer"].as_str().unwrap().contains(FACT), "{result:#}");

    federation.take("cygnus").kill();
    let got = federation.run(&["artifacts", "get", id]);
    assert!(got.code == Some(0) && got.stdout.contains(FACT), "{got:#?}");
}
