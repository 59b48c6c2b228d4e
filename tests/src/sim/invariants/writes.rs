//! Work that changes something in the world runs at most once, whatever crashes.

use std::collections::BTreeSet;

use foa_wire::{AgentId, WorkId};

/// Which ran.
#[derive(Debug, Default)]
pub(super) struct Writes {
    ran: BTreeSet<WorkId>,
}

impl Writes {
    pub(super) fn ran(&mut self, agent: &AgentId, work: &WorkId) -> Result<(), String> {
        if self.ran.insert(work.clone()) { Ok(()) } else { Err(format!("{agent} did {work} twice")) }
    }
}
