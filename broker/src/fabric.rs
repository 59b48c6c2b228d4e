//! The handle a node speaks through, and what it hears.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foa_wire::codec::MAX_ENVELOPE;
use foa_wire::{Connection, Filter, Topic};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::config::{Config, Protocol};
use crate::driver::{Command, Driver, Outgoing};

/// A message costs this much of the queue beside its payload, so that many empty ones are bounded too.
const OVERHEAD: usize = 256;

/// Starts a connection on the current tokio runtime and keeps it until [`Fabric::disconnect`]. Dropping every handle
/// ends it without a goodbye, as a crash would: the broker publishes the will. The first [`Event::Connected`] says
/// when it stands.
///
/// # Panics
/// When called outside a tokio runtime.
#[must_use]
pub fn connect(config: Config) -> (Fabric, Events) {
    let (commands, received) = mpsc::unbounded_channel();
    let (events, heard) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let permits = (config.queue_bytes as usize).clamp(2 * (MAX_ENVELOPE + OVERHEAD), u32::MAX as usize / 2);
    let fabric = Fabric { commands, room: Arc::new(Semaphore::new(permits)) };
    let outbox = Outbox { events, waiting: Arc::clone(&waiting), missed: 0 };
    tokio::spawn(Driver::new(config, received, outbox).run());
    (fabric, Events { heard, waiting })
}

/// Publishes, subscribes and acknowledges. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fabric {
    commands: mpsc::UnboundedSender<Command>,
    /// Bytes that may still be queued.
    room: Arc<Semaphore>,
}

/// The connection was ended by [`Fabric::disconnect`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a connection to the broker, found it closed")]
pub struct Closed;

/// A message that was not queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The connection was ended.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// No receiver would read it.
    #[error("wanted at most {MAX_ENVELOPE} bytes for {topic}, found {bytes}")]
    TooLarge {
        /// Where it was to go.
        topic: Topic,
        /// Its length.
        bytes: usize,
    },
}

impl Fabric {
    /// Queues a message for the broker, with the topic's quality of service. Waits while the queue is full.
    ///
    /// QoS 1 messages stay queued, in order, until the broker has acknowledged them, over any number of
    /// connections; a receiver may see one twice. QoS 0 messages are dropped while there is no connection.
    /// After `expiry` nobody needs to get it any more: it leaves the queue, and an MQTT 5 broker drops it too.
    ///
    /// # Errors
    /// When the payload is longer than an envelope may be, or the connection was ended.
    pub async fn publish(
        &self,
        topic: &Topic,
        payload: Bytes,
        retain: bool,
        expiry: Option<Duration>,
    ) -> Result<(), PublishError> {
        if payload.len() > MAX_ENVELOPE {
            return Err(PublishError::TooLarge { topic: topic.clone(), bytes: payload.len() });
        }
        let cost = u32::try_from(payload.len() + OVERHEAD).expect("an envelope is far below 4 GiB");
        let room = Arc::clone(&self.room);
        let permit = tokio::select! {
            permit = room.acquire_many_owned(cost) => permit.map_err(|_| Closed)?,
            () = self.commands.closed() => return Err(Closed.into()),
        };
        let expires = expiry.map(|expiry| Instant::now() + expiry);
        let outgoing = Outgoing { topic: topic.clone(), payload, retain, expires, _permit: permit };
        self.send(Command::Publish(outgoing))?;
        Ok(())
    }

    /// Makes the broker forget what is retained on a topic.
    ///
    /// # Errors
    /// When the connection was ended.
    pub async fn clear_retained(&self, topic: &Topic) -> Result<(), Closed> {
        match self.publish(topic, Bytes::new(), true, None).await {
            Ok(()) => Ok(()),
            Err(PublishError::Closed(closed)) => Err(closed),
            Err(PublishError::TooLarge { .. }) => unreachable!("nothing is not too large"),
        }
    }

    /// Subscribes, now and after every reconnection. [`Event::Subscribed`] says when the broker has agreed.
    ///
    /// # Errors
    /// When the connection was ended.
    pub fn subscribe(&self, filters: Vec<Filter>) -> Result<(), Closed> {
        self.send(Command::Subscribe(filters))
    }

    /// Ends subscriptions.
    ///
    /// # Errors
    /// When the connection was ended.
    pub fn unsubscribe(&self, filters: Vec<Filter>) -> Result<(), Closed> {
        self.send(Command::Unsubscribe(filters))
    }

    /// Tells the broker that a message was dealt with and need not come again. Any order will do: an
    /// acknowledgement is held back until those of all earlier messages are given, because brokers want them in
    /// order. One for a message of an earlier connection does nothing, since the broker sends that message again.
    pub fn ack(&self, token: AckToken) {
        // After the end there is nobody to tell, and the message comes again in the next session.
        let _ = self.send(Command::Ack(token));
    }

    /// Says goodbye: waits up to `grace` for the broker to acknowledge what is queued, then disconnects, so that
    /// the will is not published. Gives the number of messages that were not acknowledged.
    pub async fn disconnect(&self, grace: Duration) -> usize {
        let (done, unsent) = oneshot::channel();
        match self.send(Command::Disconnect { until: Instant::now() + grace, done }) {
            Ok(()) => unsent.await.unwrap_or(0),
            Err(Closed) => 0,
        }
    }

    fn send(&self, command: Command) -> Result<(), Closed> {
        self.commands.send(command).map_err(|_| Closed)
    }
}

/// Permission to acknowledge one message. A message whose token is dropped is not acknowledged: the broker sends
/// it again on the next connection, and until then no later acknowledgement goes out.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a message that is never acknowledged holds back all later acknowledgements"]
pub struct AckToken {
    pub(crate) connection: Connection,
    /// Position among the messages of that connection; none for QoS 0, which has no acknowledgement.
    pub(crate) position: Option<u64>,
}

/// What a connection reports.
#[derive(Debug)]
pub enum Event {
    /// The connection stands. Subscriptions and unacknowledged messages are being sent again; what the broker may
    /// have forgotten (retained cards, status) is the node's to publish again.
    Connected {
        /// Which attempt succeeded; the one the will was made for.
        connection: Connection,
        /// Whether the broker remembers the session.
        session_present: bool,
        /// The version spoken.
        protocol: Protocol,
    },
    /// The connection was lost. It is being tried again.
    Disconnected {
        /// What happened.
        reason: String,
    },
    /// An attempt to connect failed.
    Unreachable {
        /// What happened.
        reason: String,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
    /// The broker has agreed to subscriptions.
    Subscribed {
        /// Which.
        filters: Vec<Filter>,
    },
    /// The broker refuses a subscription. It is asked again after each reconnection.
    SubscriptionRefused {
        /// Which.
        filter: Filter,
        /// What it said.
        reason: String,
    },
    /// The broker refuses a message. It was dropped.
    PublishRefused {
        /// Where it was to go.
        topic: Topic,
        /// What it said.
        reason: String,
    },
    /// A message.
    Message {
        /// Where it arrived.
        topic: Topic,
        /// What it says; empty when something retained was cleared.
        payload: Bytes,
        /// Whether the broker had kept it from before the subscription.
        retained: bool,
        /// To be given to [`Fabric::ack`] when the message is dealt with.
        ack: AckToken,
    },
    /// A message on a topic that is none of ours. It was acknowledged.
    Foreign {
        /// The topic, as the broker knows it.
        topic: String,
        /// The length of the payload.
        bytes: usize,
    },
    /// A message longer than an envelope may be. It was acknowledged unread.
    TooLarge {
        /// Where it arrived.
        topic: Topic,
        /// The length of the payload.
        bytes: usize,
    },
    /// QoS 0 messages that were dropped because more than 1024 events were waiting to be read.
    Missed {
        /// How many.
        messages: u64,
    },
}

/// The reports of a connection, in order. They wait here until they are read: the broker bounds the number of
/// unacknowledged QoS 1 messages, and QoS 0 messages are dropped when too many wait.
#[derive(Debug)]
pub struct Events {
    heard: mpsc::UnboundedReceiver<Event>,
    waiting: Arc<AtomicUsize>,
}

impl Events {
    /// The next report; none after [`Fabric::disconnect`], or when every [`Fabric`] is dropped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.heard.recv().await?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(event)
    }
}

/// The sending side of [`Events`].
pub(crate) struct Outbox {
    events: mpsc::UnboundedSender<Event>,
    waiting: Arc<AtomicUsize>,
    missed: u64,
}

impl Outbox {
    /// How many events may wait before QoS 0 messages are dropped.
    const PATIENCE: usize = 1024;

    pub(crate) fn emit(&mut self, event: Event) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.push(Event::Missed { messages: missed });
        }
        self.push(event);
    }

    /// Emits what may be lost, unless too much waits.
    pub(crate) fn emit_lossy(&mut self, event: Event) {
        if self.waiting.load(Ordering::Relaxed) >= Self::PATIENCE {
            self.missed += 1;
        } else {
            self.emit(event);
        }
    }

    fn push(&self, event: Event) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Whoever dropped `Events` does not want to know; publishing goes on.
        let _ = self.events.send(event);
    }
}
