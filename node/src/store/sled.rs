//! A store over sled: one tree for the log, keyed by the record's number, one for the cells.
//!
//! The node keeps its cells here, and kept its log here until it had [`super::SegmentStore`], which carries such a log over.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{self, Frame};
use super::{Append, Repair, Replayed, Store, StoreError, Stream, Visit, io_error};

const LOG: &str = "log";
const CELLS: &str = "cells";
/// The number of the last record ever appended, so that a truncated log does not count from 1 again.
const LAST: &str = "store.last";
/// Pages sled keeps in memory. A node reads its log once, at start.
const CACHE_BYTES: u64 = 8 << 20;
/// How long a database may stay locked before it is taken for somebody else's.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a locked one is tried.
const RETRY: Duration = Duration::from_millis(5);

/// A store in a directory that belongs to one process at a time.
pub struct SledStore {
    path: PathBuf,
    db: sled::Db,
    log: sled::Tree,
    cells: sled::Tree,
    state: Mutex<State>,
    repaired: Repair,
}

struct State {
    last: u64,
    /// Where each stream's records are, so that forgetting one need not read them all.
    positions: BTreeMap<Stream, Vec<u64>>,
}

impl SledStore {
    /// Opens or makes the store in `directory`. Reads the whole log once; from the first record that is not whole, the
    /// log is cut and what was cut set aside in a tree of its own ([`Replayed::repaired`]).
    ///
    /// # Errors
    /// When another process has it, it cannot be written, or its files are beyond reading.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.to_owned();
        let db = open(directory)?;
        let log = db.open_tree(LOG).map_err(|e| error(&path, e))?;
        let cells = db.open_tree(CELLS).map_err(|e| error(&path, e))?;
        let mut state = State { last: 0, positions: BTreeMap::new() };
        let mut broken = None;
        for item in &log {
            let (key, value) = item.map_err(|e| error(&path, e))?;
            let (Some(seq), Some(framed)) = (number(&key), whole(&value)) else {
                broken = Some(key);
                break;
            };
            state.last = seq;
            state.positions.entry(framed.stream).or_default().push(seq);
        }
        let kept = cells.get(LAST).map_err(|e| error(&path, e))?.and_then(|v| number(&v));
        state.last = state.last.max(kept.unwrap_or(0));
        let mut store = Self { path, db, log, cells, state: Mutex::new(state), repaired: Repair::default() };
        if let Some(from) = broken {
            store.repaired = store.cut(&from).map_err(|e| error(&store.path, e))?;
            tracing::warn!(
                path = %store.path.display(),
                from = store.repaired.from,
                records = store.repaired.records,
                whole = store.repaired.whole,
                "the log was cut at the last whole record"
            );
        }
        Ok(store)
    }

    /// What opening it had to repair.
    #[must_use]
    pub fn repaired(&self) -> Repair {
        self.repaired
    }

    /// The number of the last record ever appended.
    pub(super) fn last(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).last
    }

    /// Empties the log, and keeps the cells and the count.
    pub(super) fn clear_log(&self) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.cells.insert(LAST, &state.last.to_be_bytes()).map_err(|e| self.error(e))?;
        self.log.clear().map_err(|e| self.error(e))?;
        self.db.flush().map_err(|e| self.error(e))?;
        state.positions.clear();
        Ok(())
    }

    /// Moves everything from `from` on out of the log.
    fn cut(&self, from: &[u8]) -> Result<Repair, sled::Error> {
        let aside = self.db.open_tree(format!("cut-{}", self.db.generate_id()?))?;
        let mut repair = Repair { from: number(from).unwrap_or(0), ..Repair::default() };
        for item in self.log.range(from..) {
            let (key, value) = item?;
            repair.records += 1;
            repair.whole += u64::from(whole(&value).is_some());
            repair.bytes += value.len() as u64;
            aside.insert(&key, value)?;
            self.log.remove(key)?;
        }
        self.db.flush()?;
        Ok(repair)
    }

    fn error(&self, source: sled::Error) -> StoreError {
        error(&self.path, source)
    }
}

/// Opens or makes the database in `directory`. Threads of one that was closed in this process hold its lock for a moment
/// longer, so a locked one is tried again for [`PATIENCE`].
pub(crate) fn open(directory: &Path) -> Result<sled::Db, StoreError> {
    std::fs::create_dir_all(directory).map_err(|e| io_error(directory, e))?;
    patiently(|| {
        let opened = sled::Config::new().path(directory).cache_capacity(CACHE_BYTES).open();
        opened.map_err(|e| error(directory, e))
    })
}

fn patiently<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let began = Instant::now();
    loop {
        match open() {
            Err(StoreError::Locked { .. }) if began.elapsed() < PATIENCE => std::thread::sleep(RETRY),
            opened => return opened,
        }
    }
}

/// The frame that these bytes are, if they are exactly one.
fn whole(bytes: &[u8]) -> Option<Frame<'_>> {
    frame::read(bytes).ok().filter(|(_, length)| *length == bytes.len()).map(|(frame, _)| frame)
}

fn framed(number: u64, stream: &Stream, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let stream = stream.clone();
    frame::write(&Frame { number, stream, kind: frame::Kind::Record, closes: true, body }, &mut bytes);
    bytes
}

fn number(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(u64::from_be_bytes)
}

/// Names what sled said of a database in `path`.
pub(crate) fn error(path: &Path, source: sled::Error) -> StoreError {
    match source {
        // sled reports a lock it could not get as an error of no particular kind.
        sled::Error::Io(source) if source.to_string().starts_with("could not acquire lock") => {
            StoreError::Locked { path: path.to_owned() }
        }
        sled::Error::Io(source) => io_error(path, source),
        sled::Error::CollectionNotFound(_)
        | sled::Error::Unsupported(_)
        | sled::Error::ReportableBug(_)
        | sled::Error::Corruption { .. } => {
            StoreError::Failed { path: path.to_owned(), detail: source.to_string() }
        }
    }
}

impl Store for SledStore {
    fn append(&self, batch: &[Append<'_>]) -> Result<u64, StoreError> {
        if let Some(large) = batch.iter().find(|a| a.body.len() > frame::MAX_BODY) {
            return Err(StoreError::TooLarge { bytes: large.body.len() });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let first = state.last + 1;
        let mut writes = sled::Batch::default();
        for (seq, append) in (first..).zip(batch) {
            writes.insert(&seq.to_be_bytes(), framed(seq, append.stream, append.body));
        }
        self.log.apply_batch(writes).map_err(|e| self.error(e))?;
        for (seq, append) in (first..).zip(batch) {
            state.positions.entry(append.stream.clone()).or_default().push(seq);
            state.last = seq;
        }
        Ok(state.last)
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map(drop).map_err(|e| self.error(e))
    }

    fn replay(&self, visit: &mut Visit<'_>) -> Result<Replayed, StoreError> {
        let mut replayed = Replayed { records: 0, repaired: self.repaired };
        for item in &self.log {
            let (key, value) = item.map_err(|e| self.error(e))?;
            let (Some(seq), Some(framed)) = (number(&key), whole(&value)) else {
                let detail = format!("a record that was whole when the store was opened is broken: {key:?}");
                return Err(StoreError::Failed { path: self.path.clone(), detail });
            };
            replayed.records += 1;
            if visit(&framed.stream, seq, framed.body).is_break() {
                break;
            }
        }
        Ok(replayed)
    }

    fn truncate(&self, stream: &Stream) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(positions) = state.positions.get(stream) else { return Ok(()) };
        self.cells.insert(LAST, &state.last.to_be_bytes()).map_err(|e| self.error(e))?;
        let mut writes = sled::Batch::default();
        for seq in positions {
            writes.remove(&seq.to_be_bytes());
        }
        self.log.apply_batch(writes).map_err(|e| self.error(e))?;
        state.positions.remove(stream);
        Ok(())
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        // sled cleans up by itself.
        Ok(())
    }

    fn get(&self, cell: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.cells.get(cell).map_err(|e| self.error(e))?.map(|v| v.to_vec()))
    }

    fn put(&self, cell: &str, value: &[u8]) -> Result<(), StoreError> {
        self.cells.insert(cell, value).map(drop).map_err(|e| self.error(e))
    }

    fn quota(&self) -> Option<u64> {
        None
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.db.size_on_disk().map_err(|e| self.error(e))
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn bodies(store: &SledStore) -> (Vec<String>, Replayed) {
        let mut seen = Vec::new();
        let replayed = store
            .replay(&mut |_, _, body| {
                seen.push(String::from_utf8(body.to_vec()).unwrap());
                ControlFlow::Continue(())
            })
            .unwrap();
        (seen, replayed)
    }

    fn append(store: &SledStore, text: &str) -> u64 {
        store.append(&[Append { stream: &Stream::Node, body: text.as_bytes() }]).unwrap()
    }

    /// Leaves five records, of which `damage` has changed some, and opens the store again.
    fn reopened_after(damage: impl Fn(&sled::Tree)) -> (tempfile::TempDir, SledStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        for i in 1..=5 {
            append(&store, &format!("r{i}"));
        }
        damage(&store.log);
        store.sync().unwrap();
        drop(store);
        let store = SledStore::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn what_was_synced_is_there_after_a_restart() {
        let (_dir, store) = reopened_after(|_| ());
        let (seen, replayed) = bodies(&store);
        assert_eq!(seen, ["r1", "r2", "r3", "r4", "r5"]);
        assert_eq!(replayed, Replayed { records: 5, repaired: Repair::default() });
        assert_eq!(append(&store, "r6"), 6);
    }

    #[test]
    fn a_torn_last_record_is_cut_off_and_said_so() {
        let (_dir, store) = reopened_after(|log| {
            let whole = framed(6, &Stream::Node, b"never finished");
            log.insert(6u64.to_be_bytes(), &whole[..whole.len() - 3]).unwrap();
        });
        let (seen, replayed) = bodies(&store);
        assert_eq!(seen.len(), 5);
        assert_eq!(replayed.repaired, Repair { from: 6, records: 1, whole: 0, bytes: 34, synced: false });
        assert_eq!(append(&store, "r6"), 6, "the torn one was never acknowledged, so its number is free");
        assert_eq!(bodies(&store).0.len(), 6);
    }

    #[test]
    fn a_record_that_rotted_cuts_off_what_follows_and_keeps_it_aside() {
        let (dir, store) = reopened_after(|log| {
            let mut value = log.get(4u64.to_be_bytes()).unwrap().unwrap().to_vec();
            *value.last_mut().unwrap() ^= 1;
            log.insert(4u64.to_be_bytes(), value).unwrap();
        });
        let (seen, replayed) = bodies(&store);
        assert_eq!(seen, ["r1", "r2", "r3"]);
        assert_eq!(replayed.repaired, Repair { from: 4, records: 2, whole: 1, bytes: 50, synced: false });
        let aside = store.db.tree_names().into_iter().find(|n| n.starts_with(b"cut-")).unwrap();
        assert_eq!(store.db.open_tree(aside).unwrap().len(), 2);
        drop(store);
        assert!(!SledStore::open(dir.path()).unwrap().repaired().any(), "repaired once, whole afterwards");
    }

    #[test]
    fn numbers_go_on_after_everything_was_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = SledStore::open(dir.path()).unwrap();
        append(&store, "r1");
        store.truncate(&Stream::Node).unwrap();
        drop(store);
        assert_eq!(append(&SledStore::open(dir.path()).unwrap(), "r2"), 2);
    }

    #[test]
    fn a_directory_in_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let _open = SledStore::open(dir.path()).unwrap();
        let second = SledStore::open(dir.path()).err().unwrap();
        assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    }
    #[test]
    fn a_lock_that_is_let_go_late_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let mut closing = Some(open(dir.path()).unwrap());
        let mut tries = 0;
        patiently(|| {
            let opened = sled::Config::new().path(dir.path()).open().map_err(|e| error(dir.path(), e));
            tries += 1;
            closing = None;
            opened
        })
        .unwrap();
        assert!(tries > 1, "it was not locked at first");
    }
}
