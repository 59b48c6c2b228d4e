//! What an agent is authorised for. Deny by default: a task's policies must all be granted, or the agent is out.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// One authorisation: regulatory (`gdpr`), residency (`eu-only`), a data label (`label:internal`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Policy(String);

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
pub fn lacking(required: &BTreeSet<Policy>, granted: &BTreeSet<Policy>) -> Vec<Policy> {
    required.difference(granted).cloned().collect()
}
