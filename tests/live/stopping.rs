//! ctrl-C on a node: it finishes what it has, says goodbye itself, and exits 0.

use crate::broker::Kind;
use crate::federation::{Federation, PATIENCE, list};
use crate::gate::{ANSWER, Gate};
use crate::wire::Wire;

#[test]
fn a_node_told_to_stop_finishes_its_work_and_says_goodbye() {
    let gate = Gate::new();
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    federation.start("atlas", &["coordinator"], "");
    federation.start("borealis", &["worker"], &gate.agent("thinker", "borealis"));
    federation.ready(&["atlas", "borealis"]);
    federation.agents(1);
    let mut presence = Wire::join(federation.broker.port(), "watcher", &["foa/nodes/+/status"]);
    let submitted =
        federation.begin(&["submit", "--job", "last-job", "--team", "1", "--json", "Describe the harbour"]);
    gate.holds(2);

    let node = federation.take("borealis");
    node.signal("INT");
    let status = |online: bool, draining: bool| {
        move |m: &crate::wire::Message| {
            let status = m.json()["body"].clone();
            let ours = status["node"].as_str()?.starts_with("borealis.");
            (ours && status["online"] == online && status["draining"] == draining).then_some(status)
        }
    };
    presence.until("borealis to drain", status(true, true));
    gate.open();
    let result = submitted.end(2 * PATIENCE).json();
    assert_eq!(result["status"], "completed", "{result:#}");
    assert!(result["answer"].as_str().unwrap().contains(ANSWER), "{result:#}");

    let ended = node.end(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let last = presence.until("borealis to be offline", status(false, false));
    assert!(!list(&last["roles"]).is_empty(), "a will has no roles, a goodbye has: {last:#}");
    let online = federation.until("borealis to be offline", &["nodes", "--json"], |nodes| {
        let node =
            list(nodes).iter().find(|n| n["node"].as_str().is_some_and(|id| id.starts_with("borealis.")))?;
        (node["online"] == false).then(|| node["online"].clone())
    });
    assert_eq!(online, false);

    // Also the coordinator, which has the journal to close.
    let node = federation.take("atlas");
    node.signal("INT");
    assert_eq!(node.end(PATIENCE).code, Some(0));
}
