//! Signed bytes that must never change: an Ed25519 signature is a function of key and text, so any change of the
//! encoding shows here. A deliberate change is a new `v`.

use foa_wire::codec;
use foa_wire::envelope::open;
use foa_wire::jws::{sign_detached, verify_detached};

use super::*;

fn sealed(envelope: &Envelope) -> String {
    String::from_utf8(envelope.clone().seal(&fed(), &key()).unwrap()).unwrap()
}

#[test]
fn sealed_envelopes_keep_their_bytes() {
    let cases = [
        (status(), include_str!("../golden/status.json")),
        (command(), include_str!("../golden/command.json")),
    ];
    for ((topic, envelope), golden) in cases {
        assert_eq!(sealed(&envelope), golden.trim_end());
        assert_eq!(open(&fed(), &topic, golden.trim_end().as_bytes(), SENT), Ok(envelope));
    }
}

#[test]
fn a_card_signature_keeps_its_bytes() {
    let golden = include_str!("../golden/card.json");
    let mut card = codec::parse(golden.trim_end().as_bytes()).unwrap();
    let signatures = card.as_object_mut().unwrap().remove("signatures").unwrap();
    let signature = sign_detached(&card, &atlas(), &key());
    assert_eq!(json!([signature]), signatures);
    assert_eq!(verify_detached(&card, &signature), Ok(atlas()));
}

#[test]
fn the_worked_example_in_the_readme_is_the_golden_envelope() {
    let readme = include_str!("../../../README.md");
    let golden = include_str!("../golden/status.json").trim_end();
    assert!(readme.contains(golden), "broker/README.md does not show the golden envelope");
    let value = codec::parse(golden.as_bytes()).unwrap();
    let mut unsigned = value.clone();
    unsigned.as_object_mut().unwrap().remove("sig");
    let input = String::from_utf8(codec::canonical(&unsigned)).unwrap();
    assert!(readme.contains(&format!("foa/1\n{input}")), "broker/README.md does not show what is signed");
    for part in [value["sig"].as_str().unwrap(), value["key"].as_str().unwrap(), &atlas().to_string()] {
        assert!(readme.contains(part), "broker/README.md does not show {part}");
    }
}
