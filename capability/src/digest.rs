//! A directory in short, so that two nodes find out what each other lacks (anti-entropy).

use std::collections::BTreeMap;
use std::sync::Arc;

use foa_wire::{AgentId, Boot, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::card::AgentCard;
use crate::directory::Elsewhere;

/// Above this many agents a digest holds bucket hashes instead of agents.
pub const MAX_LISTED: usize = 256;
/// How many buckets agents fall into, by hash of their id.
pub const BUCKETS: u8 = 64;
/// Most agents in one answer to a question about buckets, so that it fits an envelope.
pub const MAX_PART: usize = 1500;

/// What a digest says of one agent's card: boot, version and the first 16 hex digits of the content hash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark(pub Boot, pub Version, pub String);

/// A directory in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "digest", rename_all = "snake_case")]
pub enum Digest {
    /// Every agent.
    Agents {
        /// What is known of each.
        agents: BTreeMap<AgentId, Mark>,
    },
    /// Every agent of some buckets: the answer to `ask_buckets`.
    Part {
        /// Which buckets are complete here.
        buckets: Vec<u8>,
        /// What is known of each of their agents.
        agents: BTreeMap<AgentId, Mark>,
    },
    /// One hash for each bucket.
    Buckets {
        /// 16 hex digits each; of an empty bucket, an empty text.
        hashes: Vec<String>,
    },
}

/// What two directories differ in, as the one that compared sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Agents whose cards to send them.
    pub they_lack: Vec<AgentId>,
    /// Agents whose cards to ask them for.
    pub we_lack: Vec<AgentId>,
    /// Buckets to send them our part of.
    pub ask_buckets: Vec<u8>,
}

impl Difference {
    /// Whether the directories are equal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.they_lack.is_empty() && self.we_lack.is_empty() && self.ask_buckets.is_empty()
    }
}

/// The bucket of an agent: the first byte of SHA-256 of its id, modulo [`BUCKETS`].
#[must_use]
pub fn bucket(agent: &AgentId) -> u8 {
    Sha256::digest(agent.to_string().as_bytes())[0] % BUCKETS
}

/// As much of a content hash as a digest says.
fn short(hash: &str) -> &str {
    hash.get(..16).unwrap_or(hash)
}

/// What an agent's newest card adds to the hash of its bucket: the first 8 bytes of SHA-256 of agent, boot, version and
/// content hash.
fn summand(agent: &AgentId, known: &Known) -> u64 {
    let (boot, version) = known.order();
    let line = format!("{agent} {boot} {version} {}\n", short(known.hash()));
    let hash = Sha256::digest(line.as_bytes());
    u64::from_be_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

impl Mark {
    pub(crate) fn of(known: &Known) -> Self {
        let (boot, version) = known.order();
        Self(boot, version, short(known.hash()).to_owned())
    }
}

/// The newest card of an agent, or what is known of it where others keep it.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    Card(AgentCard),
    Elsewhere(Arc<Elsewhere>),
}

impl Known {
    fn order(&self) -> (Boot, Version) {
        match self {
            Self::Card(card) => card.order(),
            Self::Elsewhere(elsewhere) => elsewhere.order,
        }
    }

    fn hash(&self) -> &str {
        match self {
            Self::Card(card) => card.hash(),
            Self::Elsewhere(elsewhere) => &elsewhere.hash,
        }
    }
}

impl From<AgentCard> for Known {
    fn from(card: AgentCard) -> Self {
        Self::Card(card)
    }
}

impl From<Arc<Elsewhere>> for Known {
    fn from(elsewhere: Arc<Elsewhere>) -> Self {
        Self::Elsewhere(elsewhere)
    }
}

/// Agents by bucket, so that a question about some buckets costs nothing of the others.
#[derive(Debug)]
pub(crate) struct Buckets(Vec<Bucket>);

#[derive(Clone, Debug, Default)]
struct Bucket {
    agents: BTreeMap<AgentId, Known>,
    /// The sum over the agents, so that a change costs what it changes. Whoever makes cards whose sum is 0 hides from
    /// digests that they are missing, and harms nobody else.
    sum: u64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self(vec![Bucket::default(); usize::from(BUCKETS)])
    }
}

impl Buckets {
    /// Puts an agent in, in place of what was known of it.
    pub(crate) fn put(&mut self, agent: AgentId, known: impl Into<Known>) {
        let known = known.into();
        let bucket = &mut self.0[usize::from(bucket(&agent))];
        bucket.sum = bucket.sum.wrapping_add(summand(&agent, &known));
        if let Some(last) = bucket.agents.get(&agent) {
            bucket.sum = bucket.sum.wrapping_sub(summand(&agent, last));
        }
        bucket.agents.insert(agent, known);
    }

    /// Takes an agent out.
    pub(crate) fn remove(&mut self, agent: &AgentId) {
        let bucket = &mut self.0[usize::from(bucket(agent))];
        if let Some(last) = bucket.agents.remove(agent) {
            bucket.sum = bucket.sum.wrapping_sub(summand(agent, &last));
        }
    }

    /// How many agents are in a bucket.
    pub(crate) fn len(&self, bucket: u8) -> usize {
        self.0.get(usize::from(bucket)).map_or(0, |bucket| bucket.agents.len())
    }

    /// The agents of a bucket, in order of id.
    pub(crate) fn marks(&self, bucket: u8) -> impl Iterator<Item = (&AgentId, Mark)> {
        let agents = self.0.get(usize::from(bucket)).into_iter().flat_map(|bucket| &bucket.agents);
        agents.map(|(agent, known)| (agent, Mark::of(known)))
    }

    /// The hash of every bucket; only those that changed since the last time are computed.
    pub(crate) fn hashes(&self) -> Vec<String> {
        self.0.iter().map(Bucket::hash).collect()
    }
}

impl Bucket {
    fn hash(&self) -> String {
        if self.agents.is_empty() { String::new() } else { format!("{:016x}", self.sum) }
    }
}

/// Compares what we know with what they say, over agents both sides speak of completely.
pub(crate) fn compare_marks(ours: &BTreeMap<&AgentId, Mark>, theirs: &BTreeMap<AgentId, Mark>) -> Difference {
    let mut difference = Difference::default();
    for (agent, our) in ours {
        match theirs.get(*agent) {
            None => difference.they_lack.push((*agent).clone()),
            Some(their) if (their.0, their.1) < (our.0, our.1) => difference.they_lack.push((*agent).clone()),
            // The same version twice: both need both, and keep the lower hash.
            Some(their) if (their.0, their.1) == (our.0, our.1) && their.2 > our.2 => {
                difference.they_lack.push((*agent).clone());
            }
            Some(their) if their == our => {}
            Some(_) => difference.we_lack.push((*agent).clone()),
        }
    }
    difference.we_lack.extend(theirs.keys().filter(|a| !ours.contains_key(a)).cloned());
    difference.we_lack.sort();
    difference
}
