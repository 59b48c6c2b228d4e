//! The lobby: submissions that are ours to take wait here while others are being taken. Taking a replicated job costs the whole
//! set messages and syncs; begun for all of a flood at once, each would come too late to be of use, and be asked for again.
//! Whoever has least under way is called next; what finds no room is turned away.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_wire::{JobId, NodeId, Time};
use foa_workflows::job::JobSubmission;

use crate::admission::{Admission, Full, Limits};

/// Submissions that wait, at most.
const SEATS: usize = 256;
/// Jobs that are being taken at once, or asked for, at most.
const AT_ONCE: usize = 32;
/// What takes longer than this may take for ever, and others no longer wait for it.
const STALE: Duration = Duration::from_secs(8);

/// Submissions that wait, and those that have been called.
#[derive(Debug)]
pub(super) struct Lobby {
    seats: Admission,
    waiting: BTreeMap<JobId, (JobSubmission, NodeId)>,
    called: UnderWay,
}

impl Lobby {
    pub(super) fn new() -> Self {
        let limits = Limits { max_jobs: SEATS, max_running: AT_ONCE, unsigned_budget: None };
        Self { seats: Admission::new(limits), waiting: BTreeMap::new(), called: UnderWay::default() }
    }

    /// Whether a submission of this id waits, and if so whether it is this one.
    pub(super) fn holds(&self, job: &JobId, submission: &JobSubmission, owner: &NodeId) -> Option<bool> {
        self.waiting.get(job).map(|(known, by)| known == submission && by == owner)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes a seat.
    ///
    /// # Errors
    /// When there is none for this submitter.
    pub(super) fn enter(
        &mut self,
        job: JobId,
        submission: JobSubmission,
        owner: NodeId,
        now: Time,
    ) -> Result<(), Full> {
        let submitter = Some(owner.clone());
        self.seats.room(&submitter)?;
        self.seats.enter(job.clone(), submitter, submission.priority, now);
        self.waiting.insert(job, (submission, owner));
        Ok(())
    }

    /// The next that is to be taken.
    pub(super) fn next(&mut self, now: Time) -> Option<(JobId, JobSubmission, NodeId)> {
        let job = self.seats.next(now)?;
        let (submission, owner) = self.waiting.remove(&job)?;
        self.called.begin(job.clone(), now);
        Some((job, submission, owner))
    }

    /// It is taken, or never will be.
    pub(super) fn leave(&mut self, job: &JobId) {
        self.seats.leave(job);
        self.waiting.remove(job);
        self.called.end(job);
    }

    /// When somebody has been called for too long.
    pub(super) fn wake(&self) -> Option<Time> {
        if self.waiting.is_empty() { None } else { self.called.stale_at() }
    }

    /// Nobody waits any longer for those who were called too long ago.
    pub(super) fn tick(&mut self, now: Time) {
        for job in self.called.stale(now) {
            self.leave(&job);
        }
    }
}

/// Jobs that something was begun for, and when.
#[derive(Debug, Default)]
pub(super) struct UnderWay(BTreeMap<JobId, Time>);

impl UnderWay {
    /// Whether one more may be begun.
    pub(super) fn room(&self, now: Time) -> bool {
        self.0.values().filter(|since| now < **since + STALE).count() < AT_ONCE
    }

    pub(super) fn begin(&mut self, job: JobId, now: Time) {
        self.0.insert(job, now);
    }

    pub(super) fn end(&mut self, job: &JobId) {
        self.0.remove(job);
    }

    fn stale_at(&self) -> Option<Time> {
        self.0.values().min().map(|since| *since + STALE)
    }

    fn stale(&self, now: Time) -> Vec<JobId> {
        self.0.iter().filter(|(_, since)| now >= **since + STALE).map(|(job, _)| job.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use foa_wire::NodeKey;

    use super::*;

    fn node(name: &str, seed: u8) -> NodeId {
        NodeId::new(name.parse().unwrap(), &NodeKey::from_seed([seed; 32]).public())
    }

    fn job(n: usize) -> JobId {
        format!("job-{n:04}").parse().unwrap()
    }

    #[test]
    fn a_crowd_waits_and_somebody_alone_is_called_first() {
        let (mut lobby, now) = (Lobby::new(), Time::from_millis(1));
        let (crowd, alone) = (node("crowd", 1), node("alone", 2));
        let enter = |lobby: &mut Lobby, n, owner: &NodeId| {
            lobby.enter(job(n), JobSubmission::of("do it"), owner.clone(), now).is_ok()
        };
        let seated = (0..1000).filter(|n| enter(&mut lobby, *n, &crowd)).count();
        assert!((SEATS / 2..SEATS).contains(&seated), "{seated} of one submitter");
        let called = std::iter::from_fn(|| lobby.next(now)).count();
        assert_eq!(called, AT_ONCE);
        assert!(enter(&mut lobby, 5000, &alone));
        assert!(lobby.next(now).is_none());
        lobby.leave(&job(0));
        assert_eq!(lobby.next(now).map(|(job, ..)| job), Some(job(5000)));
    }

    #[test]
    fn those_who_take_too_long_are_not_waited_for() {
        let (mut lobby, now) = (Lobby::new(), Time::from_millis(1));
        for n in 0..=AT_ONCE {
            lobby.enter(job(n), JobSubmission::of("do it"), node("crowd", 1), now).unwrap();
        }
        while lobby.next(now).is_some() {}
        assert_eq!((lobby.len(), lobby.wake()), (1, Some(now + STALE)));
        lobby.tick(now + STALE);
        assert!(lobby.next(now + STALE).is_some());
        assert_eq!(lobby.wake(), None);
    }
}
