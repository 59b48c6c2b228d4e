//! Cuts a card down to what a federation can carry, and says what was cut.

use std::collections::BTreeSet;

use foa_capability::card::{EXTENSION, MAX_CARD_BYTES};
use foa_capability::skills::{MAX_EXAMPLE_CHARS, MAX_EXAMPLES, MAX_SKILLS, MAX_SKILLS_BY_EXAMPLE};
use serde_json::Value;

use super::{Error, clip, count};

/// Bytes of a vector on a card, besides the id of its skill: 384 components as base64, and what is around them.
const VECTOR: usize = 570;
/// Room for what a node adds besides vectors: its own interface, offer, policies, filter and signature.
const NODE: usize = 8 * 1024;
/// Descriptions of skills are cut to so many characters, one step after the other, until the card fits. A vector is made
/// of about the first thousand.
const CLIPS: [usize; 3] = [1000, 500, 250];

/// Trims a card whose skills are all of the right shape.
pub(super) fn fit(card: &mut Value, notes: &mut Vec<String>) -> Result<(), Error> {
    let mut skills = match card.get_mut("skills").map(Value::take) {
        Some(Value::Array(skills)) => skills,
        Some(_) | None => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    let before = skills.len();
    skills.retain(|skill| !text(skill, "id").trim().is_empty() && seen.insert(text(skill, "id").to_owned()));
    if skills.len() < before {
        notes.push(format!("left out: {} without an id of its own", count(before - skills.len(), "skill")));
    }
    if skills.len() > MAX_SKILLS {
        notes.push(format!("wanted at most {MAX_SKILLS} skills, found {}: kept the first", skills.len()));
        skills.truncate(MAX_SKILLS);
    }
    examples(&mut skills, notes);

    let around = size(&without_ours(card)) + NODE + VECTOR;
    if around > MAX_CARD_BYTES {
        return Err(Error::TooLarge { limit: MAX_CARD_BYTES, found: around });
    }
    let room = MAX_CARD_BYTES - around;
    for chars in CLIPS {
        if needs(&skills) > room {
            let texts = skills.iter_mut().filter_map(|skill| skill.get_mut("description"));
            let long = texts.filter_map(|text| match text {
                Value::String(text) => clip(text, chars).then_some(()),
                _ => None,
            });
            let cut = long.count();
            if cut > 0 {
                notes.push(format!("cut to {chars} characters: {} of skills", count(cut, "description")));
            }
        }
    }
    let before = skills.len();
    while needs(&skills) > room {
        skills.pop();
    }
    if skills.len() < before {
        notes.push(format!(
            "a card holds {} KiB: kept the first {} of {before} skills",
            MAX_CARD_BYTES / 1024,
            skills.len()
        ));
    }
    if let Some(place) = card.get_mut("skills") {
        *place = Value::Array(skills);
    }
    Ok(())
}

fn examples(skills: &mut [Value], notes: &mut Vec<String>) {
    let (mut dropped, mut cut) = (0, 0);
    for skill in skills {
        let Some(examples) = skill.get_mut("examples").and_then(Value::as_array_mut) else { continue };
        dropped += examples.len().saturating_sub(MAX_EXAMPLES);
        examples.truncate(MAX_EXAMPLES);
        for example in examples {
            if let Value::String(text) = example
                && let Some((end, _)) = text.char_indices().nth(MAX_EXAMPLE_CHARS)
            {
                text.truncate(end);
                cut += 1;
            }
        }
    }
    if dropped > 0 {
        notes.push(format!("wanted at most {MAX_EXAMPLES} examples of a skill: left out {dropped}"));
    }
    if cut > 0 {
        notes.push(format!("cut to {MAX_EXAMPLE_CHARS} characters: {}", count(cut, "example")));
    }
}

/// Bytes that these skills take on a signed card.
fn needs(skills: &[Value]) -> usize {
    let with_examples = |skill: &&Value| {
        skill.get("examples").and_then(Value::as_array).is_some_and(|examples| !examples.is_empty())
    };
    let own: usize = skills.iter().map(|skill| size(skill) + 1 + VECTOR + text(skill, "id").len()).sum();
    let of_examples = skills.iter().filter(with_examples).take(MAX_SKILLS_BY_EXAMPLE);
    own + of_examples.map(|skill| VECTOR + text(skill, "id").len()).sum::<usize>()
}

/// The card without what its node states anew.
fn without_ours(card: &Value) -> Value {
    let mut card = card.clone();
    if let Some(members) = card.as_object_mut() {
        members.remove("signatures");
    }
    let extensions = card.get_mut("capabilities").and_then(|c| c.get_mut("extensions"));
    if let Some(extensions) = extensions.and_then(Value::as_array_mut) {
        extensions.retain(|extension| text(extension, "uri") != EXTENSION);
    }
    card
}

fn size(value: &Value) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX, |bytes| bytes.len())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
