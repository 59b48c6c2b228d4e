//! What coordinators say to each other about one job's log. All of it goes to inboxes: only the replicas of a job read it.

use foa_wire::{Index, JobId, NodeId, Term};
use foa_workflows::Record;
use serde::{Deserialize, Serialize};

/// One message about one job's log, in one term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The job.
    pub job: JobId,
    /// The term it is about: the sender's own, or the one it answers.
    pub term: Term,
    /// What it says.
    #[serde(flatten)]
    pub what: What,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "replica", rename_all = "snake_case")]
pub enum What {
    /// The holder: store these behind `previous`. Without records it only tells how far the log is committed.
    Append {
        /// The last record before them; `None` is the beginning.
        previous: Option<Tip>,
        /// The records, gap-free.
        records: Vec<Record>,
        /// The last index that a majority holds.
        committed: Index,
    },
    /// A replica: my log is yours up to here, durably.
    Stored {
        /// The last index that is the same.
        last: Index,
        /// The last index I know to be committed.
        #[serde(default)]
        committed: Index,
    },
    /// A replica: I cannot attach this; send what follows `last`.
    Behind {
        /// The last index that is surely the same.
        last: Index,
    },
    /// A candidate: promise to ignore every lower term.
    Prepare {
        /// The replica set, as the candidate knows it.
        replicas: Vec<NodeId>,
    },
    /// A replica: promised. My log ends here.
    Promise {
        /// The last record, if there is one.
        tip: Option<Tip>,
    },
    /// A replica: no, a higher term is known.
    Refuse {
        /// The higher term.
        higher: Term,
    },
    /// A candidate that was promised the term: show me your log behind here.
    Fetch {
        /// The last index not wanted.
        after: Index,
    },
    /// A replica: here it is, as much as fits one message.
    Records {
        /// The last record before them; `None` is the beginning.
        previous: Option<Tip>,
        /// The records, gap-free.
        records: Vec<Record>,
    },
}

impl Message {
    /// The envelope's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.what {
            What::Append { .. } => "replica.append",
            What::Stored { .. } => "replica.stored",
            What::Behind { .. } => "replica.behind",
            What::Prepare { .. } => "replica.prepare",
            What::Promise { .. } => "replica.promise",
            What::Refuse { .. } => "replica.refuse",
            What::Fetch { .. } => "replica.fetch",
            What::Records { .. } => "replica.records",
        }
    }
}

/// Where a log ends. Of two logs the one with the higher tip holds everything that can be committed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tip {
    /// The term of the last record.
    pub term: Term,
    /// Its index.
    pub index: Index,
}
