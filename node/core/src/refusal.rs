//! What a node refused, by name, and how it tells auditors without being a loudspeaker for attackers.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_wire::Time;
use serde::{Deserialize, Serialize};

/// At most one report per (reason, sender) in this time.
pub const REPORT_EVERY: Duration = Duration::from_secs(10);
/// Refusals remembered for `foa agents rejected`.
const REMEMBERED: usize = 200;
/// (reason, sender) pairs told apart for reports; beyond, reports wait.
const SENDERS: usize = 1000;

/// One refused message or card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable name: `bad-signature`, `stale`, `too-large`, …
    pub reason: String,
    /// Who sent it, as far as it can be known; a claim when the signature failed.
    pub sender: String,
    /// Where it arrived, or which agent it was about.
    pub subject: String,
    /// In words.
    pub detail: String,
    /// When.
    pub at: Time,
}

/// What auditors are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcementReport {
    /// The refusal.
    pub refusal: Refusal,
    /// How many of this reason this node has refused since it started.
    pub count: u64,
}

/// A node's refusals.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    counts: BTreeMap<String, u64>,
    recent: std::collections::VecDeque<Refusal>,
    reported: BTreeMap<(String, String), Time>,
}

impl Refusals {
    /// Counts a refusal; returns the report to send, unless one like it went out just now.
    pub fn record(&mut self, refusal: Refusal) -> Option<EnforcementReport> {
        let now = refusal.at;
        let count = self.counts.entry(refusal.reason.clone()).or_default();
        *count += 1;
        let count = *count;
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(refusal.clone());
        self.reported.retain(|_, at| now.since(*at) < REPORT_EVERY);
        let key = (refusal.reason.clone(), refusal.sender.clone());
        if self.reported.contains_key(&key) || self.reported.len() >= SENDERS {
            return None;
        }
        self.reported.insert(key, now);
        Some(EnforcementReport { refusal, count })
    }

    /// How many of each reason.
    #[must_use]
    pub fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// The latest, newest first.
    pub fn recent(&self) -> impl Iterator<Item = &Refusal> {
        self.recent.iter().rev()
    }
}
