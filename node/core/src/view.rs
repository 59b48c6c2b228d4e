//! What a shell, a doctor or a test may see of a machine without asking it over the wire.

use std::collections::BTreeMap;

use foa_capability::Directory;
use foa_wire::{Index, JobId, Term};
use foa_workflows::Record;

use crate::coordinator::Held;
use crate::machine::NodeMachine;

/// How much a machine keeps waiting; each is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Pieces of work that wait for one of our agents.
    pub waiting: usize,
    /// Submissions kept in case the coordinator before us stays silent.
    pub submissions: usize,
    /// Routing questions that wait for the directory, or for other nodes' answers.
    pub routes: usize,
    /// Jobs held, ended ones included.
    pub jobs: usize,
}

/// One job, as this node's copy of its log has it.
#[derive(Clone, Copy, Debug)]
pub struct JobView<'a> {
    /// The job.
    pub job: &'a JobId,
    /// Whether this node holds it.
    pub holds: bool,
    /// Whether this node asks for it.
    pub campaigns: bool,
    /// The highest term this node promised or follows.
    pub promised: Option<&'a Term>,
    /// The last record that counts; 0 is none.
    pub committed: Index,
    /// All records; those behind `committed` may still be replaced.
    pub log: &'a [Record],
}

impl<'a> JobView<'a> {
    fn of(job: &'a JobId, held: &'a Held) -> Self {
        Self {
            job,
            holds: held.replica.holds(),
            campaigns: held.replica.campaigns(),
            promised: held.replica.promised(),
            committed: held.replica.committed(),
            log: held.replica.log(),
        }
    }
}

impl NodeMachine {
    /// The jobs this node holds or keeps a copy of, by id.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'_>> {
        self.coordinator.jobs.iter().map(|(job, held)| JobView::of(job, held))
    }

    /// One job, if this node holds it or keeps a copy of it.
    #[must_use]
    pub fn job_view(&self, job: &JobId) -> Option<JobView<'_>> {
        self.coordinator.jobs.get_key_value(job).map(|(job, held)| JobView::of(job, held))
    }

    /// Jobs whose log on disk makes no sense, and why.
    #[must_use]
    pub fn broken_logs(&self) -> &BTreeMap<JobId, String> {
        self.coordinator.broken()
    }

    /// What this node knows of all agents; `None` when it keeps no directory.
    #[must_use]
    pub fn directory(&self) -> Option<&Directory> {
        self.membership.directory.as_ref()
    }

    /// What it refused, by name.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<String, u64> {
        self.refusals.counts()
    }

    /// What waits.
    #[must_use]
    pub fn backlog(&self) -> Backlog {
        let backlog = self.coordinator.backlog();
        let routes = backlog.routes + self.afar.len();
        Backlog { waiting: self.worker.waiting(), routes, ..backlog }
    }
}
