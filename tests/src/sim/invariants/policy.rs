//! No agent gets work that requires a policy it is not authorised for.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Policy;
use foa_workflows::Record;
use foa_workflows::journal::{Purpose, Step};

use super::{Truth, budget::orders};

/// What a job requires.
#[derive(Debug, Default)]
pub(super) struct Gate {
    whole: BTreeSet<Policy>,
    subtasks: BTreeMap<String, BTreeSet<Policy>>,
}

impl Gate {
    pub(super) fn step(&mut self, record: &Record, truth: &Truth) -> Result<(), String> {
        match &record.step {
            Step::Accepted { submission, .. } => self.whole.clone_from(&submission.policies),
            Step::Adopted { plan, .. } => {
                let required = plan.subtasks().iter().filter(|subtask| !subtask.policies.is_empty());
                self.subtasks = required.map(|s| (s.key.clone(), s.policies.clone())).collect();
            }
            _ => {}
        }
        for order in orders(&record.step) {
            let of_subtask = match &order.purpose {
                Purpose::Draft { subtask } => self.subtasks.get(subtask),
                Purpose::Refine { cluster, .. } => self.subtasks.get(cluster.subtask()),
                Purpose::Propose | Purpose::Solo | Purpose::Judge | Purpose::Synthesise => None,
            };
            let has = truth.policies.get(&order.agent).map(Vec::as_slice).unwrap_or_default();
            let mut required = self.whole.iter().chain(of_subtask.into_iter().flatten());
            if let Some(lacking) = required.find(|policy| !has.contains(policy)) {
                let what = order.purpose.describe();
                return Err(format!("{}: {} got a {what} and lacks {lacking}", record.job, order.agent));
            }
        }
        Ok(())
    }
}
