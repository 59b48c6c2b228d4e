//! What an agent is authorised for. Deny by default: a task's policies must all be granted, or the agent is out.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One authorisation: regulatory (`gdpr`), residency (`eu-only`), a data label (`label:internal`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy(String);

/// Authorisations in order, each once; in little room, because every card has some.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Policies(Box<[Policy]>);

impl Policies {
    /// Whether this one is among them.
    #[must_use]
    pub fn contains(&self, policy: &Policy) -> bool {
        self.0.binary_search(policy).is_ok()
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Policy> {
        self.0.iter()
    }
}

impl From<BTreeSet<Policy>> for Policies {
    fn from(policies: BTreeSet<Policy>) -> Self {
        Self(policies.into_iter().collect())
    }
}

impl From<Policies> for BTreeSet<Policy> {
    fn from(policies: Policies) -> Self {
        policies.0.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Policies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(Self::from)
    }
}

/// A text that is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a policy of 1 to 64 characters a-z, 0-9, -, . and :, found {0:?}")]
pub struct InvalidPolicy(String);

impl FromStr for Policy {
    type Err = InvalidPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b':');
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidPolicy(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The policies a task requires that an agent was not granted, in order; empty when the gate is open.
#[must_use]
pub fn lacking(required: &BTreeSet<Policy>, granted: &Policies) -> Vec<Policy> {
    required.iter().filter(|policy| !granted.contains(policy)).cloned().collect()
}
