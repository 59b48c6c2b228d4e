//! No agent gets work that requires a policy it is not authorised for.

use std::collections::BTreeSet;

use foa_capability::Policy;
use foa_workflows::Record;
use foa_workflows::journal::{Purpose, Step};

use super::{Seen, Truth, budget::orders};

pub(super) fn check(seen: Seen<'_>, truth: &Truth) -> Result<(), String> {
    let Seen::Step { log, .. } = seen else { return Ok(()) };
    let (Some(first), Some(last)) = (log.first(), log.last()) else { return Ok(()) };
    let Step::Accepted { submission, .. } = &first.step else { return Ok(()) };
    for order in orders(&last.step) {
        let mut required: BTreeSet<Policy> = submission.policies.clone();
        if let Purpose::Draft { subtask } = &order.purpose {
            required.extend(of_subtask(log, subtask));
        }
        let has = truth.policies.get(&order.agent).map(Vec::as_slice).unwrap_or_default();
        if let Some(lacking) = required.iter().find(|policy| !has.contains(policy)) {
            let what = order.purpose.describe();
            return Err(format!("{}: {} got a {what} and lacks {lacking}", first.job, order.agent));
        }
    }
    Ok(())
}

fn of_subtask(log: &[Record], key: &str) -> BTreeSet<Policy> {
    let plan = log.iter().find_map(|record| match &record.step {
        Step::Adopted { plan, .. } => Some(plan),
        _ => None,
    });
    plan.and_then(|plan| plan.get(key)).map(|subtask| subtask.policies.clone()).unwrap_or_default()
}
