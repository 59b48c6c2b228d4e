//! A job's log begins with its acceptance, has no gaps, never goes back in term, and ends once; only a takeover may stand
//! behind the end.

use foa_wire::{Index, Term, Time};
use foa_workflows::Record;
use foa_workflows::journal::Step;

use super::Truth;

/// What the next record must fit.
#[derive(Debug, Default)]
pub(super) struct Shape {
    last: Option<(Index, Term, Time)>,
    ended: bool,
}

impl Shape {
    pub(super) fn step(&mut self, record: &Record, truth: &Truth) -> Result<(), String> {
        let Record { job, term, index, at, .. } = record;
        let wanted = self.last.as_ref().map_or(Index(1), |(last, ..)| last.next());
        if *index != wanted {
            return Err(format!("{job}: wanted record {wanted}, found {index}"));
        }
        if self.last.is_none() != matches!(record.step, Step::Accepted { .. }) {
            return Err(format!("{job}: record {index} is {:?}", record.step.name()));
        }
        if let Some((_, last_term, last_at)) = &self.last
            && (term < last_term || (truth.clocks_agree && at < last_at))
        {
            return Err(format!("{job}: record {index} goes back in term or time"));
        }
        if self.ended && !matches!(record.step, Step::TookOver { .. }) {
            return Err(format!("{job}: record {index} follows the end"));
        }
        self.ended |= matches!(record.step, Step::Ended { .. });
        self.last = Some((*index, term.clone(), *at));
        Ok(())
    }
}
