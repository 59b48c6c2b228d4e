//! One file of the log: a header, frames one after the other, zeros up to its end.
//!
//! ```text
//! "foalog1\n" | id u64 | through u64 | first u64 | crc32 u32 | frames … | zeros …
//! ```
//!
//! The zeros are written ahead, because a sync that need not change the file's length is many times cheaper, and because
//! a full disk is then found out before anything is half written. A segment that was put together of several takes the
//! id of the first and says in `through` which was the last: those between are leftovers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::store::frame::{self, Frame, Kind};

/// Length of the header.
pub(super) const HEADER: usize = 36;
const MAGIC: &[u8; 8] = b"foalog1\n";
const EXTENSION: &str = "seg";
const DRAFT: &str = "tmp";
/// The first piece of zeros; every further one is as long as all before it, up to [`MOST_ZEROS`].
const ZEROS: u64 = 64 << 10;
const MOST_ZEROS: u64 = 1 << 20;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Which it is; later ones have higher ids.
    pub(super) id: u64,
    /// The last of the segments it stands for.
    pub(super) through: u64,
    /// No record in it has a lower number.
    pub(super) first: u64,
}

impl Header {
    pub(super) fn write(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.id, self.through, self.first] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// The header these bytes begin with.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let (covered, checksum) = bytes.split_at(HEADER - 4);
        if !covered.starts_with(MAGIC) || checksum != crc32fast::hash(covered).to_le_bytes() {
            return None;
        }
        let number = |at: usize| covered[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        Some(Self { id: number(8)?, through: number(16)?, first: number(24)? })
    }
}

/// What follows the last whole batch of a segment and is not just zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// Where it begins.
    pub(crate) at: usize,
    /// Its length without the zeros behind it.
    pub(crate) length: usize,
    /// Records in it, as far as they can be told apart.
    pub(crate) records: u64,
    /// Records in it that are whole.
    pub(crate) whole: u64,
    /// What is wrong where it begins.
    pub(crate) why: String,
}

/// Shows every frame of every whole batch with its length. Returns where the last batch ends, its last number, and what
/// follows it if that is not just zeros.
pub(super) fn scan<'a>(
    bytes: &'a [u8],
    header: Header,
    take: &mut dyn FnMut(&Frame<'a>, usize),
) -> (usize, u64, Option<Tail>) {
    let mut last = header.first.saturating_sub(1);
    let (mut end, mut at) = (HEADER.min(bytes.len()), HEADER.min(bytes.len()));
    let mut batch: Vec<(Frame<'a>, usize)> = Vec::new();
    let mut ahead = last;
    let why = loop {
        let rest = &bytes[at..];
        match frame::read(rest) {
            Ok((frame, length)) => {
                let follows = match frame.kind {
                    Kind::Record => frame.number > ahead,
                    Kind::Forget => frame.number >= ahead,
                };
                if !follows {
                    break format!("wanted a number above {ahead}, found {}", frame.number);
                }
                ahead = frame.number;
                at += length;
                let closes = frame.closes;
                batch.push((frame, length));
                if closes {
                    batch.drain(..).for_each(|(frame, length)| take(&frame, length));
                    (end, last) = (at, ahead);
                }
            }
            Err(broken) if rest.iter().all(|b| *b == 0) => {
                if batch.is_empty() {
                    return (end, last, None);
                }
                break format!("wanted the end of a batch, but {broken}");
            }
            Err(broken) => break broken.to_string(),
        }
    };
    (end, last, Some(tail(bytes, end, last, why)))
}

/// Counts what can still be recognised behind the last whole batch.
fn tail(bytes: &[u8], at: usize, last: u64, why: String) -> Tail {
    let length = bytes.iter().rposition(|b| *b != 0).map_or(at, |p| p + 1).max(at) - at;
    let mut tail = Tail { at, length, records: 0, whole: 0, why };
    let (mut here, end) = (at, at + length);
    let mut lost = false;
    while here < end {
        match frame::read(&bytes[here..]) {
            Ok((frame, length)) if frame.number >= last => {
                tail.records += u64::from(lost) + 1;
                tail.whole += 1;
                lost = false;
                here += length;
            }
            Ok(_) | Err(_) => {
                lost = true;
                here += 1;
            }
        }
    }
    tail.records += u64::from(lost);
    tail
}

/// A segment's file.
#[derive(Debug)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    file: File,
    /// Bytes it has on the disk.
    pub(super) length: u64,
}

impl SegmentFile {
    /// Makes a segment with these frames in it, whole and on the disk before it has its name. The name is durable once
    /// the directory is synced.
    pub(super) fn create(directory: &Path, header: Header, frames: &[u8], room: bool) -> io::Result<Self> {
        let path = path_of(directory, header.id);
        let draft = path.with_extension(DRAFT);
        let made = (|| {
            let mut bytes = header.write();
            bytes.extend_from_slice(frames);
            if room {
                bytes.resize(bytes.len().max(ZEROS as usize), 0);
            }
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            Ok(Self { path: path.clone(), file, length: bytes.len() as u64 })
        })();
        made.inspect_err(|_| {
            // It takes room that is missing already; the next opening would remove it too.
            drop(fs::remove_file(&draft));
        })
    }

    /// Opens a segment to write behind what it holds.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length })
    }

    /// Opens a segment in a way that no write to it succeeds.
    #[cfg(test)]
    pub(super) fn read_only(path: PathBuf) -> io::Result<Self> {
        let file = File::open(&path)?;
        let length = file.metadata()?.len();
        Ok(Self { path, file, length })
    }

    /// Makes sure that `until` bytes can be written without the file growing.
    pub(super) fn reserve(&mut self, until: u64) -> io::Result<()> {
        if until <= self.length {
            return Ok(());
        }
        let more = (until - self.length).max(self.length.clamp(ZEROS, MOST_ZEROS));
        let zeros = vec![0; usize::try_from(more).unwrap_or(usize::MAX)];
        let written = self.write(self.length, &zeros);
        if written.is_err() {
            // Zeros at the end mean nothing, so it matters little whether they can be taken back.
            drop(self.file.set_len(self.length));
            return written;
        }
        self.length += more;
        Ok(())
    }

    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Where a segment lies.
pub(super) fn path_of(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:08}.{EXTENSION}"))
}

/// The files of a log.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Segments by id, oldest first.
    pub(super) segments: Vec<(u64, PathBuf)>,
    /// Segments that were never finished.
    pub(super) drafts: Vec<PathBuf>,
}

/// What is in the directory of a log.
pub(super) fn list(directory: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
        match (id, path.extension().and_then(|e| e.to_str())) {
            (Some(id), Some(EXTENSION)) => files.segments.push((id, path)),
            (Some(_), Some(DRAFT)) => files.drafts.push(path),
            (Some(_) | None, Some(_) | None) => {}
        }
    }
    files.segments.sort();
    Ok(files)
}

/// Makes names that were given and taken in a directory durable.
#[cfg(unix)]
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Elsewhere a directory cannot be opened, and the file system keeps its own journal of names.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
