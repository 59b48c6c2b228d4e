//! The handle a node speaks through, and what it hears.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use foa_wire::codec::MAX_ENVELOPE;
use foa_wire::topic::Qos;
use foa_wire::{Connection, Filter, Topic};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::config::{Config, Protocol};
use crate::driver::{Command, Driver, Outgoing};

/// A message costs this much of the queue beside its payload, so that many empty ones are bounded too.
const OVERHEAD: usize = 256;
/// How many times its size the queue may be overdrawn by messages that must not be lost.
pub const OVERDRAFT: usize = 3;

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
    let room = Arc::new(Room {
        all: permits,
        free: Arc::new(Semaphore::new(permits)),
        overdrawn: AtomicUsize::new(0),
    });
    let fabric = Fabric { commands, room };
    let outbox = Outbox { events, waiting: Arc::clone(&waiting), missed: 0 };
    tokio::spawn(Driver::new(config, received, outbox).run());
    (fabric, Events { heard, waiting })
}

/// Publishes, subscribes and acknowledges. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fabric {
    commands: mpsc::UnboundedSender<Command>,
    room: Arc<Room>,
}

/// What became of an offered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Offered {
    /// It is queued, and goes out unless it expires before.
    Queued,
    /// There was no room for it.
    Dropped,
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
        let cost = cost(&payload);
        let room = Arc::clone(&self.room.free);
        let permit = tokio::select! {
            permit = room.acquire_many_owned(cost) => permit.map_err(|_| Closed)?,
            () = self.commands.closed() => return Err(Closed.into()),
        };
        let expires = expiry.map(|expiry| Instant::now() + expiry);
        let place = Place::Room(permit);
        let outgoing = Outgoing { topic: topic.clone(), payload, retain, expires, place };
        self.send(Command::Publish(outgoing))?;
        Ok(())
    }

    /// Queues a message like [`Fabric::publish`], without ever waiting: for whoever has other things to do while a broker
    /// is away. What may be lost (QoS 0, and what is only told to watchers) is dropped when three quarters of the queue
    /// are taken. Everything else may overdraw the queue, up to [`OVERDRAFT`] times its size, and makes the driver throw
    /// away what is expired or may be lost; only beyond that it is dropped too.
    ///
    /// # Errors
    /// When the payload is longer than an envelope may be, or the connection was ended.
    pub fn offer(
        &self,
        topic: &Topic,
        payload: Bytes,
        retain: bool,
        expiry: Option<Duration>,
    ) -> Result<Offered, PublishError> {
        if payload.len() > MAX_ENVELOPE {
            return Err(PublishError::TooLarge { topic: topic.clone(), bytes: payload.len() });
        }
        if self.commands.is_closed() {
            return Err(Closed.into());
        }
        let Some(place) = self.room.place(cost(&payload), may_be_lost(topic)) else {
            return Ok(Offered::Dropped);
        };
        let expires = expiry.map(|expiry| Instant::now() + expiry);
        self.send(Command::Publish(Outgoing { topic: topic.clone(), payload, retain, expires, place }))?;
        Ok(Offered::Queued)
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

/// What a message costs of the queue.
fn cost(payload: &Bytes) -> u32 {
    u32::try_from(payload.len() + OVERHEAD).expect("an envelope is far below 4 GiB")
}

/// Whether nobody but a watcher misses a message: what happened can be asked for again, progress and reports are lossy by
/// their nature.
pub(crate) fn may_be_lost(topic: &Topic) -> bool {
    topic.qos() == Qos::AtMostOnce || matches!(topic, Topic::JobEvents(_) | Topic::Enforcement)
}

/// The room of the queue.
#[derive(Debug)]
pub(crate) struct Room {
    all: usize,
    free: Arc<Semaphore>,
    overdrawn: AtomicUsize,
}

/// A message's part of the room, given back when it is dropped.
#[derive(Debug)]
pub(crate) enum Place {
    Room(#[expect(dead_code, reason = "held for what happens when it is dropped")] OwnedSemaphorePermit),
    Overdraft { room: Arc<Room>, cost: usize },
}

impl Room {
    fn place(self: &Arc<Self>, cost: u32, may_be_lost: bool) -> Option<Place> {
        let bytes = cost as usize;
        if may_be_lost && self.free.available_permits() < self.all / 4 + bytes {
            return None;
        }
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(cost) {
            return Some(Place::Room(permit));
        }
        let most = self.all.saturating_mul(OVERDRAFT);
        let fits = |overdrawn: usize| overdrawn.checked_add(bytes).filter(|sum| *sum <= most);
        let drawn = self.overdrawn.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok();
        drawn.then(|| Place::Overdraft { room: Arc::clone(self), cost: bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Overdraft { room, cost } = self {
            room.overdrawn.fetch_sub(*cost, Ordering::Relaxed);
        }
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
