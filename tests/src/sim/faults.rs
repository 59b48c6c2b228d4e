//! What can go wrong, and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::random::Random;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A node stops at once, loses some or all of what was not synced, and starts again.
    Crash,
    /// A node stops for good; of the coordinators, one at most.
    Kill,
    /// A node cannot reach the broker, nor the broker the node.
    Partition,
    /// A node's messages reach the broker; it hears nothing, not even that they arrived.
    Deaf,
    /// A node hears everything; nothing it says reaches the broker.
    Mute,
    /// The broker's cluster falls in two: clients of one half see each other and nobody else.
    Split,
    /// The broker stops, forgets everything, and starts again.
    Broker,
    /// The broker stops and starts again with all it knew.
    Restart,
    /// A node's connection breaks and the broker has forgotten its session when it comes back.
    Session,
    /// Everything to and from a node takes long.
    Delay,
    /// Much of what a node sends and gets arrives twice.
    Duplicate,
    /// What a node sends and gets overtakes what was sent before.
    Reorder,
    /// A node's clock is set forward or back by up to 30 seconds.
    Clock,
    /// A node takes messages slowly; the broker queues them.
    Slow,
    /// A sync of a node's disk fails: the node stops and is started again.
    Disk,
    /// A node's disk is full: every sync fails until there is room.
    Full,
}

impl FaultKind {
    /// Every kind that a federation recovers from by itself.
    pub const ALL: [Self; 15] = [
        Self::Crash,
        Self::Partition,
        Self::Deaf,
        Self::Mute,
        Self::Split,
        Self::Broker,
        Self::Restart,
        Self::Session,
        Self::Delay,
        Self::Duplicate,
        Self::Reorder,
        Self::Clock,
        Self::Slow,
        Self::Disk,
        Self::Full,
    ];

    /// How long one may last.
    #[must_use]
    pub fn lasts(self, random: &mut Random) -> Duration {
        let most = match self {
            Self::Kill | Self::Session | Self::Clock => 0,
            Self::Broker | Self::Restart => 3_000,
            Self::Disk => 4_000,
            Self::Crash | Self::Delay | Self::Duplicate | Self::Reorder => 12_000,
            Self::Slow | Self::Full => 15_000,
            Self::Split => 20_000,
            Self::Partition | Self::Deaf | Self::Mute => 25_000,
        };
        if most == 0 { Duration::ZERO } else { random.millis(300, most) }
    }

    /// Whether messages that the broker had taken may be gone for good.
    #[must_use]
    pub fn loses_messages(self) -> bool {
        matches!(self, Self::Broker | Self::Split | Self::Session)
    }
}

/// A fault at a stated time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFault {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
    /// To which node, by number; coordinators come first. Faults of the broker ignore it.
    #[serde(default)]
    pub node: usize,
    /// For how long.
    #[serde(default)]
    pub for_ms: u64,
}
