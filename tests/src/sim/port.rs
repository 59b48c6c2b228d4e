//! A connection to the broker, of a node or a client, and what it suffers.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use foa_wire::Time;

use super::link::{Lanes, Message, Sender, Weather};

/// A connection to the broker.
#[derive(Debug)]
pub struct Port {
    /// Signs what it says.
    pub sender: Sender,
    /// Counts connections; what travels on an earlier one is lost with it.
    pub epoch: u64,
    /// Whether it is connected.
    pub connected: bool,
    /// What cannot pass, though neither side may know yet.
    pub cut: Cut,
    /// What the broker has not confirmed.
    pub outbox: BTreeMap<u64, Rc<Message>>,
    /// Numbers the outbox.
    pub next: u64,
    /// To the broker.
    pub up: Lanes,
    /// From the broker.
    pub down: Lanes,
    /// How packets fare on it.
    pub weather: Weather,
    /// How long it takes over each message.
    pub takes: Duration,
    /// When it will have taken all it was sent.
    pub free_at: Time,
}

/// What cannot pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Toward the broker.
    pub up: bool,
    /// From the broker.
    pub down: bool,
}

impl Cut {
    /// Whether anything cannot.
    #[must_use]
    pub fn any(self) -> bool {
        self.up || self.down
    }
}

impl Port {
    /// A port that was never connected.
    #[must_use]
    pub fn new(sender: Sender, weather: Weather) -> Self {
        Self {
            sender,
            epoch: 0,
            connected: false,
            cut: Cut::default(),
            outbox: BTreeMap::new(),
            next: 0,
            up: Lanes::default(),
            down: Lanes::default(),
            weather,
            takes: Duration::ZERO,
            free_at: Time::ZERO,
        }
    }

    /// When a message that arrives at `at` has been taken.
    pub fn take(&mut self, at: Time) -> Time {
        if self.takes.is_zero() {
            return at;
        }
        self.free_at = self.free_at.max(at) + self.takes;
        self.free_at
    }
}
