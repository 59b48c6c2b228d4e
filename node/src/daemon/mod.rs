//! A running node: one loop that feeds the machine ([`foa_node_core::NodeMachine`]) and does what it says.
//!
//! - `shell`: the loop itself, the only place where inputs, effects and the clock meet;
//! - `journal`: the disk, with one flush for all that waits;
//! - `opener` and `sealer`: the ways in and out, each a task that checks or makes signatures in order;
//! - `link`: bytes to messages and back, for both;
//! - `acquaintance`: whom the node knew when it last ended;
//! - `standing`: whether the node may coordinate, after what its disk kept;
//! - `agents`: our agents, each piece of work in a task of its own.

mod acquaintance;
mod agents;
mod clock;
mod journal;
mod link;
mod meter;
mod opener;
mod sealer;
mod shell;
mod standing;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use foa_broker::{BrokerUrl, Config as BrokerConfig, Credentials, Will};
use foa_capability::Embedding;
use foa_node_core::admission::Limits;
use foa_node_core::effect::Advertised;
use foa_node_core::journal::NodeRecord;
use foa_node_core::shards::Sharding;
use foa_node_core::status::{NodeStatus, Role};
use foa_node_core::{Body, Config, Identity as CoreIdentity, Input, NodeMachine};
use foa_wire::{Boot, Connection, Namespace, NodeId, Time, Topic};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

pub use self::meter::{Counts, Meter};

use crate::agent::Agent;
use crate::artifact::Mover;
use crate::identity::Identity;
use crate::model::Embedder;
use crate::store::{Store, get_u64, put_u64};

/// Pieces of work waiting for one agent.
pub const MAX_QUEUE: usize = 64;

/// How long saying goodbye may take in all.
const LEAVE_WITHIN: Duration = Duration::from_secs(6);

/// All a node is made of.
pub struct Options {
    /// Its name and key.
    pub identity: Identity,
    /// The federation's prefix on the broker.
    pub namespace: Namespace,
    /// Where the broker is and who we are to it.
    pub broker: Broker,
    /// What the node is for.
    pub roles: Vec<Role>,
    /// Its agents.
    pub agents: Vec<Arc<dyn Agent>>,
    /// Its disk.
    pub store: Arc<dyn Store>,
    /// Where it keeps its directory between two starts; `None` when it learns everybody anew.
    pub directory: Option<std::path::PathBuf>,
    /// What turns texts into vectors.
    pub embedder: Embedder,
    /// The same by a second model, for its agents' cards.
    pub also: Option<Embedder>,
    /// Who may control any job.
    pub operators: BTreeSet<NodeId>,
    /// The federation's coordinators, if they are fixed.
    pub coordinators: BTreeSet<NodeId>,
    /// Whether submissions without a signature are taken.
    pub accept_unsigned: bool,
    /// Jobs held and run at once, at most.
    pub limits: Limits,
    /// When the directory is shared among the coordinators.
    pub sharding: Sharding,
    /// Its artifacts, and how others come by them.
    pub mover: Mover,
}

/// Where the broker is and who we are to it.
#[derive(Clone, Debug)]
pub struct Broker {
    /// Its address.
    pub url: BrokerUrl,
    /// Who we are, if it asks.
    pub credentials: Option<Credentials>,
    /// The certificate authorities to trust instead of the system's.
    pub ca: Option<std::path::PathBuf>,
}

/// A running node.
#[derive(Debug)]
pub struct Daemon {
    node: NodeId,
    inputs: mpsc::UnboundedSender<shell::Told>,
    ready: watch::Receiver<shell::View>,
    meter: Arc<Meter>,
    task: JoinHandle<anyhow::Result<()>>,
}

/// Starts a node. It connects in the background; [`Daemon::ready`] says when it takes part.
///
/// # Errors
/// When the journal cannot be read, or an agent's texts cannot be embedded.
pub async fn start(options: Options) -> anyhow::Result<Daemon> {
    let identity = CoreIdentity::new(options.identity.id().name().clone(), options.identity.key().clone());
    if options.coordinators.len() > 1 {
        standing::has_fellows(&*options.store)?;
    }
    let boot = next_boot(&*options.store)?;
    let journal = read_journal(&*options.store)?;
    let (roles, journal) = standing::review(&*options.store, options.roles, journal)?;
    let config = Config {
        roles: roles.into_iter().collect(),
        operators: options.operators,
        coordinators: options.coordinators,
        accept_unsigned: options.accept_unsigned,
        model: options.embedder.model().clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        limits: options.limits,
        sharding: options.sharding,
        max_queue: MAX_QUEUE,
    };
    let mut machine = NodeMachine::new(identity.clone(), config, boot, journal);
    let mut acquaintance = acquaintance::Acquaintance::new(options.directory);
    acquaintance.recall(&mut machine, now());
    let advertised = describe(&options.agents, &options.embedder, options.also).await?;
    let first = machine.handle(Input::Advertise(advertised), now());
    let node = machine.id().clone();

    let Broker { url, credentials, ca } = options.broker;
    let mut broker = BrokerConfig::new(url, options.namespace.clone(), node.to_string());
    broker.credentials = credentials;
    broker.ca = ca;
    broker.will = Some(will(identity.clone(), options.namespace.clone(), boot));
    let (fabric, events) = foa_broker::connect(broker);

    let (inputs, told) = mpsc::unbounded_channel();
    let (view, ready) = watch::channel(shell::View::default());
    let meter = Arc::new(Meter::default());
    let link = Arc::new(link::Link::new(identity, options.namespace, boot));
    let arrivals = opener::start(link.clone(), events, meter.clone());
    let shell = shell::Shell::new(shell::Parts {
        machine,
        acquaintance,
        sealer: sealer::Sealer::start(link, fabric.clone(), meter.clone(), inputs.clone()),
        journal: journal::Journal::start(options.store, meter.clone()),
        agents: agents::Agents::new(
            node.clone(),
            options.agents,
            options.mover.store().clone(),
            inputs.clone(),
        ),
        embedder: options.embedder,
        mover: options.mover,
        fabric,
        inputs: inputs.clone(),
        view,
    });
    let task = tokio::spawn(shell.run(first, arrivals, told));
    Ok(Daemon { node, inputs, ready, meter, task })
}

impl Daemon {
    /// Who this is.
    #[must_use]
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// What it has done so far.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Waits until the node takes part: connected, its cards published, its directory confirmed if it keeps one.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // The only error is that the node has ended, which whoever waits for it learns from `ended`.
        let _ = ready.wait_for(|view| view.ready).await;
    }

    /// Waits until the node knows this many agents that are online.
    pub async fn knows(&self, agents: usize) {
        let mut ready = self.ready.clone();
        let _ = ready.wait_for(|view| view.agents >= agents).await;
    }

    /// Waits for the node to end by itself, which it does only when it cannot go on.
    ///
    /// # Errors
    /// Why it could not.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        (&mut self.task).await.context("the node's task was stopped")?
    }

    /// Takes nothing new, waits up to `grace` for what is under way, says goodbye and ends. Jobs that are still open then
    /// stay in the journal and go on at the next start.
    ///
    /// # Errors
    /// When the journal could not be written.
    pub async fn drain(self, grace: Duration) -> anyhow::Result<()> {
        let (done, idle) = oneshot::channel();
        let told = self.inputs.send(shell::Told::Drain { done });
        if told.is_ok() {
            // Running out of grace is an outcome, not an error.
            let _ = tokio::time::timeout(grace, idle).await;
            let _ = self.inputs.send(shell::Told::Leave);
        }
        let abort = self.task.abort_handle();
        match tokio::time::timeout(LEAVE_WITHIN, self.task).await {
            Ok(ended) => ended.context("the node's task was stopped")?,
            Err(_) => {
                // What is on disk goes on at the next start; a broker that is away must not hold up the end.
                tracing::warn!("the goodbye could not be said");
                abort.abort();
                Ok(())
            }
        }
    }
}

/// The time, in the one place of a node that reads the clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A start counter that is larger than ever before, on disk before anybody hears of it.
fn next_boot(store: &dyn Store) -> anyhow::Result<Boot> {
    let stored = get_u64(store, "boot")?;
    let boot = (stored + 1).max(now().as_millis() / 1000);
    put_u64(store, "boot", boot)?;
    store.sync()?;
    Ok(Boot(boot))
}

fn read_journal(store: &dyn Store) -> anyhow::Result<Vec<NodeRecord>> {
    let mut records = Vec::new();
    let mut broken = None;
    let replayed = store.replay(&mut |stream, number, body| match serde_json::from_slice(body) {
        Ok(record) => {
            records.push(record);
            ControlFlow::Continue(())
        }
        Err(e) => {
            broken = Some(format!("record {number} of {stream} cannot be read: {e}"));
            ControlFlow::Break(())
        }
    })?;
    if let Some(broken) = broken {
        bail!("{broken}");
    }
    if replayed.repaired.any() {
        tracing::warn!(
            from = replayed.repaired.from,
            records = replayed.repaired.records,
            "the journal's end was damaged and was cut off at the last whole record"
        );
    }
    Ok(records)
}

/// Our agents with their vectors.
async fn describe(
    agents: &[Arc<dyn Agent>],
    embedder: &Embedder,
    also: Option<Embedder>,
) -> anyhow::Result<Vec<Advertised>> {
    let embedders = std::iter::once(embedder).chain(&also);
    let mut advertised = Vec::with_capacity(agents.len());
    for agent in agents {
        let profile = agent.profile();
        let mut embeddings = Vec::new();
        for embedder in embedders.clone() {
            let vectors = embedder.embed(profile.texts()).await.with_context(|| {
                format!("the description of agent {} could not be turned into vectors", profile.name)
            })?;
            embeddings.push(Embedding { model: embedder.model().clone(), vectors });
        }
        advertised.push(Advertised { profile, embeddings });
    }
    Ok(advertised)
}

/// What the broker says of us when we vanish.
fn will(identity: CoreIdentity, namespace: Namespace, boot: Boot) -> foa_broker::config::WillMaker {
    Box::new(move |connection: Connection| {
        let node = identity.id().clone();
        let topic = Topic::Status(node.clone());
        let body = Body::Status(NodeStatus::will(node, boot, connection, now()));
        let link = link::Link::for_will(identity.clone(), namespace.clone(), boot, connection);
        let payload =
            link.seal(&topic, &body, None, now()).expect("a status is small and signed by its own key");
        Will { topic, payload }
    })
}
