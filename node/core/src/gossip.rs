//! Bodies of the anti-entropy that makes all directories equal (the paper's Δ-gossip).

use std::collections::BTreeMap;

use foa_capability::card::AgentCard;
use foa_capability::digest::Digest;
use foa_wire::{AgentId, Boot, NodeId, Time, Version};
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
    /// The version of the map of shards it follows, if it follows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<u64>,
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
    /// It speaks of nodes behind this one in order of id. Missing: from the first on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<NodeId>,
    /// It speaks of nodes up to this one. Missing: to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<NodeId>,
}

impl Roll {
    /// The roll in parts of at most so many nodes, of which each speaks of a range of its own.
    #[must_use]
    pub fn parts(nodes: BTreeMap<NodeId, String>, most: usize) -> Vec<Self> {
        let mut parts = vec![Self { nodes: BTreeMap::new(), after: None, until: None }];
        for (node, mark) in nodes {
            let full = parts.last_mut().filter(|part| part.nodes.len() >= most.max(1));
            if let Some(full) = full {
                full.until = full.nodes.last_key_value().map(|(last, _)| last.clone());
                let after = full.until.clone();
                parts.push(Self { nodes: BTreeMap::new(), after, until: None });
            }
            if let Some(part) = parts.last_mut() {
                part.nodes.insert(node, mark);
            }
        }
        parts
    }

    /// Whether it says anything of a node.
    #[must_use]
    pub fn speaks_of(&self, node: &NodeId) -> bool {
        self.after.as_ref().is_none_or(|after| after < node)
            && self.until.as_ref().is_none_or(|until| node <= until)
    }
}

/// What a mark says of one agent: id, boot and version of its newest card, and the card's hash.
pub type Marked<'a> = (&'a AgentId, (Boot, Version), &'a str);

/// What the mark of a node says of one of its cards.
pub fn marked(card: &AgentCard) -> Marked<'_> {
    (card.agent(), card.order(), card.hash())
}

/// The mark of one node's cards: 12 hex digits over agent, boot, version and hash of each, in order of agent.
pub fn mark<'a>(cards: impl Iterator<Item = Marked<'a>>) -> String {
    let mut hasher = Sha256::new();
    for (agent, (boot, version), hash) in cards {
        hasher.update(format!("{agent} {boot} {version} {hash}\n"));
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

#[cfg(test)]
mod tests {
    use foa_wire::NodeKey;

    use super::*;

    #[test]
    fn every_node_is_spoken_of_by_one_part_of_a_roll() {
        let node =
            |n: u8| NodeId::new(format!("n{n}").parse().unwrap(), &NodeKey::from_seed([n; 32]).public());
        for (known, most) in [(0, 4), (4, 4), (5, 4), (9, 2)] {
            let nodes = (0..known).map(|n| (node(n), n.to_string())).collect();
            let parts = Roll::parts(nodes, most);
            assert!(parts.iter().all(|part| part.nodes.len() <= most));
            for n in 0..20 {
                let speaking: Vec<_> = parts.iter().filter(|part| part.speaks_of(&node(n))).collect();
                assert_eq!(speaking.len(), 1, "node {n} of {known}");
                assert_eq!(speaking[0].nodes.contains_key(&node(n)), n < known);
            }
        }
    }
}
