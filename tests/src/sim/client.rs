//! A submitter: it submits, repeats until the job is accepted, and remembers what it may conclude from what it saw.

use std::collections::BTreeMap;

use foa_node_core::{Body, Identity};
use foa_wire::{JobId, Term, Time};
use foa_workflows::job::Refused;
use foa_workflows::{JobResult, JobSubmission};

/// A submitter and its jobs.
#[derive(Debug)]
pub struct Client {
    /// Who it is.
    pub identity: Identity,
    /// Its jobs.
    pub jobs: BTreeMap<JobId, Job>,
}

/// What a submitter knows of a job.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it wants.
    pub submission: JobSubmission,
    /// Whether it is submitted once, unsigned.
    pub bare: bool,
    /// When it was first submitted.
    pub submitted: Option<Time>,
    /// Who said that the job is theirs.
    pub accepted: Vec<Term>,
    /// Why it was turned away for good.
    pub refused: Option<Refused>,
    /// How it ended, in each term.
    pub results: BTreeMap<Term, JobResult>,
    /// When the first result arrived.
    pub ended: Option<Time>,
}

impl Job {
    /// A job that is still to be submitted.
    #[must_use]
    pub fn new(submission: JobSubmission, bare: bool) -> Self {
        Self {
            submission,
            bare,
            submitted: None,
            accepted: Vec::new(),
            refused: None,
            results: BTreeMap::new(),
            ended: None,
        }
    }

    /// Whether nothing more is expected.
    #[must_use]
    pub fn over(&self) -> bool {
        !self.results.is_empty() || self.refused.is_some()
    }

    /// Whether it should be submitted again.
    #[must_use]
    pub fn wants_repeat(&self) -> bool {
        self.accepted.is_empty() && !self.over() && !(self.bare && self.submitted.is_some())
    }
}

impl Client {
    /// Takes a message. `Err` is something a federation must never do.
    ///
    /// # Errors
    /// When two different results of one term arrive.
    pub fn receive(&mut self, body: &Body, now: Time) -> Result<(), String> {
        match body {
            Body::JobAccepted(accepted) => {
                if let Some(job) = self.jobs.get_mut(&accepted.job)
                    && !job.accepted.contains(&accepted.term)
                {
                    job.accepted.push(accepted.term.clone());
                }
            }
            Body::JobRejected(rejection) => {
                if let Some(job) = self.jobs.get_mut(&rejection.job)
                    && !matches!(rejection.refused, Refused::Overloaded { .. })
                {
                    job.refused = Some(rejection.refused.clone());
                }
            }
            Body::JobResult(result) => {
                if let Some(job) = self.jobs.get_mut(&result.job) {
                    job.ended.get_or_insert(now);
                    let known = job.results.entry(result.term.clone()).or_insert_with(|| (**result).clone());
                    if *known != **result {
                        return Err(format!(
                            "{} has two different results in term {:?}",
                            result.job, result.term
                        ));
                    }
                }
            }
            Body::JobSubmit(_)
            | Body::JobEvent(_)
            | Body::JobProgress(_)
            | Body::JobControl(_)
            | Body::Work(_)
            | Body::WorkReply(_)
            | Body::WorkCancel(_)
            | Body::Entry(_)
            | Body::ChannelRequest(_)
            | Body::ChannelEntries(_)
            | Body::Card(_)
            | Body::CardDelta(_)
            | Body::Digest(_)
            | Body::CardRequest(_)
            | Body::Cards(_)
            | Body::Roll(_)
            | Body::Status(_)
            | Body::Replica(_)
            | Body::Query(_)
            | Body::QueryReply(_)
            | Body::Enforcement(_) => {}
        }
        Ok(())
    }
}
