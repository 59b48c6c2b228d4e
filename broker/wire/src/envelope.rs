//! What every message carries, and why a receiver may believe it.
//!
//! An envelope is one JSON object:
//! `{"v":1,"fed":…,"type":…,"to":…,"id":…,"from":…,"key":…,"boot":…,"seq":…,"sent":…,"expires"?:…,"trace"?:…,"body":…,"sig":…}`.
//! `sig` is Ed25519 over `foa/1\n` followed by the canonical form (RFC 8785) of the object without `sig`. It is
//! checked on the JSON value before the value becomes typed, so fields this version does not know are covered too.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::Duration;

use crate::codec::{self, MAX_ENVELOPE, Malformed};
use crate::refusal::{Reason, Refusal};
use crate::topic::Class;
use crate::{Boot, MessageId, Namespace, NodeId, NodeKey, PublicKey, Sequence, Signature, Time, Topic};

/// The version of the envelope this crate speaks.
pub const VERSION: u64 = 1;
/// How far two honest clocks may be apart: 60 s.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// The longest life of a command: 10 minutes.
pub const MAX_LIFETIME: Duration = Duration::from_secs(600);

/// What is signed begins with this, so that no signature of ours can be taken for one of another protocol.
const DOMAIN: &[u8] = b"foa/1\n";

/// Who says what to whom, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The kind of body, for example `work.draft`: 1 to 64 characters a-z, 0-9, `.`, `_` and `-`. JSON `type`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The topic it is meant for, without the namespace.
    pub to: String,
    /// Names this envelope. A retry is a new envelope.
    pub id: MessageId,
    /// Who sealed it.
    pub from: NodeId,
    /// The start of the sender it belongs to.
    pub boot: Boot,
    /// Its position among the envelopes of that start.
    pub seq: Sequence,
    /// When it was sealed.
    pub sent: Time,
    /// When it stops meaning anything. Commands must have it, at most [`MAX_LIFETIME`] after `sent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
    /// W3C `traceparent`, to follow one job through many nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// A message: its header and its body, opaque here.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// Who says what to whom.
    pub header: Header,
    /// What is said. Its shape depends on [`Header::kind`].
    pub body: Value,
}

/// An envelope that no receiver would accept, so it is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Its JSON text is longer than [`MAX_ENVELOPE`].
    #[error("wanted an envelope of at most {MAX_ENVELOPE} bytes, found {bytes}")]
    TooLarge {
        /// The length it would have.
        bytes: usize,
    },
    /// The body is nested too deep or holds a number that is out of range.
    #[error("the body cannot be sent")]
    Body {
        /// What is wrong with it.
        source: Malformed,
    },
    /// `from` was not made from the key that should sign.
    #[error("wanted the key of {from}, found {key}")]
    WrongKey {
        /// The sender in the header.
        from: NodeId,
        /// The key that was given.
        key: PublicKey,
    },
}

impl Envelope {
    /// The signed JSON text, in canonical form: the same envelope, federation and key give the same bytes.
    ///
    /// # Errors
    /// When no receiver would accept it: too large, a body out of range, or a key that is not the sender's.
    pub fn seal(self, fed: &Namespace, key: &NodeKey) -> Result<Vec<u8>, SealError> {
        let public = key.public();
        if !self.header.from.is_of(&public) {
            return Err(SealError::WrongKey { from: self.header.from, key: public });
        }
        let header = serde_json::to_value(&self.header).expect("a header is text and numbers");
        let Value::Object(mut members) = header else { unreachable!("a struct serialises as an object") };
        members.insert("v".to_owned(), VERSION.into());
        members.insert("fed".to_owned(), fed.to_string().into());
        members.insert("key".to_owned(), public.to_string().into());
        members.insert("body".to_owned(), self.body);
        let value = Value::Object(members);
        codec::check(&value).map_err(|source| SealError::Body { source })?;
        let Value::Object(members) = value else { unreachable!("made an object above") };
        // What is sent is what is signed with `sig` put where it sorts, so the canonical form is made once.
        let (before, after): (Map<_, _>, Map<_, _>) =
            members.into_iter().partition(|(name, _)| name.as_str() < "sig");
        let [before, after] = [before, after].map(|members| codec::canonical(&Value::Object(members)));
        let (before, after) = (&before[..before.len() - 1], &after[1..]);
        let signature = key.sign(&[DOMAIN, before, b",", after].concat()).to_string();
        let bytes = [before, b",\"sig\":\"", signature.as_bytes(), b"\",", after].concat();
        if bytes.len() > MAX_ENVELOPE {
            return Err(SealError::TooLarge { bytes: bytes.len() });
        }
        Ok(bytes)
    }
}

/// The bytes a signature covers, for a value that has no `sig`.
fn signing_input(unsigned: &Value) -> Vec<u8> {
    [DOMAIN, &codec::canonical(unsigned)].concat()
}

/// Reads and believes, or refuses by name, what arrived on a topic.
///
/// # Errors
/// When it is malformed, unsigned, of another version or federation, not by whom it says, not meant for this
/// topic, or outside its time. Replays are the receiver's to notice: it keeps the ids of commands until they expire.
pub fn open(fed: &Namespace, arrived: &Topic, bytes: &[u8], now: Time) -> Result<Envelope, Refusal> {
    let value = codec::parse(bytes).map_err(Refusal::from)?;
    open_value(fed, arrived, value, now)
}

/// The same for a value that was parsed by [`codec::parse`] already, for example one relayed inside another body.
///
/// # Errors
/// As [`open`].
pub fn open_value(fed: &Namespace, arrived: &Topic, value: Value, now: Time) -> Result<Envelope, Refusal> {
    let Value::Object(members) = value else {
        return Err(Malformed::Unexpected { wanted: "a JSON object" }.into());
    };
    if is_bare(&members) {
        return Err(Reason::Unsigned.into());
    }
    let claimed: Option<NodeId> = members.get("from").and_then(Value::as_str).and_then(|t| t.parse().ok());
    let opened = verify(fed, members).and_then(|envelope| {
        class_rules(&envelope.header, arrived, now)?;
        Ok(envelope)
    });
    opened.map_err(|reason| Refusal { reason, claimed })
}

/// Reads an unsigned submission: a JSON object that does not even claim to be an envelope. Whether such a thing is
/// accepted, and from where, is the receiver's policy.
///
/// # Errors
/// When it is malformed, no object, or an envelope: a broken envelope is never taken for an unsigned submission.
pub fn open_bare(bytes: &[u8]) -> Result<Value, Malformed> {
    match codec::parse(bytes)? {
        Value::Object(members) if is_bare(&members) => Ok(Value::Object(members)),
        _ => Err(Malformed::Unexpected { wanted: "a JSON object with neither \"v\" nor \"sig\"" }),
    }
}

fn is_bare(members: &Map<String, Value>) -> bool {
    !members.contains_key("v") && !members.contains_key("sig")
}

/// Everything that does not depend on where and when it arrived.
fn verify(fed: &Namespace, mut members: Map<String, Value>) -> Result<Envelope, Reason> {
    fn text<'a>(
        members: &'a Map<String, Value>,
        wanted: &'static str,
        name: &str,
    ) -> Result<&'a str, Reason> {
        let found = members.get(name).and_then(Value::as_str);
        found.ok_or(Reason::Malformed { source: Malformed::Unexpected { wanted } })
    }
    let invalid = |wanted| Reason::Malformed { source: Malformed::Unexpected { wanted } };

    let version = members.get("v").unwrap_or(&Value::Null);
    if version.as_u64() != Some(VERSION) {
        return Err(Reason::UnknownVersion { found: version.to_string().chars().take(32).collect() });
    }
    let found = text(&members, "the federation's namespace as text in \"fed\"", "fed")?;
    if found != fed.to_string() {
        let found = found.chars().take(128).collect();
        return Err(Reason::WrongFederation { wanted: fed.clone(), found });
    }
    let wanted = "a node id in \"from\"";
    let from: NodeId = text(&members, wanted, "from")?.parse().map_err(|_| invalid(wanted))?;
    let wanted = "the sender's Ed25519 public key in \"key\"";
    let key: PublicKey = text(&members, wanted, "key")?.parse().map_err(|_| invalid(wanted))?;
    if !from.is_of(&key) {
        return Err(Reason::WrongKey { from, key });
    }
    let signature = match members.remove("sig") {
        Some(Value::String(text)) => {
            text.parse::<Signature>().map_err(|_| Reason::BadSignature { from: from.clone() })?
        }
        _ => return Err(Reason::BadSignature { from }),
    };
    let value = Value::Object(members);
    if !key.verifies(&signing_input(&value), &signature) {
        return Err(Reason::BadSignature { from });
    }

    let header = Header::deserialize(&value)
        .map_err(|e| Reason::Malformed { source: Malformed::NotJson { reason: format!("header: {e}") } })?;
    if !is_kind(&header.kind) {
        return Err(invalid("1 to 64 characters a-z, 0-9, ., _ and - in \"type\""));
    }
    if header.trace.as_ref().is_some_and(|trace| trace.len() > 128) {
        return Err(invalid("at most 128 bytes in \"trace\""));
    }
    let Value::Object(mut members) = value else { unreachable!("built as an object above") };
    let body = members.remove("body").ok_or_else(|| invalid("a \"body\""))?;
    Ok(Envelope { header, body })
}

fn is_kind(kind: &str) -> bool {
    (1..=64).contains(&kind.len())
        && kind.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// What depends on where and when it arrived (protocol.md "Envelope and signature").
fn class_rules(header: &Header, arrived: &Topic, now: Time) -> Result<(), Reason> {
    if header.to != arrived.to_string() {
        let found = header.to.chars().take(200).collect();
        return Err(Reason::WrongTopic { arrived: arrived.clone(), found });
    }
    let owner = match arrived {
        Topic::Card(agent) => Some(agent.node()),
        Topic::CardUpdates(node) | Topic::Status(node) => Some(node),
        Topic::Jobs
        | Topic::JobEvents(_)
        | Topic::JobProgress(_)
        | Topic::JobControl(_)
        | Topic::Result(_)
        | Topic::Tasks(_)
        | Topic::Inbox(_)
        | Topic::Channel(_)
        | Topic::Calls
        | Topic::Enforcement => None,
    };
    if owner.is_some_and(|owner| *owner != header.from) {
        return Err(Reason::WrongSender { arrived: arrived.clone() });
    }
    match arrived.class() {
        Class::State => Ok(()),
        Class::Command => command_time(header, now),
    }
}

fn command_time(header: &Header, now: Time) -> Result<(), Reason> {
    let sent = header.sent;
    let Some(expires) = header.expires else { return Err(Reason::NoExpiry) };
    if expires < sent || expires.since(sent) > MAX_LIFETIME {
        return Err(Reason::BadLifetime { sent, expires });
    }
    if sent > now + CLOCK_SKEW {
        return Err(Reason::FromTheFuture { sent, now });
    }
    if now > expires + CLOCK_SKEW {
        return Err(Reason::Expired { expires, now });
    }
    Ok(())
}
