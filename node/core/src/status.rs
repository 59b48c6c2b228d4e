//! Presence: who is there, in which roles, how busy. Retained, and the last will.

use std::collections::BTreeMap;

use foa_capability::presence::Load;
use foa_wire::{AgentName, Boot, Connection, NodeId, PeerAddress, Sequence, Time};
use serde::{Deserialize, Serialize};

/// What a node is for, besides running its own agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Knows the directory and holds jobs.
    Coordinator,
    /// Runs agents.
    Worker,
}

/// A node's presence. Newest wins by (boot, connection, seq).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Whose.
    pub node: NodeId,
    /// Whether it is there. The last will says no.
    pub online: bool,
    /// It finishes what it has and takes nothing new.
    #[serde(default)]
    pub draining: bool,
    /// Its start.
    pub boot: Boot,
    /// Its connection.
    pub connection: Connection,
    /// Its count of statuses; the will has the largest.
    pub seq: Sequence,
    /// When it said so.
    pub at: Time,
    /// What it is for.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// How busy each agent is.
    #[serde(default)]
    pub load: BTreeMap<AgentName, Load>,
    /// Jobs it holds.
    #[serde(default)]
    pub jobs: u32,
    /// The program's version.
    #[serde(default)]
    pub version: String,
    /// Where artifacts can be fetched from it; at most eight count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<PeerAddress>,
}

/// The sequence of a last will: after everything the connection said.
pub const WILL_SEQUENCE: Sequence = Sequence((1 << 53) - 1);

impl NodeStatus {
    /// The last will of a connection.
    #[must_use]
    pub fn will(node: NodeId, boot: Boot, connection: Connection, now: Time) -> Self {
        Self {
            node,
            online: false,
            draining: false,
            boot,
            connection,
            seq: WILL_SEQUENCE,
            at: now,
            roles: Vec::new(),
            load: BTreeMap::new(),
            jobs: 0,
            version: String::new(),
            addresses: Vec::new(),
        }
    }
}
