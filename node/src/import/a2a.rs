//! An A2A agent card, 1.0 or 0.3: kept as it came, to the letter, wherever a card of ours can carry it.

use foa_capability::Skill;
use foa_wire::codec::{self, MAX_ENVELOPE, Malformed};
use foa_wire::jws::{self, AgentCardSignature};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::{Error, Imported, Kind, Stated, count, described, fit, v03};

/// How deep a card may nest: a message nests a little deeper than the card in it, and ends at 64.
const MAX_DEPTH: usize = 48;
/// Signatures that are looked at.
const MAX_SIGNATURES: usize = 4;

/// Reads a card.
///
/// # Errors
/// When it is no card, a signature of it is forged, or no message could carry it.
pub fn read(bytes: &[u8]) -> Result<Imported, Error> {
    let json =
        if bytes.len() > MAX_ENVELOPE { codec::parse(&compact(bytes)?)? } else { codec::parse(bytes)? };
    if !within(&json, MAX_DEPTH) {
        return Err(Error::Card { source: Malformed::TooDeep });
    }
    let Value::Object(original) = json else {
        let problem = format!("found {}", described(Some(&json)));
        return Err(Error::Shape { wanted: Kind::A2a, problem });
    };
    let mut notes = signatures(&original)?;
    let mut card = original.clone();
    let old = v03::is_v03(&card);
    if old {
        v03::convert(&mut card, &mut notes)?;
    }
    let mut card = finish(card, &mut notes)?;
    settle(&mut card, &Value::Object(original), &mut notes);
    let skills = card.get("skills").and_then(Value::as_array).map_or(0, Vec::len);
    let found = format!("an A2A {} card of {}", if old { "0.3" } else { "1.0" }, count(skills, "skill"));
    Ok(Imported { kind: Kind::A2a, found, card, notes })
}

/// Makes a card whole, checks it, and trims it to what a federation can carry.
pub(super) fn finish(mut card: Map<String, Value>, notes: &mut Vec<String>) -> Result<Value, Error> {
    complete(&mut card, notes)?;
    let mut card = check(card)?;
    fit::fit(&mut card, notes)?;
    let policies = Stated::of(&card)?.policies.unwrap_or_default();
    if !policies.is_empty() {
        let named: Vec<String> = policies.iter().map(ToString::to_string).collect();
        notes.push(format!(
            "it says to be authorised for {}: who takes it as it is grants that",
            named.join(", ")
        ));
    }
    Ok(card)
}

/// Takes the signatures off a card that is no longer the one they were made for.
pub fn settle(card: &mut Value, original: &Value, notes: &mut Vec<String>) {
    if original.get("signatures").is_none() || card == original {
        return;
    }
    if card.as_object_mut().is_some_and(|members| members.remove("signatures").is_some()) {
        notes.push("left out: the signatures, because the card is not the one that was signed".to_owned());
    }
}

/// Checks the signatures that prove their own key, as ours do; says what came of each.
fn signatures(card: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let entries = card.get("signatures").and_then(Value::as_array);
    let whole = Value::Object(card.clone());
    for entry in entries.into_iter().flatten().take(MAX_SIGNATURES) {
        let outcome =
            AgentCardSignature::deserialize(entry).map_err(|e| e.to_string()).and_then(|signature| {
                match jws::verify_detached(&whole, &signature) {
                    Ok(signer) => Ok(Ok(signer)),
                    Err(jws::Error::Header { reason }) => Err(reason),
                    Err(forged @ (jws::Error::WrongKey { .. } | jws::Error::BadSignature { .. })) => {
                        Ok(Err(forged))
                    }
                }
            });
        notes.push(match outcome {
            Ok(Ok(signer)) => format!("signed by {signer}, and the signature holds"),
            Ok(Err(source)) => return Err(Error::Forged { source: Box::new(source) }),
            Err(reason) => {
                format!("a signature was not checked: its key is not in it as ours would be ({reason})")
            }
        });
    }
    Ok(notes)
}

/// Puts in what A2A 1.0 requires and can be empty.
fn complete(card: &mut Map<String, Value>, notes: &mut Vec<String>) -> Result<(), Error> {
    for key in ["name", "description"] {
        let stands = card.get(key).and_then(Value::as_str).is_some_and(|text| !text.trim().is_empty());
        if !stands {
            return Err(Error::Field {
                field: key.to_owned(),
                wanted: "a text",
                found: described(card.get(key)),
            });
        }
    }
    let mut added = Vec::new();
    for (key, empty) in [
        ("version", json!("0")),
        ("supportedInterfaces", json!([])),
        ("capabilities", json!({})),
        ("defaultInputModes", json!(["text/plain"])),
        ("defaultOutputModes", json!(["text/plain"])),
        ("skills", json!([])),
    ] {
        if !card.contains_key(key) {
            card.insert(key.to_owned(), empty);
            added.push(key);
        }
    }
    let mut untagged = 0;
    for skill in card.get_mut("skills").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(skill) = skill.as_object_mut()
            && !skill.contains_key("tags")
        {
            skill.insert("tags".to_owned(), json!([]));
            untagged += 1;
        }
    }
    if !added.is_empty() {
        notes.push(format!("put in, because A2A 1.0 requires it: {}", added.join(", ")));
    }
    if untagged > 0 {
        notes.push(format!("put in, because A2A 1.0 requires it: no tags of {}", count(untagged, "skill")));
    }
    Ok(())
}

/// That what we read of a card has its shape.
fn check(card: Map<String, Value>) -> Result<Value, Error> {
    let field = |field: &str, wanted, found| Error::Field { field: field.to_owned(), wanted, found };
    for (key, wanted, right) in [
        ("version", "a text", Value::is_string as fn(&Value) -> bool),
        ("supportedInterfaces", "a list", Value::is_array),
        ("capabilities", "an object", Value::is_object),
        ("defaultInputModes", "a list", Value::is_array),
        ("defaultOutputModes", "a list", Value::is_array),
        ("skills", "a list", Value::is_array),
    ] {
        let value = card.get(key);
        if !value.is_some_and(right) {
            return Err(field(key, wanted, described(value)));
        }
    }
    let skills = card.get("skills").and_then(Value::as_array).into_iter().flatten();
    for (place, skill) in skills.enumerate() {
        if let Err(problem) = Skill::deserialize(skill) {
            return Err(field(&format!("skills[{place}]"), "a skill", format!("one where {problem}")));
        }
    }
    let extensions = card.get("capabilities").and_then(|c| c.get("extensions"));
    if extensions.is_some_and(|e| !e.is_array()) {
        return Err(field("capabilities.extensions", "a list", described(extensions)));
    }
    Ok(Value::Object(card))
}

/// The JSON without the space that people need: indented, a card may be several times as long as on the wire.
fn compact(json: &[u8]) -> Result<Vec<u8>, Error> {
    // What is no JSON must not become any by losing its spaces.
    let _: IgnoredAny =
        serde_json::from_slice(json).map_err(|e| Malformed::NotJson { reason: e.to_string() })?;
    let (mut quoted, mut escaped) = (false, false);
    let keep = |byte: &u8| {
        let kept = quoted || !byte.is_ascii_whitespace();
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ => {}
        }
        kept
    };
    Ok(json.iter().copied().filter(keep).collect())
}

fn within(value: &Value, left: usize) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        Value::Array(_) | Value::Object(_) if left == 0 => false,
        Value::Array(items) => items.iter().all(|item| within(item, left - 1)),
        Value::Object(members) => members.values().all(|member| within(member, left - 1)),
    }
}
