//! What counts at one replica counts at all: the committed part of any copy of a log is the beginning of the same history.
//!
//! Only what is safe on disk is looked at: a holder counts itself before its own disk has synced, and tells nobody.

use std::collections::BTreeMap;
use std::rc::Rc;

use foa_node_core::journal::NodeRecord;
use foa_node_core::view::JobView;
use foa_wire::{JobId, NodeId};
use foa_workflows::Record;
use foa_workflows::journal::Step;

use super::job_record;

/// The history of every job, as the first replica that counted a record has it.
#[derive(Debug, Default)]
pub(super) struct Committed {
    histories: BTreeMap<(JobId, Option<NodeId>), Vec<Rc<NodeRecord>>>,
    /// How far each node's copy was compared.
    compared: BTreeMap<(usize, JobId), usize>,
}

impl Committed {
    pub(super) fn check(
        &mut self,
        node: usize,
        view: &JobView<'_>,
        safe: &[Rc<NodeRecord>],
    ) -> Result<(), String> {
        let job = view.job;
        let committed = usize::try_from(view.committed.0).unwrap_or(usize::MAX).min(safe.len());
        let key = (node, job.clone());
        let from = self.compared.get(&key).copied().unwrap_or(0);
        if committed <= from {
            return Ok(());
        }
        let Some(first) = safe.first().and_then(|first| job_record(first)) else { return Ok(()) };
        // A local job has one disk for its only truth; rivals that could not see each other have a history each.
        let history = self.histories.entry((job.clone(), alone(first))).or_default();
        for (at, written) in safe.iter().enumerate().take(committed).skip(from) {
            match history.get(at) {
                None => history.push(Rc::clone(written)),
                Some(known) if Rc::ptr_eq(known, written) => {}
                Some(known) => {
                    let (Some(known), Some(record)) = (job_record(known), job_record(written)) else {
                        continue;
                    };
                    if !same(known, record) {
                        return Err(format!(
                            "{job}: record {} counts as {} of {} and, at node {node}, as {} of {}",
                            known.index,
                            known.step.name(),
                            known.term,
                            record.step.name(),
                            record.term
                        ));
                    }
                }
            }
        }
        self.compared.insert(key, committed);
        Ok(())
    }

    pub(super) fn started(&mut self, node: usize) {
        self.compared.retain(|(of, _), _| *of != node);
    }
}

/// Whose job it is, when it is kept on one disk.
fn alone(first: &Record) -> Option<NodeId> {
    match &first.step {
        Step::Accepted { replicas, .. } if replicas.len() < 2 => Some(first.term.holder.clone()),
        _ => None,
    }
}

fn same(a: &Record, b: &Record) -> bool {
    (a.index, &a.term, a.at, &a.step) == (b.index, &b.term, b.at, &b.step)
}
