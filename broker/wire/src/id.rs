//! Names of things. Every id is its own type with one checked constructor, `FromStr`, which `Deserialize` shares. An id is
//! in many places at once and never changes, so its text is shared.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};

use crate::PublicKey;
use crate::text::{debug_as_text, serde_as_text};

/// A text that is not the id it was taken for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted {wanted}, found {found:?}")]
pub struct InvalidId {
    wanted: &'static str,
    found: String,
}

impl InvalidId {
    fn new(wanted: &'static str, found: &str) -> Self {
        Self { wanted, found: found.chars().take(100).collect() }
    }
}

/// An id that is one checked piece of text.
macro_rules! plain_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(InvalidId::new($wanted, text)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        serde_as_text!($name);
        debug_as_text!($name);
    };
}

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn is_token(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

plain_id! {
    /// The short name of a node: a local alias, never an identity.
    NodeName, "a node name of 1 to 32 characters a-z, 0-9 and -", is_name
}
plain_id! {
    /// The name of an agent within its node.
    AgentName, "an agent name of 1 to 32 characters a-z, 0-9 and -", is_name
}
plain_id! {
    /// A job, named by whoever submits it.
    JobId, "a job id of 8 to 64 characters A-Z, a-z, 0-9, _ and -", |t| is_token(t, 8..=64)
}
plain_id! {
    /// One unit of work of one job: `{job}.{number}`. A retry keeps it.
    WorkId, "a work id like {job}.{number}", |t| {
        t.rsplit_once('.').is_some_and(|(job, n)| {
            is_token(job, 8..=64) && n.len() <= 10 && n.parse::<u32>().is_ok_and(|p| p.to_string() == n)
        })
    }
}
plain_id! {
    /// One cluster of agents on one subtask: `{job}.{subtask}.{number}`; the channel topic carries it.
    ClusterId, "a cluster id of 8 to 128 characters A-Z, a-z, 0-9, _, - and .", |t| {
        (8..=128).contains(&t.len()) && t.split('.').all(|part| is_token(part, 1..=64))
    }
}
plain_id! {
    /// One envelope.
    MessageId, "a message id of 8 to 64 characters A-Z, a-z, 0-9, _ and -", |t| is_token(t, 8..=64)
}

impl WorkId {
    /// The work with this number within its job.
    #[must_use]
    pub fn new(job: &JobId, number: u32) -> Self {
        Self(format!("{job}.{number}").into())
    }

    /// The job this work belongs to.
    #[must_use]
    pub fn job(&self) -> JobId {
        JobId(self.split().0.into())
    }

    /// The number of this work within its job.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.split().1.parse().expect("the constructor checked the number")
    }

    fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('.').expect("the constructor checked the dot")
    }
}

impl ClusterId {
    /// The cluster of this number on a subtask; 0 is where its agents draft, each alone, before there are clusters.
    ///
    /// # Errors
    /// When the subtask's key cannot be part of a topic.
    pub fn new(job: &JobId, subtask: &str, number: u32) -> Result<Self, InvalidId> {
        format!("{job}.{subtask}.{number}").parse()
    }

    /// The key of the subtask it works on.
    #[must_use]
    pub fn subtask(&self) -> &str {
        self.0.split('.').nth(1).unwrap_or(&self.0)
    }

    /// Whether drafts of `room` may be read in this cluster: it is number 0 of the same subtask.
    #[must_use]
    pub fn reads_drafts_of(&self, room: &Self) -> bool {
        match (self.0.rsplit_once('.'), room.0.rsplit_once('.')) {
            (Some((own, _)), Some((theirs, "0"))) => own == theirs,
            _ => false,
        }
    }
}

impl JobId {
    /// The id of a submission that names none: the hash of its canonical body, so the same bytes are one job.
    #[must_use]
    pub fn of_body(canonical: &[u8]) -> Self {
        Self(HEXLOWER.encode(&Sha256::digest(canonical)[..16]).into())
    }
}

/// A node, submitter or operator: `{name}.{fingerprint}`, where the fingerprint is the first 16 base32 characters
/// of SHA-256 of its Ed25519 public key. The id proves its own key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    name: NodeName,
    fingerprint: Arc<str>,
}

impl NodeId {
    /// The id of whoever holds this key.
    #[must_use]
    pub fn new(name: NodeName, key: &PublicKey) -> Self {
        let fingerprint = fingerprint(key).into();
        Self { name, fingerprint }
    }

    /// The local alias in front.
    #[must_use]
    pub fn name(&self) -> &NodeName {
        &self.name
    }

    /// The part that proves the key: whoever has the same has the same key.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The fingerprint of an id made from `key`, whatever its name.
    #[must_use]
    pub fn fingerprint_of(key: &PublicKey) -> String {
        fingerprint(key)
    }

    /// Whether this id was made from `key`.
    #[must_use]
    pub fn is_of(&self, key: &PublicKey) -> bool {
        *self.fingerprint == *fingerprint(key)
    }
}

fn fingerprint(key: &PublicKey) -> String {
    let mut text = BASE32_NOPAD.encode(&Sha256::digest(key.as_bytes())).to_ascii_lowercase();
    text.truncate(16);
    text
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = "a node id like name.abcdefghij234567";
        let (name, fingerprint) = text.split_once('.').ok_or_else(|| InvalidId::new(wanted, text))?;
        let base32 = |b: u8| matches!(b, b'a'..=b'z' | b'2'..=b'7');
        if fingerprint.len() != 16 || !fingerprint.bytes().all(base32) {
            return Err(InvalidId::new(wanted, text));
        }
        Ok(Self { name: name.parse()?, fingerprint: fingerprint.into() })
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.fingerprint)
    }
}

serde_as_text!(NodeId);
debug_as_text!(NodeId);

/// An agent of a node: `{agent}@{node id}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId {
    node: NodeId,
    agent: AgentName,
}

impl AgentId {
    /// The agent of this name on this node.
    #[must_use]
    pub fn new(agent: AgentName, node: NodeId) -> Self {
        Self { node, agent }
    }

    /// The agent's name within its node.
    #[must_use]
    pub fn agent(&self) -> &AgentName {
        &self.agent
    }

    /// The node that runs the agent.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// For people: `agent@name`, without the fingerprint. Not unique.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}@{}", self.agent, self.node.name)
    }
}

impl FromStr for AgentId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (agent, node) = text
            .split_once('@')
            .ok_or_else(|| InvalidId::new("an agent id like agent@name.abcdefghij234567", text))?;
        Ok(Self { agent: agent.parse()?, node: node.parse()? })
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.agent, self.node)
    }
}

serde_as_text!(AgentId);
debug_as_text!(AgentId);
