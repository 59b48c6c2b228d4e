//! What is too large for a message, between real nodes: an attachment and a long answer, and the death of one holder each.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::broker::Kind;
use crate::endpoint::{Request, serve};
use crate::federation::{Federation, agent, list};

const ABOUT: &str = "Reads reports about lighthouses and says what stands in them";
const FACT: &str = "The lighthouse of Eskby is 43 m high.";
const TASK: &str = "Say how high the lighthouse of Eskby is";

/// Two coordinators and a reader behind this model.
fn federation(answer: impl Fn(&Request) -> String + Send + Sync + 'static) -> Option<Federation> {
    let address = serve(move |request| match request.shape.as_str() {
        "propose" => json!({"subtasks": [{"key": "s1", "description": request.subject}], "edges": []}),
        "judge" => json!({"approve": true, "reason": ""}),
        "synthesise" => json!({"text": request.subject}),
        _ => json!({"can_answer": true, "answer": answer(request), "confidence": 0.9, "complete": true}),
    });
    let mut federation = Federation::new(Kind::Embedded)?;
    let url = format!("http://{address}/v1");
    let reader =
        agent("openai", "reader", &[("description", ABOUT), ("base_url", &url), ("model", "reader")]);
    federation.start("atlas", &["coordinator"], "");
    federation.start("borealis", &["coordinator"], "");
    federation.start("cygnus", &["worker"], &reader);
    federation.ready(&["atlas", "borealis", "cygnus"]);
    federation.agents(1);
    // Both coordinators know each other: whichever is asked lists two.
    federation.until("two coordinators", &["nodes", "--json"], |nodes| {
        let there = |node: &&Value| {
            node["online"] == true && list(&node["roles"]).iter().any(|role| role == "coordinator")
        };
        (nodes.as_array()?.iter().filter(there).count() == 2).then_some(())
    });
    Some(federation)
}

/// The short names of an artifact's holders.
fn holders(artifact: &Value) -> Vec<String> {
    let names = list(&artifact["holders"]).iter().filter_map(Value::as_str);
    names.filter_map(|id| id.split_once('.')).map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn an_attachment_of_50_mb_outlives_its_first_holder() {
    let reads = |request: &Request| {
        let given = if request.prompt.contains(FACT) { FACT } else { "nothing was given" };
        given.to_owned()
    };
    let Some(mut federation) = federation(reads) else { return };
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
    let Some(mut federation) = federation(move |_| said.clone()) else { return };
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
