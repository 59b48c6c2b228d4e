//! A submitter: it submits, repeats until the job is accepted, watches, asks again for what it missed, and draws the
//! conclusions that the protocol allows from what it saw.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use foa_node_core::{Body, Identity};
use foa_wire::{JobId, NodeId, Term, Time};
use foa_workflows::job::{Accepted, Refused};
use foa_workflows::journal::Step;
use foa_workflows::{JobResult, JobSubmission, Record};

use super::random::{fnv, fold};

/// What must not be: the invariant and what was found.
pub type Broken = (&'static str, String);

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
    /// The coordinators that keep its log, as acceptance said.
    pub replicas: Vec<NodeId>,
    /// Why it was turned away for good.
    pub refused: Option<Refused>,
    /// How it ended, in each term.
    pub results: BTreeMap<Term, JobResult>,
    /// When the first result arrived.
    pub ended: Option<Time>,
    /// The records seen, by index and by who wrote them.
    events: BTreeMap<(u64, NodeId), Event>,
}

/// A record as a watcher remembers it.
#[derive(Clone, Copy, Debug)]
struct Event {
    hash: u64,
    last: bool,
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
            replicas: Vec::new(),
            refused: None,
            results: BTreeMap::new(),
            ended: None,
            events: BTreeMap::new(),
        }
    }

    /// Whether nothing more is expected but events it missed.
    #[must_use]
    pub fn over(&self) -> bool {
        !self.results.is_empty() || self.refused.is_some()
    }

    /// Whether it should be submitted again.
    #[must_use]
    pub fn wants_repeat(&self) -> bool {
        self.accepted.is_empty() && !self.over() && !(self.bare && self.submitted.is_some())
    }

    /// Whether more than one coordinator keeps its log: then there is one history, whoever holds it when.
    #[must_use]
    pub fn replicated(&self) -> bool {
        self.replicas.len() > 1
    }

    /// The first record that a watcher of an ended job has not seen. Nobody may ask for the records of an unsigned job.
    #[must_use]
    pub fn missing_event(&self) -> Option<u64> {
        let (term, _) = self.results.last_key_value().filter(|_| !self.bare)?;
        let mut wanted = 1;
        for ((index, holder), event) in &self.events {
            if !self.replicated() && *holder != term.holder || *index < wanted {
                continue;
            }
            if *index > wanted {
                return Some(wanted);
            }
            if event.last {
                return None;
            }
            wanted += 1;
        }
        Some(wanted)
    }

    fn was_accepted(&mut self, accepted: &Accepted) -> Result<(), Broken> {
        if !self.accepted.contains(&accepted.term) {
            self.accepted.push(accepted.term.clone());
        }
        if accepted.replicas.len() < 2 {
            return Ok(());
        }
        if self.replicas.is_empty() {
            self.replicas.clone_from(&accepted.replicas);
        }
        if self.replicas != accepted.replicas {
            let found =
                format!("{} is kept by {:?} and {:?}", accepted.job, self.replicas, accepted.replicas);
            return Err(("one replica set per job", found));
        }
        Ok(())
    }

    fn saw(&mut self, record: &Record) -> Result<(), Broken> {
        // The acceptance itself may have been said to somebody who was cut off.
        if let Step::Accepted { replicas, .. } = &record.step
            && self.replicas.is_empty()
            && replicas.len() > 1
        {
            self.replicas.clone_from(replicas);
        }
        let event = Event { hash: hash_of(record), last: matches!(record.step, Step::Ended { .. }) };
        let index = record.index.0;
        self.events.entry((index, record.term.holder.clone())).or_insert(event);
        let holder = &record.term.holder;
        let from = self.events.range((index, lowest())..).take_while(|((at, _), _)| *at == index);
        let mut same = from.filter(|((_, by), _)| self.replicated() || by == holder);
        let differs = same.any(|(_, known)| known.hash != event.hash);
        if differs {
            let found = format!("{} has two records {index}; one is of {}", record.job, record.term);
            return Err(("one record at one index", found));
        }
        Ok(())
    }

    fn has_ended(&mut self, result: &JobResult, now: Time) -> Result<(), Broken> {
        self.ended.get_or_insert(now);
        let known = self.results.entry(result.term.clone()).or_insert_with(|| result.clone());
        if *known != *result {
            let found = format!("{} has two different results in {}", result.job, result.term);
            return Err(("one result per term", found));
        }
        if self.replicated() {
            if self.results.len() > 1 {
                let terms: Vec<String> = self.results.keys().map(ToString::to_string).collect();
                return Err((
                    "one result per job",
                    format!("{} ended in {}", result.job, terms.join(" and ")),
                ));
            }
            if !self.replicas.contains(&result.term.holder) {
                let found = format!("{} was ended by {}", result.job, result.term);
                return Err(("results are by replicas", found));
            }
        }
        Ok(())
    }
}

impl Client {
    /// Somebody with nothing to do yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self { identity, jobs: BTreeMap::new() }
    }

    /// Takes a message. `Err` is something a federation must never do.
    ///
    /// # Errors
    /// When two different results of one term arrive, or two different records for one index of a term.
    pub fn receive(&mut self, body: &Body, now: Time) -> Result<(), Broken> {
        match body {
            Body::JobAccepted(accepted) => match self.jobs.get_mut(&accepted.job) {
                Some(job) => job.was_accepted(accepted),
                None => Err(("one job per submission", format!("{} was never submitted", accepted.job))),
            },
            Body::JobRejected(rejection) => {
                if let Some(job) = self.jobs.get_mut(&rejection.job)
                    && !matches!(rejection.refused, Refused::Overloaded { .. })
                {
                    job.refused = Some(rejection.refused.clone());
                }
                Ok(())
            }
            Body::JobEvents(events) => match self.jobs.get_mut(&events.job) {
                Some(job) => events.records.iter().try_for_each(|record| job.saw(record)),
                None => Ok(()),
            },
            Body::JobResult(result) => match self.jobs.get_mut(&result.job) {
                Some(job) => job.has_ended(result, now),
                None => Err(("one job per submission", format!("{} was never submitted", result.job))),
            },
            Body::JobSubmit(_)
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
            | Body::DirectoryMap(_)
            | Body::RouteAsk(_)
            | Body::RouteAnswer(_)
            | Body::RouteGrade(_)
            | Body::Roll(_)
            | Body::Status(_)
            | Body::Replica(_)
            | Body::Query(_)
            | Body::QueryReply(_)
            | Body::ArtifactAsk(_)
            | Body::ArtifactOffer(_)
            | Body::ArtifactKeep(_)
            | Body::Enforcement(_) => Ok(()),
        }
    }
}

/// No node comes before.
fn lowest() -> NodeId {
    "-.2222222222222222".parse().expect("a name and a fingerprint make an id")
}

/// A hash of all that a record says, but how far it was committed when it was sent.
fn hash_of(record: &Record) -> u64 {
    struct Folding(u64);
    impl std::fmt::Write for Folding {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 = fold(self.0, text.as_bytes());
            Ok(())
        }
    }
    let mut folding = Folding(fnv(b"record"));
    write!(folding, "{} {} {:?} {:?}", record.job, record.index, record.at, record.step)
        .expect("folding takes any text");
    folding.0
}
