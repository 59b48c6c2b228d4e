//! Bodies of the anti-entropy that makes all directories equal (the paper's Δ-gossip).

use std::collections::BTreeMap;

use foa_capability::card::AgentCard;
use foa_capability::digest::Digest;
use foa_wire::{AgentId, NodeId, Time};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What a directory holds, so that a peer can say what is missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DirectoryDigest {
    /// The digest.
    pub digest: Digest,
    /// Coordinators that count, there or not, and when each was last heard of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub coordinators: BTreeMap<NodeId, Time>,
    /// Whether the peer should answer with its own digest (the first of an exchange asks, the answer does not).
    pub answer: bool,
}

/// Cards wanted from a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardRequest {
    /// The agents.
    pub agents: Vec<AgentId>,
}

/// Cards for a peer, each signed by its own node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cards {
    /// As many as fit one envelope.
    pub cards: Vec<AgentCard>,
}

/// Whose cards a coordinator holds, by node. Brokers hand out only part of the retained cards to a late subscriber, so a
/// node that is missing here, or is there with another mark, publishes its cards again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// For each node, the mark of the cards held: [`mark`].
    pub nodes: BTreeMap<NodeId, String>,
}

/// The mark of one node's cards: 12 hex digits over agent, boot, version and hash of each, in order of agent.
pub fn mark<'a>(cards: impl Iterator<Item = &'a AgentCard>) -> String {
    let mut hasher = Sha256::new();
    for card in cards {
        let (boot, version) = card.order();
        hasher.update(format!("{} {boot} {version} {}\n", card.agent(), card.hash()));
    }
    hasher.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// A number for `node` that depends on `salt` and on nothing else: whoever knows the same nodes puts them in the same order
/// (rendezvous hashing), and different salts in different orders.
#[must_use]
pub fn rendezvous(salt: &str, node: &NodeId) -> u64 {
    let digest = Sha256::digest(format!("{salt}\n{node}"));
    u64::from_be_bytes(digest[..8].try_into().expect("SHA-256 has 32 bytes"))
}
