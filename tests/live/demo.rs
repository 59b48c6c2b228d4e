//! `foa demo`, as a stranger runs it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::federation::list;
use crate::process::Process;
use crate::program::{self, command, say};

const WITHIN: Duration = Duration::from_secs(150);

/// Processes whose command line names this place.
fn processes_of(place: &Path) -> Vec<String> {
    let place = place.to_str().expect("a temporary directory has a plain name");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(place) {
            found.push(line);
        }
    }
    found
}

fn the_demo_answers(args: &[&str]) {
    if !program::model() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut demo = command(args);
    // What the demo writes, and so what its nodes are started with, is below here.
    demo.env("TMPDIR", place.path()).current_dir(place.path());
    let begun = Instant::now();
    let ended = Process::start("foa demo", &mut demo).end(WITHIN);
    let took = begun.elapsed();
    let result = ended.json();
    let ready = ended.stderr.lines().find(|line| line.contains("ready in")).unwrap_or_default();
    let answered = ended.stderr.lines().find(|line| line.contains("answered in")).unwrap_or_default();
    say(&format!("foa {}: {took:.1?} in all; {ready}; {answered}", args.join(" ")));

    assert_eq!(result["status"], "completed", "{result:#}");
    let agents = list(&result["contributors"]).len();
    assert!(agents >= 2, "wanted several agents, found {agents}: {result:#}");
    assert!(!list(&result["plan"]["edges"]).is_empty(), "wanted two steps: {:#}", result["plan"]);
    let answer = result["answer"].as_str().unwrap();
    let parts = list(&result["parts"]);
    let evidence: Vec<&str> = parts
        .iter()
        .flat_map(|p| list(&p["outcome"]["evidence"]))
        .filter_map(|e| e["source"].as_str())
        .collect();
    assert!(evidence.iter().any(|source| source.contains(".md")), "wanted a document cited: {evidence:?}");
    assert!(
        evidence.iter().any(|source| answer.contains(source)),
        "wanted a citation in the answer: {answer}"
    );
    let calculated = parts.iter().any(|p| {
        let by_calc =
            list(&p["outcome"]["authors"]).iter().any(|a| a.as_str().is_some_and(|a| a.starts_with("calc@")));
        by_calc && p["outcome"]["text"].as_str().is_some_and(|t| t.contains(|c: char| c.is_ascii_digit()))
    });
    assert!(calculated, "wanted a number by the calculator: {result:#}");

    assert_eq!(processes_of(place.path()), Vec::<String>::new(), "children outlived the demo");
    let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert!(left.is_empty(), "the demo left files: {left:?}");
}

#[test]
fn the_demo_answers_in_one_process() {
    the_demo_answers(&["demo", "--json"]);
}

#[test]
fn the_demo_answers_with_a_process_for_each_node() {
    the_demo_answers(&["demo", "--json", "--processes"]);
}
