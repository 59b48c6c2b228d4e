//! Whether a node is there and how busy its agents are. Changes often, so it is not in the card.

use std::collections::BTreeMap;

use foa_wire::{AgentName, Boot, Connection, Sequence};
use serde::{Deserialize, Serialize};

/// How busy one agent is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Pieces of work waiting.
    pub queue: u32,
    /// Pieces of work running.
    pub running: u32,
}

/// What a node says of itself, or the broker in its name when the connection breaks (the will).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whether the node takes work.
    pub online: bool,
    /// The node's start.
    pub boot: Boot,
    /// The connection this speaks for.
    pub connection: Connection,
    /// Position within the connection.
    pub seq: Sequence,
    /// How busy its agents are; one not named is idle.
    #[serde(default)]
    pub load: BTreeMap<AgentName, Load>,
}

impl Presence {
    /// Newest wins by this. A will was written when its connection began, so the end of a connection stands after
    /// everything said on it, whatever its number.
    #[must_use]
    pub fn order(&self) -> (Boot, Connection, bool, Sequence) {
        order(self.boot, self.connection, self.online, self.seq)
    }
}

/// [`Presence::order`] of what says the same in another shape.
#[must_use]
pub fn order(
    boot: Boot,
    connection: Connection,
    online: bool,
    seq: Sequence,
) -> (Boot, Connection, bool, Sequence) {
    (boot, connection, !online, seq)
}
