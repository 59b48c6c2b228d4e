//! The loop: what happens becomes an input, what the machine says becomes an effect. No decision is made here.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::Context as _;
use foa_broker::{AckToken, Fabric};
use foa_node_core::artifact::Offered as HeldArtifact;
use foa_node_core::effect::{Effect, Output};
use foa_node_core::journal::Stream;
use foa_node_core::{Input, NodeMachine};
use foa_wire::{ArtifactId, Time, Topic, WorkId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::acquaintance::Acquaintance;
use super::agents::Agents;
use super::clock::Clock;
use super::journal::{Journal, News};
use super::now;
use super::opener::Arrived;
use super::sealer::Sealer;
use crate::artifact::Mover;
use crate::model::Embedder;
use crate::store::StoreError;

/// How long a goodbye may take to reach the broker.
const GOODBYE: Duration = Duration::from_secs(3);
/// Messages and answers taken in one turn, at most, before what they wrote goes to the disk.
const TURN: usize = 8;
/// After so long without anything to do, the directory goes on with what it put off, in this many steps at a time.
const QUIET: Duration = Duration::from_millis(1);
const UPKEEP: usize = 4;
/// How often the directory is written when it has changed, and artifacts that nobody needs are looked for.
const EXPIRE: Duration = Duration::from_secs(600);

/// What the loop is told from inside the process.
#[derive(Debug)]
pub(super) enum Told {
    Input(Input),
    Drain {
        done: oneshot::Sender<()>,
    },
    Leave,
    /// There was no room for a message to this topic.
    Unsent(Topic),
}

/// What wakes the loop.
enum Woken {
    Arrived(Arrived),
    Told(Told),
    Disk(Option<Result<News, StoreError>>),
    Expiry,
    Quiet,
    Closed,
}

impl Woken {
    fn arrived(arrived: Option<Arrived>) -> Self {
        arrived.map_or(Self::Closed, Self::Arrived)
    }

    /// Without anybody left to tell it more, the loop leaves.
    fn told(told: Option<Told>) -> Self {
        Self::Told(told.unwrap_or(Told::Leave))
    }
}

/// What others may see of a running node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) ready: bool,
    pub(super) agents: usize,
}

/// What a shell is made of.
pub(super) struct Parts {
    pub(super) machine: NodeMachine,
    pub(super) acquaintance: Acquaintance,
    pub(super) sealer: Sealer,
    pub(super) journal: Journal,
    pub(super) agents: Agents,
    pub(super) embedder: Embedder,
    pub(super) mover: Mover,
    pub(super) fabric: Fabric,
    pub(super) inputs: mpsc::UnboundedSender<Told>,
    pub(super) view: watch::Sender<View>,
}

/// One node's loop.
pub(super) struct Shell {
    parts: Parts,
    /// Effects that wait for the disk, in order.
    held: VecDeque<Held>,
    synced: u64,
    appended: u64,
    draining: Option<oneshot::Sender<()>>,
    clock: Clock,
    started: Instant,
    /// Messages there was no room for since the machine was last told, and where the last of them was to go.
    unsent: Option<(usize, Topic)>,
}

/// Something that may happen once a record is on disk.
struct Held {
    after: u64,
    what: Due,
}

enum Due {
    Effect(Effect),
    Ack(AckToken),
}

impl Shell {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            held: VecDeque::new(),
            synced: 0,
            appended: 0,
            draining: None,
            clock: Clock::new(now(), Duration::ZERO),
            started: Instant::now(),
            unsent: None,
        }
    }

    pub(super) async fn run(
        mut self,
        first: Vec<Output>,
        mut arrivals: mpsc::Receiver<Arrived>,
        mut told: mpsc::UnboundedReceiver<Told>,
    ) -> anyhow::Result<()> {
        self.perform(first, None).await?;
        self.input(Input::Reachable(self.parts.mover.addresses()), None).await?;
        self.parts.journal.end_turn();
        let mut mover = self.parts.mover.clone();
        let mut expiry = tokio::time::interval(EXPIRE);
        loop {
            let wake = self.wake();
            let is_behind = self.parts.machine.upkeep(0) > 0;
            let mut next = Some(tokio::select! {
                one = arrivals.recv() => Woken::arrived(one),
                message = told.recv() => Woken::told(message),
                news = self.parts.journal.news() => Woken::Disk(news),
                Some(addresses) = mover.addresses_changed() => Woken::Told(Told::Input(Input::Reachable(addresses))),
                _ = expiry.tick() => Woken::Expiry,
                () = tokio::time::sleep(QUIET), if is_behind => Woken::Quiet,
                () = tokio::time::sleep_until(wake) => Woken::Told(Told::Input(Input::Tick)),
            });
            // What has arrived by now belongs to the same turn, so that one flush serves all of it.
            let mut room = TURN;
            while let Some(woken) = next {
                match woken {
                    Woken::Arrived(one) => self.arrived(one).await?,
                    Woken::Told(Told::Leave) => return self.leave().await,
                    Woken::Told(Told::Input(input)) => self.told(input).await?,
                    Woken::Told(Told::Drain { done }) => {
                        self.draining = Some(done);
                        self.input(Input::Drain, None).await?;
                    }
                    Woken::Told(Told::Unsent(topic)) => {
                        let before = self.unsent.take().map_or(0, |(messages, _)| messages);
                        self.unsent = Some((before + 1, topic));
                    }
                    Woken::Disk(news) => self.disk(news).await?,
                    Woken::Expiry => {
                        self.expire();
                        self.keep_directory();
                    }
                    Woken::Quiet => {
                        self.parts.machine.upkeep(UPKEEP);
                    }
                    Woken::Closed => return Ok(()),
                }
                room -= 1;
                next = tokio::select! {
                    biased;
                    () = std::future::ready(()), if room == 0 => None,
                    one = arrivals.recv() => Some(Woken::arrived(one)),
                    message = told.recv() => Some(Woken::told(message)),
                    () = std::future::ready(()) => None,
                };
            }
            self.report_unsent().await?;
            self.parts.journal.end_turn();
            self.look();
        }
    }

    async fn told(&mut self, input: Input) -> anyhow::Result<()> {
        if let Input::Answered { work, .. } = &input {
            self.parts.agents.answered(work);
        }
        self.input(input, None).await
    }

    /// Has the machine count what there was no room for, so that it shows among what was refused.
    async fn report_unsent(&mut self) -> anyhow::Result<()> {
        let Some((messages, topic)) = self.unsent.take() else { return Ok(()) };
        tracing::warn!(messages, last = %topic, "the queue to the broker is full, messages were dropped");
        let refused = Input::Refused {
            reason: "unsent".to_owned(),
            sender: self.parts.machine.id().to_string(),
            subject: topic.to_string(),
            detail: format!("no room for {messages} messages while the broker is away or slow"),
        };
        self.input(refused, None).await
    }

    /// Writes whom we know, elsewhere; it is a few hundred megabytes in the largest federations.
    fn keep_directory(&mut self) {
        if let Some(due) = self.parts.acquaintance.due(&self.parts.machine) {
            tokio::task::spawn_blocking(move || due.write());
        }
    }

    /// Artifacts nobody needs any more; the disk may take its time.
    fn expire(&self) {
        let store = self.parts.mover.store().clone();
        tokio::task::spawn_blocking(move || match store.expire(now()) {
            Ok(old) if !old.is_empty() => tracing::info!(artifacts = old.len(), "expired"),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old artifacts cannot be removed"),
        });
    }

    /// When the machine wants to be woken, as the runtime counts time. An hour when it does not.
    fn wake(&mut self) -> Instant {
        let now = self.now();
        let wait = self.parts.machine.wake().map_or(Duration::from_secs(3600), |at| at.since(now));
        Instant::now() + wait
    }

    fn now(&mut self) -> Time {
        self.clock.read(now(), self.started.elapsed())
    }

    fn look(&mut self) {
        let machine = &self.parts.machine;
        let view = View { ready: machine.ready(), agents: machine.agents_online() };
        self.parts.view.send_if_modified(|seen| {
            let changed = *seen != view;
            *seen = view;
            changed
        });
        if machine.idle()
            && self.held.is_empty()
            && let Some(done) = self.draining.take()
        {
            // Whoever drains may have run out of patience.
            let _ = done.send(());
        }
    }

    async fn arrived(&mut self, arrived: Arrived) -> anyhow::Result<()> {
        match arrived {
            Arrived { input: Some(input), ack } => self.input(input, ack).await,
            Arrived { input: None, ack: Some(ack) } => {
                self.parts.fabric.ack(ack);
                Ok(())
            }
            Arrived { input: None, ack: None } => Ok(()),
        }
    }

    async fn input(&mut self, input: Input, ack: Option<AckToken>) -> anyhow::Result<()> {
        let now = self.now();
        tracing::trace!(?input, "input");
        let outputs = self.parts.machine.handle(input, now);
        self.perform(outputs, ack).await
    }

    /// Does what the machine says, or holds it until the disk has what it must stand on. A message is acknowledged once
    /// all that came of it is on disk, so a crash before that brings it again.
    async fn perform(&mut self, outputs: Vec<Output>, ack: Option<AckToken>) -> anyhow::Result<()> {
        for Output { after, effect } in outputs {
            match after.filter(|seq| *seq > self.synced) {
                Some(after) => self.held.push_back(Held { after, what: Due::Effect(effect) }),
                None => self.effect(effect).await?,
            }
        }
        if let Some(ack) = ack {
            if self.appended > self.synced {
                self.held.push_back(Held { after: self.appended, what: Due::Ack(ack) });
            } else {
                self.parts.fabric.ack(ack);
            }
        }
        Ok(())
    }

    async fn disk(&mut self, news: Option<Result<News, StoreError>>) -> anyhow::Result<()> {
        let news = news
            .context("the journal's thread has stopped")?
            .context("the journal could not be written; nothing that needs it was sent")?;
        match news {
            News::Synced(seq) => self.release(seq).await,
            News::StoreFull(full) => self.input(Input::StoreFull(full), None).await,
        }
    }

    async fn release(&mut self, synced: u64) -> anyhow::Result<()> {
        self.synced = synced;
        while self.held.front().is_some_and(|held| held.after <= synced) {
            match self.held.pop_front().map(|held| held.what) {
                Some(Due::Effect(effect)) => self.effect(effect).await?,
                Some(Due::Ack(ack)) => self.parts.fabric.ack(ack),
                None => {}
            }
        }
        Ok(())
    }

    async fn effect(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Send(send) => {
                let now = self.now();
                self.parts.sealer.send(send, now).await
            }
            Effect::Subscribe(filters) => Ok(self.parts.fabric.subscribe(filters)?),
            Effect::Unsubscribe(filters) => Ok(self.parts.fabric.unsubscribe(filters)?),
            Effect::Clear(topic) => self.parts.sealer.clear(topic).await,
            Effect::Ask { work, agent, ask, deadline, cap: _ } => {
                let wait = deadline.since(self.now());
                self.parts.agents.ask(work, agent, *ask, Instant::now() + wait);
                Ok(())
            }
            Effect::Abort { work } => {
                self.abort(&work);
                Ok(())
            }
            Effect::Embed { id, texts } => {
                let (embedder, inputs) = (self.parts.embedder.clone(), self.parts.inputs.clone());
                tokio::spawn(async move {
                    let result = embedder.embed(texts).await.map_err(|e| e.to_string());
                    // The node may have ended meanwhile.
                    let _ = inputs.send(Told::Input(Input::Embedded { id, result }));
                });
                Ok(())
            }
            Effect::Persist { seq, record } => {
                self.appended = seq;
                self.parts.journal.append(seq, record);
                Ok(())
            }
            Effect::LookUp { asker, artifacts } => {
                let store = self.parts.mover.store();
                let offered = |artifact: &ArtifactId| {
                    store.bytes(artifact).map(|bytes| HeldArtifact { artifact: *artifact, bytes })
                };
                let held = artifacts.iter().filter_map(offered).collect();
                self.tell(Input::LookedUp { asker, held });
                Ok(())
            }
            Effect::Admit { node, until } => {
                self.parts.mover.admit(&node, until);
                Ok(())
            }
            Effect::Fetch { artifact, bytes, job, from } => {
                let (mover, inputs, now) = (self.parts.mover.clone(), self.parts.inputs.clone(), self.now());
                tokio::spawn(async move {
                    if let Some(job) = job {
                        mover.store().pin(artifact, job, now);
                    }
                    let result = mover.have(artifact, Some(bytes), from, |_| {}).await;
                    let result = result.map(drop).map_err(|e| e.to_string());
                    // The node may have ended meanwhile.
                    let _ = inputs.send(Told::Input(Input::Fetched { artifact, result }));
                });
                Ok(())
            }
            Effect::Forget(stream) => {
                if let Stream::Job(job) = &stream {
                    self.parts.mover.store().unpin(job);
                }
                self.parts.journal.forget(stream);
                Ok(())
            }
        }
    }

    /// Has the loop take an input after the present one.
    fn tell(&self, input: Input) {
        // Nobody is left to read it only when the loop itself has ended.
        let _ = self.parts.inputs.send(Told::Input(input));
    }

    fn abort(&mut self, work: &WorkId) {
        self.parts.agents.abort(work);
    }

    async fn leave(mut self) -> anyhow::Result<()> {
        self.input(Input::Leave, None).await?;
        self.parts.journal.end_turn();
        self.parts.sealer.finish().await;
        let unsent = self.parts.fabric.disconnect(GOODBYE).await;
        if unsent > 0 {
            tracing::warn!(unsent, "the broker did not acknowledge the last messages");
        }
        if let Some(due) = self.parts.acquaintance.due(&self.parts.machine) {
            tokio::task::spawn_blocking(move || due.write()).await?;
        }
        Ok(())
    }
}
