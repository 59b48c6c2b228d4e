//! Spent and reserved money together stay within a job's budget, but for what agents charged beyond their cap.

use std::collections::BTreeMap;

use foa_capability::Money;
use foa_workflows::Record;
use foa_workflows::journal::{Order, Step};

/// Where a job's money is.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    limit: Option<Money>,
    open: BTreeMap<u32, Money>,
    reserved: Money,
    spent: Money,
    beyond: Money,
}

impl Reserved {
    pub(super) fn step(&mut self, record: &Record) -> Result<(), String> {
        match &record.step {
            Step::Accepted { submission, .. } => self.limit = submission.budget,
            Step::Answered { work, usage, .. } | Step::Failed { work, usage: Some(usage), .. } => {
                let cap = self.open.remove(work).unwrap_or_default();
                self.reserved = self.reserved - cap;
                let cost = usage.cost.non_negative();
                self.spent = self.spent + cost;
                self.beyond = self.beyond + (cost - cap).non_negative();
            }
            step => {
                for order in orders(step) {
                    let before = self.open.insert(order.work, order.reserved).unwrap_or_default();
                    self.reserved = self.reserved + order.reserved - before;
                }
            }
        }
        let counted = self.spent - self.beyond + self.reserved;
        match self.limit {
            Some(limit) if counted > limit => {
                Err(format!("{}: {counted} spent and reserved of {limit}", record.job))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The work that a step orders.
pub(super) fn orders(step: &Step) -> &[Order] {
    match step {
        Step::Routed { orders, .. } | Step::Merged { orders, .. } | Step::Dispatched { orders, .. } => orders,
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
