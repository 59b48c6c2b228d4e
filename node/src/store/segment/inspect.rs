//! Looks at a store without changing it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::{ASIDE, LOCK, LOG, read};
use crate::store::{Repair, StoreError, io_error};

/// What is in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Files of the log.
    pub segments: usize,
    /// Records that are whole, forgotten ones among them.
    pub records: u64,
    /// Streams with records that are wanted.
    pub streams: usize,
    /// The number of the last record.
    pub last: u64,
    /// Bytes of the log on the disk.
    pub bytes: u64,
    /// Bytes of records that are wanted.
    pub live: u64,
    /// Bytes on the disk of everything else in the store: the cells, and an older version's log.
    pub cells: u64,
    /// Files that an earlier repair kept.
    pub aside: u64,
    /// Bytes in those.
    pub aside_bytes: u64,
    /// Where the log stops being whole.
    pub broken: Option<Broken>,
}

/// Where a log stops being whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub path: PathBuf,
    /// The byte in it.
    pub at: usize,
    /// What is wrong there.
    pub why: String,
    /// What a repair would cut off.
    pub repair: Repair,
}

impl Inspection {
    /// Bytes of the log that could be had back: forgotten records, and zeros written ahead.
    #[must_use]
    pub fn dead(&self) -> u64 {
        self.bytes.saturating_sub(self.live)
    }
}

/// Checks every frame of the store in `directory`, and changes nothing. `None` when there is no store.
///
/// # Errors
/// When a process has it open, or it cannot be read.
pub fn inspect(directory: &Path) -> Result<Option<Inspection>, StoreError> {
    let named = |e| io_error(directory, e);
    let _lock = match File::open(directory.join(LOCK)) {
        Ok(lock) => match lock.try_lock_shared() {
            Ok(()) => Some(lock),
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: directory.to_owned() });
            }
            Err(TryLockError::Error(e)) => return Err(named(e)),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(named(e)),
    };
    if !directory.is_dir() {
        return Ok(None);
    }
    let log = directory.join(LOG);
    let found = if log.is_dir() { read::read(&log).map_err(named)? } else { read::Found::default() };
    let (aside, aside_bytes) = weigh(&log.join(ASIDE)).map_err(named)?;
    let (_, all) = weigh(directory).map_err(named)?;
    let (_, in_log) = weigh(&log).map_err(named)?;
    Ok(Some(Inspection {
        segments: found.index.segments.len(),
        records: found.records,
        streams: found.index.streams(),
        last: found.last,
        bytes: in_log - aside_bytes,
        live: found.index.live(),
        cells: all - in_log,
        aside,
        aside_bytes,
        broken: found.damage.map(|damage| Broken {
            repair: damage.repair(found.last),
            path: damage.path,
            at: damage.tail.at,
            why: damage.tail.why,
        }),
    }))
}

/// How many files there are below a directory, and how long they are.
fn weigh(directory: &Path) -> io::Result<(u64, u64)> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        Err(e) => return Err(e),
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let (more, longer) = weigh(&entry.path())?;
            files += more;
            bytes += longer;
        } else {
            files += 1;
            bytes += entry.metadata()?.len();
        }
    }
    Ok((files, bytes))
}
