//! The jobs this node holds, and submissions it would hold if the first in order stays silent.

use std::collections::BTreeMap;
use std::time::Duration;

use foa_capability::Vector;
use foa_capability::reputation::Outcome;
use foa_wire::{ClusterId, JobId, NodeId, Term, Time, Topic};
use foa_workflows::cluster::channel::{self, Content, Entry};
use foa_workflows::engine::{BrokenLog, Command, Input as JobInput, JobMachine, Phase, RouteKey};
use foa_workflows::job::{Accepted, Control, Durability, JobSubmission, Refused, Rejection};
use foa_workflows::journal::Step;
use foa_workflows::request::{ChannelEntries, ChannelRequest, WorkCancel, WorkReply};
use foa_workflows::{JobResult, Record};

use crate::body::Body;
use crate::effect::Effect;
use crate::journal::NodeRecord;
use crate::machine::NodeMachine;
use crate::membership::CONFIRM_WITHIN;
use crate::queries::Asked;
use crate::status::Role;
use crate::view::Backlog;

/// How long the first coordinator in order has before the next one tries, and how much longer each one after it.
const GRACE: Duration = Duration::from_secs(5);
const GRACE_PER_RANK: Duration = Duration::from_secs(2);
/// Coordinators, in the order of a job, that keep its submission until they see it accepted.
const KEEPERS: usize = 3;
/// Submissions kept for others, at most.
const WAITING: usize = 10_000;
/// How long a result and its log are kept.
const KEEP: Duration = Duration::from_secs(3600);
/// Ended jobs kept, at most.
const KEEP_ENDED: usize = 2000;
/// When a client that was turned away may try again.
const RETRY_AFTER_MS: u64 = 5_000;
/// Entries sent in one answer, by size.
const ENTRIES_BYTES: usize = 180 * 1024;

/// The jobs of this node.
#[derive(Debug, Default)]
pub struct Coordinator {
    pub(crate) jobs: BTreeMap<JobId, Held>,
    waiting: BTreeMap<JobId, Waiting>,
    elsewhere: BTreeMap<JobId, Elsewhere>,
    routes: Vec<(JobId, RouteKey, foa_capability::route::Query)>,
}

/// A job we hold.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) machine: JobMachine,
    pub(crate) records: Vec<Record>,
}

/// A submission that another coordinator should take.
#[derive(Debug)]
struct Waiting {
    submission: JobSubmission,
    owner: Option<NodeId>,
    until: Time,
}

/// A job that another coordinator holds: a repeat of its submission is that one's to answer, not ours to take.
#[derive(Debug)]
struct Elsewhere {
    term: Term,
    until: Time,
}

impl Coordinator {
    pub(crate) fn recover(
        logs: BTreeMap<JobId, Vec<Record>>,
        me: &NodeId,
    ) -> Result<Self, (JobId, BrokenLog)> {
        let mut jobs = BTreeMap::new();
        for (job, records) in logs {
            let machine = JobMachine::recover(&records, me).map_err(|e| (job.clone(), e))?;
            jobs.insert(job, Held { machine, records });
        }
        Ok(Self { jobs, ..Self::default() })
    }

    pub(crate) fn open_jobs(&self) -> usize {
        self.jobs.values().filter(|held| held.machine.state().phase() != Phase::Ended).count()
    }

    pub(crate) fn backlog(&self) -> Backlog {
        Backlog {
            waiting: 0,
            submissions: self.waiting.len(),
            routes: self.routes.len(),
            jobs: self.jobs.len(),
        }
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let jobs = self.jobs.values().filter_map(|held| held.machine.wake());
        let waiting = self.waiting.values().map(|w| w.until);
        let ended = self.jobs.values().filter_map(Held::forget_at);
        jobs.chain(waiting).chain(ended).min()
    }
}

impl Held {
    pub(crate) fn result(&self) -> Option<&JobResult> {
        self.machine.state().result.as_ref()
    }

    fn forget_at(&self) -> Option<Time> {
        self.result().map(|result| result.ended + KEEP)
    }
}

impl NodeMachine {
    /// Takes a submission, keeps it for another coordinator, or turns it away.
    pub(crate) fn submitted(
        &mut self,
        submission: JobSubmission,
        owner: Option<NodeId>,
        hashed: Option<JobId>,
        now: Time,
    ) {
        if !self.is(Role::Coordinator) {
            return;
        }
        let Some(job) = submission.job.clone().or(hashed) else { return };
        if let Some(held) = self.coordinator.jobs.get(&job) {
            let state = held.machine.state();
            if state.submission == submission && state.owner == owner {
                self.announce(&job, now);
            } else {
                self.reject(job, owner, Refused::Conflict, now);
            }
            return;
        }
        if self.coordinator.elsewhere.contains_key(&job) {
            return;
        }
        let order = self.membership.coordinators_for(&job, Some(&self.id().clone()));
        let Some(rank) = order.iter().position(|node| node == self.id()) else { return };
        if let Err(refused) = submission.check() {
            if rank == 0 {
                self.reject(job, owner, refused, now);
            }
        } else if rank == 0 && !self.draining {
            self.accept(job, submission, owner, now);
        } else if rank < KEEPERS && self.coordinator.waiting.len() < WAITING {
            let until = now + GRACE + GRACE_PER_RANK * u32::try_from(rank).unwrap_or(u32::MAX);
            self.coordinator.waiting.entry(job).or_insert(Waiting { submission, owner, until });
        }
    }

    fn accept(&mut self, job: JobId, submission: JobSubmission, owner: Option<NodeId>, now: Time) {
        // It may have been kept for another coordinator before a repeat made it ours.
        self.coordinator.waiting.remove(&job);
        let refused = if owner.is_none() && !self.config.accept_unsigned {
            Some(Refused::Unsigned)
        } else if self.coordinator.open_jobs() >= self.config.max_jobs {
            Some(Refused::Overloaded { retry_after_ms: RETRY_AFTER_MS })
        } else {
            submission.check().err()
        };
        if let Some(refused) = refused {
            return self.reject(job, owner, refused, now);
        }
        tracing::info!(%job, "accepted a job");
        let (machine, commands) = JobMachine::accept(job.clone(), submission, owner, &self.id().clone(), now);
        let held = Held { machine, records: Vec::new() };
        self.coordinator.jobs.insert(job.clone(), held);
        self.perform(&job, commands, now);
        self.announce(&job, now);
        self.job_input(&job, JobInput::Resume, now);
        self.status_changed();
    }

    /// Tells the submitter and the other coordinators in order that the job is ours, once that is durable.
    fn announce(&mut self, job: &JobId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let owner = held.machine.state().owner.clone();
        for node in self.keepers(job).into_iter().chain(owner) {
            self.claim(job, node, now);
        }
        self.publish_result(job);
    }

    /// The coordinators that may think a job is theirs to take.
    fn keepers(&self, job: &JobId) -> Vec<NodeId> {
        let others = self.membership.coordinators_for(job, None).into_iter();
        others.filter(|node| node != self.id()).take(KEEPERS).collect()
    }

    /// Tells one node that a job is ours.
    fn claim(&mut self, job: &JobId, to: NodeId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let term = held.machine.state().term.clone();
        let accepted = Accepted { job: job.clone(), term, durability: Durability::Local };
        self.command_after(Topic::Inbox(to), Body::JobAccepted(accepted), now);
    }

    /// A coordinator is there again. What we told it before may be lost with the broker's memory, so it hears of our open
    /// jobs again; if it holds one of them too, one of us steps down.
    pub(crate) fn claim_open_jobs(&mut self, to: &NodeId, now: Time) {
        for job in self.open_ids() {
            if self.keepers(&job).contains(to) {
                self.claim(&job, to.clone(), now);
            }
        }
    }

    fn open_ids(&self) -> Vec<JobId> {
        let open = self.coordinator.jobs.iter().filter(|(_, held)| held.result().is_none());
        open.map(|(job, _)| job.clone()).collect()
    }

    fn publish_result(&mut self, job: &JobId) {
        let result = self.coordinator.jobs.get(job).and_then(|held| held.result().cloned());
        if let Some(result) = result {
            self.send_after(Topic::Result(job.clone()), Body::JobResult(Box::new(result)));
        }
    }

    fn reject(&mut self, job: JobId, owner: Option<NodeId>, refused: Refused, now: Time) {
        tracing::debug!(%job, %refused, "turned a job away");
        let subject = Topic::Jobs.to_string();
        let sender = owner.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        self.refuse("job-rejected", sender, subject, format!("{job}: {refused}"), now);
        if let Some(owner) = owner {
            let rejection = Rejection { job, refused };
            self.command(Topic::Inbox(owner), Body::JobRejected(rejection), now);
        }
    }

    /// Another coordinator took a job: nothing to keep for it. If we took it too, the higher term goes on.
    pub(crate) fn accepted_elsewhere(&mut self, accepted: &Accepted, now: Time) {
        let Accepted { job, term, .. } = accepted;
        // Whoever may end another's hold on a job must be a coordinator; and nobody takes over yet, so terms have number 1.
        if !self.membership.is_coordinator(&term.holder) || term.number != 1 {
            let detail = format!("wanted a known coordinator in its first term, found {term}");
            return self.refuse("not-coordinator", term.holder.to_string(), job.to_string(), detail, now);
        }
        self.coordinator.waiting.remove(job);
        if term.holder == *self.id() {
            return;
        }
        let Some(held) = self.coordinator.jobs.get(job) else {
            return self.note_elsewhere(job, term, now);
        };
        if *term < held.machine.state().term {
            self.claim(job, term.holder.clone(), now);
        } else if held.result().is_none() {
            tracing::warn!(%job, holder = %term.holder, "stepping down");
            for (agent, work) in held.machine.open_work() {
                self.withdraw(agent, work, now);
            }
            self.coordinator.jobs.remove(job);
            self.effect_after(Effect::Forget(job.clone()));
            self.note_elsewhere(job, term, now);
            self.status_changed();
        }
    }

    fn note_elsewhere(&mut self, job: &JobId, term: &Term, now: Time) {
        let known = &mut self.coordinator.elsewhere;
        if known.get(job).is_none_or(|known| known.term < *term) && known.len() < WAITING {
            known.insert(job.clone(), Elsewhere { term: term.clone(), until: now + KEEP });
        }
    }

    /// Cancel or replay, from whoever may.
    pub(crate) fn control(&mut self, job: &JobId, control: &Control, from: &NodeId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let may = held.machine.state().owner.as_ref() == Some(from) || self.config.operators.contains(from);
        if !may {
            let detail = "wanted the job's owner or an operator".to_owned();
            let topic = Topic::JobControl(job.clone()).to_string();
            return self.refuse("not-owner", from.to_string(), topic, detail, now);
        }
        match control {
            Control::Cancel => self.job_input(job, JobInput::Cancel { by: from.clone() }, now),
            Control::Replay { from: first } => {
                let records: Vec<Record> =
                    held.records.iter().filter(|r| r.index.0 >= *first).cloned().collect();
                for record in records {
                    self.send_after(Topic::JobEvents(job.clone()), Body::JobEvent(Box::new(record)));
                }
            }
        }
    }

    pub(crate) fn work_reply(&mut self, reply: WorkReply, now: Time) {
        let job = reply.work.job();
        self.job_input(&job, JobInput::Reply(reply), now);
    }

    /// Serves entries of a job's channels to members that lack them.
    pub(crate) fn channel_request(&mut self, request: &ChannelRequest, from: NodeId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(&request.job) else { return };
        let of_channel = |entry: &&Entry| {
            let cluster = &entry.content().cluster;
            *cluster == request.cluster || request.cluster.reads_drafts_of(cluster)
        };
        let wanted = |entry: &&Entry| request.entries.is_empty() || request.entries.contains(entry.hash());
        let entries: Vec<Entry> =
            held.machine.state().entries.values().filter(of_channel).filter(wanted).cloned().collect();
        let mut batch = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let size = entry.size();
            if bytes + size > ENTRIES_BYTES && !batch.is_empty() {
                let entries = std::mem::take(&mut batch);
                let body = Body::ChannelEntries(ChannelEntries { cluster: request.cluster.clone(), entries });
                self.command(Topic::Inbox(from.clone()), body, now);
                bytes = 0;
            }
            bytes += size;
            batch.push(entry);
        }
        let body = Body::ChannelEntries(ChannelEntries { cluster: request.cluster.clone(), entries: batch });
        self.command(Topic::Inbox(from), body, now);
    }

    /// Feeds every open job.
    pub(crate) fn each_job(&mut self, input: &JobInput, now: Time) {
        for job in self.open_ids() {
            self.job_input(&job, input.clone(), now);
        }
    }

    fn job_input(&mut self, job: &JobId, input: JobInput, now: Time) {
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        let commands = held.machine.handle(input, now);
        self.perform(job, commands, now);
    }

    /// Does what a job wants done. Everything waits for the records that stand before it.
    fn perform(&mut self, job: &JobId, commands: Vec<Command>, now: Time) {
        for command in commands {
            match command {
                Command::Commit(record) => self.committed(*record),
                Command::Embed(texts) => {
                    self.embed(Asked::Job { job: job.clone(), texts: texts.clone() }, texts);
                }
                Command::Route { key, query } => {
                    self.coordinator.routes.push((job.clone(), key, *query));
                }
                Command::Send(work) => {
                    let topic = Topic::Tasks(work.agent.clone());
                    self.command_after(topic, Body::Work(work), now);
                }
                Command::Withdraw { agent, work } => self.withdraw(agent, work, now),
                Command::Post { cluster, entries } => {
                    for entry in entries {
                        self.send_after(Topic::Channel(cluster.clone()), Body::Entry(Box::new(entry)));
                    }
                }
                Command::Moderate { cluster, subtask, round, body } => {
                    self.moderate(job, cluster, subtask, round, body);
                }
                Command::Grade { agent, task, delivered } => {
                    let outcome = if delivered {
                        Outcome::Success { weight: 1.0 }
                    } else {
                        Outcome::Failure { weight: 1.0 }
                    };
                    if let Some(directory) = &mut self.membership.directory {
                        directory.report(&agent, &task, outcome, now);
                    }
                }
            }
        }
        self.answer_routes(now);
    }

    fn committed(&mut self, record: Record) {
        let job = record.job.clone();
        let ended = matches!(record.step, Step::Ended { .. });
        self.persist(NodeRecord::Job { record: Box::new(record.clone()) });
        self.send_after(Topic::JobEvents(job.clone()), Body::JobEvent(Box::new(record.clone())));
        if let Some(held) = self.coordinator.jobs.get_mut(&job) {
            held.records.push(record);
        }
        if ended {
            tracing::info!(%job, "a job ended");
            self.publish_result(&job);
            self.status_changed();
        }
    }

    fn withdraw(&mut self, agent: foa_wire::AgentId, work: foa_wire::WorkId, now: Time) {
        // After the disk, like the work itself: a withdrawal must not overtake what it withdraws.
        self.command_after(Topic::Tasks(agent), Body::WorkCancel(WorkCancel { work }), now);
    }

    fn moderate(
        &mut self,
        job: &JobId,
        cluster: ClusterId,
        subtask: String,
        round: u32,
        body: channel::Body,
    ) {
        let content = Content {
            job: job.clone(),
            subtask,
            cluster: cluster.clone(),
            round,
            author: channel::holder(self.id()),
            parents: std::collections::BTreeSet::new(),
            body,
        };
        let entry = Entry::sign(content, self.me.key());
        self.send_after(Topic::Channel(cluster), Body::Entry(Box::new(entry)));
    }

    /// Answers routing questions, once the directory can be trusted to be whole.
    fn answer_routes(&mut self, now: Time) {
        if !self.membership.ready {
            return;
        }
        for (job, key, query) in std::mem::take(&mut self.coordinator.routes) {
            let Some(directory) = &self.membership.directory else { return };
            let routed = directory.route(&query, now);
            self.job_input(&job, JobInput::Routed { key, routed }, now);
        }
    }

    /// The directory is whole: routes that waited for it go on.
    pub(crate) fn coordinator_ready(&mut self, now: Time) {
        self.answer_routes(now);
    }

    pub(crate) fn job_embedded(
        &mut self,
        job: &JobId,
        texts: Vec<String>,
        result: Result<Vec<Vector>, String>,
        now: Time,
    ) {
        let input = match result {
            Ok(vectors) if vectors.len() == texts.len() => {
                JobInput::Embedded(texts.into_iter().zip(vectors).collect())
            }
            Ok(vectors) => JobInput::NotEmbedded {
                error: format!("wanted {} vectors, found {}", texts.len(), vectors.len()),
            },
            Err(error) => JobInput::NotEmbedded { error },
        };
        self.job_input(job, input, now);
    }

    pub(crate) fn coordinator_tick(&mut self, now: Time) {
        let due: Vec<JobId> = self
            .coordinator
            .jobs
            .iter()
            .filter(|(_, held)| held.machine.wake().is_some_and(|at| at <= now))
            .map(|(job, _)| job.clone())
            .collect();
        for job in due {
            self.job_input(&job, JobInput::Tick, now);
        }
        self.take_over_waiting(now);
        self.forget_old(now);
    }

    /// Submissions that the ones before us in order stayed silent on.
    fn take_over_waiting(&mut self, now: Time) {
        let due: Vec<JobId> =
            self.coordinator.waiting.iter().filter(|(_, w)| w.until <= now).map(|(j, _)| j.clone()).collect();
        for job in due {
            if let Some(waiting) = self.coordinator.waiting.remove(&job)
                && !self.draining
            {
                self.accept(job, waiting.submission, waiting.owner, now);
            }
        }
    }

    /// Results whose keep time is over, and the oldest beyond the limit.
    fn forget_old(&mut self, now: Time) {
        self.coordinator.elsewhere.retain(|_, job| job.until > now);
        let mut ended: Vec<(Time, JobId)> = self
            .coordinator
            .jobs
            .iter()
            .filter_map(|(job, held)| held.forget_at().map(|at| (at, job.clone())))
            .collect();
        ended.sort();
        let beyond = ended.len().saturating_sub(KEEP_ENDED);
        for (n, (at, job)) in ended.into_iter().enumerate() {
            if at <= now || n < beyond {
                self.coordinator.jobs.remove(&job);
                self.clear_retained(Topic::Result(job.clone()));
                self.effect_after(Effect::Forget(job));
            }
        }
    }

    /// The broker may have forgotten: results go out again.
    pub(crate) fn republish_results(&mut self) {
        let ended: Vec<JobId> = self
            .coordinator
            .jobs
            .iter()
            .filter(|(_, held)| held.result().is_some())
            .map(|(job, _)| job.clone())
            .collect();
        for job in ended {
            self.publish_result(&job);
        }
    }

    /// Open jobs go on, after a restart or a lost broker.
    pub(crate) fn resume_jobs(&mut self, now: Time) {
        for job in self.open_ids() {
            self.announce(&job, now);
            if let Some(held) = self.coordinator.jobs.get_mut(&job) {
                held.machine.resend(now + CONFIRM_WITHIN);
            }
            self.job_input(&job, JobInput::Resume, now);
        }
    }
}
