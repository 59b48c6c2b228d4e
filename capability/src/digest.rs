//! A directory in short, so that two nodes find out what each other lacks (anti-entropy).

use std::collections::BTreeMap;

use foa_wire::{AgentId, Boot, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

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

/// The hash of every bucket of these agents, each with its bucket.
pub(crate) fn bucket_hashes<'a>(marks: impl Iterator<Item = (u8, &'a AgentId, Mark)>) -> Vec<String> {
    let mut hashers: Vec<Option<Sha256>> = vec![None; usize::from(BUCKETS)];
    for (bucket, agent, Mark(boot, version, hash)) in marks {
        let hasher = hashers[usize::from(bucket)].get_or_insert_with(Sha256::new);
        hasher.update(format!("{agent} {boot} {version} {hash}\n"));
    }
    let short = |h: Sha256| h.finalize().iter().take(8).map(|b| format!("{b:02x}")).collect();
    hashers.into_iter().map(|h| h.map(short).unwrap_or_default()).collect()
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
