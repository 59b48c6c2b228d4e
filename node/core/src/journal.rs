//! What a node keeps on disk: the records of the jobs it holds, and side-effecting work it began.

use foa_wire::{JobId, WorkId};
use foa_workflows::Record;
use foa_workflows::request::WorkReply;
use serde::{Deserialize, Serialize};

/// One durable fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeRecord {
    /// A job we hold took a step.
    Job {
        /// The step.
        record: Box<Record>,
    },
    /// A side-effecting agent begins; from now on this work never runs again.
    Started {
        /// The work.
        work: WorkId,
    },
    /// It is done; repeats of the work get this reply.
    Finished {
        /// The reply.
        reply: Box<WorkReply>,
    },
}

impl NodeRecord {
    /// The job it belongs to.
    #[must_use]
    pub fn job(&self) -> JobId {
        match self {
            Self::Job { record } => record.job.clone(),
            Self::Started { work } => work.job(),
            Self::Finished { reply } => reply.work.job(),
        }
    }
}
