//! ctrl-C and SIGTERM end services in order, with exit code 0.

#![cfg(unix)]

use super::{Guarded, Place};

#[test]
fn a_broker_takes_a_free_port_says_which_and_stops_when_told() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let mut broker = Guarded::start(&mut place.command(&["broker", "--listen", "127.0.0.1:0"]));
        let url = broker.line();
        assert!(url.starts_with("mqtt://127.0.0.1:") && !url.ends_with(":0"), "{url}");
        let nodes = place.run(&["--broker", &url, "nodes"]);
        let said = String::from_utf8(nodes.stderr).unwrap();
        assert_eq!(nodes.status.code(), Some(2), "{said}");
        assert!(said.contains("found nobody and none of them is one"), "{said}");
        assert!(said.contains("hint: start one with `foa node`"), "{said}");
        broker.signal(signal);
        assert_eq!(broker.0.wait().unwrap().code(), Some(0), "after SIG{signal}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = place.run(&["broker", "--listen", &address]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address) && said.contains("hint: is another broker running there?"), "{said}");
}

#[test]
fn a_node_told_to_stop_leaves_with_0() {
    let Ok(home) = std::env::var("HOME") else { return };
    let place = Place::new();
    let mut broker = Guarded::start(&mut place.command(&["broker", "--listen", "127.0.0.1:0"]));
    let url = broker.line();
    let mut command = place.command(&["--broker", &url, "node", "--name", "solo", "--data-dir", "data"]);
    super::with_model(&mut command, &home);
    let mut node = Guarded::start(&mut command);
    node.stderr_until("is ready");
    let nodes = place.run(&["--broker", &url, "nodes", "--json"]);
    let known: Vec<serde_json::Value> = serde_json::from_slice(&nodes.stdout).unwrap();
    assert_eq!(known.len(), 1);
    assert_eq!(known[0]["online"], true);
    node.signal("TERM");
    assert_eq!(node.0.wait().unwrap().code(), Some(0));
    assert!(place.path().join("data/node.key").is_file());
}
