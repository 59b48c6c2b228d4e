//! The command line and artifacts: giving a file to coordinators before a job that needs it is submitted, and fetching
//! what a result refers to. It is a peer of its own for as long as that takes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use foa_broker::p2p::{Fetched, Progress};
use foa_node_core::Body;
use foa_node_core::artifact::{ArtifactAsk, ArtifactKeep, SERVED_FOR, Source};
use foa_wire::{ArtifactId, JobId, NodeId};
use foa_workflows::work::Artifact;
use tokio::time::{Instant, timeout_at};

use super::{MoveError, Mover, StoreError};
use crate::client::{Client, ClientError, Heard, now};

/// Coordinators that are to hold an attachment before the job is submitted, so that one of them may be lost.
const KEEPERS: usize = 2;
/// How often a coordinator is asked again.
const AGAIN: Duration = Duration::from_secs(5);
/// How long nothing may happen before an attachment is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long nodes have to say that they hold something.
const OFFERS_WITHIN: Duration = Duration::from_secs(3);

/// Why a file could not be handed over, or an artifact not be had.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The file.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Our own disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The federation.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The bytes.
    #[error(transparent)]
    Move(#[from] MoveError),
    /// Nobody took it in time.
    #[error("wanted {path} kept by {wanted}, found {found} within {} s", PATIENCE.as_secs())]
    NotKept {
        /// Which.
        path: PathBuf,
        /// How many were to keep it.
        wanted: usize,
        /// How many do.
        found: usize,
    },
    /// Nobody has it.
    #[error("wanted a node that holds {id}, found none among {asked}")]
    Nowhere {
        /// The artifact.
        id: ArtifactId,
        /// How many were asked.
        asked: usize,
    },
}

/// Gives a file to two coordinators, or to the only one, and returns once they keep it.
///
/// # Errors
/// When it cannot be read, or is not kept in time.
pub async fn attach(
    client: &mut Client,
    mover: &Mover,
    path: &Path,
    job: Option<&JobId>,
) -> Result<Artifact, HandoverError> {
    let (store, from) = (mover.store().clone(), path.to_owned());
    let added = tokio::task::spawn_blocking(move || -> Result<_, HandoverError> {
        let file = |source| HandoverError::File { path: from.clone(), source };
        let content = File::open(&from).map_err(file)?;
        let bytes = content.metadata().map_err(file)?.len();
        let id = store.add(content, bytes, now())?;
        Ok((id, media_type(&from), store.bytes(&id).unwrap_or(bytes)))
    });
    let (artifact, media_type, bytes) = added.await.expect("reading a file does not panic")?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let coordinators = client.coordinators().await?;
    let wanted = coordinators.len().min(KEEPERS);
    let mut holders = BTreeSet::new();
    let mut give_up = Instant::now() + PATIENCE;
    while holders.len() < wanted {
        if Instant::now() >= give_up {
            return Err(HandoverError::NotKept { path: path.to_owned(), wanted, found: holders.len() });
        }
        // Once those that were asked first took too long, the others are asked too.
        let late = give_up.duration_since(Instant::now()) < PATIENCE.mul_f32(0.75);
        let asked = if late { coordinators.len() } else { wanted };
        for node in coordinators.iter().take(asked).filter(|node| !holders.contains(*node)) {
            mover.admit(node, now() + SERVED_FOR);
            let addresses = mover.addresses();
            let keep = ArtifactKeep { artifact, bytes, addresses, job: job.cloned() };
            client.say(node, &Body::ArtifactKeep(keep)).await?;
        }
        let again = Instant::now() + AGAIN;
        while holders.len() < wanted
            && let Ok(heard) = timeout_at(again, client.next()).await
        {
            match heard {
                Some(Heard::Offer(node, offer)) if offer.artifacts.iter().any(|o| o.artifact == artifact) => {
                    holders.insert(node);
                    give_up = Instant::now() + PATIENCE;
                }
                Some(_) => {}
                None => return Err(ClientError::Closed.into()),
            }
        }
    }
    let holders = holders.into_iter().collect();
    Ok(Artifact { artifact, bytes, media_type, name, holders })
}

/// Fetches an artifact from whoever holds it.
///
/// # Errors
/// When nobody does, or it cannot be kept.
pub async fn fetch(
    client: &mut Client,
    mover: &Mover,
    id: ArtifactId,
    progress: impl FnMut(Progress),
) -> Result<Fetched, HandoverError> {
    let from = holders(client, id).await?;
    let from = from.into_iter().map(|(source, _)| source).collect();
    Ok(mover.have(id, None, from, progress).await?)
}

/// An artifact that is in the federation already, as an attachment: a text without a name.
///
/// # Errors
/// When nobody holds it.
pub async fn find(client: &mut Client, id: ArtifactId) -> Result<Artifact, HandoverError> {
    let found = holders(client, id).await?;
    let bytes = found.first().map_or(0, |(_, bytes)| *bytes);
    let holders = found.into_iter().map(|(source, _)| source.node).collect();
    Ok(Artifact { artifact: id, bytes, media_type: "text/plain".to_owned(), name: None, holders })
}

/// Who holds an artifact and how large they say it is, those who answered first in front.
async fn holders(client: &mut Client, id: ArtifactId) -> Result<Vec<(Source, u64)>, HandoverError> {
    client.coordinators().await?;
    let me = client.id().clone();
    let there = |node: &&NodeId| **node != me;
    let online: Vec<NodeId> =
        client.statuses().values().filter(|s| s.online).map(|s| &s.node).filter(there).cloned().collect();
    for node in &online {
        client.say(node, &Body::ArtifactAsk(ArtifactAsk { artifacts: vec![id] })).await?;
    }
    let mut found: Vec<(Source, u64)> = Vec::new();
    let mut silent: BTreeSet<NodeId> = online.iter().cloned().collect();
    let until = Instant::now() + OFFERS_WITHIN;
    while !silent.is_empty()
        && let Ok(heard) = timeout_at(until, client.next()).await
    {
        match heard {
            Some(Heard::Offer(node, offer)) => {
                silent.remove(&node);
                if let Some(offered) = offer.artifacts.iter().find(|offered| offered.artifact == id) {
                    found.push((Source { node, addresses: offer.addresses }, offered.bytes));
                }
            }
            Some(_) => {}
            None => return Err(ClientError::Closed.into()),
        }
    }
    if found.is_empty() {
        return Err(HandoverError::Nowhere { id, asked: online.len() });
    }
    Ok(found)
}

/// What a file is, by its name; by its beginning when the name says nothing.
fn media_type(path: &Path) -> String {
    let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase();
    let known = match end.as_str() {
        "md" | "markdown" => "text/markdown",
        "txt" | "log" => "text/plain",
        "html" | "htm" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        _ => "",
    };
    if !known.is_empty() {
        return known.to_owned();
    }
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(1024).read_to_end(&mut head));
    let words = match std::str::from_utf8(&head) {
        Ok(_) => true,
        // A character may be cut at the end.
        Err(e) => e.error_len().is_none(),
    };
    let text = read.is_ok() && words && !head.contains(&0);
    if text { "text/plain" } else { "application/octet-stream" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is_by_its_name_or_by_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            media_type(&path)
        };
        assert_eq!(write("a.MD", b"\0"), "text/markdown");
        assert_eq!(write("notes", b"just words"), "text/plain");
        assert_eq!(write("data.bin", &[0, 159, 146, 150]), "application/octet-stream");
        let mut cut = vec![b'a'; 1023];
        cut.extend("ü".as_bytes());
        assert_eq!(write("cut", &cut), "text/plain");
    }
}
