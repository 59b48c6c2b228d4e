//! Brings the weights from the Hugging Face hub over plain HTTPS; kept only if their SHA-256 is the pinned one.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use super::fetch::place;
use super::source::{HUB_PATH, HUB_WEIGHTS};

/// A machine that cannot reach the hub should learn it at once.
const CONNECT: Duration = Duration::from_secs(4);
/// Longest silence between two pieces of the file.
const READ: Duration = Duration::from_secs(20);

/// Why the hub did not bring the weights.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The request failed.
    #[error("cannot get {url}")]
    Request {
        /// What was asked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The answer is larger than the file can be.
    #[error("wanted {wanted} bytes of {url}, found more")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The size of the pinned file.
        wanted: u64,
    },
    /// The file could not be kept.
    #[error("cannot keep {url}: {problem}")]
    Keep {
        /// What was asked for.
        url: String,
        /// Why not.
        problem: String,
    },
}

/// Downloads [`HUB_WEIGHTS`] from `endpoint` into `directory`; `seen` is told the bytes so far.
pub(super) async fn fetch(endpoint: &str, directory: &Path, mut seen: impl FnMut(u64)) -> Result<(), Error> {
    let url = format!("{}/{HUB_PATH}", endpoint.trim_end_matches('/'));
    let failed = |source| Error::Request { url: url.clone(), source };
    let keep = |problem: String| Error::Keep { url: url.clone(), problem };
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT)
        .read_timeout(READ)
        .user_agent(concat!("foa/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(failed)?;
    let mut response =
        client.get(&url).send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
    let mut scratch =
        tempfile::Builder::new().prefix(".fetch-").tempfile_in(directory).map_err(|e| keep(e.to_string()))?;
    let mut bytes = 0;
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes += chunk.len() as u64;
        if bytes > HUB_WEIGHTS.bytes {
            return Err(Error::TooLarge { url, wanted: HUB_WEIGHTS.bytes });
        }
        scratch.write_all(&chunk).map_err(|e| keep(e.to_string()))?;
        seen(bytes);
    }
    place(scratch, &HUB_WEIGHTS, directory).map_err(|e| keep(e.to_string()))
}
