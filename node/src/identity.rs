//! Who this process is: a key in a file that only its owner can read, and the id made from it.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foa_wire::{NodeId, NodeKey, NodeName};

/// A key and the id it proves.
#[derive(Clone, Debug)]
pub struct Identity {
    key: NodeKey,
    id: NodeId,
}

/// Why there is no identity to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others could read the key, so it proves nothing.
    #[error("wanted {path} readable by its owner alone, found mode {mode:03o}")]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else.
    #[error("wanted 32 bytes as base64 in {path}, found something else")]
    NotAKey {
        /// The key file.
        path: PathBuf,
    },
    /// The system has no randomness to give.
    #[error("wanted 32 random bytes from the system, found none: {detail}")]
    NoRandomness {
        /// What the system said.
        detail: String,
    },
    /// The file cannot be read or written.
    #[error("cannot use the key file {path}")]
    Io {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl IdentityError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exposed { path, .. } => Some(format!(
                "chmod 600 {}; if someone else may have read it, move it away: a new key is made on the next start",
                path.display()
            )),
            Self::NotAKey { path } => Some(format!(
                "move {} away: a new key, and so a new id, is made on the next start",
                path.display()
            )),
            Self::NoRandomness { .. } | Self::Io { .. } => None,
        }
    }
}

impl Identity {
    /// A new identity that lives as long as this process.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn generate(name: NodeName) -> Result<Self, IdentityError> {
        let key = NodeKey::generate().map_err(|e| IdentityError::NoRandomness { detail: e.to_string() })?;
        Ok(Self::of(name, key))
    }

    /// The identity of this name with this key.
    #[must_use]
    pub fn of(name: NodeName, key: NodeKey) -> Self {
        let id = NodeId::new(name, &key.public());
        Self { key, id }
    }

    /// The identity whose key stands in `path`; made there on first use. Two processes that start at once get the same
    /// one.
    ///
    /// # Errors
    /// When others can read the file, or it holds no key, or the disk refuses.
    pub fn load_or_create(path: &Path, name: NodeName) -> Result<Self, IdentityError> {
        match Self::load(path, name.clone()) {
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let made = Self::generate(name.clone())?;
                if create(path, &made.key)
                    .map_err(|source| IdentityError::Io { path: path.to_owned(), source })?
                {
                    return Ok(made);
                }
                Self::load(path, name)
            }
            loaded => loaded,
        }
    }

    /// The identity whose key stands in `path`.
    ///
    /// # Errors
    /// When there is no such file, others can read it, or it holds no key.
    pub fn load(path: &Path, name: NodeName) -> Result<Self, IdentityError> {
        let io = |source| IdentityError::Io { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => IdentityError::NotAKey { path: path.to_owned() },
            _ => io(e),
        })?;
        let mode = permissions(&fs::metadata(path).map_err(io)?);
        if mode & 0o077 != 0 {
            return Err(IdentityError::Exposed { path: path.to_owned(), mode });
        }
        let bytes = STANDARD.decode(text.trim()).ok();
        let seed: [u8; 32] = bytes
            .and_then(|b| b.try_into().ok())
            .ok_or_else(|| IdentityError::NotAKey { path: path.to_owned() })?;
        Ok(Self::of(name, NodeKey::from_seed(seed)))
    }

    /// The secret half.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// The id others know it by.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }
}

/// Writes the key so that the file is either absent or whole; `false` when somebody else was first.
fn create(path: &Path, key: &NodeKey) -> io::Result<bool> {
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    private_directory(directory)?;
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let draft = directory.join(format!(".key-{:016x}", u64::from_be_bytes(suffix)));
    let written = write_private(&draft, &format!("{}\n", STANDARD.encode(key.to_seed())));
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        // A file system without hard links: a rename replaces, so look first. Only two first starts within the
        // same instant could then end with different keys.
        Err(_) if !path.exists() => fs::rename(&draft, path).map(|()| true),
        Err(_) => Ok(false),
    });
    drop(fs::remove_file(&draft));
    linked
}

#[cfg(unix)]
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(not(unix))]
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn private_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn permissions(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o777
}

#[cfg(not(unix))]
fn permissions(_: &fs::Metadata) -> u32 {
    0o600
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn name() -> NodeName {
        "atlas".parse().unwrap()
    }

    #[test]
    fn made_once_private_and_the_same_ever_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/node.key");
        let made = Identity::load_or_create(&path, name()).unwrap();
        assert_eq!(permissions(&fs::metadata(&path).unwrap()), 0o600);
        assert_eq!(permissions(&fs::metadata(path.parent().unwrap()).unwrap()), 0o700);
        assert_eq!(Identity::load_or_create(&path, name()).unwrap().id(), made.id());
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft is left behind");
    }

    #[test]
    fn many_first_starts_at_once_are_one_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let start = || Identity::load_or_create(&path, name()).unwrap().id().to_string();
        let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn a_key_others_can_read_is_refused_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        Identity::load_or_create(&path, name()).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Identity::load(&path, name()).unwrap_err();
            assert!(matches!(error, IdentityError::Exposed { mode: found, .. } if found == mode), "{error}");
            assert!(error.hint().unwrap().starts_with("chmod 600"));
        }
    }

    #[test]
    fn what_is_no_key_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        for text in [&b"not base64!"[..], b"AAAA", &[0xff, 0xfe]] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            let error = Identity::load_or_create(&path, name()).unwrap_err();
            assert!(matches!(error, IdentityError::NotAKey { .. }), "{error}");
            assert_eq!(fs::read(&path).unwrap(), text);
        }
    }
}
