//! A job that stands still in the middle, and the answer it must come to all the same.

use serde_json::Value;

use crate::federation::{Federation, PATIENCE};
use crate::gate::{ANSWER, Gate, Held};
use crate::process::Process;

/// What the job is about.
pub(crate) const TASK: &str = "Describe the harbour of Eskby";

/// Submits a job that one agent works on, and waits until it thinks about its own answer to the whole and about its part.
pub(crate) fn in_the_middle(federation: &Federation, gate: &Gate, job: &str) -> (Process, Vec<Held>) {
    let submitted = federation.begin(&["submit", "--job", job, "--team", "1", "--json", TASK]);
    let held = gate.holds(2);
    (submitted, held)
}

/// The result of the job, which has the answer.
pub(crate) fn completed(submitted: Process, job: &str) -> Value {
    let result = submitted.end(2 * PATIENCE).json();
    assert_eq!((&result["job"], &result["status"]), (&job.into(), &"completed".into()), "{result:#}");
    assert!(result["answer"].as_str().unwrap().contains(ANSWER), "{result:#}");
    result
}
