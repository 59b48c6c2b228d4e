//! The wire as others see it: golden bytes, every rule of the envelope, and whatever a stranger may send.

mod envelope;
mod golden;
mod hostile;
mod topics;

use foa_wire::{Boot, Envelope, Header, Namespace, NodeId, NodeKey, Sequence, Time, Topic};
use serde_json::{Value, json};
use std::time::Duration;

/// 2026-01-31T09:30:00.250Z
const SENT: Time = Time::from_millis(1_769_851_800_250);

fn key() -> NodeKey {
    NodeKey::from_seed([7; 32])
}

fn atlas() -> NodeId {
    NodeId::new("atlas".parse().unwrap(), &key().public())
}

fn fed() -> Namespace {
    Namespace::default()
}

fn message(kind: &str, to: &Topic, expires: Option<Duration>, body: Value) -> Envelope {
    let header = Header {
        kind: kind.to_owned(),
        to: to.to_string(),
        id: "m-00000001".parse().unwrap(),
        from: atlas(),
        boot: Boot(1_769_851_700),
        seq: Sequence(1),
        sent: SENT,
        expires: expires.map(|life| SENT + life),
        trace: None,
    };
    Envelope { header, body }
}

fn status() -> (Topic, Envelope) {
    let topic = Topic::Status(atlas());
    let body = json!({ "state": "online", "connection": 1, "roles": ["worker"], "load": 0.25 });
    let envelope = message("node.status", &topic, None, body);
    (topic, envelope)
}

fn command() -> (Topic, Envelope) {
    let topic = Topic::Inbox(atlas());
    let mut envelope =
        message("work.reply", &topic, Some(Duration::from_secs(60)), json!({ "text": "42 €" }));
    envelope.header.trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    (topic, envelope)
}
