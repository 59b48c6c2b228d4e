//! A plan that is adopted has unique steps, no cycle, and no more steps than the job allows.

use std::collections::{BTreeMap, BTreeSet};

use foa_workflows::Record;
use foa_workflows::journal::Step;
use foa_workflows::plan::Plan;

/// How many steps the job allows.
#[derive(Debug, Default)]
pub(super) struct Limit {
    subtasks: usize,
}

impl Limit {
    pub(super) fn step(&mut self, record: &Record) -> Result<(), String> {
        match &record.step {
            Step::Accepted { settings, .. } => self.subtasks = settings.max_subtasks,
            Step::Adopted { plan, .. } => {
                return check(plan, self.subtasks).map_err(|found| format!("{}: {found}", record.job));
            }
            _ => {}
        }
        Ok(())
    }
}

fn check(plan: &Plan, most: usize) -> Result<(), String> {
    let steps = plan.subtasks().len();
    let keys: BTreeSet<&str> = plan.subtasks().iter().map(|s| s.key.as_str()).collect();
    if keys.len() != steps || keys.is_empty() || keys.len() > most {
        return Err(format!("a plan of {steps} steps, {} named", keys.len()));
    }
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = keys.iter().map(|key| (*key, BTreeSet::new())).collect();
    for (before, after) in plan.edges() {
        waits.entry(after).or_default().insert(before);
    }
    while let Some(free) = waits.iter().find(|(_, before)| before.is_empty()).map(|(key, _)| *key) {
        waits.remove(free);
        for before in waits.values_mut() {
            before.remove(free);
        }
    }
    if waits.is_empty() { Ok(()) } else { Err(format!("steps wait for each other: {waits:?}")) }
}
