//! A plan that is adopted has unique steps, no cycle, and no more steps than the job allows.

use std::collections::{BTreeMap, BTreeSet};

use foa_workflows::journal::Step;

use super::Seen;

pub(super) fn check(seen: Seen<'_>) -> Result<(), String> {
    let Seen::Step { log, .. } = seen else { return Ok(()) };
    let (Some(first), Some(last)) = (log.first(), log.last()) else { return Ok(()) };
    let (Step::Accepted { settings, .. }, Step::Adopted { plan, .. }) = (&first.step, &last.step) else {
        return Ok(());
    };
    let keys: BTreeSet<&str> = plan.subtasks().iter().map(|s| s.key.as_str()).collect();
    if keys.len() != plan.subtasks().len() || keys.is_empty() || keys.len() > settings.max_subtasks {
        return Err(format!(
            "{}: a plan of {} steps, {} named",
            first.job,
            plan.subtasks().len(),
            keys.len()
        ));
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
    if waits.is_empty() {
        Ok(())
    } else {
        Err(format!("{}: steps wait for each other: {waits:?}", first.job))
    }
}
