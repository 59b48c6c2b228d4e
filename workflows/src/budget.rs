//! A job's money: what is spent, what is reserved, what is left.
//!
//! A piece of work is reserved at its worst case before it goes out and charged what it used when its reply is in. Work
//! that failed or went silent keeps its reservation until the job ends: it may have cost something. Invariant: spent +
//! reserved ≤ limit, except by agents that charged more than their cap, which are named in the result.

use std::collections::BTreeMap;

use foa_capability::Money;

/// The account of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    limit: Option<Money>,
    spent: Money,
    reserved: BTreeMap<u32, Money>,
}

impl Budget {
    /// An account with this limit; none is no limit.
    #[must_use]
    pub fn new(limit: Option<Money>) -> Self {
        Self { limit, ..Self::default() }
    }

    /// What the job may cost in all.
    #[must_use]
    pub fn limit(&self) -> Option<Money> {
        self.limit
    }

    /// What agents charged so far.
    #[must_use]
    pub fn spent(&self) -> Money {
        self.spent
    }

    /// What is neither spent nor reserved; `None` is no limit.
    #[must_use]
    pub fn left(&self) -> Option<Money> {
        let reserved: Money = self.reserved.values().copied().sum();
        self.limit.map(|limit| (limit - self.spent - reserved).non_negative())
    }

    /// Whether another reservation of `amount` fits, on top of `pending` that is about to be made.
    #[must_use]
    pub fn fits(&self, pending: Money, amount: Money) -> bool {
        self.left().is_none_or(|left| pending + amount <= left)
    }

    /// Sets money aside for a piece of work.
    pub fn reserve(&mut self, work: u32, amount: Money) {
        self.reserved.insert(work, amount.non_negative());
    }

    /// Replaces the reservation by what the work cost. Returns the excess over the reservation, if any.
    pub fn charge(&mut self, work: u32, cost: Money) -> Option<Money> {
        let reserved = self.reserved.remove(&work).unwrap_or_default();
        let cost = cost.non_negative();
        self.spent = self.spent + cost;
        (cost > reserved).then(|| cost - reserved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_counts_until_the_work_is_charged() {
        let mut budget = Budget::new(Some(Money(100)));
        budget.reserve(1, Money(60));
        assert_eq!(budget.left(), Some(Money(40)));
        assert!(!budget.fits(Money::ZERO, Money(41)));
        assert!(!budget.fits(Money(1), Money(40)));
        assert!(budget.fits(Money::ZERO, Money(40)));
        assert_eq!(budget.charge(1, Money(10)), None);
        assert_eq!((budget.spent(), budget.left()), (Money(10), Some(Money(90))));
    }

    #[test]
    fn an_agent_that_overcharges_is_found_out_and_never_makes_money() {
        let mut budget = Budget::new(Some(Money(100)));
        budget.reserve(1, Money(10));
        assert_eq!(budget.charge(1, Money(25)), Some(Money(15)));
        budget.reserve(2, Money(10));
        assert_eq!(budget.charge(2, Money(-50)), None);
        assert_eq!(budget.spent(), Money(25));
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let budget = Budget::new(None);
        assert!(budget.fits(Money(i64::MAX), Money(i64::MAX)));
        assert_eq!(budget.left(), None);
    }
}
