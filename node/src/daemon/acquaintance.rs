//! Whom a node knew when it ended, in one file: a large federation is known again at once, and only what changed since is
//! asked for. The file may be old, torn or gone; then everybody is learnt anew, as at the first start.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use foa_capability::directory::Image;
use foa_node_core::NodeMachine;
use foa_wire::Time;

/// The file, and whether what the node knows has changed since it was written.
#[derive(Debug)]
pub(super) struct Acquaintance {
    file: Option<PathBuf>,
    written: u64,
}

impl Acquaintance {
    /// Of a node that keeps its directory there; of one that keeps none on disk, nothing is ever read or written.
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { file, written: 0 }
    }

    /// Tells a new machine whom it knew.
    pub(super) fn recall(&mut self, machine: &mut NodeMachine, now: Time) {
        let Some(file) = &self.file else { return };
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                return tracing::warn!(%error, file = %file.display(), "the directory cannot be read");
            }
        };
        match machine.remember(&bytes, now) {
            Ok(agents) => tracing::info!(agents, "the directory is known from before"),
            Err(error) => tracing::warn!(%error, file = %file.display(), "the directory is learnt anew"),
        }
        self.written = machine.directory().map_or(0, foa_capability::Directory::changes);
    }

    /// What is to be written now, if anything changed.
    pub(super) fn due(&mut self, machine: &NodeMachine) -> Option<Due> {
        let (file, directory) = (self.file.as_ref()?, machine.directory()?);
        if directory.changes() == self.written {
            return None;
        }
        self.written = directory.changes();
        Some(Due { file: file.clone(), image: directory.image() })
    }
}

/// A directory on its way to the disk.
#[derive(Debug)]
pub(super) struct Due {
    file: PathBuf,
    image: Image,
}

impl Due {
    /// Writes it beside the old one and puts it in its place. It need not reach the disk: a file that did not is noticed by
    /// its checksum.
    pub(super) fn write(self) {
        if let Err(error) = replace(&self.file, &self.image.to_bytes()) {
            tracing::warn!(%error, file = %self.file.display(), "the directory cannot be written");
        }
    }
}

fn replace(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let place = file.parent().context("wanted a file in a folder")?;
    let mut new = tempfile::Builder::new().prefix(".directory-").tempfile_in(place)?;
    new.write_all(bytes)?;
    new.persist(file)?;
    Ok(())
}
