//! An artifact on its way here. What is on disk of it is checked again when a fetch goes on, so nothing has to be synced
//! before it is whole, and nothing that a crash left behind is believed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use foa_broker::p2p::{Outline, PIECE, Partial};
use foa_wire::{ArtifactId, Time};

use super::store::{PART, PART_OUTLINE, Shared, StoreError, at, read_outline, write_whole};

/// The file that a fetch writes into. There is one at a time for an artifact.
#[derive(Debug)]
pub struct PartialFile {
    shared: Arc<Shared>,
    id: ArtifactId,
    now: Time,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    outline: Arc<Outline>,
    file: File,
    has: Vec<bool>,
}

impl PartialFile {
    pub(super) fn open(shared: Arc<Shared>, id: ArtifactId, now: Time) -> Result<Self, StoreError> {
        if !shared.state().fetching.insert(id) {
            return Err(StoreError::Underway { id });
        }
        // From here on, dropping it lets others fetch.
        let mut partial = Self { shared, id, now, begun: None };
        if let Some(outline) = read_outline(&partial.shared.dir, id, PART_OUTLINE) {
            partial.resume(outline)?;
        }
        Ok(partial)
    }

    /// Takes up what an earlier fetch left, piece by piece, as far as it is right.
    fn resume(&mut self, outline: Outline) -> Result<(), StoreError> {
        let path = self.shared.path(self.id, PART);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(at(&path)(e)),
        };
        let mut buffer = vec![0; PIECE];
        let mut has = Vec::new();
        for piece in 0..outline.pieces() {
            let (start, length) = outline.place(piece);
            let data = &mut buffer[..length];
            let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(data));
            has.push(read.is_ok() && outline.fits(piece, data));
        }
        let mut state = self.shared.state();
        if !state.coming.contains_key(&self.id) {
            self.shared.room_for(&mut state, outline.bytes(), self.now)?;
            state.coming.insert(self.id, outline.bytes());
        }
        drop(state);
        self.begun = Some(Begun { outline: Arc::new(outline), file, has });
        Ok(())
    }

    /// Makes it an artifact, now that all pieces are here.
    ///
    /// # Errors
    /// When a piece is missing, or the disk refuses.
    pub fn finish(mut self) -> Result<(), StoreError> {
        let path = self.shared.path(self.id, PART);
        let begun = self.begun.take().filter(|begun| begun.has.iter().all(|has| *has));
        let Some(Begun { outline, file, .. }) = begun else {
            return Err(StoreError::Missing { id: self.id });
        };
        file.sync_all().map_err(at(&path))?;
        self.shared.settle(&path, outline, self.now)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        self.shared.state().fetching.remove(&self.id);
    }
}

impl Partial for PartialFile {
    fn outline(&self) -> Option<Arc<Outline>> {
        self.begun.as_ref().map(|begun| Arc::clone(&begun.outline))
    }

    fn begin(&mut self, outline: Arc<Outline>) -> io::Result<()> {
        let mut state = self.shared.state();
        self.shared.room_for(&mut state, outline.bytes(), self.now).map_err(io::Error::other)?;
        state.coming.insert(self.id, outline.bytes());
        drop(state);
        write_whole(&self.shared.path(self.id, PART_OUTLINE), &outline.encode()).map_err(io::Error::other)?;
        let path = self.shared.path(self.id, PART);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(outline.bytes())?;
        let has = vec![false; outline.pieces() as usize];
        self.begun = Some(Begun { outline, file, has });
        Ok(())
    }

    fn has(&self, piece: u32) -> bool {
        let has = self.begun.as_ref().and_then(|begun| begun.has.get(piece as usize));
        has.copied().unwrap_or(false)
    }

    fn write(&mut self, piece: u32, data: &[u8]) -> io::Result<()> {
        let Some(begun) = &mut self.begun else {
            return Err(io::Error::other("wanted the outline before the first piece"));
        };
        let (start, _) = begun.outline.place(piece);
        begun.file.seek(SeekFrom::Start(start))?;
        begun.file.write_all(data)?;
        if let Some(has) = begun.has.get_mut(piece as usize) {
            *has = true;
        }
        Ok(())
    }
}
