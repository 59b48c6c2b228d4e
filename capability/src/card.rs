//! The agent card: an A2A 1.0 `AgentCard` whose extension carries the versioned capability vector.
//!
//! A card keeps the JSON it came as, so fields of other ecosystems survive and its signature stays valid when relayed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use foa_wire::jws::{self, AgentCardSignature};
use foa_wire::{AgentId, Boot, NodeKey, Time, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use self::base::Base;
use self::derived::Derived;
use self::embedding::MAX_ALSO;
pub use self::embedding::{Comparable, Embedding, OfModel};
use self::kept::Kept;
use crate::model::ModelId;
use crate::policy::Policies;
use crate::profile::{AgentProfile, Effects};
use crate::resources::Offer;
use crate::skills::{self, Bloom, MAX_SKILLS, MAX_SKILLS_BY_EXAMPLE, Skill};
use crate::vector::{InvalidVector, Quantised, Vector};
use crate::words::{called, words};

mod base;
mod derived;
mod embedding;
mod kept;
mod written;

/// The extension under which a card carries its capability vector.
pub const EXTENSION: &str = "urn:foa:capability-vector:1";
/// Most bytes of a card as JSON.
pub const MAX_CARD_BYTES: usize = 224 * 1024;
/// Most vectors of a card.
const MAX_VECTORS: usize = 1 + MAX_SKILLS + MAX_SKILLS_BY_EXAMPLE;
/// Signatures of a card that are looked at.
const MAX_SIGNATURES: usize = 4;
/// How long a card is believed after its issue; liveness is presence, not this.
pub const CARD_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// JSON that is no card, or a profile no card can be made of.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidCard {
    /// A field is missing or has the wrong shape.
    #[error("wanted an agent card, found one whose {field}: {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no capability vector in it.
    #[error("wanted a card with the extension {EXTENSION}, found none")]
    NoExtension,
    /// A vector is missing, too many, of the wrong dimension or not of unit length.
    #[error("wanted vectors of model {model} for {of}")]
    Vector {
        /// Of which part of the card.
        of: String,
        /// The model that should have made it.
        model: ModelId,
        /// What is wrong with it.
        source: InvalidVector,
    },
    /// The number of vectors is not the number of texts.
    #[error("wanted {wanted} vectors, one for each text of the profile, found {found}")]
    VectorCount {
        /// One for the description, one per skill, one per example, one for the Spec.
        wanted: usize,
        /// What was given.
        found: usize,
    },
    /// The agent's node has another key.
    #[error("wanted the key of {agent}, found another")]
    WrongKey {
        /// Whose card it is.
        agent: AgentId,
    },
    /// Larger than [`MAX_CARD_BYTES`].
    #[error("wanted a card of at most {MAX_CARD_BYTES} bytes, found {found}")]
    TooLarge {
        /// Its size.
        found: usize,
    },
    /// The signature does not verify.
    #[error("wanted a card signed by the agent's node")]
    Signature {
        /// What is wrong with it.
        source: Box<jws::Error>,
    },
    /// There is no signature.
    #[error("wanted a card signed by the agent's node, found no signature")]
    Unsigned,
}

/// A vector and the part of the card it stands for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CardVector {
    /// `description`, or `skill:` or `examples:` and the skill's id.
    pub of: String,
    /// The vector.
    #[serde(flatten)]
    pub vector: Quantised,
}

/// The parameters of our extension: the versioned capability vector and what goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capability {
    /// Whose card this is.
    pub agent: AgentId,
    /// The node's start; with `version`, the order of cards.
    pub boot: Boot,
    /// Grows with any change within a boot.
    pub version: Version,
    /// The model that made the vectors.
    pub model: ModelId,
    /// One of the description, one of each skill, and the middle of the examples of each skill that has some.
    pub vectors: Vec<CardVector>,
    /// The vector of the Spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Quantised>,
    /// The same texts by a second model, while a federation moves from one to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<OfModel>,
    /// Filter over the skills' ids and tags.
    pub skills: Bloom,
    /// What it offers and charges.
    #[serde(default)]
    pub offer: Offer,
    /// What it is authorised for.
    #[serde(default)]
    pub policies: Policies,
    /// Whether its work changes anything.
    #[serde(default)]
    pub effects: Effects,
    /// What kind of agent it is.
    #[serde(default)]
    pub kind: String,
    /// The language model it thinks with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_model: Option<String>,
    /// When this card was signed.
    pub issued: Time,
    /// Seconds after `issued` for which it holds.
    pub ttl_s: u64,
    /// The agent is gone for good; kept until `until` so that older cards stay dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// Until when a retirement is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

impl Capability {
    /// The vectors that a directory of this model compares, if the card has any.
    #[must_use]
    pub fn comparable(&self, model: &ModelId) -> Option<Comparable<'_>> {
        if self.model == *model {
            return Some(Comparable { vectors: &self.vectors, spec: self.spec.as_ref() });
        }
        let also = self.also.iter().find(|also| also.model == *model)?;
        Some(Comparable { vectors: &also.vectors, spec: also.spec.as_ref() })
    }

    /// When the card stops to hold.
    #[must_use]
    pub fn expires(&self) -> Time {
        match self.until {
            Some(until) if self.retired => until,
            Some(_) | None => self.issued + Duration::from_secs(self.ttl_s),
        }
    }
}

/// A signed agent card with a capability vector: A2A 1.0 JSON on the wire. Cheap to clone; never changes, so what follows
/// from it (its hash, whether its signature holds) is worked out once. Small in memory: its JSON is kept deflated.
#[derive(Clone)]
pub struct AgentCard(Arc<Content>);

struct Content {
    kept: Kept,
    /// Bytes as JSON.
    size: usize,
    name: Box<str>,
    description: Box<str>,
    skills: Box<[Skill]>,
    capability: Capability,
    derived: Derived,
}

impl PartialEq for AgentCard {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.json() == other.json()
    }
}

impl fmt::Debug for AgentCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AgentCard({})", self.json())
    }
}

impl AgentCard {
    /// Makes and signs the card of an agent, with vectors of its node's model first. Skills beyond the card's limits are cut
    /// ([`skills::trim`] says which).
    ///
    /// # Errors
    /// When there are no vectors, or they do not fit the profile or their model, the key is not that of the agent's node, or the card is
    /// too large.
    #[expect(clippy::too_many_arguments, reason = "each is one independent part of a card")]
    pub fn issue(
        profile: &AgentProfile,
        embeddings: &[Embedding],
        id: AgentId,
        boot: Boot,
        version: Version,
        now: Time,
        ttl: Duration,
        key: &NodeKey,
    ) -> Result<Self, InvalidCard> {
        let mut made = embeddings.iter().map(|embedding| embedding.on_card(profile));
        let nothing = || Err(InvalidCard::VectorCount { wanted: profile.texts().len(), found: 0 });
        let OfModel { model, vectors, spec } = made.next().unwrap_or_else(nothing)?;
        let also = made.collect::<Result<_, _>>()?;
        let (skills, _) = skills::trim(profile.skills.clone());
        let capability = Capability {
            agent: id,
            boot,
            version,
            model,
            vectors,
            spec,
            also,
            skills: Bloom::of(&skills),
            offer: profile.offer.clone(),
            policies: profile.policies.clone().into(),
            effects: profile.effects,
            kind: profile.kind.clone(),
            base_model: profile.base_model.clone(),
            issued: now,
            ttl_s: ttl.as_secs(),
            retired: false,
            until: None,
        };
        let json = json!({
            "name": profile.title(),
            "description": profile.description,
            "version": format!("{boot}.{version}"),
            "supportedInterfaces": [{
                "url": format!("mqtt:agents/{}/{}/tasks", capability.agent.node(), capability.agent.agent()),
                "protocolBinding": "MQTT",
                "protocolVersion": "1.0",
            }],
            "capabilities": { "extensions": [{
                "uri": EXTENSION,
                "description": "versioned capability vector: how well this agent fits a task, in numbers",
                "required": false,
                "params": to_value(&capability),
            }]},
            "defaultInputModes": ["text/plain"],
            "defaultOutputModes": ["text/plain"],
            "skills": to_value(&skills),
        });
        let Value::Object(json) = json else { unreachable!("written as an object above") };
        Self::signed(profile.base.under(json), &capability.agent, key)
    }

    /// The next card of an agent that is gone for good: the same agent, a higher version, no vectors, kept until
    /// `until` so that older cards cannot come back.
    ///
    /// # Errors
    /// When the key is not that of the agent's node.
    pub fn retire(
        &self,
        version: Version,
        now: Time,
        until: Time,
        key: &NodeKey,
    ) -> Result<Self, InvalidCard> {
        let mut capability = self.0.capability.clone();
        capability.version = version;
        capability.issued = now;
        capability.vectors.clear();
        capability.spec = None;
        capability.also.clear();
        capability.skills = Bloom::of(&[]);
        capability.retired = true;
        capability.until = Some(until);
        let mut json = self.json();
        json["version"] = format!("{}.{version}", capability.boot).into();
        json["skills"] = Value::Array(Vec::new());
        *params_mut(&mut json).ok_or(InvalidCard::NoExtension)? = to_value(&capability);
        let Value::Object(json) = json else { return Err(InvalidCard::NoExtension) };
        Self::signed(json, &capability.agent, key)
    }

    fn signed(mut json: Map<String, Value>, agent: &AgentId, key: &NodeKey) -> Result<Self, InvalidCard> {
        if !agent.node().is_of(&key.public()) {
            return Err(InvalidCard::WrongKey { agent: agent.clone() });
        }
        json.remove("signatures");
        let mut json = Value::Object(json);
        let payload = jws::payload(&json);
        let signature = jws::sign_payload(&payload, agent.node(), key);
        json["signatures"] = Value::Array(vec![to_value(&signature)]);
        let card = Self::try_from(json)?;
        // The signature was just made; nothing could be learnt from checking it.
        let (derived, size) = (&card.0.derived, card.size());
        derived.hash.get_or_init(|| hash(&payload).into());
        derived.verified.get_or_init(|| within_limit(size).map_err(Box::new)).clone().map_err(|e| *e)?;
        card.check_vectors()?;
        Ok(card)
    }

    /// Checks what a receiver must check before it believes a card: size, and a signature by the key the agent's node
    /// id was made from.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(&self) -> Result<(), InvalidCard> {
        self.0.derived.verified.get_or_init(|| self.check().map_err(Box::new)).clone().map_err(|e| *e)
    }

    fn check(&self) -> Result<(), InvalidCard> {
        within_limit(self.size())?;
        let agent = self.agent();
        let json = self.json();
        let payload = jws::payload(&json);
        self.0.derived.hash.get_or_init(|| hash(&payload).into());
        let mut outcome = InvalidCard::Unsigned;
        // Others may have signed it too; the node's own signature is the one that counts.
        let entries = json.get("signatures").and_then(Value::as_array);
        for entry in entries.into_iter().flatten().take(MAX_SIGNATURES) {
            let Ok(signature) = AgentCardSignature::deserialize(entry) else { continue };
            outcome = match jws::verify_payload(&payload, &signature) {
                Ok(signer) if signer == *agent.node() => return Ok(()),
                Ok(_) | Err(jws::Error::WrongKey { .. }) => InvalidCard::WrongKey { agent: agent.clone() },
                Err(source) => InvalidCard::Signature { source: Box::new(source) },
            };
        }
        Err(outcome)
    }

    /// Whose card this is.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.0.capability.agent
    }

    /// What cards of one agent are ordered by.
    #[must_use]
    pub fn order(&self) -> (Boot, Version) {
        (self.0.capability.boot, self.0.capability.version)
    }

    /// The agent's name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What the agent is for.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.0.description
    }

    /// What the agent can do.
    #[must_use]
    pub fn skills(&self) -> &[Skill] {
        &self.0.skills
    }

    /// The capability vector and what goes with it.
    #[must_use]
    pub fn capability(&self) -> &Capability {
        &self.0.capability
    }

    /// The card as it crosses the wire.
    #[must_use]
    pub fn json(&self) -> Value {
        self.0.kept.json(&self.0.capability)
    }

    /// Bytes of the card as JSON.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.size
    }

    /// Hash of the card's content without signatures, as lower-case hex of SHA-256.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.0.derived.hash.get_or_init(|| hash(&jws::payload(&self.json())).into())
    }

    /// Checks the vectors of every model.
    ///
    /// # Errors
    /// When there are too many, or one has not its model's dimension or is not of unit length, or a model has none though
    /// the agent is not retired.
    pub fn check_vectors(&self) -> Result<(), InvalidCard> {
        let capability = &self.0.capability;
        if capability.also.len() > MAX_ALSO {
            let (most, found) = (1 + MAX_ALSO, 1 + capability.also.len());
            let problem = format!("wanted vectors of at most {most} models, found {found}");
            return Err(InvalidCard::Field { field: "capability vector", problem });
        }
        let models = std::iter::once(&capability.model).chain(capability.also.iter().map(|also| &also.model));
        for model in models {
            let Some(comparable) = capability.comparable(model) else { continue };
            if comparable.vectors.is_empty() && !capability.retired {
                let wanted = format!("at least one of {}", model.dimension());
                let source = InvalidVector::Dimension { wanted, found: 0 };
                return Err(InvalidCard::Vector {
                    of: "description".to_owned(),
                    model: model.clone(),
                    source,
                });
            }
            comparable.check(model)?;
        }
        Ok(())
    }

    /// The vector of its description by this model.
    #[must_use]
    pub fn description_vector(&self, model: &ModelId) -> Option<Vector> {
        Vector::try_from(&self.0.capability.comparable(model)?.vectors.first()?.vector).ok()
    }

    /// The vector of its Spec by this model.
    #[must_use]
    pub fn spec_vector(&self, model: &ModelId) -> Option<Vector> {
        Vector::try_from(self.0.capability.comparable(model)?.spec?).ok()
    }

    /// Ids and tags of its skills, lower case: what they can be required by.
    #[must_use]
    pub fn skill_keys(&self) -> &BTreeSet<String> {
        self.0.derived.keys.get_or_init(|| skills::keys(&self.0.skills))
    }

    /// The texts it is found by, each as its words.
    pub(crate) fn words(&self) -> Vec<Vec<String>> {
        let head = format!("{}. {}", called(self.name()), self.description());
        let of_skill =
            |s: &Skill| format!("{} {} {} {}", s.id, s.tags.join(" "), s.text(), s.examples.join(" "));
        std::iter::once(head).chain(self.skills().iter().map(of_skill)).map(|text| words(&text)).collect()
    }
}

fn to_value<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("these types have text keys and finite numbers")
}

fn hash(payload: &[u8]) -> String {
    Sha256::digest(payload).iter().map(|b| format!("{b:02x}")).collect()
}

fn within_limit(found: usize) -> Result<(), InvalidCard> {
    if found > MAX_CARD_BYTES { Err(InvalidCard::TooLarge { found }) } else { Ok(()) }
}

/// The place of the capability vector in a card.
pub(crate) fn params_mut(json: &mut Value) -> Option<&mut Value> {
    let extensions = json.get_mut("capabilities")?.get_mut("extensions")?.as_array_mut()?;
    extensions.iter_mut().find(|e| e.get("uri").and_then(Value::as_str) == Some(EXTENSION))?.get_mut("params")
}

fn params(json: &Value) -> Option<&Value> {
    let extensions = json.get("capabilities")?.get("extensions")?.as_array()?;
    extensions.iter().find(|e| e.get("uri").and_then(Value::as_str) == Some(EXTENSION))?.get("params")
}

impl TryFrom<Value> for AgentCard {
    type Error = InvalidCard;

    fn try_from(json: Value) -> Result<Self, InvalidCard> {
        let text = |field: &'static str| {
            let problem = || InvalidCard::Field { field, problem: "wanted a text".to_owned() };
            json.get(field).and_then(Value::as_str).map(str::to_owned).ok_or_else(problem)
        };
        let wrong =
            |field, problem: serde_json::Error| InvalidCard::Field { field, problem: problem.to_string() };
        let (name, description) = (text("name")?, text("description")?);
        let skills: Vec<Skill> = match json.get("skills") {
            None => Vec::new(),
            Some(value) => Deserialize::deserialize(value).map_err(|e| wrong("skills", e))?,
        };
        if skills.len() > MAX_SKILLS {
            let problem = format!("wanted at most {MAX_SKILLS}, found {}", skills.len());
            return Err(InvalidCard::Field { field: "skills", problem });
        }
        let params = params(&json).ok_or(InvalidCard::NoExtension)?;
        let capability = Capability::deserialize(params).map_err(|e| wrong("capability vector", e))?;
        let derived = Derived::default();
        let size = serde_json::to_vec(&json).map_or(usize::MAX, |bytes| bytes.len());
        let kept = Kept::new(json, &capability);
        let (name, description) = (name.into(), description.into());
        let skills = skills.into_boxed_slice();
        Ok(Self(Arc::new(Content { kept, size, name, description, skills, capability, derived })))
    }
}

impl Serialize for AgentCard {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AgentCard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
