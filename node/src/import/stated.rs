//! What an agent can take from a card that was written elsewhere.

use std::collections::BTreeSet;

use foa_capability::card::EXTENSION;
use foa_capability::{Base, Effects, Offer, Policy, Skill};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, described};

/// What a card says of an agent: the defaults of a configuration that names the card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stated {
    /// The agent's name, for people.
    pub title: String,
    /// What it is for.
    pub description: String,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// Whether its work changes anything, if our extension says so.
    pub effects: Option<Effects>,
    /// What it says it is authorised for.
    pub policies: Option<BTreeSet<Policy>>,
    /// What it offers and charges.
    pub offer: Option<Offer>,
    /// Everything else.
    pub base: Base,
}

/// As much of our extension as an unsigned card may have.
#[derive(Default, Deserialize)]
struct Ours {
    effects: Option<Effects>,
    policies: Option<BTreeSet<Policy>>,
    offer: Option<Offer>,
}

impl Stated {
    /// Reads a card that [`super::read`] gave.
    ///
    /// # Errors
    /// When a skill or our extension is not what belongs there.
    pub fn of(card: &Value) -> Result<Self, Error> {
        let wrong = |field: &str, wanted, problem: serde_json::Error| Error::Field {
            field: field.to_owned(),
            wanted,
            found: format!("one where {problem}"),
        };
        let text = |field: &'static str| {
            let value = card.get(field);
            let found =
                || Error::Field { field: field.to_owned(), wanted: "a text", found: described(value) };
            value.and_then(Value::as_str).map(str::to_owned).ok_or_else(found)
        };
        let skills = match card.get("skills") {
            None => Vec::new(),
            Some(skills) => {
                Deserialize::deserialize(skills).map_err(|e| wrong("skills", "a list of skills", e))?
            }
        };
        let extensions = card.get("capabilities").and_then(|c| c.get("extensions")).and_then(Value::as_array);
        let ours =
            extensions.into_iter().flatten().find(|e| e.get("uri").is_some_and(|uri| uri == EXTENSION));
        let ours = match ours.and_then(|e| e.get("params")) {
            None => Ours::default(),
            Some(params) => Ours::deserialize(params)
                .map_err(|e| wrong(EXTENSION, "effects, policies and an offer", e))?,
        };
        Ok(Self {
            title: text("name")?,
            description: text("description")?,
            skills,
            effects: ours.effects,
            policies: ours.policies,
            offer: ours.offer,
            base: Base::of(card),
        })
    }
}

/// Our extension on a card that nobody has signed yet: what was found out about an agent besides A2A's own fields.
pub(super) fn extension(effects: Effects) -> Value {
    json!({
        "uri": EXTENSION,
        "description": "whether its work changes anything; the node that advertises it adds its vectors",
        "required": false,
        "params": { "effects": effects },
    })
}
