//! Keeps one connection for ever, and remembers what must not get lost.
//!
//! ```text
//!            connect            ConnAck                     lost
//!  (waiting) ───────> (trying) ─────────> (connected) ─────────────┐
//!      ^                  │ refused            │ goodbye           │
//!      └──── back-off ────┴────────────────────┼───────────────────┘
//!                                              └─> (closed)
//! ```
//!
//! - Publishes: `queue` holds what was not handed to the current connection, `under_way` what was handed over and
//!   not acknowledged. A lost connection puts `under_way` back in front of `queue`, in order, whatever the broker
//!   says it remembers: a QoS 1 message may come twice, and never not at all.
//! - Subscriptions are a set, sent before anything else on every connection.
//! - Acknowledgements leave in the order in which the messages came ([`Acks`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use foa_wire::codec::MAX_ENVELOPE;
use foa_wire::topic::Qos;
use foa_wire::{Connection, Filter, Topic};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::config::{Config, Protocol};
use crate::fabric::{AckToken, Event, Outbox, Place, may_be_lost};
use crate::mqtt::{Jammed, Link, Lost, LostKind, Notice, WINDOW};

/// How long the broker may take to close the connection after our goodbye.
const FAREWELL: Duration = Duration::from_secs(1);
/// An overdrawn queue is searched for what need not be kept this often at most.
const SWEEP: Duration = Duration::from_millis(100);

/// What the handles ask for.
pub(crate) enum Command {
    Publish(Outgoing),
    Subscribe(Vec<Filter>),
    Unsubscribe(Vec<Filter>),
    Ack(AckToken),
    Disconnect { until: Instant, done: oneshot::Sender<usize> },
}

/// A message on its way to the broker.
pub(crate) struct Outgoing {
    pub(crate) topic: Topic,
    pub(crate) payload: Bytes,
    pub(crate) retain: bool,
    pub(crate) expires: Option<Instant>,
    /// Its part of the queue's room.
    pub(crate) place: Place,
}

/// A message handed to the current connection, and the packet id it got once it was written.
struct UnderWay {
    packet: Option<u16>,
    message: Outgoing,
}

/// A goodbye under way.
struct Closing {
    until: Instant,
    said: bool,
    done: oneshot::Sender<usize>,
}

enum End {
    Lost { lost: Lost, was_connected: bool },
    Closed,
}

pub(crate) struct Driver {
    config: Config,
    commands: mpsc::UnboundedReceiver<Command>,
    outbox: Outbox,
    connection: Connection,
    protocol: Protocol,
    forget_session: bool,
    filters: BTreeSet<Filter>,
    queue: VecDeque<Outgoing>,
    under_way: VecDeque<UnderWay>,
    /// Subscriptions handed over, not yet written.
    subscribing: VecDeque<Vec<Filter>>,
    /// Subscriptions written, not yet answered.
    asked: BTreeMap<u16, Vec<Filter>>,
    acks: Acks,
    max_packet: Option<u32>,
    /// How many publishes may be under way on this connection.
    window: u16,
    connected: bool,
    /// When the queue was last searched for what need not be kept.
    swept: Option<Instant>,
    closing: Option<Closing>,
}

impl Driver {
    pub(crate) fn new(config: Config, commands: mpsc::UnboundedReceiver<Command>, outbox: Outbox) -> Self {
        Self {
            protocol: config.protocol.unwrap_or(Protocol::V5),
            config,
            commands,
            outbox,
            connection: Connection::default(),
            forget_session: false,
            filters: BTreeSet::new(),
            queue: VecDeque::new(),
            under_way: VecDeque::new(),
            subscribing: VecDeque::new(),
            asked: BTreeMap::new(),
            acks: Acks::default(),
            max_packet: None,
            window: WINDOW,
            connected: false,
            swept: None,
            closing: None,
        }
    }

    pub(crate) async fn run(mut self) {
        let mut failures = 0;
        loop {
            self.connection = self.connection.next();
            let end = match self.read_ca() {
                Ok(ca) => self.connect_and_serve(ca.as_deref()).await,
                Err(lost) => End::Lost { lost, was_connected: false },
            };
            self.reset();
            let End::Lost { lost, was_connected } = end else { break };
            if self.closing.as_ref().is_some_and(|closing| closing.said) {
                break;
            }
            self.forget_session = lost.kind == LostKind::Oversized;
            failures = if was_connected { 1 } else { failures + 1 };
            let retry_in = self.backoff(failures);
            if was_connected {
                self.outbox.emit(Event::Disconnected { reason: lost.reason });
            } else {
                if lost.kind == LostKind::PerhapsVersion && self.config.protocol.is_none() {
                    let tried = self.protocol;
                    self.protocol = match tried {
                        Protocol::V5 => Protocol::V311,
                        Protocol::V311 => Protocol::V5,
                    };
                    debug!(reason = lost.reason, next = %self.protocol, "the broker hung up on our version");
                    // Only a broker that takes neither version is one that cannot be reached.
                    if tried == Protocol::V5 && self.closing.is_none() {
                        continue;
                    }
                }
                self.outbox.emit(Event::Unreachable { reason: lost.reason, retry_in });
            }
            if self.wait(retry_in).await {
                break;
            }
        }
        if let Some(closing) = self.closing.take() {
            // Nobody may be waiting for the count any more.
            let _ = closing.done.send(self.queue.len());
        }
    }

    /// The authorities are read for each connection, so that a renewed file is used.
    fn read_ca(&self) -> Result<Option<Vec<u8>>, Lost> {
        let Some(path) = &self.config.ca else { return Ok(None) };
        std::fs::read(path).map(Some).map_err(|error| Lost {
            reason: format!("wanted certificate authorities in {}: {error}", path.display()),
            kind: LostKind::Other,
        })
    }

    fn backoff(&self, failures: u32) -> Duration {
        let factor = 1_u32 << (failures.clamp(1, 20) - 1);
        let pause = self.config.backoff_first.saturating_mul(factor).min(self.config.backoff_most);
        let mut random = [0; 2];
        // Without randomness the pause is merely not jittered.
        let _ = getrandom::fill(&mut random);
        pause.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX))
    }

    /// Waits before the next attempt while taking commands. True when it is over.
    async fn wait(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            let deadline = self.closing.as_ref().map_or(until, |closing| closing.until.min(until));
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return true,
                },
                () = sleep_until(deadline) => {
                    return self.closing.as_ref().is_some_and(|closing| Instant::now() >= closing.until);
                }
            }
            // With nothing left to deliver, a goodbye to nobody need not wait.
            if self.closing.is_some() && self.queue.is_empty() {
                return true;
            }
        }
    }

    async fn connect_and_serve(&mut self, ca: Option<&[u8]>) -> End {
        let will = self.config.will.as_ref().map(|make| make(self.connection));
        let (link, mut pump) = Link::open(self.protocol, &self.config, will, self.forget_session, ca);
        // The pump must never be dropped half way through a packet, so it runs as one future beside the commands.
        let (noticed, mut notices) = mpsc::channel(usize::from(WINDOW));
        let mut pumping = pin!(async move {
            loop {
                match pump.next().await {
                    Ok(notice) => {
                        if noticed.send(notice).await.is_err() {
                            return Lost { reason: "closed".to_owned(), kind: LostKind::Other };
                        }
                    }
                    Err(lost) => return lost,
                }
            }
        });
        loop {
            let deadline = self.closing.as_ref().map(|closing| closing.until);
            let handled = tokio::select! {
                Some(notice) = notices.recv() => self.notice(notice, &link),
                lost = &mut pumping => {
                    let was_connected = self.connected;
                    while let Ok(notice) = notices.try_recv() {
                        // What arrived before the end still counts; nothing can be answered any more.
                        let _ = self.notice(notice, &link);
                    }
                    return End::Lost { lost, was_connected: was_connected || self.connected };
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.take_connected(command, &link),
                    None => return End::Closed,
                },
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return End::Closed,
            };
            let done = handled.and_then(|()| self.hand_over(&link)).and_then(|()| self.say_goodbye(&link));
            if done.is_err() {
                let reason = "the client's request queue is full".to_owned();
                let was_connected = self.connected;
                return End::Lost { lost: Lost { reason, kind: LostKind::Other }, was_connected };
            }
        }
    }

    /// Forgets what belonged to one connection, and keeps what must be sent again, in order.
    fn reset(&mut self) {
        while let Some(UnderWay { message, .. }) = self.under_way.pop_back() {
            self.queue.push_front(message);
        }
        self.subscribing.clear();
        self.asked.clear();
        self.acks = Acks::default();
        self.max_packet = None;
        self.connected = false;
    }

    /// A command while there is no connection.
    fn take(&mut self, command: Command) {
        match command {
            Command::Publish(message) => match message.topic.qos() {
                Qos::AtLeastOnce => self.enqueue(message),
                Qos::AtMostOnce => debug!(topic = %message.topic, "not connected, QoS 0 message dropped"),
            },
            Command::Subscribe(filters) => self.filters.extend(filters),
            Command::Unsubscribe(filters) => {
                for filter in &filters {
                    self.filters.remove(filter);
                }
            }
            // The message it was for comes again.
            Command::Ack(_) => {}
            Command::Disconnect { until, done } => self.closing = Some(Closing { until, said: false, done }),
        }
    }

    /// Puts a message at the end of the queue. One that overdraws it throws out what is expired and what may be lost, but
    /// not for each message anew: the queue is long then.
    fn enqueue(&mut self, message: Outgoing) {
        let now = Instant::now();
        let due = self.swept.is_none_or(|swept| now >= swept + SWEEP);
        if due && matches!(message.place, Place::Overdraft { .. }) {
            self.swept = Some(now);
            let before = self.queue.len();
            self.queue.retain(|m| m.expires.is_none_or(|at| at > now) && !may_be_lost(&m.topic));
            let dropped = before - self.queue.len();
            warn!(
                dropped,
                kept = self.queue.len(),
                "the queue is full; what is expired or may be lost was dropped"
            );
        }
        self.queue.push_back(message);
    }

    fn take_connected(&mut self, command: Command, link: &Link) -> Result<(), Jammed> {
        if !self.connected {
            self.take(command);
            return Ok(());
        }
        match command {
            Command::Publish(message) => self.enqueue(message),
            Command::Subscribe(filters) => {
                self.filters.extend(filters.iter().cloned());
                self.subscribe(filters, link)?;
            }
            Command::Unsubscribe(filters) => {
                for filter in filters {
                    self.filters.remove(&filter);
                    link.unsubscribe(filter.under(&self.config.namespace))?;
                }
            }
            Command::Ack(token) => {
                if token.connection == self.connection
                    && let Some(position) = token.position
                {
                    self.acknowledge(position, link)?;
                }
            }
            Command::Disconnect { until, done } => self.closing = Some(Closing { until, said: false, done }),
        }
        Ok(())
    }

    fn acknowledge(&mut self, position: u64, link: &Link) -> Result<(), Jammed> {
        self.acks.done(position);
        while let Some(packet) = self.acks.next() {
            link.acknowledge(packet)?;
        }
        Ok(())
    }

    fn subscribe(&mut self, filters: Vec<Filter>, link: &Link) -> Result<(), Jammed> {
        if filters.is_empty() {
            return Ok(());
        }
        let wanted = filters.iter().map(|filter| {
            let qos = match filter {
                Filter::One(topic) => topic.qos(),
                _ => Qos::AtLeastOnce,
            };
            (filter.under(&self.config.namespace), qos)
        });
        link.subscribe(wanted.collect())?;
        self.subscribing.push_back(filters);
        Ok(())
    }

    fn notice(&mut self, notice: Notice, link: &Link) -> Result<(), Jammed> {
        match notice {
            Notice::Connected { session_present, max_packet, window } => {
                self.connected = true;
                (self.max_packet, self.window) = (max_packet, window);
                let (connection, protocol) = (self.connection, self.protocol);
                self.outbox.emit(Event::Connected { connection, session_present, protocol });
                self.subscribe(self.filters.iter().cloned().collect(), link)?;
            }
            Notice::Published { packet } => {
                // Requests are written in the order they were handed over.
                let written = self.under_way.iter().position(|u| u.packet.is_none());
                match (written, packet) {
                    (Some(at), Some(_)) => self.under_way[at].packet = packet,
                    (Some(at), None) => drop(self.under_way.remove(at)),
                    (None, _) => debug!("the client wrote a message that was not handed over"),
                }
            }
            Notice::Acknowledged { packet, refused } => {
                let at = self.under_way.iter().position(|u| u.packet == Some(packet));
                let message = at.and_then(|at| self.under_way.remove(at));
                if let (Some(UnderWay { message, .. }), Some(reason)) = (message, refused) {
                    self.outbox.emit(Event::PublishRefused { topic: message.topic, reason });
                }
            }
            Notice::Subscribing { packet } => {
                if let Some(filters) = self.subscribing.pop_front() {
                    self.asked.insert(packet, filters);
                }
            }
            Notice::Subscribed { packet, refused } => self.subscribed(packet, refused),
            Notice::Message { topic, payload, retained, packet } => {
                self.message(topic, payload, retained, packet, link)?;
            }
            Notice::Other => {}
        }
        Ok(())
    }

    fn subscribed(&mut self, packet: u16, refused: Vec<Option<String>>) {
        let asked = self.asked.remove(&packet).unwrap_or_default();
        let mut filters = Vec::new();
        for (filter, refused) in asked.into_iter().zip(refused) {
            match refused {
                None => filters.push(filter),
                Some(reason) => self.outbox.emit(Event::SubscriptionRefused { filter, reason }),
            }
        }
        if !filters.is_empty() {
            self.outbox.emit(Event::Subscribed { filters });
        }
    }

    fn message(
        &mut self,
        topic: String,
        payload: Bytes,
        retained: bool,
        packet: Option<u16>,
        link: &Link,
    ) -> Result<(), Jammed> {
        let position = packet.map(|packet| self.acks.arrived(packet));
        let bytes = payload.len();
        let event = match Topic::parse(&self.config.namespace, &topic) {
            Ok(topic) if bytes > MAX_ENVELOPE => Event::TooLarge { topic, bytes },
            Ok(topic) => {
                let ack = AckToken { connection: self.connection, position };
                let event = Event::Message { topic, payload, retained, ack };
                match position {
                    Some(_) => self.outbox.emit(event),
                    None => self.outbox.emit_lossy(event),
                }
                return Ok(());
            }
            Err(_) => Event::Foreign { topic, bytes },
        };
        self.outbox.emit(event);
        position.map_or(Ok(()), |position| self.acknowledge(position, link))
    }

    /// Gives the connection as much as it may have under way.
    fn hand_over(&mut self, link: &Link) -> Result<(), Jammed> {
        while self.connected && self.under_way.len() < usize::from(self.window) {
            let Some(message) = self.queue.pop_front() else { break };
            let now = Instant::now();
            if message.expires.is_some_and(|expires| expires <= now) {
                debug!(topic = %message.topic, "expired before it could be sent");
                continue;
            }
            let topic = message.topic.under(&self.config.namespace);
            // 32 bytes cover the packet's header, its id and the one property we set.
            let packet = topic.len() + message.payload.len() + 32;
            if let Some(limit) = self.max_packet.filter(|limit| packet > *limit as usize) {
                let reason = format!("the broker takes packets of at most {limit} bytes, this is {packet}");
                warn!(topic, reason, "message dropped");
                self.outbox.emit(Event::PublishRefused { topic: message.topic, reason });
                continue;
            }
            let expiry = message.expires.map(|expires| expires - now);
            link.publish(topic, message.topic.qos(), message.retain, message.payload.clone(), expiry)?;
            self.under_way.push_back(UnderWay { packet: None, message });
        }
        Ok(())
    }

    /// Disconnects once everything is delivered.
    fn say_goodbye(&mut self, link: &Link) -> Result<(), Jammed> {
        let delivered = self.connected && self.queue.is_empty() && self.under_way.is_empty();
        if let Some(closing) = &mut self.closing
            && delivered
            && !closing.said
        {
            link.disconnect()?;
            closing.said = true;
            closing.until = Instant::now() + FAREWELL;
        }
        Ok(())
    }
}

/// The messages of one connection that the broker waits to hear about, in the order they came.
#[derive(Debug, Default)]
struct Acks {
    /// Position of the first one waiting.
    first: u64,
    waiting: VecDeque<(u16, bool)>,
}

impl Acks {
    /// A message came; gives its position.
    fn arrived(&mut self, packet: u16) -> u64 {
        self.waiting.push_back((packet, false));
        self.first + self.waiting.len() as u64 - 1
    }

    /// The message at this position was dealt with.
    fn done(&mut self, position: u64) {
        let at = position.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        if let Some((_, done)) = at.and_then(|at| self.waiting.get_mut(at)) {
            *done = true;
        }
    }

    /// The packet to acknowledge next, if all before it were.
    fn next(&mut self) -> Option<u16> {
        let (packet, _) = self.waiting.pop_front_if(|(_, done)| *done)?;
        self.first += 1;
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn released(acks: &mut Acks) -> Vec<u16> {
        std::iter::from_fn(|| acks.next()).collect()
    }

    #[test]
    fn acknowledgements_leave_in_the_order_the_messages_came() {
        let mut acks = Acks::default();
        let [a, b, c] = [7, 5, 9].map(|packet| acks.arrived(packet));
        acks.done(c);
        acks.done(b);
        assert_eq!(released(&mut acks), [0; 0]);
        acks.done(a);
        assert_eq!(released(&mut acks), [7, 5, 9]);
        // Packet ids come round again; positions do not.
        let again = acks.arrived(7);
        acks.done(a);
        assert_eq!(released(&mut acks), [0; 0]);
        acks.done(again);
        assert_eq!(released(&mut acks), [7]);
    }
}
