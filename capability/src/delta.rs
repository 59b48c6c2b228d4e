//! What changed between two cards of an agent, so that a new price does not resend every vector.

use foa_wire::{AgentId, Boot, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::card::{AgentCard, InvalidCard, params_mut};

/// A change to a card. Carries the signatures of the resulting whole card: apply, verify, else ask for the card.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardDelta {
    /// Whose card.
    pub agent: AgentId,
    /// The node's start of both cards.
    pub boot: Boot,
    /// The version this changes.
    pub base_version: Version,
    /// The content hash of the card this changes.
    pub base_hash: String,
    /// The version that comes out.
    pub version: Version,
    /// RFC 7396 merge patches (an object merges, `null` removes, anything else replaces): `card`, of the card without
    /// its capability vector, and `vector`, of the capability vector, which in the card stands inside a list that a
    /// merge patch could only replace whole.
    pub changed: Map<String, Value>,
    /// Signatures of the resulting card.
    pub signatures: Value,
}

/// Why a delta could not be applied; the way out is always to ask for the whole card.
#[derive(Debug, thiserror::Error)]
pub enum DeltaError {
    /// The card at hand is not the one the delta changes.
    #[error("wanted {agent} at version {wanted}, found another card")]
    OtherBase {
        /// Whose card.
        agent: AgentId,
        /// The version the delta changes.
        wanted: Version,
    },
    /// What comes out is no valid card.
    #[error("wanted a valid card after the change")]
    Invalid {
        /// What is wrong with it.
        #[from]
        source: InvalidCard,
    },
}

impl CardDelta {
    /// The change from `old` to `new`; `None` when they are not of one agent and boot, `new` is not newer, or a whole
    /// card is as short.
    #[must_use]
    pub fn between(old: &AgentCard, new: &AgentCard) -> Option<Self> {
        let (boot, base_version) = old.order();
        let (new_boot, version) = new.order();
        if old.agent() != new.agent() || boot != new_boot || version <= base_version {
            return None;
        }
        let signatures = new.json().get("signatures")?.clone();
        let changed = patch(&split(old)?, &split(new)?)?;
        let agent = old.agent().clone();
        let delta = Self {
            agent,
            boot,
            base_version,
            base_hash: old.hash().to_owned(),
            version,
            changed,
            signatures,
        };
        let size = serde_json::to_vec(&delta).ok()?.len();
        (size < new.size()).then_some(delta)
    }

    /// The card that comes out, verified.
    ///
    /// # Errors
    /// When `base` is not the card this changes, or what comes out is not valid.
    pub fn apply(&self, base: &AgentCard) -> Result<AgentCard, DeltaError> {
        let fits = *base.agent() == self.agent
            && base.order() == (self.boot, self.base_version)
            && base.hash() == self.base_hash;
        if !fits {
            return Err(DeltaError::OtherBase { agent: self.agent.clone(), wanted: self.base_version });
        }
        let mut parts = split(base).ok_or(InvalidCard::NoExtension)?;
        merge(&mut parts, &self.changed, 0);
        let vector = parts.remove(VECTOR).unwrap_or_default();
        let mut json = parts.remove(CARD).unwrap_or_default();
        *params_mut(&mut json).ok_or(InvalidCard::NoExtension)? = vector;
        json["signatures"] = self.signatures.clone();
        let card = AgentCard::try_from(json)?;
        card.verify()?;
        Ok(card)
    }
}

const CARD: &str = "card";
const VECTOR: &str = "vector";

/// A card in the two parts patches are made of.
fn split(card: &AgentCard) -> Option<Map<String, Value>> {
    let mut json = card.json();
    let vector = params_mut(&mut json)?.take();
    json.as_object_mut()?.remove("signatures");
    Some(Map::from_iter([(CARD.to_owned(), json), (VECTOR.to_owned(), vector)]))
}

/// The merge patch from one object to another; `None` when a field became `null`, which a patch cannot say.
fn patch(old: &Map<String, Value>, new: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut changed = Map::new();
    for key in old.keys().filter(|k| !new.contains_key(*k)) {
        changed.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match (old.get(key), value) {
            (Some(before), after) if before == after => {}
            (_, Value::Null) => return None,
            (Some(Value::Object(before)), Value::Object(after)) => {
                changed.insert(key.clone(), Value::Object(patch(before, after)?));
            }
            (Some(_) | None, after) if holds_null(after) => return None,
            (Some(_) | None, after) => {
                changed.insert(key.clone(), after.clone());
            }
        }
    }
    Some(changed)
}

/// Whether an object has a `null` that a merge would take for a removal.
fn holds_null(value: &Value) -> bool {
    value.as_object().is_some_and(|o| o.values().any(|v| v.is_null() || holds_null(v)))
}

fn merge(target: &mut Map<String, Value>, changes: &Map<String, Value>, depth: usize) {
    for (key, change) in changes {
        match change {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(inner) if depth < 16 => {
                let place = target.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
                if !place.is_object() {
                    *place = Value::Object(Map::new());
                }
                if let Value::Object(place) = place {
                    merge(place, inner, depth + 1);
                }
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}
