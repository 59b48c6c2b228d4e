//! What a card says besides what its node states: the A2A fields of a card that was written elsewhere.

use foa_wire::AgentName;
use serde_json::{Map, Value};

use super::EXTENSION;
use crate::words::slug;

/// Members of a card that its node states anew each time it signs it.
const STATED: [&str; 3] = ["description", "version", "signatures"];
/// Members of a skill that are ours to state.
const STATED_OF_SKILL: [&str; 5] = ["id", "name", "description", "tags", "examples"];
/// How the address of an agent in a federation begins.
const OURS: &str = "mqtt:agents/";

/// The fields of a card that stay when a node makes it its own: provider, icon, documentation, security schemes,
/// interfaces elsewhere, modes, foreign extensions, and whatever else stood there. Empty for an agent that has no card but
/// ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Base(Map<String, Value>);

impl Base {
    /// What stays of this card. JSON that is no object leaves nothing.
    #[must_use]
    pub fn of(card: &Value) -> Self {
        let Value::Object(mut card) = card.clone() else { return Self::default() };
        card.retain(|key, _| !STATED.contains(&key.as_str()));
        if let Some(interfaces) = card.get_mut("supportedInterfaces").and_then(Value::as_array_mut) {
            interfaces.retain(|interface| !text(interface, "url").starts_with(OURS));
        }
        if let Some(extensions) =
            card.get_mut("capabilities").and_then(|c| c.get_mut("extensions")).and_then(Value::as_array_mut)
        {
            extensions.retain(|extension| text(extension, "uri") != EXTENSION);
        }
        Self(card)
    }

    /// The agent's name as people write it, if it is the same name: `Recipe Agent` for `recipe-agent`.
    pub(crate) fn title(&self, name: &AgentName) -> Option<&str> {
        let title = self.0.get("name")?.as_str()?;
        (slug(title).as_ref() == Some(name)).then_some(title)
    }

    /// The card a node signs: this with the node's own card over it.
    pub(super) fn under(&self, own: Map<String, Value>) -> Map<String, Value> {
        let mut card = self.0.clone();
        for (key, mut value) in own {
            let Some(base) = card.remove(&key) else {
                card.insert(key, value);
                continue;
            };
            match key.as_str() {
                // What it reads and writes elsewhere; here it is text all the same.
                "defaultInputModes" | "defaultOutputModes" => value = base,
                // Ours is the first, which A2A prefers.
                "supportedInterfaces" => append(&mut value, base),
                "capabilities" => value = capabilities(base, value),
                "skills" => skills(&mut value, &base),
                _ => {}
            }
            card.insert(key, value);
        }
        card
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn append(list: &mut Value, more: Value) {
    if let (Some(list), Value::Array(more)) = (list.as_array_mut(), more) {
        list.extend(more);
    }
}

/// Foreign capabilities and extensions stay where they are; ours comes last.
fn capabilities(mut base: Value, mut own: Value) -> Value {
    let Some(members) = base.as_object_mut() else { return own };
    let ours = own.get_mut("extensions").map(Value::take).unwrap_or_default();
    match members.get_mut("extensions") {
        Some(extensions) if extensions.is_array() => append(extensions, ours),
        Some(_) | None => {
            members.insert("extensions".to_owned(), ours);
        }
    }
    base
}

/// Each skill with the fields that its namesake had besides ours.
fn skills(own: &mut Value, base: &Value) {
    let base = base.as_array().map(Vec::as_slice).unwrap_or_default();
    for skill in own.as_array_mut().into_iter().flatten() {
        let id = text(skill, "id").to_owned();
        let namesake = base.iter().find(|other| text(other, "id") == id).and_then(Value::as_object);
        if let (Some(skill), Some(namesake)) = (skill.as_object_mut(), namesake) {
            let others = namesake.iter().filter(|(key, _)| !STATED_OF_SKILL.contains(&key.as_str()));
            skill.extend(others.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::card::AgentCard;
    use crate::testing::{card, profile};

    fn foreign() -> Value {
        json!({
            "name": "Calc!",
            "description": "somebody else's words",
            "version": "9.9",
            "provider": { "organization": "Sums Ltd", "url": "https://sums.example" },
            "supportedInterfaces": [
                { "url": "https://sums.example/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0" },
                { "url": "mqtt:agents/elsewhere/calc/tasks", "protocolBinding": "MQTT", "protocolVersion": "1.0" },
            ],
            "capabilities": { "streaming": true, "extensions": [
                { "uri": "urn:other", "params": { "deep": [1, null] } },
                { "uri": EXTENSION, "params": { "effects": "write" } },
            ]},
            "defaultInputModes": ["application/json"],
            "skills": [
                { "id": "calc", "name": "old", "description": "old", "examples": ["old"], "inputModes": ["text/csv"] },
                { "id": "gone", "name": "gone", "description": "gone", "tags": [] },
            ],
            "signatures": [{ "protected": "e30", "signature": "AA" }],
        })
    }

    #[test]
    fn a_node_speaks_for_itself_and_keeps_what_others_said() {
        let mut profile = profile("calc");
        profile.base = Base::of(&foreign());
        let card = card(&profile, 1, (7, 3), [3.0, 4.0, 0.0]);
        assert_eq!(card.verify(), Ok(()));
        assert_eq!((card.name(), card.agent().agent().as_str()), ("Calc!", "calc"));
        let json = card.json();
        assert_eq!(json["provider"], foreign()["provider"]);
        assert_eq!(json["description"], "does calc");
        assert_eq!(json["version"], "7.3");
        let urls: Vec<&str> =
            json["supportedInterfaces"].as_array().unwrap().iter().map(|i| text(i, "url")).collect();
        assert_eq!(
            urls,
            [format!("mqtt:agents/{}/calc/tasks", card.agent().node()).as_str(), "https://sums.example/a2a"]
        );
        assert_eq!(json["capabilities"]["streaming"], true);
        let extensions = json["capabilities"]["extensions"].as_array().unwrap();
        assert_eq!((extensions.len(), &extensions[0]), (2, &foreign()["capabilities"]["extensions"][0]));
        assert_eq!(json["defaultInputModes"], json!(["application/json"]));
        assert_eq!(json["defaultOutputModes"], json!(["text/plain"]));
        assert_eq!(
            json["skills"],
            json!([{ "id": "calc", "name": "calc", "description": "adds and multiplies", "tags": [], "inputModes": ["text/csv"] }])
        );
        assert_eq!(json["signatures"].as_array().unwrap().len(), 1);
        // What a node signed has the same base, so a card can go round for ever.
        let of_issued = Base::of(&json);
        profile.base = of_issued.clone();
        assert_eq!(Base::of(&crate::testing::card(&profile, 2, (1, 1), [1.0, 0.0, 0.0]).json()), of_issued);
    }

    #[test]
    fn a_base_that_is_no_card_does_no_harm() {
        for base in
            [json!(null), json!([]), json!({ "capabilities": 1, "skills": "x", "supportedInterfaces": {} })]
        {
            let mut profile = profile("calc");
            profile.base = Base::of(&base);
            let issued = card(&profile, 1, (7, 3), [3.0, 4.0, 0.0]);
            assert_eq!(AgentCard::try_from(issued.json()).unwrap().verify(), Ok(()));
            assert_eq!(issued.name(), "calc");
        }
    }
}
