//! What a node promised about a job it never takes back: the terms it listens to only grow.

use std::collections::BTreeMap;

use foa_node_core::journal::NodeRecord;
use foa_wire::{JobId, Term};

/// The highest term each node promised or wrote, of each job.
#[derive(Debug, Default)]
pub(super) struct Promises {
    highest: BTreeMap<(usize, JobId), Term>,
}

impl Promises {
    pub(super) fn wrote(&mut self, node: usize, record: &NodeRecord) -> Result<(), String> {
        let (job, term, promises) = match record {
            NodeRecord::Promised { job, term } => (job, term, true),
            NodeRecord::Job { record } => (&record.job, &record.term, false),
            NodeRecord::Started { .. } | NodeRecord::Finished { .. } | NodeRecord::Enrolled { .. } => {
                return Ok(());
            }
        };
        let key = (node, job.clone());
        match self.highest.get(&key) {
            Some(highest) if term < highest && promises => {
                return Err(format!("{job}: node {node} promised {term} after {highest}"));
            }
            // Records of earlier terms are copied by whoever follows a later one.
            Some(highest) if term <= highest => {}
            Some(_) | None => {
                self.highest.insert(key, term.clone());
            }
        }
        Ok(())
    }

    pub(super) fn started(&mut self, node: usize) {
        self.highest.retain(|(of, _), _| *of != node);
    }

    pub(super) fn forgot(&mut self, node: usize, job: &JobId) {
        self.highest.remove(&(node, job.clone()));
    }
}
