//! From a checked configuration to a running node: key, journal, agents, broker, daemon.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use foa_broker::{BrokerUrl, Embedded, EmbeddedConfig};
use foa_wire::NodeId;

use crate::agent::Agent;
use crate::artifact::{ArtifactStore, Mover};
use crate::config::NodeConfig;
use crate::daemon::{self, Daemon};
use crate::exit::Failure;
use crate::identity::Identity;
use crate::model::Embedder;
use crate::store::{SegmentStore, Store, StoreError};

/// A node and, if it brings one, its broker.
pub struct Running {
    daemon: Daemon,
    url: BrokerUrl,
    broker: Option<Embedded>,
}

/// Starts the node of this configuration. Its agents' cards carry vectors of `also`, too, if there is a second model.
///
/// # Errors
/// When its key, journal, agents or broker cannot be used; each with what to try next.
pub async fn start(
    config: &NodeConfig,
    embedder: Embedder,
    also: Option<Embedder>,
) -> Result<Running, Failure> {
    let identity = Identity::load_or_create(&config.key_file(), config.name.clone()).map_err(|error| {
        let hint = error.hint();
        Failure::broken(error).maybe_hint(hint)
    })?;
    let (journal, quota) = (config.journal(), config.store_quota);
    let opened = tokio::task::spawn_blocking(move || {
        let store = SegmentStore::open(&journal)?;
        Ok::<_, StoreError>(store.with_quota(quota))
    })
    .await;
    let store = opened.expect("opening a journal does not panic").map_err(|error| {
        let hint = error.hint();
        Failure::broken(error).maybe_hint(hint)
    })?;
    let store: Arc<dyn Store> = Arc::new(store);
    let mut agents: Vec<Arc<dyn Agent>> = Vec::new();
    for agent in &config.agents {
        let built = crate::agent::build(agent.clone(), &embedder, &config.base).await;
        agents.push(built.map_err(Failure::broken)?);
    }
    let mover = mover(config, &identity).await?;
    let broker = if config.embedded { Some(embedded(config).await?) } else { None };
    let options = daemon::Options {
        identity,
        namespace: config.namespace.clone(),
        broker: daemon::Broker {
            url: config.broker.clone(),
            credentials: config.credentials.clone(),
            ca: config.ca.clone(),
        },
        roles: config.roles.clone(),
        agents,
        store,
        directory: Some(config.directory()),
        embedder,
        also,
        operators: config.operators.clone(),
        coordinators: config.coordinators.clone(),
        accept_unsigned: config.accept_unsigned,
        limits: config.limits,
        sharding: config.sharding,
        mover,
    };
    let daemon = daemon::start(options).await.map_err(Failure::broken)?;
    Ok(Running { daemon, url: config.broker.clone(), broker })
}

/// The artifacts of a node, and the host that moves them.
async fn mover(config: &NodeConfig, identity: &Identity) -> Result<Mover, Failure> {
    let (dir, limits) = (config.artifacts_dir(), config.artifacts.limits);
    let opened = tokio::task::spawn_blocking(move || ArtifactStore::open(&dir, limits)).await;
    let store = opened.expect("opening a folder does not panic").map_err(Failure::broken)?;
    let (listen, announce) = (config.artifacts.listen.clone(), config.artifacts.announce.clone());
    Mover::start(identity.key().clone(), listen, announce, store).await.map_err(|error| {
        Failure::broken(anyhow::Error::new(error).context("artifacts.listen"))
            .hint("an address like /ip4/0.0.0.0/udp/4001/quic-v1; an empty list only fetches")
    })
}

/// The broker at the address the node is to connect to.
async fn embedded(config: &NodeConfig) -> Result<Embedded, Failure> {
    let address = format!("{}:{}", config.broker.host(), config.broker.port());
    let mut addresses = tokio::net::lookup_host(&address).await.map_err(|e| {
        Failure::broken(anyhow::Error::new(e).context(format!("broker.url: cannot look up {address}")))
    })?;
    let listen: SocketAddr = addresses.next().ok_or_else(|| {
        Failure::broken(anyhow::anyhow!("broker.url: wanted an address of {address}, found none"))
    })?;
    let mut settings = EmbeddedConfig::new(listen);
    settings.users.extend(config.credentials.clone());
    Embedded::start(settings).await.map_err(|e| {
        Failure::broken(e).hint("is another broker running there? Then leave broker.embedded out")
    })
}

impl Running {
    /// Its id.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        self.daemon.node()
    }

    /// The broker it is a client of.
    #[must_use]
    pub fn broker(&self) -> &BrokerUrl {
        &self.url
    }

    /// Returns when others know it.
    pub async fn ready(&self) {
        self.daemon.ready().await;
    }

    /// Returns when it cannot go on.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn ended(&mut self) -> Result<(), Failure> {
        self.daemon.ended().await.map_err(Failure::broken)
    }

    /// Finishes or hands back what it has, says goodbye, and stops its broker last.
    ///
    /// # Errors
    /// When the journal could not be written to its end.
    pub async fn drain(self, grace: Duration) -> Result<(), Failure> {
        let drained = self.daemon.drain(grace).await;
        if let Some(broker) = self.broker {
            broker.stop().await;
        }
        drained.map_err(Failure::broken)
    }
}
