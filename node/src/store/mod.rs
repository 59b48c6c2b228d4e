//! Where a node keeps what must survive it: an append-only log of records, and a few small cells.
//!
//! A [`Store`] knows nothing of what it keeps. Records belong to [`Stream`]s and are numbered through all of them, from 1;
//! on disk each stands in a [`frame`] with its length, checksum and schema. [`Store::append`] alone promises nothing:
//! what must not be lost is lost by nobody after [`Store::sync`] has returned. Appending many records and syncing once
//! is how a busy node stays fast.
//!
//! A node runs on a [`SegmentStore`]: the log in append-only files, the cells in sled.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use foa_wire::JobId;

pub mod frame;
mod memory;
mod segment;
mod sled;

pub use self::memory::MemoryStore;
pub use self::segment::{Broken, Inspection, SegmentStore, inspect};
pub use self::sled::SledStore;
pub(crate) use self::sled::{error as sled_error, open as open_sled};

/// Is shown a record: what it belongs to, its number, what it says. Breaks off when it has seen enough.
pub type Visit<'a> = dyn FnMut(&Stream, u64, &[u8]) -> ControlFlow<()> + 'a;

/// A log with many streams, and cells for small values such as a counter.
pub trait Store: Send + Sync {
    /// Adds records, all or none. Returns the number of the last one, or of the last record there is when `batch` is
    /// empty.
    ///
    /// # Errors
    /// When the disk refuses, or a record is longer than [`frame::MAX_BODY`].
    fn append(&self, batch: &[Append<'_>]) -> Result<u64, StoreError>;

    /// Returns once everything appended and put so far is on the disk.
    ///
    /// # Errors
    /// When the disk refuses; what was appended since the last sync may then be lost.
    fn sync(&self) -> Result<(), StoreError>;

    /// Shows every record in the order of its number, until `visit` breaks off.
    ///
    /// # Errors
    /// When the disk refuses.
    fn replay(&self, visit: &mut Visit<'_>) -> Result<Replayed, StoreError>;

    /// Forgets a stream: its records are gone, the others' numbers stay.
    ///
    /// # Errors
    /// When the disk refuses.
    fn truncate(&self, stream: &Stream) -> Result<(), StoreError>;

    /// Gives back the disk of what was forgotten, where that is worth the copying.
    ///
    /// # Errors
    /// When the disk refuses.
    fn reclaim(&self) -> Result<(), StoreError>;

    /// The value of a cell.
    ///
    /// # Errors
    /// When the disk refuses.
    fn get(&self, cell: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Sets a cell; durable after the next [`Store::sync`].
    ///
    /// # Errors
    /// When the disk refuses.
    fn put(&self, cell: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Bytes it takes.
    ///
    /// # Errors
    /// When the disk refuses.
    fn bytes(&self) -> Result<u64, StoreError>;

    /// Bytes it should take at most, which is for whoever fills it to heed; `None` when nobody said.
    fn quota(&self) -> Option<u64>;
}

/// A record to be appended.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The stream it belongs to.
    pub stream: &'a Stream,
    /// What it says.
    pub body: &'a [u8],
}

/// What a record belongs to. Text form: `node`, or `job/` or `work/` and the job's id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The node's own: what it was asked to do, and what it answered.
    Node,
    /// One job's log.
    Job(JobId),
    /// What the node's agents did for a job.
    Work(JobId),
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Job(job) => write!(f, "job/{job}"),
            Self::Work(job) => write!(f, "work/{job}"),
        }
    }
}

/// A text that names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a stream like node, job/<id> or work/<id>, found {found:?}")]
pub struct UnknownStream {
    found: String,
}

impl FromStr for Stream {
    type Err = UnknownStream;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || UnknownStream { found: text.chars().take(80).collect() };
        match text.split_once('/') {
            None if text == "node" => Ok(Self::Node),
            Some(("job", id)) => id.parse().map(Self::Job).map_err(|_| unknown()),
            Some(("work", id)) => id.parse().map(Self::Work).map_err(|_| unknown()),
            None | Some(_) => Err(unknown()),
        }
    }
}

/// What a replay went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records shown.
    pub records: u64,
    /// What had to be repaired when the store was opened.
    pub repaired: Repair,
}

/// What opening a store had to cut off to get back to whole records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The first record that was cut off; 0 when nothing was.
    pub from: u64,
    /// Records cut off. They are set aside, not destroyed.
    pub records: u64,
    /// How many of them had nothing wrong except that they came after one that had.
    pub whole: u64,
    /// Bytes cut off.
    pub bytes: u64,
    /// Whether anything that is gone had been synced, so that somebody may rely on it. What was synced in the last seconds before
    /// a crash is not told apart from what was not, and [`inspect`] sees only what a later segment proves.
    pub synced: bool,
}

impl Repair {
    /// Whether anything had to be repaired.
    #[must_use]
    pub fn any(&self) -> bool {
        self.bytes > 0
    }
}

/// Why a store cannot be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it open.
    #[error("wanted {path} for this process alone, found it open in another")]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// We may not write there.
    #[error("wanted to write in {path}, found it read-only for this user")]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The disk is full.
    #[error("wanted room on the disk of {path}, found none")]
    Full {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A record is longer than any may be.
    #[error("wanted a record of at most {} bytes, found {bytes}", frame::MAX_BODY)]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The disk or the store's files failed in another way.
    #[error("cannot use the store in {path}: {detail}")]
    Failed {
        /// The store's directory.
        path: PathBuf,
        /// What the store said.
        detail: String,
    },
}

impl StoreError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Locked { .. } => {
                Some("is this node running already? Another data_dir gives another node".to_owned())
            }
            Self::ReadOnly { path, .. } => {
                Some(format!("chown or chmod {} or set data_dir (FOA_DATA_DIR)", path.display()))
            }
            Self::Full { path, .. } => Some(format!("df -h {}", path.display())),
            Self::TooLarge { .. } | Self::Failed { .. } => None,
        }
    }
}

/// Names what the system said of a store in `path`.
fn io_error(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::ReadOnly { path, source }
        }
        // A limit on the size of files is a full disk to whoever runs into it.
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full { path, source }
        }
        _ => StoreError::Failed { path, detail: source.to_string() },
    }
}

/// The cell that is not 0 once opening the store found that records are gone that had been synced. It stays so for good.
pub const LOST: &str = "store.lost";

/// Reads the `u64` in a cell, 0 when it is empty or holds something else.
///
/// # Errors
/// When the disk refuses.
pub fn get_u64(store: &dyn Store, cell: &str) -> Result<u64, StoreError> {
    let value = store.get(cell)?;
    Ok(value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes))
}

/// Sets a cell to a `u64`.
///
/// # Errors
/// When the disk refuses.
pub fn put_u64(store: &dyn Store, cell: &str, value: u64) -> Result<(), StoreError> {
    store.put(cell, &value.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Stream {
        Stream::Job(id.parse().unwrap())
    }

    fn contents(store: &dyn Store) -> Vec<(String, u64, String)> {
        let mut seen = Vec::new();
        store
            .replay(&mut |stream, seq, body| {
                seen.push((stream.to_string(), seq, String::from_utf8(body.to_vec()).unwrap()));
                ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    /// What every store does, whatever it is made of.
    fn behaves(store: &dyn Store) {
        assert_eq!(store.append(&[]).unwrap(), 0);
        let (a, b) = (job("aaaaaaaa"), job("bbbbbbbb"));
        let last = store.append(&[Append { stream: &a, body: b"a1" }, Append { stream: &b, body: b"b1" }]);
        assert_eq!(last.unwrap(), 2);
        assert_eq!(store.append(&[Append { stream: &Stream::Node, body: b"" }]).unwrap(), 3);
        assert_eq!(store.append(&[Append { stream: &a, body: b"a2" }]).unwrap(), 4);
        store.sync().unwrap();

        store.truncate(&a).unwrap();
        store.truncate(&a).unwrap();
        let left = [("job/bbbbbbbb", 2, "b1"), ("node", 3, "")];
        let left: Vec<_> = left.map(|(s, n, t)| (s.to_owned(), n, t.to_owned())).to_vec();
        assert_eq!(contents(store), left);
        assert_eq!(
            store.append(&[Append { stream: &a, body: b"a3" }]).unwrap(),
            5,
            "numbers are never reused"
        );

        let mut seen = 0;
        let replayed = store
            .replay(&mut |_, _, _| {
                seen += 1;
                ControlFlow::Break(())
            })
            .unwrap();
        assert_eq!((seen, replayed.records, replayed.repaired.any()), (1, 1, false));

        let body = vec![0; frame::MAX_BODY + 1];
        let too_large = store.append(&[
            Append { stream: &b, body: b"not this one either" },
            Append { stream: &b, body: &body },
        ]);
        assert!(matches!(too_large, Err(StoreError::TooLarge { .. })));
        assert_eq!(contents(store).len(), 3, "a batch is all or nothing");

        assert_eq!(store.get("boot").unwrap(), None);
        put_u64(store, "boot", 7).unwrap();
        assert_eq!(get_u64(store, "boot").unwrap(), 7);
        store.put("boot", b"odd").unwrap();
        assert_eq!(get_u64(store, "boot").unwrap(), 0);
    }

    #[test]
    fn every_store_behaves_the_same() {
        behaves(&MemoryStore::default());
        let dir = tempfile::tempdir().unwrap();
        behaves(&SledStore::open(dir.path()).unwrap());
        let dir = tempfile::tempdir().unwrap();
        behaves(&SegmentStore::open(dir.path()).unwrap());
    }

    #[test]
    fn what_the_system_says_gets_a_name() {
        let path = Path::new("/data");
        let named = |kind| io_error(path, io::Error::from(kind));
        assert!(matches!(named(io::ErrorKind::PermissionDenied), StoreError::ReadOnly { .. }));
        assert!(matches!(named(io::ErrorKind::ReadOnlyFilesystem), StoreError::ReadOnly { .. }));
        assert!(matches!(named(io::ErrorKind::StorageFull), StoreError::Full { .. }));
        assert!(matches!(named(io::ErrorKind::FileTooLarge), StoreError::Full { .. }));
        assert!(matches!(named(io::ErrorKind::Other), StoreError::Failed { .. }));
    }

    #[test]
    fn a_stream_reads_what_it_writes() {
        for text in ["node", "job/abcdefgh", "work/abcdefgh"] {
            assert_eq!(text.parse::<Stream>().unwrap().to_string(), text);
        }
        for text in ["", "job", "job/", "job/a b", "work/", "agent/abcdefgh", "node/x"] {
            assert!(text.parse::<Stream>().is_err(), "{text:?} was accepted");
        }
    }
}
