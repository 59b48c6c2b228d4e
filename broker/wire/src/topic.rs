//! Who speaks where. The only place in foa that knows topic strings.
//!
//! A [`Topic`] is what a message is published to; a [`Filter`] is what a node subscribes to. Both are text only
//! under a [`Namespace`], the federation's prefix on the broker.

use std::fmt;
use std::str::FromStr;

use crate::{AgentId, AgentName, ClusterId, JobId, NodeId};

/// The prefix of every topic of one federation: `foa` by default; may hold `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

/// A text that cannot be a namespace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "wanted a namespace of levels of A-Z, a-z, 0-9, _, - and . separated by /, at most 128 bytes, found {0:?}"
)]
pub struct InvalidNamespace(String);

impl Default for Namespace {
    fn default() -> Self {
        Self("foa".to_owned())
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = |l: &str| {
            !l.is_empty() && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if text.len() <= 128 && text.split('/').all(level) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidNamespace(text.chars().take(100).collect()))
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a message goes, without the namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// `orchestrator/jobs`: submitter → coordinators.
    Jobs,
    /// `jobs/{job}/events`: holder → watchers, committed records only.
    JobEvents(JobId),
    /// `jobs/{job}/progress`: anyone working → watchers; may be lost.
    JobProgress(JobId),
    /// `jobs/{job}/control`: owner → holder.
    JobControl(JobId),
    /// `result/{job}`: holder → submitter, retained.
    Result(JobId),
    /// `agents/{node}/{agent}/tasks`: holder → the agent's node.
    Tasks(AgentId),
    /// `nodes/{node}/inbox`: anyone → node.
    Inbox(NodeId),
    /// `clusters/{cluster}/channel`: cluster members among themselves, the blackboard.
    Channel(ClusterId),
    /// `board/calls`: holder → all, open calls.
    Calls,
    /// `capabilities/{node}/{agent}`: node → coordinators, retained signed card.
    Card(AgentId),
    /// `capability-updates/{node}`: node → coordinators, deltas.
    CardUpdates(NodeId),
    /// `nodes/{node}/status`: node → all, retained; the last will.
    Status(NodeId),
    /// `policies/enforcement`: all → auditors.
    Enforcement,
}

/// MQTT quality of service of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// QoS 0: may be lost.
    AtMostOnce,
    /// QoS 1: arrives, perhaps twice.
    AtLeastOnce,
}

/// How the receiver orders and deduplicates what arrives on a topic (protocol.md "Envelope and signature").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Addressed and expiring: `to` is the arrival topic, `expires` is present, ids are remembered until then.
    Command,
    /// Newest wins by its own order; no window; may be relayed verbatim.
    State,
}

/// A text that is no topic of this federation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no topic of namespace {namespace}: {found:?}")]
pub struct UnknownTopic {
    namespace: Namespace,
    found: String,
}

impl Topic {
    /// The quality of service it is published with.
    #[must_use]
    pub fn qos(&self) -> Qos {
        match self {
            Self::JobProgress(_) => Qos::AtMostOnce,
            Self::Jobs
            | Self::JobEvents(_)
            | Self::JobControl(_)
            | Self::Result(_)
            | Self::Tasks(_)
            | Self::Inbox(_)
            | Self::Channel(_)
            | Self::Calls
            | Self::Card(_)
            | Self::CardUpdates(_)
            | Self::Status(_)
            | Self::Enforcement => Qos::AtLeastOnce,
        }
    }

    /// Whether the broker keeps the last message for those who come later.
    #[must_use]
    pub fn retained(&self) -> bool {
        matches!(self, Self::Result(_) | Self::Card(_) | Self::Status(_))
    }

    /// How receivers order what arrives here.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Jobs | Self::JobControl(_) | Self::Tasks(_) | Self::Inbox(_) | Self::Calls => {
                Class::Command
            }
            Self::JobEvents(_)
            | Self::JobProgress(_)
            | Self::Result(_)
            | Self::Channel(_)
            | Self::Card(_)
            | Self::CardUpdates(_)
            | Self::Status(_)
            | Self::Enforcement => Class::State,
        }
    }

    /// The topic as the broker knows it.
    #[must_use]
    pub fn under(&self, namespace: &Namespace) -> String {
        format!("{namespace}/{self}")
    }

    /// Reads a topic as the broker knows it.
    ///
    /// # Errors
    /// When the text is not under the namespace or names no topic of ours.
    pub fn parse(namespace: &Namespace, text: &str) -> Result<Self, UnknownTopic> {
        let unknown =
            || UnknownTopic { namespace: namespace.clone(), found: text.chars().take(200).collect() };
        text.strip_prefix(namespace.0.as_str())
            .and_then(|rest| rest.strip_prefix('/'))
            .and_then(|rest| rest.parse().ok())
            .ok_or_else(unknown)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs => f.write_str("orchestrator/jobs"),
            Self::JobEvents(job) => write!(f, "jobs/{job}/events"),
            Self::JobProgress(job) => write!(f, "jobs/{job}/progress"),
            Self::JobControl(job) => write!(f, "jobs/{job}/control"),
            Self::Result(job) => write!(f, "result/{job}"),
            Self::Tasks(agent) => write!(f, "agents/{}/{}/tasks", agent.node(), agent.agent()),
            Self::Inbox(node) => write!(f, "nodes/{node}/inbox"),
            Self::Channel(cluster) => write!(f, "clusters/{cluster}/channel"),
            Self::Calls => f.write_str("board/calls"),
            Self::Card(agent) => write!(f, "capabilities/{}/{}", agent.node(), agent.agent()),
            Self::CardUpdates(node) => write!(f, "capability-updates/{node}"),
            Self::Status(node) => write!(f, "nodes/{node}/status"),
            Self::Enforcement => f.write_str("policies/enforcement"),
        }
    }
}

/// The text was no topic; the caller says of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATopic;

impl FromStr for Topic {
    type Err = NotATopic;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        fn id<T: FromStr>(text: &str) -> Result<T, NotATopic> {
            text.parse().map_err(|_| NotATopic)
        }
        let agent = |node: &str, agent: &str| -> Result<AgentId, NotATopic> {
            Ok(AgentId::new(id::<AgentName>(agent)?, id::<NodeId>(node)?))
        };
        let levels: Vec<&str> = text.split('/').collect();
        Ok(match levels.as_slice() {
            ["orchestrator", "jobs"] => Self::Jobs,
            ["jobs", job, "events"] => Self::JobEvents(id(job)?),
            ["jobs", job, "progress"] => Self::JobProgress(id(job)?),
            ["jobs", job, "control"] => Self::JobControl(id(job)?),
            ["result", job] => Self::Result(id(job)?),
            ["agents", node, name, "tasks"] => Self::Tasks(agent(node, name)?),
            ["nodes", node, "inbox"] => Self::Inbox(id(node)?),
            ["clusters", cluster, "channel"] => Self::Channel(id(cluster)?),
            ["board", "calls"] => Self::Calls,
            ["capabilities", node, name] => Self::Card(agent(node, name)?),
            ["capability-updates", node] => Self::CardUpdates(id(node)?),
            ["nodes", node, "status"] => Self::Status(id(node)?),
            ["policies", "enforcement"] => Self::Enforcement,
            _ => return Err(NotATopic),
        })
    }
}

/// What a node subscribes to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// One topic.
    One(Topic),
    /// `agents/{node}/+/tasks`: the work of every agent of a node.
    TasksOf(NodeId),
    /// `capabilities/+/+`: every card.
    Cards,
    /// `capability-updates/+`: every delta.
    CardUpdates,
    /// `nodes/+/status`: everyone's presence.
    Statuses,
    /// `jobs/+/control`: control of any job.
    Controls,
    /// `jobs/+/events`: committed records of any job.
    AllJobEvents,
    /// `result/+`: every result.
    Results,
    /// `#`: everything under the namespace, for people who watch.
    Everything,
}

impl Filter {
    /// The filter as the broker knows it.
    #[must_use]
    pub fn under(&self, namespace: &Namespace) -> String {
        let rest = match self {
            Self::One(topic) => topic.to_string(),
            Self::TasksOf(node) => format!("agents/{node}/+/tasks"),
            Self::Cards => "capabilities/+/+".to_owned(),
            Self::CardUpdates => "capability-updates/+".to_owned(),
            Self::Statuses => "nodes/+/status".to_owned(),
            Self::Controls => "jobs/+/control".to_owned(),
            Self::AllJobEvents => "jobs/+/events".to_owned(),
            Self::Results => "result/+".to_owned(),
            Self::Everything => "#".to_owned(),
        };
        format!("{namespace}/{rest}")
    }

    /// Whether a message on `topic` passes.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::One(one) => one == topic,
            Self::TasksOf(node) => matches!(topic, Topic::Tasks(agent) if agent.node() == node),
            Self::Cards => matches!(topic, Topic::Card(_)),
            Self::CardUpdates => matches!(topic, Topic::CardUpdates(_)),
            Self::Statuses => matches!(topic, Topic::Status(_)),
            Self::Controls => matches!(topic, Topic::JobControl(_)),
            Self::AllJobEvents => matches!(topic, Topic::JobEvents(_)),
            Self::Results => matches!(topic, Topic::Result(_)),
            Self::Everything => true,
        }
    }
}
