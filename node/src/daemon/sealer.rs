//! What leaves: sealed and handed to the broker in order, by a task of its own, so that the loop never waits for a
//! signature. Nor does anything here wait for the broker: what there is no room for is dropped, watchers' messages first,
//! and the loop is told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use foa_broker::{Closed, Fabric, Offered, PublishError};
use foa_node_core::effect::Send;
use foa_wire::{Time, Topic};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::link::Link;
use super::meter::Meter;
use super::shell::Told;

/// Messages that may wait for their signature.
const QUEUE: usize = 256;

/// The way out.
pub(super) struct Sealer {
    queue: mpsc::Sender<Outgoing>,
    task: JoinHandle<()>,
}

enum Outgoing {
    Message { send: Box<Send>, at: Time },
    Clear(Topic),
}

impl Sealer {
    pub(super) fn start(
        link: Arc<Link>,
        fabric: Fabric,
        meter: Arc<Meter>,
        told: mpsc::UnboundedSender<Told>,
    ) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let worker = Worker { link, fabric, meter, told };
        Self { queue, task: tokio::spawn(worker.run(waiting)) }
    }

    /// Sends a message as said at a time; waits only while [`QUEUE`] others wait for their signature.
    pub(super) async fn send(&self, send: Box<Send>, at: Time) -> anyhow::Result<()> {
        self.put(Outgoing::Message { send, at }).await
    }

    /// Has the broker forget what it keeps on a topic.
    pub(super) async fn clear(&self, topic: Topic) -> anyhow::Result<()> {
        self.put(Outgoing::Clear(topic)).await
    }

    async fn put(&self, one: Outgoing) -> anyhow::Result<()> {
        self.queue.send(one).await.ok().context("the connection to the broker was ended")
    }

    /// Returns when all that was sent is with the broker's queue.
    pub(super) async fn finish(self) {
        drop(self.queue);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the last messages could not be sealed");
        }
    }
}

struct Worker {
    link: Arc<Link>,
    fabric: Fabric,
    meter: Arc<Meter>,
    told: mpsc::UnboundedSender<Told>,
}

impl Worker {
    async fn run(self, mut waiting: mpsc::Receiver<Outgoing>) {
        while let Some(one) = waiting.recv().await {
            let sent = match one {
                Outgoing::Message { send, at } => self.message(&send, at),
                Outgoing::Clear(topic) => self.offer(&topic, Bytes::new(), true, None),
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn message(&self, send: &Send, at: Time) -> Result<(), Closed> {
        let sealed = match self.link.seal(&send.topic, &send.body, send.expires, at) {
            Ok(sealed) => sealed,
            Err(e) => {
                tracing::error!(topic = %send.topic, kind = send.body.kind(), error = %e, "a message cannot be sent");
                return Ok(());
            }
        };
        self.meter.sent();
        self.offer(&send.topic, sealed, send.topic.retained(), send.expires.map(|expires| expires.since(at)))
    }

    fn offer(
        &self,
        topic: &Topic,
        payload: Bytes,
        retain: bool,
        expiry: Option<Duration>,
    ) -> Result<(), Closed> {
        match self.fabric.offer(topic, payload, retain, expiry) {
            Ok(Offered::Queued) => {}
            // The loop may have ended meanwhile.
            Ok(Offered::Dropped) => drop(self.told.send(Told::Unsent(topic.clone()))),
            Err(e @ PublishError::TooLarge { .. }) => {
                tracing::error!(%topic, error = %e, "a message cannot be sent");
            }
            Err(PublishError::Closed(closed)) => return Err(closed),
        }
        Ok(())
    }
}
