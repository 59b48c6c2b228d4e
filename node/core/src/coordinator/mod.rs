//! The jobs this node holds or keeps a copy of, and submissions it would take if the one before it stays silent.
//!
//! - `lobby`: submissions that wait to be taken
//! - `submission`: taking a job, keeping it for another coordinator, turning it away
//! - `replication`: messages between the replicas of a job, taking over, stepping down
//! - `perform`: what a job wants done, once the records that stand before it are committed
//! - `republish`: results that a broker may have forgotten
//! - `service`: what owners, members and clients ask of a job; results and how long they are kept

mod lobby;
mod perform;
mod replication;
mod republish;
mod service;
mod submission;
#[cfg(test)]
mod takeover_tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use foa_wire::{Boot, Index, JobId, NodeId, Term, Time};
use foa_workflows::engine::{Command, JobMachine, RouteKey};
use foa_workflows::job::JobSubmission;
use foa_workflows::journal::Step;
use foa_workflows::{JobResult, Record};

use self::lobby::{Lobby, UnderWay};
use self::republish::Republishing;
use self::submission::Waiting;
use crate::admission::{Admission, Limits, Shelf};
use crate::arrival::Arrivals;
use crate::machine::NodeMachine;
use crate::replica::{Durable, Replica};
use crate::view::Backlog;

/// How long a holder may be gone before the next coordinator tries, and how much longer each one after it waits.
const GRACE: Duration = Duration::from_secs(5);
const GRACE_PER_RANK: Duration = Duration::from_secs(2);
/// A holder that drains hands its jobs over: no grace, and this much between the ones who would take them.
const DRAIN_PER_RANK: Duration = Duration::from_millis(500);
/// How long nobody need speak in the term we follow, before we doubt that anybody holds the job in it.
const SILENCE: Duration = Duration::from_secs(20);
/// When a job that waits to be asked for is looked at again.
const CAMPAIGN_LATER: Duration = Duration::from_millis(500);
/// How long a result and its log are kept.
const KEEP: Duration = Duration::from_secs(3600);
/// Ended jobs kept, at most.
const KEEP_ENDED: usize = 2000;
/// Jobs known, at most: held, followed and ended.
const KNOWN: usize = 20_000;

/// The jobs of this node.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) jobs: BTreeMap<JobId, Held>,
    /// Jobs we hold that are not over.
    open: BTreeSet<JobId>,
    pub(crate) admission: Admission,
    pub(crate) arrivals: Arrivals,
    waiting: BTreeMap<JobId, Waiting>,
    shelf: Shelf,
    elsewhere: BTreeMap<JobId, Elsewhere>,
    routes: Vec<(JobId, RouteKey, foa_capability::route::Query)>,
    /// Jobs of which more counts than watchers were told in this turn.
    untold: BTreeSet<JobId>,
    /// Jobs whose log on disk makes no sense, and why. Nothing is said or done about them.
    broken: BTreeMap<JobId, String>,
    lobby: Lobby,
    /// Jobs we ask for. A fellow that is gone leaves hundreds behind: asking for all at once would make every answer late.
    campaigns: UnderWay,
    timers: BTreeSet<(Time, JobId)>,
    waiting_timers: BTreeSet<(Time, JobId)>,
    ended: BTreeSet<(Time, JobId)>,
    republishing: Republishing,
}

/// A job we hold or keep a copy of.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) replica: Replica,
    /// What runs it, while we hold it.
    pub(crate) machine: Option<JobMachine>,
    /// What waits until the record with this index is committed.
    pending: VecDeque<(Index, Command)>,
    /// The term and the start of the holder that last sent us records.
    heard: Option<(Term, Boot)>,
    /// Since when we follow the term we follow; zero when that was before our start.
    follows_since: Time,
    /// When we ask for the job again at the earliest.
    patience: Time,
    /// Since when we know of it, in this start.
    since: Time,
    /// The last record watchers were told of by us. What an earlier holder did not tell they ask for.
    told: Index,
    timer: Option<Time>,
}

/// A local job that another coordinator holds: a repeat of its submission is that one's to answer, not ours to take, nor do we
/// help a third to take it.
#[derive(Debug)]
struct Elsewhere {
    term: Term,
    until: Time,
}

impl Coordinator {
    /// The jobs a journal tells of. A log that makes no sense is set aside.
    pub(crate) fn recover(kept: BTreeMap<JobId, Vec<Durable>>, me: &NodeId, limits: Limits) -> Self {
        let mut coordinator = Self {
            jobs: BTreeMap::new(),
            open: BTreeSet::new(),
            admission: Admission::new(limits),
            arrivals: Arrivals::default(),
            waiting: BTreeMap::new(),
            shelf: submission::shelf(),
            elsewhere: BTreeMap::new(),
            routes: Vec::new(),
            untold: BTreeSet::new(),
            broken: BTreeMap::new(),
            lobby: Lobby::new(),
            campaigns: UnderWay::default(),
            timers: BTreeSet::new(),
            waiting_timers: BTreeSet::new(),
            ended: BTreeSet::new(),
            republishing: Republishing::default(),
        };
        for (job, kept) in kept {
            match Replica::recovered(job.clone(), me.clone(), kept) {
                Ok(replica) => {
                    let held = Held::new(replica, Time::ZERO);
                    if let Some(result) = held.result() {
                        coordinator.ended.insert((result.ended, job.clone()));
                    }
                    coordinator.jobs.insert(job, held);
                }
                Err(broken) => {
                    tracing::error!(%job, %broken, "the log of a job is broken; it is set aside");
                    coordinator.broken.insert(job, broken.to_string());
                }
            }
        }
        coordinator
    }

    pub(crate) fn open_jobs(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: 0,
            submissions: self.waiting.len() + self.arrivals.len() + self.lobby.len(),
            routes: self.routes.len(),
            jobs: self.jobs.len(),
        }
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let first = |timers: &BTreeSet<(Time, JobId)>| timers.first().map(|(at, _)| *at);
        let arrivals = self.arrivals.wake();
        let (republishing, lobby) = (self.republishing.wake(), self.lobby.wake());
        let timers = [first(&self.timers), first(&self.waiting_timers)];
        timers.into_iter().chain([arrivals, republishing, lobby]).flatten().min()
    }

    pub(crate) fn broken(&self) -> &BTreeMap<JobId, String> {
        &self.broken
    }

    fn open_ids(&self) -> Vec<JobId> {
        self.open.iter().cloned().collect()
    }

    /// The time is known: what was recovered counts as known of from now on. A promise that was forgotten would be broken.
    pub(crate) fn began(&mut self, now: Time) {
        for held in self.jobs.values_mut().filter(|held| held.since == Time::ZERO) {
            held.since = now;
        }
    }

    /// A job is no longer ours to run: over, or somebody else's.
    fn close(&mut self, job: &JobId) {
        self.open.remove(job);
        self.admission.leave(job);
        self.routes.retain(|(of, ..)| of != job);
    }
}

impl Held {
    fn new(replica: Replica, now: Time) -> Self {
        Self {
            replica,
            machine: None,
            pending: VecDeque::new(),
            heard: None,
            follows_since: Time::ZERO,
            patience: Time::ZERO,
            since: now,
            told: Index(0),
            timer: None,
        }
    }

    /// The records that count.
    pub(crate) fn committed(&self) -> &[Record] {
        let many = usize::try_from(self.replica.committed().0).unwrap_or(usize::MAX);
        &self.replica.log()[..many.min(self.replica.log().len())]
    }

    /// The result, once it counts. A takeover may stand behind it.
    pub(crate) fn result(&self) -> Option<&JobResult> {
        self.committed().iter().rev().take(64).find_map(|record| match &record.step {
            Step::Ended { result, .. } => Some(&**result),
            _ => None,
        })
    }

    /// Whether the latest term we know of is this node's, whether it still holds the job or not.
    pub(crate) fn is_of(&self, node: &NodeId) -> bool {
        self.replica.promised().is_some_and(|term| term.holder == *node)
    }

    /// What was asked and by whom, as record 1 says.
    pub(crate) fn asked(&self) -> Option<(&JobSubmission, Option<&NodeId>)> {
        match &self.replica.log().first()?.step {
            Step::Accepted { submission, owner, .. } => Some((submission, owner.as_ref())),
            _ => None,
        }
    }

    /// When nobody needs to know of it any more.
    fn forget_at(&self) -> Time {
        let accepted = self.replica.log().first().map(|record| (&record.step, record.at));
        match (self.result(), accepted) {
            (Some(result), _) => result.ended + KEEP,
            (None, Some((Step::Accepted { settings, .. }, at))) => at + settings.timeout() + KEEP,
            (None, _) => self.since + KEEP,
        }
    }
}

impl NodeMachine {
    /// Sets a job's timer anew, after anything about it changed.
    fn retime(&mut self, job: &JobId) {
        let due = self.coordinator.jobs.get(job).map(|held| {
            // Somebody else's open job is forgotten long after it must be over; ours never before it is.
            let forget = (held.machine.is_none() || held.result().is_some()).then(|| held.forget_at());
            let machine = held.machine.as_ref().and_then(JobMachine::wake);
            let takeover = self.takeover_at(held);
            let due = [forget, machine, held.replica.wake(), takeover];
            (held.timer, due.into_iter().flatten().min())
        });
        let Some((before, due)) = due else { return };
        if before == due {
            return;
        }
        if let Some(before) = before {
            self.coordinator.timers.remove(&(before, job.clone()));
        }
        if let Some(due) = due {
            self.coordinator.timers.insert((due, job.clone()));
        }
        if let Some(held) = self.coordinator.jobs.get_mut(job) {
            held.timer = due;
        }
    }

    /// Something changed that all jobs may depend on: a node came or went, or the broker.
    pub(crate) fn retime_all(&mut self) {
        let jobs: Vec<JobId> = self.coordinator.jobs.keys().cloned().collect();
        for job in jobs {
            self.retime(&job);
        }
    }

    pub(crate) fn coordinator_tick(&mut self, now: Time) {
        while let Some((at, job)) = self.coordinator.timers.first().cloned().filter(|(at, _)| *at <= now) {
            self.coordinator.timers.remove(&(at, job.clone()));
            if let Some(held) = self.coordinator.jobs.get_mut(&job) {
                held.timer = None;
            }
            self.job_due(&job, now);
            self.retime(&job);
            // Whatever is due again at once waits for the next tick.
            if self.coordinator.timers.first().is_some_and(|(at, next)| *at <= now && *next == job) {
                break;
            }
        }
        let due = |timers: &BTreeSet<(Time, JobId)>| timers.first().cloned().filter(|(at, _)| *at <= now);
        while let Some((at, job)) = due(&self.coordinator.waiting_timers) {
            self.coordinator.waiting_timers.remove(&(at, job.clone()));
            self.waiting_due(&job, now);
        }
        self.arrivals_tick(now);
        self.coordinator.lobby.tick(now);
        self.republish_due(now);
        self.coordinator.elsewhere.retain(|_, job| job.until > now);
    }

    fn job_due(&mut self, job: &JobId, now: Time) {
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        if held.machine.as_ref().and_then(JobMachine::wake).is_some_and(|at| at <= now) {
            self.job_input(job, foa_workflows::engine::Input::Tick, now);
        }
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        if held.replica.wake().is_some_and(|at| at <= now) {
            let nodes = &self.membership.nodes;
            let there = |node: &NodeId| nodes.get(node).is_some_and(|known| known.status.online);
            let out = held.replica.tick(there, now);
            self.replicate(job, out, now);
        }
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        if self.takeover_at(held).is_some_and(|at| at <= now) {
            if self.coordinator.campaigns.room(now) {
                self.campaign(job, now);
            } else if let Some(held) = self.coordinator.jobs.get_mut(job) {
                held.patience = now + CAMPAIGN_LATER;
            }
            return;
        }
        let over = held.machine.is_none() || held.result().is_some();
        if over && held.forget_at() <= now {
            self.forget(job, now);
        }
    }
}
