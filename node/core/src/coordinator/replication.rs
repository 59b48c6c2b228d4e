//! Messages between the replicas of a job; taking over when its holder is gone, stepping down when somebody did.
//!
//! Presence decides when to *try*: wills, silence, a restart, a drain. What is safe the promises decide
//! ([`crate::replica`]).

use foa_wire::{Boot, JobId, NodeId, Time, Topic};
use foa_workflows::Record;
use foa_workflows::engine::{Input as JobInput, JobMachine, Phase};
use foa_workflows::journal::{JobEvents, Step, fitting};

use super::{DRAIN_PER_RANK, GRACE, GRACE_PER_RANK, Held, KNOWN, SILENCE};
use crate::body::Body;
use crate::journal::NodeRecord;
use crate::machine::NodeMachine;
use crate::replica::{Durable, Message, Output, RECORDS_BYTES, Replica, What};
use crate::status::Role;

/// Replicas of one job, at most.
const MOST_REPLICAS: usize = 7;

impl NodeMachine {
    /// Another coordinator about a job's log.
    pub(crate) fn replica_message(&mut self, from: &NodeId, boot: Boot, message: Message, now: Time) {
        let job = message.job.clone();
        if !self.is(Role::Coordinator) || self.coordinator.broken().contains_key(&job) {
            return;
        }
        if let Some(detail) = self.not_a_replica(from, &message) {
            return self.refuse("not-replica", from.to_string(), job.to_string(), detail.to_owned(), now);
        }
        if !self.coordinator.jobs.contains_key(&job) {
            let begins = matches!(message.what, What::Append { .. } | What::Prepare { .. });
            if !begins || self.coordinator.elsewhere.contains_key(&job) {
                return;
            }
            if self.coordinator.jobs.len() >= KNOWN {
                let detail = format!("{KNOWN} jobs are known already");
                return self.refuse("overloaded", from.to_string(), job.to_string(), detail, now);
            }
            let replica = Replica::unknown(job.clone(), self.id().clone());
            self.coordinator.jobs.insert(job.clone(), Held::new(replica, now));
        }
        let alive = self.coordinator.jobs.get(&job).is_some_and(|held| self.holder_alive(held));
        let Some(held) = self.coordinator.jobs.get_mut(&job) else { return };
        let appends = matches!(message.what, What::Append { .. }).then(|| message.term.clone());
        let before = held.replica.promised().cloned();
        let out = held.replica.receive(from, message, alive, now);
        if held.replica.promised() != before.as_ref() {
            held.follows_since = now;
        }
        if let Some(term) = appends.filter(|term| held.replica.promised() == Some(term)) {
            held.heard = Some((term, boot));
            self.wait_no_more(&job);
        }
        self.replicate(&job, out, now);
        self.retime(&job);
    }

    /// Why this node has no say about this log.
    fn not_a_replica(&self, from: &NodeId, message: &Message) -> Option<&'static str> {
        let known = self.coordinator.jobs.get(&message.job);
        let set =
            known.filter(|held| held.replica.committed().0 > 0).and_then(|held| held.replica.replicas());
        match set {
            Some(set) if set.contains(from) => None,
            Some(_) => Some("wanted a replica of the job"),
            None if !self.membership.is_enrolled(from) => Some("wanted a known coordinator"),
            None => {
                let What::Append { records, previous: None, .. } = &message.what else { return None };
                let first = records.first().map(|record| &record.step);
                let Some(Step::Accepted { replicas, .. }) = first else {
                    return Some("wanted a log that starts with its acceptance");
                };
                let fits = replicas.len() <= MOST_REPLICAS
                    && replicas.contains(from)
                    && replicas.contains(self.id());
                (!fits).then_some("wanted a replica set with both of us in it")
            }
        }
    }

    /// Does what a replica wants done.
    pub(super) fn replicate(&mut self, job: &JobId, outputs: Vec<Output>, now: Time) {
        for output in outputs {
            match output {
                Output::Persist(Durable::Record(record)) => {
                    self.keep_named_in(&record, now);
                    self.persist(NodeRecord::Job { record });
                }
                Output::Persist(Durable::Promised(term)) => {
                    self.persist(NodeRecord::Promised { job: job.clone(), term });
                }
                Output::Send { to, message } => {
                    self.command_after(Topic::Inbox(to), Body::Replica(Box::new(message)), now);
                }
                Output::Won => self.won(job, now),
                Output::Lost => self.lost(job, now),
                Output::Committed(_) => self.committed(job, now),
            }
        }
    }

    fn keep_named_in(&mut self, record: &Record, now: Time) {
        if record.artifacts().is_empty() {
            return;
        }
        let replicas = self.coordinator.jobs.get(&record.job).and_then(|held| held.replica.replicas());
        let replicas = replicas.unwrap_or_default().to_vec();
        self.keep_named(record, &replicas, now);
    }

    /// What our copies of logs name and may not be here: what was on its way before a restart, or could not be had.
    pub(crate) fn keep_named_again(&mut self, now: Time) {
        let records = self.coordinator.jobs.values().flat_map(|held| held.replica.log());
        let naming: Vec<Record> = records.filter(|record| !record.artifacts().is_empty()).cloned().collect();
        self.artifacts.look_anew();
        for record in naming {
            self.keep_named_in(&record, now);
        }
    }

    /// Whether the holder we follow is there: it restarted if its start is not the one that sent us records.
    pub(super) fn holder_alive(&self, held: &Held) -> bool {
        let Some(promised) = held.replica.promised() else { return false };
        if promised.holder == *self.id() {
            return held.replica.holds() && !self.draining;
        }
        match &held.heard {
            Some((term, boot)) if term == promised => {
                self.gone_since(&promised.holder, Some(*boot)).is_none()
            }
            Some(_) | None => false,
        }
    }

    /// Since when a coordinator is gone: offline, silent, draining, or started anew since `boot`. `None` while it is there.
    pub(super) fn gone_since(&self, node: &NodeId, boot: Option<Boot>) -> Option<Time> {
        let Some(known) = self.membership.nodes.get(node) else { return Some(self.connected_at) };
        let there = known.status.online
            && !known.status.draining
            && boot.is_none_or(|boot| known.status.boot == boot)
            && known.status.roles.contains(&Role::Coordinator);
        (!there).then_some(known.since)
    }

    /// When we ask for a job we follow, as things are now.
    pub(super) fn takeover_at(&self, held: &Held) -> Option<Time> {
        let replica = &held.replica;
        let idle = self.connected && !self.draining && !replica.holds() && !replica.campaigns();
        let replicas = replica.replicas()?;
        if !idle || held.result().is_some() || !replicas.contains(self.id()) {
            return None;
        }
        let holder = &replica.promised()?.holder;
        if holder == self.id() {
            // Ours before a restart, or by a promise that came to nothing.
            return Some(held.patience.max(self.connected_at));
        }
        let heard = held.heard.as_ref().filter(|(term, _)| Some(term) == replica.promised());
        let gone = match (self.gone_since(holder, heard.map(|(_, boot)| *boot)), heard) {
            (Some(gone), _) => gone.max(self.connected_at),
            (None, Some(_)) => return None,
            // Whom we promised to, or followed before a restart, is there. But does it still know? A candidate forgets its
            // campaign when it restarts, and a holder speaks to a replica that returns.
            (None, None) => held.follows_since.max(self.connected_at) + SILENCE,
        };
        let before = replicas.iter().take_while(|node| *node != self.id());
        let live = before.filter(|node| *node != holder && self.gone_since(node, None).is_none()).count();
        let rank = u32::try_from(live).unwrap_or(u32::MAX);
        let drains = self.membership.nodes.get(holder).is_some_and(|k| k.status.online && k.status.draining);
        let due = if drains { gone + DRAIN_PER_RANK * rank } else { gone + GRACE + GRACE_PER_RANK * rank };
        Some(due.max(held.patience))
    }

    /// Asks for a job.
    pub(super) fn campaign(&mut self, job: &JobId, now: Time) {
        let me = self.id().clone();
        let replicas = self.coordinator.waiting.get(job).map(|waiting| waiting.replicas.clone());
        let held = self.coordinator.jobs.entry(job.clone());
        let held = held.or_insert_with(|| Held::new(Replica::unknown(job.clone(), me), now));
        if held.replica.holds() || held.replica.campaigns() {
            return;
        }
        held.patience = now + GRACE;
        self.coordinator.campaigns.begin(job.clone(), now);
        let out = held.replica.campaign(&replicas.unwrap_or_default(), now);
        tracing::info!(%job, term = ?held.replica.promised().map(ToString::to_string), "asking for a job");
        self.replicate(job, out, now);
        self.retime(job);
    }

    /// The job is ours: a record of our own comes first.
    fn won(&mut self, job: &JobId, now: Time) {
        self.coordinator.campaigns.end(job);
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        held.pending.clear();
        held.told = held.replica.committed();
        if held.replica.log().is_empty() {
            if let Some(waiting) = self.wait_no_more(job) {
                match self.unwelcome(waiting.owner.as_ref()) {
                    None => {
                        let (submission, owner) = (waiting.submission, waiting.owner);
                        self.write_acceptance(job, submission, owner, waiting.replicas, Vec::new(), now);
                    }
                    Some(refused) => self.reject(job.clone(), waiting.owner, refused, now),
                }
            }
            return;
        }
        self.wait_no_more(job);
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        let Some(term) = held.replica.promised().cloned() else { return };
        tracing::info!(%job, %term, records = held.replica.log().len(), "took a job over");
        match JobMachine::take_over(held.replica.log(), term, now) {
            Ok((mut machine, commands)) => {
                let state = machine.state();
                if state.phase() != Phase::Ended {
                    self.coordinator.open.insert(job.clone());
                    let (submitter, priority) = (state.owner.clone(), state.submission.priority);
                    if machine.begun() {
                        self.coordinator.admission.resume(job.clone(), submitter);
                    } else {
                        machine.queue();
                        self.coordinator.admission.enter(job.clone(), submitter, priority, now);
                    }
                }
                held.machine = Some(machine);
                self.perform(job, commands, now);
                self.job_input(job, JobInput::Resume, now);
                self.status_changed();
            }
            Err(broken) => {
                tracing::error!(%job, %broken, "the log of a job is broken; it is set aside");
                self.refuse("broken-log", self.id().to_string(), job.to_string(), broken.to_string(), now);
                self.drop_job(job);
                self.coordinator.broken.insert(job.clone(), broken.to_string());
            }
        }
    }

    /// Somebody else has the better claim. What was not committed never happened.
    fn lost(&mut self, job: &JobId, now: Time) {
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        if held.machine.take().is_some() {
            tracing::warn!(%job, to = ?held.replica.promised().map(ToString::to_string), "stepping down");
        }
        held.pending.clear();
        // Others try first: we have just been refused.
        held.patience = now + GRACE + GRACE_PER_RANK;
        if !held.replica.campaigns() {
            self.coordinator.campaigns.end(job);
            self.coordinator.lobby.leave(job);
        }
        self.coordinator.close(job);
        self.status_changed();
    }

    /// More of the log counts: the holder does what was waiting for it, and tells watchers at the end of the turn.
    fn committed(&mut self, job: &JobId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let holds = held.replica.holds();
        if let Some(ended) = held.result().map(|result| result.ended) {
            self.coordinator.ended.insert((ended, job.clone()));
            self.forget_oldest(now);
        }
        if holds {
            self.coordinator.lobby.leave(job);
            self.coordinator.untold.insert(job.clone());
            self.release(job, now);
        }
    }

    /// Tells watchers what counts since they were told last; the beginning and the end of a job to others as well.
    pub(super) fn tell_watchers(&mut self, now: Time) {
        while let Some(job) = self.coordinator.untold.pop_first() {
            let Some(held) = self.coordinator.jobs.get_mut(&job).filter(|held| held.replica.holds()) else {
                continue;
            };
            let before = std::mem::replace(&mut held.told, held.replica.committed());
            let news: Vec<Record> = held.committed().iter().filter(|r| r.index > before).cloned().collect();
            for events in events(&job, &news) {
                self.send_after(Topic::JobEvents(job.clone()), events);
            }
            if news.iter().any(|r| matches!(r.step, Step::Accepted { .. } | Step::TookOver { .. })) {
                self.announce(&job, now);
            }
            if news.iter().any(|r| matches!(r.step, Step::Ended { .. })) {
                self.over(&job);
                // No further record will carry it to the others.
                let out = self.coordinator.jobs.get_mut(&job).map(|held| held.replica.flush(now));
                self.replicate(&job, out.unwrap_or_default(), now);
            }
        }
    }
}

/// Records for who watches, in as few messages as hold them.
pub(super) fn events(job: &JobId, mut records: &[Record]) -> Vec<Body> {
    let mut bodies = Vec::new();
    while !records.is_empty() {
        let first = fitting(records, RECORDS_BYTES);
        bodies.push(Body::JobEvents(JobEvents { job: job.clone(), records: first.to_vec() }));
        records = &records[first.len()..];
    }
    bodies
}
