//! A node's disk: what was written, what of it is safe, and what happens when it is not.

use std::collections::BTreeMap;
use std::rc::Rc;

use foa_node_core::journal::{NodeRecord, Stream};

/// A disk.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    durable: BTreeMap<Stream, Vec<Rc<NodeRecord>>>,
    pending: Vec<Write>,
    /// Whether a sync is under way.
    pub syncing: bool,
    /// How often it was synced.
    pub syncs: u64,
    /// The next sync fails.
    pub breaks: bool,
    /// Every sync fails: there is no room.
    pub full: bool,
}

#[derive(Clone, Debug)]
enum Write {
    Record(u64, Rc<NodeRecord>),
    Forget(Stream),
}

impl Disk {
    /// What a start finds.
    #[must_use]
    pub fn read(&self) -> Vec<Rc<NodeRecord>> {
        self.durable.values().flatten().cloned().collect()
    }

    /// Takes a record, with its number.
    pub fn append(&mut self, number: u64, record: Rc<NodeRecord>) {
        self.pending.push(Write::Record(number, record));
    }

    /// Takes it that what belongs together can go.
    pub fn forget(&mut self, stream: Stream) {
        self.pending.push(Write::Forget(stream));
    }

    /// Writes that are not safe yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Makes the first `count` writes that wait safe; the records among them, with their numbers.
    pub fn sync(&mut self, count: usize) -> Vec<(u64, Rc<NodeRecord>)> {
        self.syncing = false;
        self.syncs += 1;
        self.keep(count)
    }

    /// Everything stops. The first `kept` of the writes that wait had reached the disk all the same; the rest is lost.
    pub fn crash(&mut self, kept: usize) {
        self.keep(kept.min(self.pending.len()));
        self.pending.clear();
        self.syncing = false;
        self.breaks = false;
    }

    fn keep(&mut self, count: usize) -> Vec<(u64, Rc<NodeRecord>)> {
        let mut kept = Vec::new();
        for write in self.pending.drain(..count) {
            match write {
                Write::Record(number, record) => {
                    kept.push((number, Rc::clone(&record)));
                    self.durable.entry(record.stream()).or_default().push(record);
                }
                Write::Forget(stream) => {
                    self.durable.remove(&stream);
                }
            }
        }
        kept
    }
}
