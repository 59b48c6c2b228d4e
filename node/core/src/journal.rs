//! What a node keeps on disk: copies of job logs, what it promised about them, side-effecting work it began, and the
//! coordinators it knows of.

use foa_wire::{JobId, NodeId, Term, Time, WorkId};
use foa_workflows::Record;
use foa_workflows::request::WorkReply;
use serde::{Deserialize, Serialize};

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeRecord {
    /// A step of a job, ours or another coordinator's. It replaces what the log has from its index on.
    Job {
        /// The step.
        record: Box<Record>,
    },
    /// No lower term of this job is listened to any more.
    Promised {
        /// The job.
        job: JobId,
        /// The term.
        term: Term,
    },
    /// A side-effecting agent begins; from now on this work never runs again.
    Started {
        /// The work.
        work: WorkId,
        /// When nobody asks for it any more.
        until: Time,
    },
    /// It is done; repeats of the work get this reply.
    Finished {
        /// The reply.
        reply: Box<WorkReply>,
        /// When nobody asks for it any more.
        until: Time,
    },
    /// A coordinator that counts when replica sets are formed, whether it is there or not.
    Enrolled {
        /// Which.
        node: NodeId,
    },
}

/// What a record belongs to, and is forgotten with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The node.
    Node,
    /// A job whose log we keep.
    Job(JobId),
    /// What our agents did for a job.
    Work(JobId),
}

impl NodeRecord {
    /// What it belongs to.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self {
            Self::Job { record } => Stream::Job(record.job.clone()),
            Self::Promised { job, .. } => Stream::Job(job.clone()),
            Self::Started { work, .. } => Stream::Work(work.job()),
            Self::Finished { reply, .. } => Stream::Work(reply.work.job()),
            Self::Enrolled { .. } => Stream::Node,
        }
    }
}
