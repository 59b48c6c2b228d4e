//! What a shell, a doctor or a test may see of a machine without asking it over the wire.

use std::collections::BTreeMap;

use foa_capability::Directory;

use crate::machine::NodeMachine;

/// How much a machine keeps waiting; each is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Pieces of work that wait for one of our agents.
    pub waiting: usize,
    /// Submissions kept in case the coordinator before us stays silent.
    pub submissions: usize,
    /// Routing questions that wait for the directory.
    pub routes: usize,
    /// Jobs held, ended ones included.
    pub jobs: usize,
}

impl NodeMachine {
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
        Backlog { waiting: self.worker.waiting(), ..self.coordinator.backlog() }
    }
}
