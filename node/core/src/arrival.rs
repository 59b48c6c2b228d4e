//! Submissions on their way in: what their texts mean is found out before they are accepted, so that acceptance, routing,
//! assignment and the first dispatch reach the disk together.
//!
//! It is only a short cut. A submission whose meanings are not there within [`LEARN_WITHIN`] is accepted without them, and
//! its machine asks again. While it waits nothing is promised: its submitter repeats it until it hears `accepted`. A bare
//! submission has no one who repeats it and is accepted at once, so that the broker keeps it until it is durable.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_capability::Vector;
use foa_wire::{JobId, NodeId, Time};
use foa_workflows::job::{JobSubmission, Refused};

use crate::machine::NodeMachine;
use crate::queries::Asked;

/// How long a submission waits for the meaning of its texts.
const LEARN_WITHIN: Duration = Duration::from_secs(1);
/// Submissions that wait for a meaning, at most; those beyond are accepted without.
const ARRIVING: usize = 256;

/// Submissions that wait for the meaning of their texts.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    jobs: BTreeMap<JobId, Arriving>,
}

#[derive(Debug)]
struct Arriving {
    submission: JobSubmission,
    owner: Option<NodeId>,
    until: Time,
}

impl Arrivals {
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        self.jobs.values().map(|a| a.until).min()
    }

    pub(crate) fn contains(&self, job: &JobId) -> bool {
        self.jobs.contains_key(job)
    }

    /// It is taken, by us or by another.
    pub(crate) fn forget(&mut self, job: &JobId) {
        self.jobs.remove(job);
    }

    /// Whether a submission of this id is on its way in, and if so whether it is this one.
    pub(crate) fn holds(
        &self,
        job: &JobId,
        submission: &JobSubmission,
        owner: Option<&NodeId>,
    ) -> Option<bool> {
        let known = self.jobs.get(job)?;
        Some(known.submission == *submission && known.owner.as_ref() == owner)
    }
}

impl NodeMachine {
    /// Accepts a submission that is ours to take, once its texts are understood.
    pub(crate) fn arrive(&mut self, job: JobId, submission: JobSubmission, owner: Option<NodeId>, now: Time) {
        match self.coordinator.arrivals.holds(&job, &submission, owner.as_ref()) {
            Some(true) => return,
            Some(false) => return self.reject(job, owner, Refused::Conflict, now),
            None => {}
        }
        if owner.is_none() || self.coordinator.arrivals.len() >= ARRIVING {
            return self.place(job, submission, owner, Some(Vec::new()), now);
        }
        let texts = submission.first_texts();
        let arriving = Arriving { submission, owner, until: now + LEARN_WITHIN };
        self.coordinator.arrivals.jobs.insert(job.clone(), arriving);
        self.embed(Asked::Arrival { job, texts: texts.clone() }, texts);
    }

    /// The embedder's answer: the submission is accepted with what its texts mean, or without if nobody knows.
    pub(crate) fn arrival_embedded(
        &mut self,
        job: JobId,
        texts: Vec<String>,
        result: Result<Vec<Vector>, String>,
        now: Time,
    ) {
        let meanings = match result {
            Ok(vectors) if vectors.len() == texts.len() => texts.into_iter().zip(vectors).collect(),
            // The job asks again, and says why when it fails.
            Ok(_) | Err(_) => Vec::new(),
        };
        self.arrived(job, meanings, now);
    }

    /// Submissions that waited long enough.
    pub(crate) fn arrivals_tick(&mut self, now: Time) {
        let jobs = self.coordinator.arrivals.jobs.iter();
        let due: Vec<JobId> = jobs.filter(|(_, a)| a.until <= now).map(|(job, _)| job.clone()).collect();
        for job in due {
            self.arrived(job, Vec::new(), now);
        }
    }

    fn arrived(&mut self, job: JobId, meanings: Vec<(String, Vector)>, now: Time) {
        if let Some(Arriving { submission, owner, .. }) = self.coordinator.arrivals.jobs.remove(&job) {
            self.place(job, submission, owner, Some(meanings), now);
        }
    }
}
