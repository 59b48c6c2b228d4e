//! Bytes to messages and back: envelopes sealed with our key, and checked before the machine sees them.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foa_node_core::effect::Received;
use foa_node_core::{Body, Identity, Input};
use foa_wire::envelope::{self, Envelope, Header, SealError};
use foa_wire::{Boot, Connection, JobId, Namespace, NodeId, Sequence, Time, Topic, codec};
use foa_workflows::JobSubmission;
use serde_json::Value;

/// One node's side of the wire.
#[derive(Debug)]
pub(super) struct Link {
    identity: Identity,
    namespace: Namespace,
    boot: Boot,
    prefix: String,
    sent: AtomicU64,
}

impl Link {
    pub(super) fn new(identity: Identity, namespace: Namespace, boot: Boot) -> Self {
        Self { identity, namespace, boot, prefix: format!("m{:010}", boot.0), sent: AtomicU64::new(0) }
    }

    /// A link that seals the will of one connection.
    pub(super) fn for_will(
        identity: Identity,
        namespace: Namespace,
        boot: Boot,
        connection: Connection,
    ) -> Self {
        let prefix = format!("w{:010}-{connection}", boot.0);
        Self { identity, namespace, boot, prefix, sent: AtomicU64::new(0) }
    }

    /// A signed envelope.
    pub(super) fn seal(
        &self,
        topic: &Topic,
        body: &Body,
        expires: Option<Time>,
        now: Time,
    ) -> Result<Bytes, Box<SealError>> {
        let seq = self.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let header = Header {
            kind: body.kind().to_owned(),
            to: topic.to_string(),
            id: format!("{}-{seq}", self.prefix).parse().expect("a prefix and a number make an id"),
            from: self.identity.id().clone(),
            boot: self.boot,
            seq: Sequence(seq),
            sent: now,
            expires,
            trace: None,
        };
        let envelope = Envelope { header, body: body.to_value() };
        envelope.seal(&self.namespace, self.identity.key()).map(Bytes::from).map_err(Box::new)
    }

    /// What arrived, as the machine wants it: a message, or a refusal by name. `None` for nothing at all, which is how a
    /// retained message is cleared.
    pub(super) fn open(&self, topic: Topic, payload: &[u8], now: Time) -> Option<Input> {
        if payload.is_empty() {
            return None;
        }
        if topic == Topic::Jobs
            && let Ok(value) = envelope::open_bare(payload)
        {
            return Some(bare(topic, value));
        }
        let subject = topic.to_string();
        let envelope = match envelope::open(&self.namespace, &topic, payload, now) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                return Some(Input::Refused {
                    reason: refusal.name().to_owned(),
                    sender: refusal.claimed.as_ref().map_or_else(|| "unknown".to_owned(), NodeId::to_string),
                    subject,
                    detail: refusal.to_string(),
                });
            }
        };
        let header = envelope.header.clone();
        let job = (header.kind == "job.submit").then(|| job_of(&envelope.body, Some(&header.from)));
        Some(match Body::read(envelope) {
            Ok(body) => Input::Received(Box::new(Received {
                topic,
                from: Some(header.from),
                boot: header.boot,
                id: Some(header.id),
                expires: header.expires,
                body,
                job,
            })),
            Err(unreadable) => Input::Refused {
                reason: unreadable.name().to_owned(),
                sender: header.from.to_string(),
                subject,
                detail: unreadable.to_string(),
            },
        })
    }
}

/// A submission by somebody without a key.
fn bare(topic: Topic, value: Value) -> Input {
    let job = job_of(&value, None);
    match serde_json::from_value::<JobSubmission>(value) {
        Ok(submission) => Input::Received(Box::new(Received {
            topic,
            from: None,
            boot: Boot(0),
            id: None,
            expires: None,
            body: Body::JobSubmit(submission),
            job: Some(job),
        })),
        Err(e) => Input::Refused {
            reason: "bad-body".to_owned(),
            sender: "unknown".to_owned(),
            subject: topic.to_string(),
            detail: format!("wanted a job like {{\"task\":\"…\"}}, but {e}"),
        },
    }
}

/// The id of a submission that names none: the hash of who submits what.
fn job_of(body: &Value, owner: Option<&NodeId>) -> JobId {
    let mut bytes = codec::canonical(body);
    if let Some(owner) = owner {
        bytes.extend_from_slice(owner.to_string().as_bytes());
    }
    JobId::of_body(&bytes)
}
