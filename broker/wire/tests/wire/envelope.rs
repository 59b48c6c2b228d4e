//! Every rule of the envelope, broken one at a time.

use foa_wire::codec::{self, MAX_ENVELOPE, Malformed};
use foa_wire::envelope::{SealError, open, open_bare};
use foa_wire::refusal::Reason;

use super::*;

/// The name a message is refused under, or `accepted`.
fn outcome(arrived: &Topic, bytes: &[u8], now: Time) -> &'static str {
    open(&fed(), arrived, bytes, now).map_or_else(|refusal| refusal.name(), |_| "accepted")
}

/// The parsed envelope after `change`, signed again by the right key, so that only the change can be refused.
fn resealed(envelope: &Envelope, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut value = codec::parse(&envelope.clone().seal(&fed(), &key()).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("sig");
    change(&mut value);
    let input = [b"foa/1\n".as_slice(), &codec::canonical(&value)].concat();
    value["sig"] = key().sign(&input).to_string().into();
    codec::canonical(&value)
}

#[test]
fn what_is_sealed_opens() {
    for (topic, envelope) in [status(), command()] {
        let bytes = envelope.clone().seal(&fed(), &key()).unwrap();
        assert_eq!(open(&fed(), &topic, &bytes, SENT), Ok(envelope));
    }
}

#[test]
fn spacing_and_order_do_not_matter_and_unknown_fields_are_covered_but_ignored() {
    let (topic, envelope) = status();
    let bytes = resealed(&envelope, |v| v["later"] = json!({ "version": 2 }));
    let value: Value = codec::parse(&bytes).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert_eq!(open(&fed(), &topic, &pretty, SENT), Ok(envelope));
    let mut changed = value;
    changed["later"]["version"] = 3.into();
    assert_eq!(outcome(&topic, &codec::canonical(&changed), SENT), "bad-signature");
}

#[test]
fn each_broken_rule_has_its_name() {
    let (topic, envelope) = command();
    let other = NodeKey::from_seed([8; 32]);
    let set = |name: &'static str, value: Value| resealed(&envelope, |v| v[name] = value);
    let cases: [(&str, Vec<u8>); 17] = [
        ("accepted", resealed(&envelope, |_| ())),
        ("unknown-version", set("v", 2.into())),
        ("unknown-version", set("v", Value::Null)),
        ("wrong-federation", set("fed", "bar".into())),
        ("malformed", set("from", "nobody".into())),
        ("malformed", set("key", "AAAA".into())),
        ("wrong-key", set("key", other.public().to_string().into())),
        ("malformed", set("type", "Work Draft".into())),
        ("malformed", set("seq", (-1).into())),
        ("malformed", set("trace", "x".repeat(129).into())),
        ("malformed", resealed(&envelope, |v| drop(v.as_object_mut().unwrap().remove("body")))),
        ("wrong-topic", set("to", "board/calls".into())),
        ("no-expiry", resealed(&envelope, |v| drop(v.as_object_mut().unwrap().remove("expires")))),
        ("bad-lifetime", set("expires", (SENT + Duration::from_secs(601)).to_string().into())),
        ("bad-lifetime", set("expires", (SENT - Duration::from_secs(1)).to_string().into())),
        ("malformed", b"[]".to_vec()),
        ("too-large", vec![b' '; MAX_ENVELOPE + 1]),
    ];
    for (wanted, bytes) in cases {
        assert_eq!(outcome(&topic, &bytes, SENT), wanted, "{}", String::from_utf8_lossy(&bytes));
        assert!(wanted == "accepted" || Reason::NAMES.contains(&wanted));
    }
}

#[test]
fn a_command_counts_only_in_its_time() {
    let (topic, envelope) = command(); // lives for 60 s
    let bytes = envelope.clone().seal(&fed(), &key()).unwrap();
    let at = |seconds| SENT + Duration::from_secs(seconds);
    let cases = [
        (SENT - Duration::from_millis(60_001), "from-the-future"),
        (SENT - Duration::from_secs(60), "accepted"),
        (at(120), "accepted"),
        (at(120) + Duration::from_millis(1), "expired"),
    ];
    for (now, wanted) in cases {
        assert_eq!(outcome(&topic, &bytes, now), wanted, "at {now}");
    }
    // State has no such window: a retained status is as good next year.
    let (topic, envelope) = status();
    let bytes = envelope.clone().seal(&fed(), &key()).unwrap();
    assert_eq!(outcome(&topic, &bytes, at(365 * 86_400)), "accepted");
}

#[test]
fn a_nodes_own_topics_take_only_its_own_words() {
    let key = NodeKey::from_seed([8; 32]);
    let bolt = NodeId::new("bolt".parse().unwrap(), &key.public());
    let agent = foa_wire::AgentId::new("calc".parse().unwrap(), atlas());
    for topic in [Topic::Status(atlas()), Topic::CardUpdates(atlas()), Topic::Card(agent)] {
        let mut envelope = message("node.status", &topic, None, json!({}));
        assert_eq!(outcome(&topic, &envelope.clone().seal(&fed(), &super::key()).unwrap(), SENT), "accepted");
        envelope.header.from = bolt.clone();
        let refusal = open(&fed(), &topic, &envelope.clone().seal(&fed(), &key).unwrap(), SENT).unwrap_err();
        assert_eq!((refusal.name(), refusal.claimed), ("wrong-sender", Some(bolt.clone())));
    }
}

#[test]
fn unsigned_is_told_apart_from_broken() {
    let bare = br#"{"task":"what is foa?"}"#;
    assert!(open(&fed(), &Topic::Jobs, bare, SENT).unwrap_err().is_unsigned());
    assert_eq!(open_bare(bare).unwrap()["task"], "what is foa?");
    // A stripped signature or version does not turn an envelope into a submission.
    let (topic, envelope) = command();
    for name in ["sig", "v"] {
        let mut value = codec::parse(&envelope.clone().seal(&fed(), &key()).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove(name);
        let bytes = codec::canonical(&value);
        assert!(!open(&fed(), &topic, &bytes, SENT).unwrap_err().is_unsigned());
        assert!(matches!(open_bare(&bytes), Err(Malformed::Unexpected { .. })));
    }
    assert!(open_bare(b"42").is_err());
}

#[test]
fn what_nobody_would_accept_is_not_sealed() {
    let (_, mut envelope) = command();
    let other = NodeKey::from_seed([8; 32]);
    assert!(matches!(envelope.clone().seal(&fed(), &other), Err(SealError::WrongKey { .. })));
    envelope.body = json!({ "n": u64::MAX });
    assert!(matches!(envelope.clone().seal(&fed(), &key()), Err(SealError::Body { .. })));
    envelope.body = "x".repeat(MAX_ENVELOPE).into();
    assert!(matches!(envelope.clone().seal(&fed(), &key()), Err(SealError::TooLarge { .. })));
}
