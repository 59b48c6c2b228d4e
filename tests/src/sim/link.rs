//! What travels, and how long it takes.

use std::rc::Rc;
use std::time::Duration;

use foa_node_core::effect::Received;
use foa_node_core::gossip::Roll;
use foa_node_core::{Body, Identity, Input};
use foa_wire::envelope::{self, Envelope, Header, MAX_LIFETIME};
use foa_wire::{Boot, JobId, MessageId, Namespace, NodeId, Sequence, Time, Topic, codec};

use super::random::Random;

/// Lanes of a connection: within one, messages keep their order; between them they do not.
const LANES: usize = 16;

/// A message on the broker.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where.
    pub topic: Topic,
    /// Who signed it; `None` is unsigned.
    pub from: Option<NodeId>,
    /// The sender's start.
    pub boot: Boot,
    /// Its id.
    pub id: MessageId,
    /// When it stops meaning anything.
    pub expires: Option<Time>,
    /// What it says; `None` empties a retained topic.
    pub payload: Option<Payload>,
    /// Its type, for the counters.
    pub kind: &'static str,
    /// Its size, where sizes are counted.
    pub bytes: usize,
    /// The id its bytes would have as a job.
    pub job: Option<JobId>,
}

impl Message {
    /// What its topic does not say: the job or work it is about.
    #[must_use]
    pub fn about(&self) -> String {
        let Some(Payload::Plain(body)) = &self.payload else { return String::new() };
        match &**body {
            Body::JobSubmit(submission) => {
                submission.job.as_ref().map_or_else(String::new, |job| format!(" {job}"))
            }
            Body::JobAccepted(accepted) => format!(" {} in term {}", accepted.job, accepted.term.number),
            Body::Work(work) => format!(" {}", work.work),
            Body::WorkReply(reply) => format!(" {}", reply.work),
            Body::WorkCancel(cancel) => format!(" {}", cancel.work),
            Body::JobEvents(events) => {
                let told = events.records.iter().map(|r| format!(" {} {}", r.index, r.step.name()));
                told.collect()
            }
            Body::Status(status) => {
                let there = if status.online { "online" } else { "offline" };
                format!(" {there} {}.{}.{}", status.boot, status.connection, status.seq)
            }
            Body::Replica(message) => format!(" {} {}", message.job, message.term.number),
            Body::JobRejected(_)
            | Body::JobProgress(_)
            | Body::JobControl(_)
            | Body::JobResult(_)
            | Body::Entry(_)
            | Body::ChannelRequest(_)
            | Body::ChannelEntries(_)
            | Body::Card(_)
            | Body::CardDelta(_)
            | Body::Digest(_)
            | Body::CardRequest(_)
            | Body::Cards(_)
            | Body::DirectoryMap(_)
            | Body::RouteAsk(_)
            | Body::RouteAnswer(_)
            | Body::RouteGrade(_)
            | Body::Roll(_)
            | Body::Query(_)
            | Body::QueryReply(_)
            | Body::ArtifactAsk(_)
            | Body::ArtifactOffer(_)
            | Body::ArtifactKeep(_)
            | Body::Enforcement(_) => String::new(),
        }
    }
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum Payload {
    /// As it is.
    Plain(Rc<Body>),
    /// As it would be on a real broker.
    Sealed(Rc<Vec<u8>>),
}

/// One sender's side of the wire.
#[derive(Clone, Debug)]
pub struct Sender {
    identity: Identity,
    boot: Boot,
    encode: bool,
    bytes: bool,
    sent: u64,
}

impl Sender {
    /// A sender of this start.
    #[must_use]
    pub fn new(identity: Identity, boot: Boot, encode: bool, bytes: bool) -> Self {
        Self { identity, boot, encode, bytes, sent: 0 }
    }

    /// Signs a message. `Err` says why nobody would accept it.
    ///
    /// # Errors
    /// When it is too large or cannot be written as JSON that everyone reads alike.
    pub fn seal(
        &mut self,
        topic: Topic,
        body: Body,
        expires: Option<Time>,
        now: Time,
    ) -> Result<Message, String> {
        self.sent += 1;
        let id = self.next_id();
        let kind = body.kind();
        let mut bytes = 0;
        let unnamed = matches!(&body, Body::JobSubmit(submission) if submission.job.is_none());
        let job = unnamed.then(|| {
            let mut bytes = codec::canonical(&body.to_value());
            bytes.extend_from_slice(self.identity.id().to_string().as_bytes());
            JobId::of_body(&bytes)
        });
        let payload = if self.encode {
            let header = Header {
                kind: kind.to_owned(),
                to: topic.to_string(),
                id: id.clone(),
                from: self.identity.id().clone(),
                boot: self.boot,
                seq: Sequence(self.sent),
                sent: now,
                expires,
                trace: None,
            };
            let envelope = Envelope { header, body: body.to_value() };
            let sealed =
                envelope.seal(&Namespace::default(), self.identity.key()).map_err(|e| e.to_string())?;
            bytes = sealed.len();
            Payload::Sealed(Rc::new(sealed))
        } else {
            if self.bytes {
                bytes = body.to_value().to_string().len() + ENVELOPE;
            }
            Payload::Plain(Rc::new(body))
        };
        let from = Some(self.identity.id().clone());
        Ok(Message { topic, from, boot: self.boot, id, expires, payload: Some(payload), kind, bytes, job })
    }

    /// An empty message, which removes what the broker retains.
    #[must_use]
    pub fn empty(&mut self, topic: Topic) -> Message {
        self.sent += 1;
        let from = Some(self.identity.id().clone());
        let id = self.next_id();
        let (boot, kind) = (self.boot, "clear");
        Message { topic, from, boot, id, expires: None, payload: None, kind, bytes: 0, job: None }
    }

    fn next_id(&self) -> MessageId {
        format!("m{}-{:06}", self.boot, self.sent).parse().expect("a prefix and a number make an id")
    }
}

/// What the envelope adds to a body, about, when it is not really made.
const ENVELOPE: usize = 620;

/// What arrived, as a machine wants it. `None` for nothing at all.
#[must_use]
pub fn open(message: &Message, to: &NodeId, now: Time) -> Option<Input> {
    let refused = |reason: &str, detail: String| {
        Some(Input::Refused {
            reason: reason.to_owned(),
            sender: message.from.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string),
            subject: message.topic.to_string(),
            detail,
        })
    };
    let body = match message.payload.as_ref()? {
        Payload::Plain(body) => {
            let limit = |at: Time| at + envelope::CLOCK_SKEW;
            if message
                .expires
                .is_some_and(|at| limit(at) < now || at > now + MAX_LIFETIME + envelope::CLOCK_SKEW)
            {
                return refused("expired", "its time is over".to_owned());
            }
            copied(body, to)
        }
        Payload::Sealed(bytes) => match envelope::open(&Namespace::default(), &message.topic, bytes, now) {
            Ok(envelope) => match Body::read(envelope) {
                Ok(body) => body,
                Err(e) => return refused(e.name(), e.to_string()),
            },
            Err(e) => return refused(e.name(), e.to_string()),
        },
    };
    let unsigned = message.from.is_none();
    Some(Input::Received(Box::new(Received {
        topic: message.topic.clone(),
        from: message.from.clone(),
        boot: message.boot,
        id: (!unsigned).then(|| message.id.clone()),
        expires: if unsigned { None } else { message.expires },
        body,
        job: message.job.clone(),
    })))
}

/// A body as one node reads it. Of a roll that is the node's own line: copying the lines of all for each of ten thousand
/// nodes would cost more than everything else.
fn copied(body: &Body, to: &NodeId) -> Body {
    match body {
        Body::Roll(roll) => {
            let own = roll.nodes.get_key_value(to).map(|(node, mark)| (node.clone(), mark.clone()));
            let nodes = own.into_iter().collect();
            Body::Roll(Roll { nodes, after: roll.after.clone(), until: roll.until.clone() })
        }
        body => body.clone(),
    }
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Lanes([Time; LANES]);

/// How packets fare.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Weather {
    /// How likely a packet is lost: QoS 0 is gone, QoS 1 comes late and perhaps twice.
    pub loss: f64,
    /// How likely QoS 1 arrives twice though nothing was lost.
    pub twice: f64,
    /// Milliseconds that a packet may take longer than usual.
    pub late_ms: u64,
    /// Whether packets of one lane overtake one another.
    pub overtakes: bool,
}

/// When a packet arrives, and when its duplicate does.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When; `None` when QoS 0 was lost.
    pub at: Option<Time>,
    /// A second time, for QoS 1.
    pub again: Option<Time>,
}

impl Lanes {
    /// How a packet on this topic fares.
    pub fn carry(
        &mut self,
        topic: &Topic,
        certain: bool,
        weather: Weather,
        now: Time,
        random: &mut Random,
    ) -> Arrival {
        let lost = random.chance(weather.loss);
        if lost && !certain {
            return Arrival { at: None, again: None };
        }
        let mut wait = random.millis(1, 5);
        if lost {
            wait += random.millis(200, 1500);
        }
        if weather.late_ms > 0 {
            wait += random.millis(0, weather.late_ms);
        }
        let lane = lane(topic);
        let mut at = now + wait;
        if !weather.overtakes {
            at = at.max(self.0[lane]);
            self.0[lane] = at;
        }
        let twice = certain && random.chance(weather.loss / 2.0 + weather.twice);
        let again = twice.then(|| at + random.millis(5, 5000));
        Arrival { at: Some(at), again }
    }
}

fn lane(topic: &Topic) -> usize {
    let (kind, id) = match topic {
        Topic::Jobs => (0, ""),
        Topic::JobEvents(job) | Topic::JobProgress(job) | Topic::JobControl(job) | Topic::Result(job) => {
            (1, job.as_str())
        }
        Topic::Tasks(agent) | Topic::Card(agent) => (2, agent.agent().as_str()),
        Topic::Inbox(_) => (3, ""),
        Topic::Channel(cluster) => (4, cluster.as_str()),
        Topic::Calls => (5, ""),
        Topic::CardUpdates(node) | Topic::Status(node) => (6, node.name().as_str()),
        Topic::Enforcement => (7, ""),
    };
    usize::try_from(super::random::fnv(id.as_bytes()).wrapping_add(kind) % LANES as u64).unwrap_or(0)
}

/// How long a client waits before it tries to connect again.
pub const RECONNECT: Duration = Duration::from_millis(400);
