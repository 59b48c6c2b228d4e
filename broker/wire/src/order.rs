//! Counters that order things. Each is its own type, so that a version is never compared with a boot.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::NodeId;

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The value that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

counter! {
    /// A node's start counter: `max(stored + 1, unix seconds)`, stored before the first publish. A node that
    /// starts again has a larger boot, so nothing it said before can shadow what it says now.
    Boot
}
counter! {
    /// Which MQTT connection of one boot a message belongs to.
    Connection
}
counter! {
    /// Position of a message among those of one (node, boot).
    Sequence
}
counter! {
    /// Version of a capability vector; grows on any change.
    Version
}
counter! {
    /// Position in one job's log, gap-free, starting at 1.
    Index
}

/// Coordinator of one job. Compared by number, then by node id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Term {
    /// Grows with every takeover, starting at 1.
    pub number: u64,
    /// The coordinator that holds the job in this term.
    pub holder: NodeId,
}

impl Term {
    /// The first term of a job.
    #[must_use]
    pub fn first(holder: NodeId) -> Self {
        Self { number: 1, holder }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.number, self.holder)
    }
}
