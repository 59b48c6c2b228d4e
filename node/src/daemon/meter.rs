//! What a running node has done so far, in numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counters, which only grow, and how large the store is.
#[derive(Debug, Default)]
pub struct Meter {
    syncs: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    store: AtomicU64,
    over: AtomicBool,
}

/// What a [`Meter`] says at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Times the journal waited for the disk.
    pub syncs: u64,
    /// Records written to the journal.
    pub records: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Messages published.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
}

impl Meter {
    pub(super) fn synced(&self, records: usize, bytes: usize) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// The store has this size. Returns whether it is full if that has changed: it is when it has grown over its quota, and
    /// until a tenth of that is free.
    pub(super) fn weighed(&self, bytes: u64, quota: Option<u64>) -> Option<bool> {
        self.store.store(bytes, Ordering::Relaxed);
        let before = self.over.load(Ordering::Relaxed);
        let full = quota.is_some_and(|quota| bytes > if before { quota - quota / 10 } else { quota });
        self.over.store(full, Ordering::Relaxed);
        (full != before).then_some(full)
    }

    /// Bytes of the store when it was last looked at, and whether it is full.
    #[must_use]
    pub fn store(&self) -> (u64, bool) {
        (self.store.load(Ordering::Relaxed), self.over.load(Ordering::Relaxed))
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            syncs: of(&self.syncs),
            records: of(&self.records),
            bytes: of(&self.bytes),
            sent: of(&self.sent),
            received: of(&self.received),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_store_is_said_once_and_so_is_room_in_it() {
        let meter = Meter::default();
        let said = [50, 101, 120, 100, 91, 90, 100, 101].map(|bytes| meter.weighed(bytes, Some(100)));
        let (full, room) = (Some(true), Some(false));
        assert_eq!(said, [None, full, None, None, None, room, None, full]);
        assert_eq!(meter.store(), (101, true));
        assert_eq!(meter.weighed(u64::MAX, None), room);
        assert_eq!(meter.store(), (u64::MAX, false));
    }
}
