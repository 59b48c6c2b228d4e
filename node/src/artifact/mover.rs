//! Artifacts between this node's disk and the network: who is served, and fetching what is wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foa_broker::p2p::{FetchError, Fetched, Host, HostConfig, HostError, Peer, Progress, Wanted};
use foa_node_core::artifact::Source;
use foa_wire::{ArtifactId, NodeId, NodeKey, PeerAddress, PublicKey, Time};

use super::{ArtifactStore, StoreError};
use crate::daemon::now;

/// Nodes that are served at once, at most; beyond, those whose time ends first are forgotten.
const ADMITTED: usize = 4096;

/// Serves and fetches artifacts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mover {
    host: Host,
    store: ArtifactStore,
    admitted: Admitted,
}

/// Until when the holder of a key is served, by the fingerprint of the key.
type Admitted = Arc<Mutex<BTreeMap<String, Time>>>;

/// Why an artifact could not be had.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The disk.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network, or those on it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl Mover {
    /// Starts a host for this store.
    ///
    /// # Errors
    /// When an address is none, or cannot be listened on.
    pub async fn start(
        key: NodeKey,
        listen: Vec<String>,
        announce: Vec<String>,
        store: ArtifactStore,
    ) -> Result<Self, HostError> {
        let admitted = Admitted::default();
        let gate = Arc::clone(&admitted);
        let admit = move |key: &PublicKey| {
            let until = locked(&gate).get(&NodeId::fingerprint_of(key)).copied();
            until.is_some_and(|until| now() < until)
        };
        let config = HostConfig { key, listen, announce };
        let host = Host::start(config, Arc::new(store.clone()), Arc::new(admit)).await?;
        Ok(Self { host, store, admitted })
    }

    /// What it keeps.
    #[must_use]
    pub fn store(&self) -> &ArtifactStore {
        &self.store
    }

    /// Where others can reach it.
    #[must_use]
    pub fn addresses(&self) -> Vec<PeerAddress> {
        self.host.addresses()
    }

    /// Waits for other addresses; none when the host has ended. Cancel-safe.
    pub async fn addresses_changed(&mut self) -> Option<Vec<PeerAddress>> {
        self.host.addresses_changed().await
    }

    /// Serves this node for a while.
    pub fn admit(&self, node: &NodeId, until: Time) {
        let mut admitted = locked(&self.admitted);
        let known = admitted.entry(node.fingerprint().to_owned()).or_insert(until);
        *known = until.max(*known);
        if admitted.len() > ADMITTED {
            let present = now();
            admitted.retain(|_, until| *until > present);
            let first = admitted.iter().min_by_key(|(_, until)| **until).map(|(node, _)| node.clone());
            if let Some(first) = first.filter(|_| admitted.len() > ADMITTED) {
                admitted.remove(&first);
            }
        }
    }

    /// Has an artifact here: it is, or it is fetched from the first of these that gives it.
    ///
    /// # Errors
    /// When nobody gives it, or there is no room for it.
    pub async fn have(
        &self,
        artifact: ArtifactId,
        bytes: Option<u64>,
        from: Vec<Source>,
        progress: impl FnMut(Progress),
    ) -> Result<Fetched, MoveError> {
        if self.store.holds(&artifact) {
            return Ok(Fetched::default());
        }
        let store = self.store.clone();
        let open = move || store.fetching(artifact, now());
        let partial = tokio::task::spawn_blocking(open).await.expect("opening a file does not panic")?;
        let holders: Vec<Peer> =
            from.into_iter().map(|source| Peer { node: source.node, addresses: source.addresses }).collect();
        let wanted = Wanted { id: artifact, bytes, most_bytes: self.store.most_bytes() };
        let (partial, result) = self.host.fetch(wanted, &holders, partial, progress).await;
        let fetched = result?;
        let finish = move || partial.finish();
        tokio::task::spawn_blocking(finish).await.expect("closing a file does not panic")?;
        tracing::info!(%artifact, moved = fetched.moved, kept = fetched.kept, "fetched");
        Ok(fetched)
    }
}

fn locked(admitted: &Mutex<BTreeMap<String, Time>>) -> MutexGuard<'_, BTreeMap<String, Time>> {
    admitted.lock().unwrap_or_else(PoisonError::into_inner)
}
