//! Reads all segments of a directory in order, up to the first byte that is not as it was written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, Header, Tail};
use super::index::{Index, Segment};
use crate::store::frame::Kind;

/// What a directory of segments holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) index: Index,
    /// The highest number ever given.
    pub(super) last: u64,
    /// Whole records, wanted or not.
    pub(super) records: u64,
    /// Files that stand for nothing: drafts, and segments that were put into others.
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) damage: Option<Damage>,
}

/// Where the log stops being whole.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    /// The segment.
    pub(crate) path: PathBuf,
    /// What is wrong in it.
    pub(crate) tail: Tail,
    /// Whether not even its header is whole.
    pub(crate) headless: bool,
    /// Segments behind it, which count for nothing.
    pub(crate) behind: Vec<PathBuf>,
    /// Whole records in those.
    pub(crate) records_behind: u64,
    /// Bytes in those.
    pub(crate) bytes_behind: u64,
}

/// Reads every segment.
pub(super) fn read(directory: &Path) -> io::Result<Found> {
    let files = file::list(directory)?;
    let mut found = Found { leftovers: files.drafts, ..Found::default() };
    let mut through = 0;
    for (id, path) in files.segments {
        if id <= through {
            found.leftovers.push(path);
            continue;
        }
        let bytes = fs::read(&path)?;
        if let Some(damage) = &mut found.damage {
            let header = Header::read(&bytes).unwrap_or(Header { id, through: id, first: 1 });
            let (_, _, tail) = file::scan(&bytes, header, &mut |_, _| damage.records_behind += 1);
            damage.records_behind += tail.map_or(0, |t| t.whole);
            damage.bytes_behind += bytes.len() as u64;
            damage.behind.push(path);
            continue;
        }
        let header = Header::read(&bytes).filter(|h| h.id == id && h.first > found.last);
        let Some(header) = header else {
            let length = bytes.iter().rposition(|b| *b != 0).map_or(0, |p| p + 1);
            let why = "wanted the header of a segment".to_owned();
            let mut tail = Tail { at: 0, length, records: 0, whole: 0, why };
            let guess = Header { id, through: id, first: 1 };
            let (_, _, rest) = file::scan(&bytes, guess, &mut |_, _| tail.whole += 1);
            tail.whole += rest.map_or(0, |t| t.whole);
            tail.records = tail.whole;
            found.damage = Some(damage(path, tail, true));
            continue;
        };
        through = header.through;
        found.index.segments.push(Segment::new(header, path.clone(), bytes.len() as u64));
        let (index, records) = (&mut found.index, &mut found.records);
        let (_, last, tail) = file::scan(&bytes, header, &mut |frame, length| {
            index.add(frame, length);
            *records += u64::from(frame.kind == Kind::Record);
        });
        found.last = last.max(header.first.saturating_sub(1));
        found.damage = tail.map(|tail| damage(path, tail, false));
    }
    Ok(found)
}

fn damage(path: PathBuf, tail: Tail, headless: bool) -> Damage {
    Damage { path, tail, headless, behind: Vec::new(), records_behind: 0, bytes_behind: 0 }
}
