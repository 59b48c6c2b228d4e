//! What crosses MQTT, and nothing else: ids, orders, topics, the signed envelope and its JSON codec.
//!
//! This crate is the only place that knows topic strings and the encoding. It does not know sockets, files,
//! clocks, capability vectors or plans: a message body is an opaque JSON value here.
//!
//! Start reading at [`topic`] (who speaks where), then [`envelope`] (what every message carries) and
//! [`sign`] (why it can be believed).

#![expect(
    clippy::result_large_err,
    reason = "a refusal names the sender and key it met; it is rare, and made once per message"
)]

pub mod artifact;
mod canonical;
pub mod codec;
pub mod envelope;
pub mod id;
pub mod jws;
pub mod order;
pub mod refusal;
pub mod sign;
mod text;
pub mod time;
pub mod topic;

pub use artifact::{ArtifactId, PeerAddress};
pub use envelope::{Envelope, Header};
pub use id::{AgentId, AgentName, ClusterId, JobId, MessageId, NodeId, NodeName, WorkId};
pub use jws::AgentCardSignature;
pub use order::{Boot, Connection, Index, Sequence, Term, Version};
pub use refusal::Refusal;
pub use sign::{NodeKey, PublicKey, Signature};
pub use time::Time;
pub use topic::{Filter, Namespace, Topic};
