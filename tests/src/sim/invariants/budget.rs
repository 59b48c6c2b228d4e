//! Spent and reserved money together stay within a job's budget, but for what agents charged beyond their cap.

use std::collections::BTreeMap;

use foa_capability::Money;
use foa_workflows::Record;
use foa_workflows::journal::{Order, Step};

use super::Seen;

pub(super) fn check(seen: Seen<'_>) -> Result<(), String> {
    let Seen::Step { log, .. } = seen else { return Ok(()) };
    let Some(Record { step: Step::Accepted { submission, .. }, job, .. }) = log.first() else {
        return Err("a log does not begin with an acceptance".to_owned());
    };
    let Some(limit) = submission.budget else { return Ok(()) };
    let mut reserved: BTreeMap<u32, Money> = BTreeMap::new();
    let (mut spent, mut beyond) = (Money::ZERO, Money::ZERO);
    for record in log {
        match &record.step {
            Step::Answered { work, usage, .. } | Step::Failed { work, usage: Some(usage), .. } => {
                let cap = reserved.remove(work).unwrap_or_default();
                let cost = usage.cost.non_negative();
                spent = spent + cost;
                beyond = beyond + (cost - cap).non_negative();
            }
            step => reserved.extend(orders(step).iter().map(|o| (o.work, o.reserved))),
        }
    }
    let open: Money = reserved.values().copied().sum();
    let counted = spent - beyond + open;
    if counted > limit {
        return Err(format!("{job}: {counted} spent and reserved of {limit}"));
    }
    Ok(())
}

/// The work that a step orders.
pub(super) fn orders(step: &Step) -> &[Order] {
    match step {
        Step::Routed { orders, .. } | Step::Merged { orders, .. } | Step::Dispatched { orders } => orders,
        Step::Accepted { .. }
        | Step::TookOver { .. }
        | Step::Answered { .. }
        | Step::Failed { .. }
        | Step::Adopted { .. }
        | Step::Assigned { .. }
        | Step::Reassigned { .. }
        | Step::Clustered { .. }
        | Step::RoundClosed { .. }
        | Step::Settled { .. }
        | Step::Cancelled { .. }
        | Step::Ended { .. } => &[],
    }
}
