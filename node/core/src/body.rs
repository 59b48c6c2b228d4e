//! Every message body of the federation, in one sum. The name in the envelope's `type` picks the variant.

use foa_capability::card::AgentCard;
use foa_capability::delta::CardDelta;
use foa_wire::envelope::Envelope;
use foa_workflows::JobResult;
use foa_workflows::cluster::channel::Entry;
use foa_workflows::job::{Accepted, Control, JobSubmission, Progress, Rejection};
use foa_workflows::journal::JobEvents;
use foa_workflows::request::{ChannelEntries, ChannelRequest, Request, Work, WorkCancel, WorkReply};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::afar::{RouteAnswer, RouteAsk, RouteGrade};
use crate::artifact::{ArtifactAsk, ArtifactKeep, ArtifactOffer};
use crate::gossip::{CardRequest, Cards, DirectoryDigest, Roll};
use crate::query::{Query, QueryReply};
use crate::refusal::EnforcementReport;
use crate::replica::Message;
use crate::shards::DirectoryMap;
use crate::status::NodeStatus;

/// What a message says. `docs`: `broker/README.md` lists each with an example that a test keeps true.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `job.submit`: a job wanted.
    JobSubmit(JobSubmission),
    /// `job.accepted`: the holder's word to the submitter and the other coordinators.
    JobAccepted(Accepted),
    /// `job.rejected`: the same, when it is no.
    JobRejected(Rejection),
    /// `replica.append`, `replica.stored`, `replica.behind`, `replica.prepare`, `replica.promise`, `replica.refuse`,
    /// `replica.fetch`, `replica.records`: coordinators about one job's log.
    Replica(Box<Message>),
    /// `job.events`: committed records.
    JobEvents(JobEvents),
    /// `job.progress`: something to show while it happens.
    JobProgress(Progress),
    /// `job.control`: cancel, replay.
    JobControl(Control),
    /// `job.result`: the end of a job.
    JobResult(Box<JobResult>),
    /// `work.propose`, `work.judge`, `work.draft`, `work.refine`, `work.synthesise`: work for an agent.
    Work(Box<Work>),
    /// `work.reply`: what came of it.
    WorkReply(Box<WorkReply>),
    /// `work.cancel`: no longer wanted.
    WorkCancel(WorkCancel),
    /// `channel.entry`: one blackboard entry.
    Entry(Box<Entry>),
    /// `channel.request`: entries I lack.
    ChannelRequest(ChannelRequest),
    /// `channel.entries`: here they are.
    ChannelEntries(ChannelEntries),
    /// `card`: an agent's signed card with its capability vector.
    Card(Box<AgentCard>),
    /// `card.delta`: what changed in it.
    CardDelta(Box<CardDelta>),
    /// `directory.digest`: what I know of whom.
    Digest(DirectoryDigest),
    /// `directory.request`: cards I lack.
    CardRequest(CardRequest),
    /// `directory.cards`: here they are.
    Cards(Cards),
    /// `directory.map`: how the directory is cut into shards.
    DirectoryMap(Box<DirectoryMap>),
    /// `route.ask`: who of your agents fits?
    RouteAsk(Box<RouteAsk>),
    /// `route.answer`: these do.
    RouteAnswer(Box<RouteAnswer>),
    /// `route.grade`: your agent delivered, or did not.
    RouteGrade(Box<RouteGrade>),
    /// `directory.roll`: whose cards I hold; who is missing republishes.
    Roll(Roll),
    /// `node.status`: presence and load; also the last will.
    Status(NodeStatus),
    /// `query`: a question about what a coordinator knows.
    Query(Query),
    /// `query.reply`: its answer.
    QueryReply(Box<QueryReply>),
    /// `policy.report`: refusals, by name.
    Enforcement(EnforcementReport),
    /// `artifact.ask`: who holds these?
    ArtifactAsk(ArtifactAsk),
    /// `artifact.offer`: I hold these.
    ArtifactOffer(ArtifactOffer),
    /// `artifact.keep`: fetch this from me and keep it.
    ArtifactKeep(ArtifactKeep),
}

/// Why a verified envelope's body is nothing we act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A type this version does not know; acknowledged and counted.
    #[error("wanted a known message type, found {kind:?}")]
    UnknownType {
        /// The type found.
        kind: String,
    },
    /// A known type whose body has another shape.
    #[error("wanted the body of a {kind}, but {detail}")]
    BadBody {
        /// The type.
        kind: String,
        /// What serde found.
        detail: String,
    },
}

impl Unreadable {
    /// Its stable name in counters.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "unknown-type",
            Self::BadBody { .. } => "bad-body",
        }
    }
}

impl Body {
    /// The envelope's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::JobSubmit(_) => "job.submit",
            Self::JobAccepted(_) => "job.accepted",
            Self::JobRejected(_) => "job.rejected",
            Self::Replica(message) => message.kind(),
            Self::JobEvents(_) => "job.events",
            Self::JobProgress(_) => "job.progress",
            Self::JobControl(_) => "job.control",
            Self::JobResult(_) => "job.result",
            Self::Work(work) => match work.request {
                Request::Propose { .. } => "work.propose",
                Request::Judge { .. } => "work.judge",
                Request::Draft { .. } => "work.draft",
                Request::Refine { .. } => "work.refine",
                Request::Synthesise { .. } => "work.synthesise",
            },
            Self::WorkReply(_) => "work.reply",
            Self::WorkCancel(_) => "work.cancel",
            Self::Entry(_) => "channel.entry",
            Self::ChannelRequest(_) => "channel.request",
            Self::ChannelEntries(_) => "channel.entries",
            Self::Card(_) => "card",
            Self::CardDelta(_) => "card.delta",
            Self::Digest(_) => "directory.digest",
            Self::CardRequest(_) => "directory.request",
            Self::Cards(_) => "directory.cards",
            Self::DirectoryMap(_) => "directory.map",
            Self::RouteAsk(_) => "route.ask",
            Self::RouteAnswer(_) => "route.answer",
            Self::RouteGrade(_) => "route.grade",
            Self::Roll(_) => "directory.roll",
            Self::Status(_) => "node.status",
            Self::Query(_) => "query",
            Self::QueryReply(_) => "query.reply",
            Self::Enforcement(_) => "policy.report",
            Self::ArtifactAsk(_) => "artifact.ask",
            Self::ArtifactOffer(_) => "artifact.offer",
            Self::ArtifactKeep(_) => "artifact.keep",
        }
    }

    /// The body as JSON.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let value = match self {
            Self::JobSubmit(body) => serde_json::to_value(body),
            Self::JobAccepted(body) => serde_json::to_value(body),
            Self::JobRejected(body) => serde_json::to_value(body),
            Self::Replica(body) => serde_json::to_value(body),
            Self::JobEvents(body) => serde_json::to_value(body),
            Self::JobProgress(body) => serde_json::to_value(body),
            Self::JobControl(body) => serde_json::to_value(body),
            Self::JobResult(body) => serde_json::to_value(body),
            Self::Work(body) => serde_json::to_value(body),
            Self::WorkReply(body) => serde_json::to_value(body),
            Self::WorkCancel(body) => serde_json::to_value(body),
            Self::Entry(body) => serde_json::to_value(body),
            Self::ChannelRequest(body) => serde_json::to_value(body),
            Self::ChannelEntries(body) => serde_json::to_value(body),
            Self::Card(body) => serde_json::to_value(body),
            Self::CardDelta(body) => serde_json::to_value(body),
            Self::Digest(body) => serde_json::to_value(body),
            Self::CardRequest(body) => serde_json::to_value(body),
            Self::Cards(body) => serde_json::to_value(body),
            Self::DirectoryMap(body) => serde_json::to_value(body),
            Self::RouteAsk(body) => serde_json::to_value(body),
            Self::RouteAnswer(body) => serde_json::to_value(body),
            Self::RouteGrade(body) => serde_json::to_value(body),
            Self::Roll(body) => serde_json::to_value(body),
            Self::Status(body) => serde_json::to_value(body),
            Self::Query(body) => serde_json::to_value(body),
            Self::QueryReply(body) => serde_json::to_value(body),
            Self::Enforcement(body) => serde_json::to_value(body),
            Self::ArtifactAsk(body) => serde_json::to_value(body),
            Self::ArtifactOffer(body) => serde_json::to_value(body),
            Self::ArtifactKeep(body) => serde_json::to_value(body),
        };
        value.expect("bodies have string keys and finite numbers")
    }

    /// Reads the body of a verified envelope.
    ///
    /// # Errors
    /// When the type is unknown or the body has another shape; both are counted, neither is a fault of ours.
    pub fn read(envelope: Envelope) -> Result<Self, Unreadable> {
        fn typed<T: DeserializeOwned>(kind: &str, body: Value) -> Result<T, Unreadable> {
            serde_json::from_value(body)
                .map_err(|e| Unreadable::BadBody { kind: kind.to_owned(), detail: e.to_string() })
        }
        let kind = envelope.header.kind;
        let body = envelope.body;
        Ok(match kind.as_str() {
            "job.submit" => Self::JobSubmit(typed(&kind, body)?),
            "job.accepted" => Self::JobAccepted(typed(&kind, body)?),
            "job.rejected" => Self::JobRejected(typed(&kind, body)?),
            "replica.append" | "replica.stored" | "replica.behind" | "replica.prepare"
            | "replica.promise" | "replica.refuse" | "replica.fetch" | "replica.records" => {
                let message: Box<Message> = typed(&kind, body)?;
                if message.kind() != kind {
                    let detail = format!("it is a {}", message.kind());
                    return Err(Unreadable::BadBody { kind, detail });
                }
                Self::Replica(message)
            }
            "job.events" => Self::JobEvents(typed(&kind, body)?),
            "job.progress" => Self::JobProgress(typed(&kind, body)?),
            "job.control" => Self::JobControl(typed(&kind, body)?),
            "job.result" => Self::JobResult(typed(&kind, body)?),
            "work.propose" | "work.judge" | "work.draft" | "work.refine" | "work.synthesise" => {
                let work: Box<Work> = typed(&kind, body)?;
                if format!("work.{}", work.request.kind()) != kind {
                    let detail = format!("its request is {:?}", work.request.kind());
                    return Err(Unreadable::BadBody { kind, detail });
                }
                Self::Work(work)
            }
            "work.reply" => Self::WorkReply(typed(&kind, body)?),
            "work.cancel" => Self::WorkCancel(typed(&kind, body)?),
            "channel.entry" => Self::Entry(typed(&kind, body)?),
            "channel.request" => Self::ChannelRequest(typed(&kind, body)?),
            "channel.entries" => Self::ChannelEntries(typed(&kind, body)?),
            "card" => Self::Card(typed(&kind, body)?),
            "card.delta" => Self::CardDelta(typed(&kind, body)?),
            "directory.digest" => Self::Digest(typed(&kind, body)?),
            "directory.request" => Self::CardRequest(typed(&kind, body)?),
            "directory.cards" => Self::Cards(typed(&kind, body)?),
            "directory.map" => Self::DirectoryMap(typed(&kind, body)?),
            "route.ask" => Self::RouteAsk(typed(&kind, body)?),
            "route.answer" => Self::RouteAnswer(typed(&kind, body)?),
            "route.grade" => Self::RouteGrade(typed(&kind, body)?),
            "directory.roll" => Self::Roll(typed(&kind, body)?),
            "node.status" => Self::Status(typed(&kind, body)?),
            "query" => Self::Query(typed(&kind, body)?),
            "query.reply" => Self::QueryReply(typed(&kind, body)?),
            "policy.report" => Self::Enforcement(typed(&kind, body)?),
            "artifact.ask" => Self::ArtifactAsk(typed(&kind, body)?),
            "artifact.offer" => Self::ArtifactOffer(typed(&kind, body)?),
            "artifact.keep" => Self::ArtifactKeep(typed(&kind, body)?),
            _ => return Err(Unreadable::UnknownType { kind }),
        })
    }
}
