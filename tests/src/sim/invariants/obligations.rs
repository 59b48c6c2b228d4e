//! Whoever took a job ends it or hands it on, and every piece of work it ordered came to something or nothing, by name.

use std::collections::{BTreeMap, BTreeSet};

use foa_wire::JobId;
use foa_workflows::Record;
use foa_workflows::journal::Step;

use super::{Log, budget::orders};
use crate::sim::World;

/// What a job still owes.
#[derive(Debug, Default)]
pub(super) struct Open {
    works: BTreeSet<u32>,
    ended: bool,
}

impl Open {
    pub(super) fn step(&mut self, record: &Record) {
        match &record.step {
            Step::Answered { work, .. } | Step::Failed { work, .. } => {
                self.works.remove(work);
            }
            Step::Ended { .. } => self.ended = true,
            step => self.works.extend(orders(step).iter().map(|order| order.work)),
        }
    }
}

pub(super) fn check(world: &World, logs: &[BTreeMap<JobId, Log>]) -> Result<(), String> {
    let ended = |job: &JobId| logs.iter().any(|logs| logs.get(job).is_some_and(|l| l.sum.obligations.ended));
    for (node, logs) in world.nodes().zip(logs) {
        // A node that is gone for good owes nothing any more; its jobs are the others' to end.
        let open = logs.iter().filter(|(job, log)| !node.gone && !log.sum.obligations.ended && !ended(job));
        if let Some((job, log)) = open.into_iter().next() {
            let works = log.sum.obligations.works.len();
            let id = node.identity.id();
            return Err(format!("{id} took {job}, which never ended; {works} pieces of work are open"));
        }
    }
    Ok(())
}
