//! The disk: each artifact is one file named by its hash, beside it its outline. Together they stay within a quota.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foa_broker::p2p::{MOST_BYTES, Outline, Outliner, PIECE, Shelf};
use foa_wire::{ArtifactId, JobId, Time};

use super::partial::PartialFile;

/// Ends of file names; a whole artifact's has none.
pub(super) const OUTLINE: &str = "outline";
pub(super) const PART: &str = "part";
pub(super) const PART_OUTLINE: &str = "part.outline";
/// Which jobs need what, over a restart.
const PINS: &str = "pins.json";
const ADDING: &str = "adding";

/// How much is kept and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all artifacts together, whole and partial.
    pub quota: u64,
    /// How long an artifact is kept that no open job needs and nobody reads.
    pub keep: Duration,
}

/// Artifacts on disk. Cheap to clone; all clones are one store. Everything here waits for the disk.
#[derive(Clone, Debug)]
pub struct ArtifactStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    limits: Limits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    held: BTreeMap<ArtifactId, Held>,
    /// Bytes set aside for what is on its way.
    pub(super) coming: BTreeMap<ArtifactId, u64>,
    /// Those that somebody is fetching at this moment.
    pub(super) fetching: BTreeSet<ArtifactId>,
    /// Which open jobs need what, and since when.
    pins: BTreeMap<ArtifactId, BTreeMap<JobId, Time>>,
    /// Bytes of what is being added, by number.
    adding: BTreeMap<u64, u64>,
    added: u64,
}

#[derive(Debug)]
struct Held {
    outline: Arc<Outline>,
    used: Time,
}

/// One artifact, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub id: ArtifactId,
    /// Its size.
    pub bytes: u64,
    /// When it was last added, read or served.
    pub used: Time,
    /// Whether all of it is here.
    pub whole: bool,
    /// Open jobs that need it.
    pub jobs: usize,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Everything in it is needed, or it is simply too much.
    #[error("wanted room for {bytes} bytes, found {free} of a quota of {quota}")]
    Full {
        /// What was to be kept.
        bytes: u64,
        /// What can be freed.
        free: u64,
        /// The quota.
        quota: u64,
    },
    /// Larger than any artifact may be.
    #[error("wanted at most {MOST_BYTES} bytes, found {bytes}")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It is not here.
    #[error("wanted {id}, found nothing")]
    Missing {
        /// The artifact.
        id: ArtifactId,
    },
    /// Somebody fetches it already.
    #[error("{id} is being fetched already")]
    Underway {
        /// The artifact.
        id: ArtifactId,
    },
    /// What is on disk is not what was put there.
    #[error("{id} is damaged on disk at byte {at}")]
    Damaged {
        /// The artifact.
        id: ArtifactId,
        /// Where its first wrong piece begins.
        at: u64,
    },
    /// The disk refuses.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Full { .. } => Some("raise artifacts.quota_mb, or remove some: foa artifacts rm"),
            Self::Damaged { .. } => Some("remove it (foa artifacts rm) and fetch it again"),
            Self::TooLarge { .. } | Self::Missing { .. } | Self::Underway { .. } | Self::Io { .. } => None,
        }
    }
}

/// Names the file an error is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.to_owned(), source }
}

impl ArtifactStore {
    /// Opens or makes the store in this directory. What is not whole is removed, except what can still be fetched on.
    ///
    /// # Errors
    /// When the directory cannot be read or written.
    pub fn open(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        Self::scan(dir, limits, true)
    }

    /// Opens the store beside a node that may be using it: nothing is tidied up.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn look(dir: &Path, limits: Limits) -> Result<Self, StoreError> {
        Self::scan(dir, limits, false)
    }

    fn scan(dir: &Path, limits: Limits, tidy: bool) -> Result<Self, StoreError> {
        let drop_file = |path: &Path| if tidy { remove(path) } else { Ok(()) };
        let mut state = State::default();
        let mut outlines = Vec::new();
        for entry in fs::read_dir(dir).map_err(at(dir))? {
            let path = entry.map_err(at(dir))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let (hex, end) = name.split_once('.').unwrap_or((name, ""));
            let Ok(id) = format!("blake3:{hex}").parse::<ArtifactId>() else {
                if name.ends_with(ADDING) {
                    drop_file(&path)?;
                }
                continue;
            };
            let length = fs::metadata(&path).map_err(at(&path))?.len();
            match end {
                "" => match read_outline(dir, id, OUTLINE) {
                    Some(outline) if outline.bytes() == length => {
                        let used = modified(&path);
                        state.held.insert(id, Held { outline: Arc::new(outline), used });
                    }
                    Some(_) | None => {
                        tracing::warn!(artifact = %id, "an artifact on disk is not whole");
                        drop_file(&path)?;
                    }
                },
                PART => match read_outline(dir, id, PART_OUTLINE) {
                    Some(outline) => {
                        state.coming.insert(id, outline.bytes());
                    }
                    None => drop_file(&path)?,
                },
                OUTLINE | PART_OUTLINE => outlines.push((id, path)),
                // What a crash left of an outline.
                "new" | "part.new" => drop_file(&path)?,
                _ => {}
            }
        }
        for (id, path) in outlines {
            if !state.held.contains_key(&id) && !state.coming.contains_key(&id) {
                drop_file(&path)?;
            }
        }
        if let Ok(pins) = fs::read(dir.join(PINS)) {
            // What cannot be read protects nothing; the files are still there.
            state.pins = serde_json::from_slice(&pins).unwrap_or_default();
        }
        let shared = Shared { dir: dir.to_owned(), limits, state: Mutex::new(state) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Keeps what `content` gives until its end. Room is made for `expected` bytes first, so that nothing is evicted for
    /// what does not fit.
    ///
    /// # Errors
    /// When there is no room for it, or the disk refuses.
    pub fn add(&self, mut content: impl Read, expected: u64, now: Time) -> Result<ArtifactId, StoreError> {
        let number = {
            let mut state = self.shared.state();
            self.shared.room_for(&mut state, expected, now)?;
            state.added += 1;
            let number = state.added;
            state.adding.insert(number, expected);
            number
        };
        // Two processes may have one store open for a moment: the command line beside a node.
        let path = self.shared.dir.join(format!("{}-{number}.{ADDING}", std::process::id()));
        let kept = self.add_at(&path, number, &mut content, now);
        self.shared.state().adding.remove(&number);
        if kept.is_err() {
            // The error that is reported is the first one.
            let _ = fs::remove_file(&path);
        }
        kept
    }

    fn add_at(
        &self,
        path: &Path,
        number: u64,
        content: &mut impl Read,
        now: Time,
    ) -> Result<ArtifactId, StoreError> {
        let mut file = File::create(path).map_err(at(path))?;
        let mut outliner = Outliner::default();
        let mut bytes = 0;
        let mut buffer = vec![0; PIECE];
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(at(Path::new("the content"))(e)),
            };
            bytes += read as u64;
            if bytes > MOST_BYTES {
                return Err(StoreError::TooLarge { bytes });
            }
            let mut state = self.shared.state();
            let reserved = state.adding.get(&number).copied().unwrap_or(0);
            if bytes > reserved {
                self.shared.room_for(&mut state, bytes - reserved, now)?;
                state.adding.insert(number, bytes);
            }
            drop(state);
            outliner.update(&buffer[..read]);
            file.write_all(&buffer[..read]).map_err(at(path))?;
        }
        let outline = outliner.finish().map_err(|_| StoreError::TooLarge { bytes })?;
        file.sync_all().map_err(at(path))?;
        let id = outline.id();
        self.shared.settle(path, Arc::new(outline), now)?;
        Ok(id)
    }

    /// Whether all of it is here.
    #[must_use]
    pub fn holds(&self, id: &ArtifactId) -> bool {
        self.bytes(id).is_some()
    }

    /// Its size, if it is here.
    #[must_use]
    pub fn bytes(&self, id: &ArtifactId) -> Option<u64> {
        let bytes = self.shared.state().held.get(id).map(|held| held.outline.bytes());
        // The command line may have removed it beside a running node.
        bytes.filter(|_| self.shared.path(*id, "").exists())
    }

    /// What is here, the last used first.
    #[must_use]
    pub fn list(&self) -> Vec<Kept> {
        let state = self.shared.state();
        let jobs = |id| state.pins.get(id).map_or(0, BTreeMap::len);
        let whole = state.held.iter().map(|(id, held)| Kept {
            id: *id,
            bytes: held.outline.bytes(),
            used: held.used,
            whole: true,
            jobs: jobs(id),
        });
        let coming = state.coming.iter().map(|(id, bytes)| Kept {
            id: *id,
            bytes: *bytes,
            used: modified(&self.shared.path(*id, PART)),
            whole: false,
            jobs: jobs(id),
        });
        let mut list: Vec<Kept> = whole.chain(coming).collect();
        list.sort_by_key(|kept| (std::cmp::Reverse(kept.used), kept.id));
        list
    }

    /// Removes one, needed or not.
    ///
    /// # Errors
    /// When it is not here, or the disk refuses.
    pub fn remove(&self, id: &ArtifactId) -> Result<(), StoreError> {
        let mut state = self.shared.state();
        if state.fetching.contains(id) {
            return Err(StoreError::Underway { id: *id });
        }
        if !state.held.contains_key(id) && !state.coming.contains_key(id) {
            return Err(StoreError::Missing { id: *id });
        }
        self.shared.discard(&mut state, *id)
    }

    /// A job needs this, here or on its way: it is not evicted, and not expired before its time to be kept is over again.
    pub fn pin(&self, id: ArtifactId, job: JobId, now: Time) {
        let mut state = self.shared.state();
        let news = state.pins.entry(id).or_default().insert(job, now).is_none();
        self.shared.pins_changed(&state, news);
    }

    /// A job is over and forgotten, and needs nothing any more.
    pub fn unpin(&self, job: &JobId) {
        let mut state = self.shared.state();
        let before = state.pins.len();
        let mut news = false;
        state.pins.retain(|_, jobs| {
            news |= jobs.remove(job).is_some();
            !jobs.is_empty()
        });
        self.shared.pins_changed(&state, news || state.pins.len() != before);
    }

    /// Removes what is older than it is to be kept; returns what.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn expire(&self, now: Time) -> Result<Vec<ArtifactId>, StoreError> {
        let limit = self.shared.limits.keep;
        let mut state = self.shared.state();
        state.pins.retain(|_, jobs| {
            // A job that took so long was forgotten by somebody who did not say so.
            jobs.retain(|_, since| now.since(*since) <= limit);
            !jobs.is_empty()
        });
        drop(state);
        let old: Vec<ArtifactId> = self
            .list()
            .into_iter()
            .filter(|kept| kept.jobs == 0 && now.since(kept.used) > self.shared.limits.keep)
            .map(|kept| kept.id)
            .collect();
        let mut state = self.shared.state();
        for id in old.iter().filter(|id| !state.fetching.contains(id)).copied().collect::<Vec<_>>() {
            self.shared.discard(&mut state, id)?;
        }
        Ok(old)
    }

    /// Reads a whole one into memory, checking it.
    ///
    /// # Errors
    /// When it is not here, larger than `most`, or damaged.
    pub fn read(&self, id: &ArtifactId, most: u64, now: Time) -> Result<Vec<u8>, StoreError> {
        let bytes = self.bytes(id).ok_or(StoreError::Missing { id: *id })?;
        if bytes > most {
            return Err(StoreError::Full { bytes, free: most, quota: most });
        }
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        self.copy(id, &mut content, now)?;
        Ok(content)
    }

    /// Reads the beginning of one, checking it.
    ///
    /// # Errors
    /// When it is not here, or damaged.
    pub fn head(&self, id: &ArtifactId, most: usize, now: Time) -> Result<Vec<u8>, StoreError> {
        let outline = self.shared.used(id, now).ok_or(StoreError::Missing { id: *id })?;
        let mut head = Vec::new();
        for piece in 0..outline.pieces() {
            let damaged = || StoreError::Damaged { id: *id, at: outline.place(piece).0 };
            let data = self.piece(id, piece).ok().flatten().ok_or_else(damaged)?;
            if !outline.fits(piece, &data) {
                return Err(damaged());
            }
            head.extend_from_slice(&data[..data.len().min(most - head.len())]);
            if head.len() >= most {
                break;
            }
        }
        Ok(head)
    }

    /// Copies a whole one to `to`, checking every piece before it goes out.
    ///
    /// # Errors
    /// When it is not here or damaged, or either side refuses.
    pub fn copy(&self, id: &ArtifactId, to: &mut impl io::Write, now: Time) -> Result<u64, StoreError> {
        let outline = self.shared.used(id, now).ok_or(StoreError::Missing { id: *id })?;
        let path = self.shared.path(*id, "");
        let mut file = File::open(&path).map_err(at(&path))?;
        let mut buffer = vec![0; PIECE];
        for piece in 0..outline.pieces() {
            let (start, length) = outline.place(piece);
            let data = &mut buffer[..length];
            let read = file.read_exact(data);
            if read.is_err() || !outline.fits(piece, data) {
                return Err(StoreError::Damaged { id: *id, at: start });
            }
            to.write_all(data).map_err(at(Path::new("the copy")))?;
        }
        Ok(outline.bytes())
    }

    /// What is to be fetched, with all of it that is on disk already.
    ///
    /// # Errors
    /// When somebody is fetching it, or the disk refuses.
    pub fn fetching(&self, id: ArtifactId, now: Time) -> Result<PartialFile, StoreError> {
        PartialFile::open(Arc::clone(&self.shared), id, now)
    }

    /// The most that a new artifact may be long.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.shared.limits.quota.min(MOST_BYTES)
    }
}

impl Shelf for ArtifactStore {
    fn outline(&self, id: &ArtifactId) -> io::Result<Option<Arc<Outline>>> {
        Ok(self.shared.used(id, crate::daemon::now()))
    }

    fn piece(&self, id: &ArtifactId, piece: u32) -> io::Result<Option<Vec<u8>>> {
        let outline = self.shared.state().held.get(id).map(|held| Arc::clone(&held.outline));
        let Some(outline) = outline.filter(|outline| piece < outline.pieces()) else { return Ok(None) };
        let (start, length) = outline.place(piece);
        let mut file = File::open(self.shared.path(*id, ""))?;
        file.seek(SeekFrom::Start(start))?;
        let mut data = vec![0; length];
        file.read_exact(&mut data)?;
        Ok(Some(data))
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding the list of artifacts")
    }

    pub(super) fn path(&self, id: ArtifactId, end: &str) -> PathBuf {
        let dot = if end.is_empty() { "" } else { "." };
        self.dir.join(format!("{}{dot}{end}", id.hex()))
    }

    fn pins_changed(&self, state: &State, news: bool) {
        if !news {
            return;
        }
        let pins = serde_json::to_vec(&state.pins).expect("ids are texts");
        if let Err(error) = write_whole(&self.dir.join(PINS), &pins) {
            tracing::warn!(%error, "which jobs need which artifacts cannot be kept over a restart");
        }
    }

    /// Makes room for this many more bytes by removing what was not used for longest and no open job needs.
    pub(super) fn room_for(&self, state: &mut State, bytes: u64, now: Time) -> Result<(), StoreError> {
        let quota = self.limits.quota;
        let sum = |state: &State| -> u64 {
            let held: u64 = state.held.values().map(|held| held.outline.bytes()).sum();
            held + state.coming.values().chain(state.adding.values()).sum::<u64>()
        };
        let mut idle: Vec<(Time, ArtifactId, u64)> = state
            .held
            .iter()
            .filter(|(id, _)| !state.pins.contains_key(id))
            .map(|(id, held)| (held.used, *id, held.outline.bytes()))
            .collect();
        let stopped = state
            .coming
            .iter()
            .filter(|(id, _)| !state.pins.contains_key(id) && !state.fetching.contains(id));
        idle.extend(stopped.map(|(id, bytes)| (modified(&self.path(*id, PART)), *id, *bytes)));
        let used = sum(state);
        let free = quota.saturating_sub(used) + idle.iter().map(|(_, _, bytes)| bytes).sum::<u64>();
        if bytes > free {
            return Err(StoreError::Full { bytes, free, quota });
        }
        idle.sort();
        for (last, id, _) in idle {
            if sum(state) + bytes <= quota {
                break;
            }
            tracing::info!(artifact = %id, unused_s = now.since(last).as_secs(), "evicted to make room");
            self.discard(state, id)?;
        }
        Ok(())
    }

    fn discard(&self, state: &mut State, id: ArtifactId) -> Result<(), StoreError> {
        state.held.remove(&id);
        state.coming.remove(&id);
        for end in ["", OUTLINE, PART, PART_OUTLINE] {
            remove(&self.path(id, end))?;
        }
        Ok(())
    }

    /// Makes the whole and synced file at `path` an artifact.
    pub(super) fn settle(&self, path: &Path, outline: Arc<Outline>, now: Time) -> Result<(), StoreError> {
        let id = outline.id();
        // The outline first: without it the content would be taken for a leftover.
        write_whole(&self.path(id, OUTLINE), &outline.encode())?;
        let whole = self.path(id, "");
        fs::rename(path, &whole).map_err(at(&whole))?;
        let dir = File::open(&self.dir).map_err(at(&self.dir))?;
        dir.sync_all().map_err(at(&self.dir))?;
        let mut state = self.state();
        // What was fetched of it before it came another way is of no use any more.
        if !state.fetching.contains(&id) || path == self.path(id, PART) {
            state.coming.remove(&id);
            remove(&self.path(id, PART_OUTLINE))?;
            remove(&self.path(id, PART))?;
        }
        state.held.insert(id, Held { outline, used: now });
        Ok(())
    }

    /// Its outline, if it is here; from now on it is the last used.
    pub(super) fn used(&self, id: &ArtifactId, now: Time) -> Option<Arc<Outline>> {
        let outline = {
            let mut state = self.state();
            let held = state.held.get_mut(id)?;
            held.used = held.used.max(now);
            Arc::clone(&held.outline)
        };
        // So that the order survives a restart; failing that, another one is evicted first.
        let touched = File::open(self.path(*id, "")).and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::debug!(artifact = %id, %error, "its time of use cannot be kept");
        }
        Some(outline)
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(at(path)(e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a small file so that it is there wholly or not at all.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let new = path.with_extension("new");
    let mut file = File::create(&new).map_err(at(&new))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(at(&new))?;
    fs::rename(&new, path).map_err(at(path))
}

/// The outline beside an artifact, if it is its outline.
pub(super) fn read_outline(dir: &Path, id: ArtifactId, end: &str) -> Option<Outline> {
    let encoded = fs::read(dir.join(format!("{}.{end}", id.hex()))).ok()?;
    Outline::decode(id, &encoded).ok()
}

fn modified(path: &Path) -> Time {
    let modified = fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(UNIX_EPOCH);
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
