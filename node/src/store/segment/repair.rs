//! Cuts a log at its last whole record, and keeps what was cut.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::ASIDE;
use super::file::{self, SegmentFile};
use super::read::Damage;
use crate::store::Repair;

/// Copies what is broken aside and takes it out of the log. Broken off at any point, it can be done again: the damage is
/// seen until the last step, and by then everything behind it is out of the way.
pub(super) fn cut(log: &Path, damage: &Damage, last: u64) -> io::Result<Repair> {
    let aside = log.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let (at, length) = (damage.tail.at, damage.tail.length);
    let name = |path: &Path| path.file_stem().map_or_else(String::new, |s| s.to_string_lossy().into_owned());
    if !damage.headless {
        let bytes = fs::read(&damage.path)?;
        let cut = bytes.get(at..at + length).unwrap_or_default();
        let mut copy = File::create_new(free(&aside, &format!("{}-from-{at}", name(&damage.path))))?;
        copy.write_all(cut)?;
        copy.sync_all()?;
    }
    let headless = damage.headless.then_some(&damage.path);
    // From the end, so that what is left is in one piece at any moment.
    for path in headless.into_iter().chain(&damage.behind).rev() {
        fs::rename(path, free(&aside, &name(path)))?;
    }
    file::sync_directory(&aside)?;
    file::sync_directory(log)?;
    if !damage.headless {
        let mut segment = SegmentFile::open(damage.path.clone())?;
        segment.write(at as u64, &vec![0; length])?;
        segment.sync()?;
    }
    Ok(damage.repair(last))
}

impl Damage {
    /// What cutting it off means.
    pub(super) fn repair(&self, last: u64) -> Repair {
        Repair {
            from: last + 1,
            records: self.tail.records + self.records_behind,
            whole: self.tail.whole + self.records_behind,
            bytes: self.tail.length as u64 + self.bytes_behind,
            // A header is synced before its segment has a name, and a segment before the next one begins.
            synced: self.headless || !self.behind.is_empty(),
        }
    }
}

/// A name nobody has yet.
fn free(aside: &Path, name: &str) -> PathBuf {
    let names =
        (0u32..).map(|n| aside.join(if n == 0 { format!("{name}.cut") } else { format!("{name}-{n}.cut") }));
    names.into_iter().find(|path| !path.exists()).unwrap_or_else(|| aside.join(name))
}
