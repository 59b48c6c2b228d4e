//! The node's store: the log in append-only files written ahead with zeros, the cells in sled.
//!
//! One directory, one process at a time:
//!
//! ```text
//! lock            held while the store is open
//! log/00000001.seg …   the log ([`file`]): frames in the order of their numbers
//! log/aside/      what was cut off because it was not whole, for whoever wants to look
//! conf db blobs   sled: the cells, and the log of a store from before there were segments
//! ```
//!
//! - **Append** writes a batch in one piece; its last frame closes it, and a batch that is not closed never was.
//! - **Sync** is one `fdatasync` of one file whose length does not change, and a flush of sled if a cell was put. How far the
//!   log is synced stands in a cell that sled writes when it has time: so a log that rotted is told from a torn tail.
//! - **Truncate** appends a frame that forgets the stream. The disk is given back when a segment is full: then segments
//!   with nothing wanted in them are removed, and those with little are put together ([`clean`]). **Reclaim** does that
//!   without waiting for a full one.
//! - **Opening** reads everything once. From the first byte that is not as it was written, the log is copied aside and
//!   cut ([`repair`]).
//! - After an append or sync that failed half-way, nothing is written any more: what is on the disk is known only after
//!   it was read again. A full disk is found before anything of a batch is written, and leaves the store usable.

mod clean;
mod file;
mod index;
mod inspect;
mod read;
mod repair;
#[cfg(test)]
mod tests;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::inspect::{Broken, Inspection, inspect};

use self::file::{Header, SegmentFile};
use self::index::{Index, Segment};
use super::frame::{self, Frame, Kind};
use super::{
    Append, LOST, Repair, Replayed, SledStore, Store, StoreError, Stream, Visit, get_u64, io_error, put_u64,
};

/// A segment is begun when the one before has this many bytes.
const SEGMENT_BYTES: u64 = 8 << 20;
/// The last record of sled's log that was carried over.
const CARRIED: &str = "store.carried";
/// The last record that is known to be on the disk. It gets there a moment later than the record, and waits for nobody.
const SYNCED: &str = "store.synced";
/// How often that is put while the store is busy. A sync of a store with nothing to sync puts it at once.
const MARK: Duration = Duration::from_secs(1);
/// Records carried over at once.
const CARRY: usize = 256;

const LOCK: &str = "lock";
const LOG: &str = "log";
const ASIDE: &str = "aside";

/// A store in a directory that belongs to one process at a time.
pub struct SegmentStore {
    path: PathBuf,
    log: PathBuf,
    cells: SledStore,
    cells_changed: AtomicBool,
    state: Mutex<State>,
    repaired: Repair,
    segment_bytes: u64,
    quota: Option<u64>,
    /// Gives the directory back when it is closed.
    _lock: File,
}

struct State {
    index: Index,
    active: SegmentFile,
    last: u64,
    unsynced: bool,
    /// What the cell [`SYNCED`] says, and since when.
    marked: (u64, Instant),
    /// Why nothing can be written any more.
    failed: Option<String>,
}

impl SegmentStore {
    /// Opens or makes the store in `directory`. Reads the whole log once; from the first record that is not whole, the
    /// log is cut and what was cut set aside ([`Replayed::repaired`]). A log that an older version left in sled is
    /// carried over.
    ///
    /// # Errors
    /// When another process has it, it cannot be written, the disk is full, or its files are beyond reading.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Self::open_with(directory, SEGMENT_BYTES)
    }

    fn open_with(directory: &Path, segment_bytes: u64) -> Result<Self, StoreError> {
        let named = |e| io_error(directory, e);
        let log = directory.join(LOG);
        fs::create_dir_all(&log).map_err(named)?;
        let lock = lock(directory)?;
        file::sync_directory(directory).map_err(named)?;
        let cells = SledStore::open(directory)?;
        let found = read::read(&log).map_err(named)?;
        for leftover in &found.leftovers {
            fs::remove_file(leftover).map_err(named)?;
        }
        let (mut index, last) = (found.index, found.last);
        let mut repaired = cells.repaired();
        if let Some(damage) = &found.damage {
            repaired = repair::cut(&log, damage, last).map_err(named)?;
            tracing::warn!(
                path = %directory.display(),
                from = repaired.from,
                records = repaired.records,
                whole = repaired.whole,
                bytes = repaired.bytes,
                why = damage.tail.why,
                "the log was cut at the last whole record; what followed is kept in log/aside"
            );
        }
        let marked = get_u64(&cells, SYNCED)?;
        repaired.synced |= last < marked;
        if repaired.synced {
            // Before anything else is written: the next opening may see nothing of it any more.
            put_u64(&cells, LOST, 1)?;
            cells.sync()?;
        }
        let marked = (marked, Instant::now());
        let active = match index.segments.last() {
            Some(segment) => SegmentFile::open(segment.path.clone()).map_err(named)?,
            None => begin(&log, &mut index, last + 1).map_err(named)?,
        };
        let state = Mutex::new(State { index, active, last, unsynced: false, marked, failed: None });
        let path = directory.to_owned();
        let store = Self {
            path,
            log,
            cells,
            cells_changed: AtomicBool::new(false),
            state,
            repaired,
            segment_bytes,
            quota: None,
            _lock: lock,
        };
        store.carry_over()?;
        store.clean(&mut store.state());
        Ok(store)
    }

    /// Says how many bytes it should take at most.
    #[must_use]
    pub fn with_quota(mut self, quota: Option<u64>) -> Self {
        self.quota = quota;
        self
    }

    /// What opening it had to repair.
    #[must_use]
    pub fn repaired(&self) -> Repair {
        self.repaired
    }

    /// Takes over what an older version left in sled. Numbers stay, so that doing it again after a crash adds only what
    /// is missing.
    fn carry_over(&self) -> Result<(), StoreError> {
        let mut left: Vec<(u64, Stream, Vec<u8>)> = Vec::new();
        self.cells.replay(&mut |stream, number, body| {
            left.push((number, stream.clone(), body.to_vec()));
            std::ops::ControlFlow::Continue(())
        })?;
        let mut state = self.state();
        if left.is_empty() {
            state.last = state.last.max(self.cells.last());
            return Ok(());
        }
        // Whoever went back to an older version for a while has numbers in both; those of sled are given anew.
        let anew = get_u64(&self.cells, CARRIED)? > 0;
        let mut left: Vec<_> = left.into_iter().filter(|(n, ..)| anew || *n > state.last).collect();
        if anew {
            (state.last + 1..).zip(&mut left).for_each(|(number, record)| record.0 = number);
        }
        for batch in left.chunks(CARRY) {
            let frames = batch.iter().map(|(number, stream, body)| (*number, stream, body.as_slice()));
            self.write(&mut state, frames)?;
        }
        self.sync_log(&mut state)?;
        state.last = state.last.max(self.cells.last());
        put_u64(&self.cells, CARRIED, state.last)?;
        self.cells.clear_log()?;
        tracing::info!(records = left.len(), "the log of an older version was carried over");
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A holder that panicked half-way leaves a state that counts too little as written, never too much.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn named(&self, error: io::Error) -> StoreError {
        io_error(&self.path, error)
    }

    fn usable(&self, state: &State) -> Result<(), StoreError> {
        match &state.failed {
            None => Ok(()),
            Some(why) => {
                let detail = format!(
                    "an earlier write failed ({why}); what is on the disk is known once it is opened again"
                );
                Err(StoreError::Failed { path: self.path.clone(), detail })
            }
        }
    }

    /// Writes one batch of records.
    fn write<'a>(
        &self,
        state: &mut State,
        records: impl ExactSizeIterator<Item = (u64, &'a Stream, &'a [u8])>,
    ) -> Result<(), StoreError> {
        let count = records.len();
        let frames: Vec<Frame<'a>> = records
            .enumerate()
            .map(|(i, (number, stream, body))| Frame {
                number,
                stream: stream.clone(),
                kind: Kind::Record,
                closes: i + 1 == count,
                body,
            })
            .collect();
        self.write_frames(state, &frames)
    }

    fn write_frames(&self, state: &mut State, frames: &[Frame<'_>]) -> Result<(), StoreError> {
        let Some(newest) = frames.last().map(|f| f.number) else { return Ok(()) };
        self.usable(state)?;
        let mut bytes = Vec::new();
        let lengths: Vec<usize> = frames
            .iter()
            .map(|frame| {
                let before = bytes.len();
                frame::write(frame, &mut bytes);
                bytes.len() - before
            })
            .collect();
        let mut end = state.end();
        if end + bytes.len() as u64 > self.segment_bytes && end > file::HEADER as u64 {
            self.roll(state)?;
            end = state.end();
        }
        state.reserve(end + bytes.len() as u64).map_err(|e| self.named(e))?;
        state.unsynced = true;
        if let Err(e) = state.active.write(end, &bytes) {
            state.failed = Some(e.to_string());
            // If not even this can be written, opening the store finds an unfinished batch and cuts it.
            drop(state.active.write(end, &vec![0; bytes.len()]));
            return Err(self.named(e));
        }
        frames.iter().zip(lengths).for_each(|(frame, length)| state.index.add(frame, length));
        state.last = newest;
        Ok(())
    }

    /// Begins the next segment, and cleans up behind it.
    fn roll(&self, state: &mut State) -> Result<(), StoreError> {
        self.sync_log(state)?;
        let first = state.last + 1;
        state.active = begin(&self.log, &mut state.index, first).map_err(|e| self.named(e))?;
        self.clean(state);
        Ok(())
    }

    fn sync_log(&self, state: &mut State) -> Result<(), StoreError> {
        self.usable(state)?;
        if state.unsynced {
            if let Err(e) = state.active.sync() {
                // The system may have dropped what it could not write, and would say so only once.
                state.failed = Some(e.to_string());
                return Err(self.named(e));
            }
            state.unsynced = false;
        }
        Ok(())
    }
}

impl SegmentStore {
    fn mark(&self, state: &mut State) -> Result<(), StoreError> {
        if state.marked.0 != state.last {
            put_u64(&self.cells, SYNCED, state.last)?;
            state.marked = (state.last, Instant::now());
        }
        Ok(())
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        let mut state = self.state();
        if !state.unsynced && state.failed.is_none() {
            // Without it, what is on the disk is only told less well from a torn tail.
            drop(self.mark(&mut state));
        }
    }
}

impl State {
    fn end(&self) -> u64 {
        self.index.segments.last().map_or(file::HEADER as u64, |s| s.end)
    }

    fn reserve(&mut self, until: u64) -> io::Result<()> {
        self.active.reserve(until)?;
        if let Some(segment) = self.index.segments.last_mut() {
            segment.length = self.active.length;
        }
        Ok(())
    }
}

/// Begins a segment behind all others.
fn begin(log: &Path, index: &mut Index, first: u64) -> io::Result<SegmentFile> {
    let id = index.segments.last().map_or(1, |s| s.header.through + 1);
    let header = Header { id, through: id, first };
    let file = SegmentFile::create(log, header, &[], true)?;
    file::sync_directory(log)?;
    index.segments.push(Segment::new(header, file.path.clone(), file.length));
    Ok(file)
}

/// Takes the directory for this process alone.
fn lock(directory: &Path) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|e| io_error(directory, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: directory.to_owned() }),
        Err(TryLockError::Error(e)) => Err(io_error(directory, e)),
    }
}

impl Store for SegmentStore {
    fn append(&self, batch: &[Append<'_>]) -> Result<u64, StoreError> {
        if let Some(large) = batch.iter().find(|a| a.body.len() > frame::MAX_BODY) {
            return Err(StoreError::TooLarge { bytes: large.body.len() });
        }
        let mut state = self.state();
        let first = state.last + 1;
        let records = batch.iter().enumerate().map(|(i, a)| (first + i as u64, a.stream, a.body));
        self.write(&mut state, records)?;
        Ok(state.last)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        let idle = !state.unsynced;
        self.sync_log(&mut state)?;
        if idle || state.marked.1.elapsed() >= MARK {
            self.mark(&mut state)?;
        }
        drop(state);
        if self.cells_changed.swap(false, Ordering::AcqRel) {
            self.cells.sync().inspect_err(|_| self.cells_changed.store(true, Ordering::Release))?;
        }
        Ok(())
    }

    fn replay(&self, visit: &mut Visit<'_>) -> Result<Replayed, StoreError> {
        let state = self.state();
        let mut replayed = Replayed { records: 0, repaired: self.repaired };
        for segment in &state.index.segments {
            let bytes = fs::read(&segment.path).map_err(|e| self.named(e))?;
            let mut records = Vec::new();
            let (end, _, _) = file::scan(&bytes, segment.header, &mut |frame, _| {
                if state.index.wants(frame) {
                    records.push((frame.stream.clone(), frame.number, frame.body));
                }
            });
            if end as u64 != segment.end {
                let path = segment.path.display();
                let detail = format!(
                    "{path} was whole up to {} when it was opened, found it broken at {end}",
                    segment.end
                );
                return Err(StoreError::Failed { path: self.path.clone(), detail });
            }
            for (stream, number, body) in records {
                replayed.records += 1;
                if visit(&stream, number, body).is_break() {
                    return Ok(replayed);
                }
            }
        }
        Ok(replayed)
    }

    fn truncate(&self, stream: &Stream) -> Result<(), StoreError> {
        let mut state = self.state();
        if !state.index.holds(stream) {
            return Ok(());
        }
        let number = state.last;
        let forget = Frame { number, stream: stream.clone(), kind: Kind::Forget, closes: true, body: b"" };
        self.write_frames(&mut state, &[forget])
    }

    fn reclaim(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if state.index.mostly_dead() {
            // What is written is never cleaned, so another segment must be.
            return self.roll(&mut state);
        }
        self.clean(&mut state);
        Ok(())
    }

    fn get(&self, cell: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.cells.get(cell)
    }

    fn put(&self, cell: &str, value: &[u8]) -> Result<(), StoreError> {
        self.cells.put(cell, value)?;
        self.cells_changed.store(true, Ordering::Release);
        Ok(())
    }

    fn quota(&self) -> Option<u64> {
        self.quota
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let log = self.state().index.bytes();
        Ok(log + self.cells.bytes()?)
    }
}
