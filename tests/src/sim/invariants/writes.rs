//! Work that changes something in the world runs at most once, whatever crashes.

use std::collections::BTreeSet;

use foa_wire::WorkId;

use super::Seen;

/// Which ran.
#[derive(Debug, Default)]
pub(super) struct Writes {
    ran: BTreeSet<WorkId>,
}

impl Writes {
    pub(super) fn check(&mut self, seen: Seen<'_>) -> Result<(), String> {
        match seen {
            Seen::Asked { agent, work, writes: true } if !self.ran.insert(work.clone()) => {
                Err(format!("{agent} did {work} twice"))
            }
            Seen::Asked { .. } | Seen::Step { .. } | Seen::Started { .. } | Seen::Queues(_) => Ok(()),
        }
    }
}
