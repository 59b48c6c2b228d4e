//! Taking a job, keeping it for another coordinator, or turning it away.

use std::time::Duration;

use foa_capability::Vector;
use foa_wire::{JobId, NodeId, Term, Time, Topic};
use foa_workflows::engine::{Input as JobInput, JobMachine};
use foa_workflows::job::{Accepted, Durability, JobSubmission, Refused, Rejection};

use super::{Elsewhere, GRACE, GRACE_PER_RANK, Held, KEEP};
use crate::admission::{Full, Shelf};
use crate::body::Body;
use crate::journal::Stream;
use crate::machine::NodeMachine;
use crate::membership::CONFIRM_WITHIN;
use crate::replica::Replica;
use crate::status::Role;

/// Coordinators that keep a job's log.
const REPLICAS: usize = 3;
/// Coordinators, in the order of a job, that keep its submission until they see it accepted.
const KEEPERS: usize = 3;
/// Submissions kept for others, at most.
const WAITING: usize = 10_000;
/// How long a submission is kept for others. Its submitter repeats it until it is accepted.
const WAITING_FOR: Duration = Duration::from_secs(120);
/// Their size, at most, as JSON.
const WAITING_BYTES: usize = 64 * 1024 * 1024;

/// Texts and what they mean.
pub(crate) type Meanings = Vec<(String, Vector)>;

/// A submission that another coordinator should take, or that waits for promises.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) submission: JobSubmission,
    pub(super) owner: Option<NodeId>,
    pub(super) replicas: Vec<NodeId>,
    pub(super) since: Time,
    pub(super) due: Time,
}

impl Waiting {
    fn until(&self) -> Time {
        self.since + WAITING_FOR
    }
}

fn overloaded(full: Full) -> Refused {
    let retry_after_ms = u64::try_from(full.retry_after().as_millis()).unwrap_or(u64::MAX);
    Refused::Overloaded { detail: Some(full.to_string()), retry_after_ms }
}

/// What may be kept for others.
pub(super) fn shelf() -> Shelf {
    Shelf::new(WAITING, WAITING_BYTES)
}

impl NodeMachine {
    /// A submission came in.
    pub(crate) fn submitted(
        &mut self,
        submission: JobSubmission,
        owner: Option<NodeId>,
        hashed: Option<JobId>,
        now: Time,
    ) {
        if self.is(Role::Coordinator)
            && let Some(job) = submission.job.clone().or(hashed)
        {
            self.place(job, submission, owner, None, now);
        }
    }

    /// Takes a submission, keeps it for another coordinator, or turns it away. One that is ours to take is understood first:
    /// then it is placed again, with what its texts mean.
    pub(crate) fn place(
        &mut self,
        job: JobId,
        submission: JobSubmission,
        owner: Option<NodeId>,
        meanings: Option<Meanings>,
        now: Time,
    ) {
        if self.coordinator.broken().contains_key(&job)
            || self.repeated(&job, &submission, owner.as_ref(), now)
        {
            return;
        }
        if self.coordinator.elsewhere.contains_key(&job) {
            return;
        }
        let (replicas, order) = self.placed(&job, &submission);
        let Some(rank) = order.iter().position(|node| node == self.id()) else { return };
        // Whoever does not know the others yet takes a first term for granted too easily.
        if !self.membership.ready && owner.is_some() {
            let replicas = Vec::new();
            let due = now + CONFIRM_WITHIN;
            return self.wait(job, Waiting { submission, owner, replicas, since: now, due }, now);
        }
        let first = order[..rank].iter().all(|node| self.gone_since(node, None).is_some());
        if let Err(refused) = submission.check() {
            if first {
                self.reject(job, owner, refused, now);
            }
            return;
        }
        if replicas.len() < 2 && submission.durability == Some(Durability::Replicated) {
            if first {
                let detail = "wanted at least two coordinators to replicate to, found one".to_owned();
                self.reject(job, owner, Refused::Invalid { detail }, now);
            }
            return;
        }
        if first && let Some(refused) = self.unwelcome(owner.as_ref()) {
            return self.reject(job, owner, refused, now);
        }
        let local = replicas.len() < 2;
        if rank == 0 && !self.draining && (local || self.all_there(&job, &replicas)) {
            match meanings {
                None if local => self.arrive(job, submission, owner, now),
                None => self.line_up(job, submission, owner, now),
                Some(meanings) => self.found(job, submission, owner, replicas, meanings, now),
            }
        } else if rank < KEEPERS {
            let grace = GRACE + GRACE_PER_RANK * u32::try_from(rank).unwrap_or(u32::MAX);
            let due = if first && !local { now } else { now + grace };
            self.wait(job, Waiting { submission, owner, replicas, since: now, due }, now);
        }
    }

    /// A replicated job is taken once it is called from the lobby. One without a submitter who would repeat it is taken at once,
    /// so that the broker keeps it until it is durable.
    fn line_up(&mut self, job: JobId, submission: JobSubmission, owner: Option<NodeId>, now: Time) {
        let Some(submitter) = owner else { return self.arrive(job, submission, None, now) };
        match self.coordinator.lobby.holds(&job, &submission, &submitter) {
            Some(true) => {}
            Some(false) => self.reject(job, Some(submitter), Refused::Conflict, now),
            None if self.coordinator.arrivals.contains(&job) => {
                self.arrive(job, submission, Some(submitter), now);
            }
            None => {
                self.wait_no_more(&job);
                let entered = self.coordinator.lobby.enter(job.clone(), submission, submitter.clone(), now);
                if let Err(full) = entered {
                    self.reject(job, Some(submitter), overloaded(full), now);
                }
            }
        }
    }

    /// Whether the job is known here, and then what a repeat of its submission leads to.
    fn repeated(
        &mut self,
        job: &JobId,
        submission: &JobSubmission,
        owner: Option<&NodeId>,
        now: Time,
    ) -> bool {
        let Some(held) = self.coordinator.jobs.get(job) else { return false };
        let Some(asked) = held.asked() else {
            // Promised to somebody, or to us, with nothing written yet.
            return held.replica.holds() && self.waiting_won(job, submission, owner, now);
        };
        let same = asked == (submission, owner);
        // While a holder is there it answers.
        let speaks = held.replica.holds() || !self.holder_alive(held);
        match (speaks, same) {
            (false, _) => {}
            (true, true) => self.announce(job, now),
            (true, false) => self.reject(job.clone(), owner.cloned(), Refused::Conflict, now),
        }
        true
    }

    /// We have the promises for a job whose submission had gone: take it now.
    fn waiting_won(
        &mut self,
        job: &JobId,
        submission: &JobSubmission,
        owner: Option<&NodeId>,
        now: Time,
    ) -> bool {
        let (replicas, _) = self.placed(job, submission);
        if submission.check().is_ok() && self.unwelcome(owner).is_none() {
            self.write_acceptance(job, submission.clone(), owner.cloned(), replicas, Vec::new(), now);
        }
        true
    }

    /// Who would keep a job's log, and in which order coordinators are to take it.
    fn placed(&self, job: &JobId, submission: &JobSubmission) -> (Vec<NodeId>, Vec<NodeId>) {
        let mut enrolled = self.membership.enrolled_for(job, self.id());
        let replicated = match submission.durability {
            Some(durability) => durability == Durability::Replicated,
            None => enrolled.len() >= REPLICAS,
        };
        if replicated {
            enrolled.truncate(REPLICAS);
            (enrolled.clone(), enrolled)
        } else {
            (vec![self.id().clone()], self.membership.coordinators_for(job, Some(self.id())))
        }
    }

    fn all_there(&self, job: &JobId, replicas: &[NodeId]) -> bool {
        let there = |node: &NodeId| node == self.id() || self.gone_since(node, None).is_none();
        replicas.iter().all(there) && !self.coordinator.jobs.contains_key(job)
    }

    /// Why a new job cannot be taken now.
    pub(super) fn unwelcome(&self, owner: Option<&NodeId>) -> Option<Refused> {
        if owner.is_none() && !self.config.accept_unsigned {
            Some(Refused::Unsigned)
        } else {
            self.coordinator.admission.room(&owner.cloned()).err().map(overloaded)
        }
    }

    fn wait(&mut self, job: JobId, waiting: Waiting, now: Time) {
        if self.coordinator.waiting.contains_key(&job) {
            return;
        }
        let bytes = serde_json::to_vec(&waiting.submission).map_or(0, |bytes| bytes.len());
        let gone = self.coordinator.shelf.put(&job, &waiting.owner, bytes);
        self.coordinator.waiting_timers.insert((waiting.due, job.clone()));
        self.coordinator.waiting.insert(job, waiting);
        for job in gone {
            let owner = self.wait_no_more(&job).and_then(|waiting| waiting.owner);
            let sender = owner.map_or_else(|| "unknown".to_owned(), |owner| owner.to_string());
            let detail = "too much is kept for other coordinators".to_owned();
            self.refuse("not-kept", sender, job.to_string(), detail, now);
        }
    }

    pub(super) fn wait_no_more(&mut self, job: &JobId) -> Option<Waiting> {
        let waiting = self.coordinator.waiting.remove(job)?;
        self.coordinator.shelf.take(job);
        self.coordinator.waiting_timers.remove(&(waiting.due, job.clone()));
        Some(waiting)
    }

    /// A submission that the ones before us in order stayed silent on.
    pub(super) fn waiting_due(&mut self, job: &JobId, now: Time) {
        let Some(waiting) = self.coordinator.waiting.get(job) else { return };
        if waiting.until() <= now {
            self.wait_no_more(job);
        } else if waiting.replicas.is_empty() {
            if let Some(waiting) = self.wait_no_more(job) {
                self.submitted(waiting.submission, waiting.owner, Some(job.clone()), now);
            }
        } else if self.draining || self.others_first(job, waiting) {
            self.wait_longer(job, now);
        } else if waiting.replicas.len() < 2 {
            if let Some(waiting) = self.wait_no_more(job) {
                let Waiting { submission, owner, replicas, .. } = waiting;
                self.found(job.clone(), submission, owner, replicas, Vec::new(), now);
            }
        } else {
            self.wait_longer(job, now);
            if self.coordinator.campaigns.room(now) {
                self.campaign(job, now);
            }
        }
    }

    /// Whether somebody before us in order has been there since the submission came. It takes it or turns it away, and tells
    /// only the submitter.
    fn others_first(&self, job: &JobId, waiting: &Waiting) -> bool {
        let (_, order) = self.placed(job, &waiting.submission);
        let mut before = order.iter().take_while(|node| *node != self.id());
        before.any(|node| {
            let known = self.membership.nodes.get(node);
            self.gone_since(node, None).is_none() && known.is_some_and(|known| known.since <= waiting.since)
        })
    }

    fn wait_longer(&mut self, job: &JobId, now: Time) {
        if let Some(waiting) = self.coordinator.waiting.get_mut(job) {
            waiting.due = now + GRACE + GRACE_PER_RANK;
            self.coordinator.waiting_timers.insert((waiting.due, job.clone()));
        }
    }

    /// Takes a job in its first term.
    fn found(
        &mut self,
        job: JobId,
        submission: JobSubmission,
        owner: Option<NodeId>,
        replicas: Vec<NodeId>,
        meanings: Meanings,
        now: Time,
    ) {
        // It may have been kept for another coordinator before a repeat made it ours.
        self.wait_no_more(&job);
        if let Some(refused) = self.unwelcome(owner.as_ref()) {
            return self.reject(job, owner, refused, now);
        }
        let replica = Replica::found(job.clone(), self.id().clone(), &replicas, now);
        self.coordinator.jobs.insert(job.clone(), Held::new(replica, now));
        self.write_acceptance(&job, submission, owner, replicas, meanings, now);
    }

    /// Writes record 1 of a job, in the term we hold, and what follows from it if the job may start at once.
    pub(super) fn write_acceptance(
        &mut self,
        job: &JobId,
        submission: JobSubmission,
        owner: Option<NodeId>,
        replicas: Vec<NodeId>,
        meanings: Meanings,
        now: Time,
    ) {
        let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
        let Some(term) = held.replica.promised().cloned() else { return };
        tracing::info!(%job, %term, replicas = replicas.len(), "accepting a job");
        let cap = if owner.is_none() { self.config.limits.unsigned_budget } else { None };
        let (priority, submitter) = (submission.priority, owner.clone());
        let (mut machine, mut commands) =
            JobMachine::accept(job.clone(), submission, owner, term, replicas, cap, now);
        machine.learn(meanings);
        machine.queue();
        self.coordinator.open.insert(job.clone());
        self.coordinator.admission.enter(job.clone(), submitter, priority, now);
        // Whatever waited before has been started when its slot became free, so a free slot is this job's.
        let next = self.coordinator.admission.next(now);
        if next.as_ref() == Some(job) {
            commands.extend(machine.handle(JobInput::Start, now));
        }
        held.machine = Some(machine);
        self.perform(job, commands, now);
        if let Some(other) = next.filter(|next| next != job) {
            self.job_input(&other, JobInput::Start, now);
        }
        self.status_changed();
    }

    /// Ends a turn: takes jobs that wait in the lobby and starts jobs that wait for a slot, while there is one, and tells
    /// watchers what happened. A job that is over leaves its slot.
    pub(crate) fn end_turn(&mut self, now: Time) {
        while let Some((job, submission, owner)) = self.coordinator.lobby.next(now) {
            self.arrive(job, submission, Some(owner), now);
        }
        loop {
            while let Some(job) = self.coordinator.admission.next(now) {
                self.job_input(&job, JobInput::Start, now);
            }
            if self.coordinator.untold.is_empty() {
                return;
            }
            self.tell_watchers(now);
        }
    }

    /// Tells the submitter that the job is ours, and the other coordinators in order if they would not know otherwise.
    pub(super) fn announce(&mut self, job: &JobId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        if held.replica.holds() && !held.committed().is_empty() {
            let owner = held.asked().and_then(|(_, owner)| owner.cloned());
            let keepers = if self.is_local(job) { self.keepers(job) } else { Vec::new() };
            for node in keepers.into_iter().chain(owner) {
                self.claim(job, node, now);
            }
        }
        self.publish_result(job);
    }

    pub(super) fn is_local(&self, job: &JobId) -> bool {
        let replicas = self.coordinator.jobs.get(job).and_then(|held| held.replica.replicas());
        replicas.is_some_and(|replicas| replicas.len() < 2)
    }

    /// The coordinators that may think a local job is theirs to take.
    pub(super) fn keepers(&self, job: &JobId) -> Vec<NodeId> {
        let others = self.membership.coordinators_for(job, None).into_iter();
        others.filter(|node| node != self.id()).take(KEEPERS).collect()
    }

    /// Tells one node that a job is ours.
    pub(super) fn claim(&mut self, job: &JobId, to: NodeId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let (Some(term), Some(replicas)) = (held.replica.promised(), held.replica.replicas()) else { return };
        let accepted = Accepted {
            job: job.clone(),
            term: term.clone(),
            durability: Durability::of(replicas.len()),
            replicas: replicas.to_vec(),
        };
        self.command_after(Topic::Inbox(to), Body::JobAccepted(accepted), now);
    }

    pub(crate) fn reject(&mut self, job: JobId, owner: Option<NodeId>, refused: Refused, now: Time) {
        tracing::debug!(%job, %refused, "turned a job away");
        self.coordinator.lobby.leave(&job);
        let subject = Topic::Jobs.to_string();
        let sender = owner.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        self.refuse("job-rejected", sender, subject, format!("{job}: {refused}"), now);
        if let Some(owner) = owner {
            let rejection = Rejection { job, refused };
            self.command(Topic::Inbox(owner), Body::JobRejected(rejection), now);
        }
    }

    /// Another coordinator took a job: nothing to keep for it. If we took it too, and it is local to each of us, the higher
    /// term goes on; what is replicated the replicas settle among themselves.
    pub(crate) fn accepted_elsewhere(&mut self, accepted: &Accepted, now: Time) {
        let Accepted { job, term, replicas, .. } = accepted;
        // Whoever may end another's hold on a job must be a coordinator.
        if !self.membership.is_coordinator(&term.holder) {
            let detail = format!("wanted a known coordinator, found {term}");
            return self.refuse("not-coordinator", term.holder.to_string(), job.to_string(), detail, now);
        }
        self.wait_no_more(job);
        self.coordinator.arrivals.forget(job);
        self.coordinator.lobby.leave(job);
        if term.holder == *self.id() || replicas.len() > 1 {
            return;
        }
        let Some(held) = self.coordinator.jobs.get(job) else {
            return self.note_elsewhere(job, term, now);
        };
        if !self.is_local(job) {
            // Somebody who did not know us took alone what we are only about to take together.
            if held.replica.founds() && held.replica.committed().0 == 0 {
                self.give_up(job, term, now);
            }
            return;
        }
        if held.replica.promised().is_some_and(|own| term < own) {
            self.claim(job, term.holder.clone(), now);
        } else if held.result().is_none() {
            self.give_up(job, term, now);
        }
    }

    /// A job that somebody else has the better claim to.
    fn give_up(&mut self, job: &JobId, to: &Term, now: Time) {
        tracing::warn!(%job, holder = %to.holder, "stepping down");
        let machine = self.coordinator.jobs.get(job).and_then(|held| held.machine.as_ref());
        for (agent, work) in machine.map(JobMachine::open_work).unwrap_or_default() {
            self.withdraw(agent, work, now);
        }
        self.drop_job(job);
        self.erase(Stream::Job(job.clone()));
        self.note_elsewhere(job, to, now);
        self.status_changed();
    }

    fn note_elsewhere(&mut self, job: &JobId, term: &Term, now: Time) {
        let known = &mut self.coordinator.elsewhere;
        if known.get(job).is_none_or(|known| known.term < *term) && known.len() < WAITING {
            known.insert(job.clone(), Elsewhere { term: term.clone(), until: now + KEEP });
        }
    }

    /// A coordinator is there again. What we told it before may be lost with the broker's memory: it hears of our open local
    /// jobs again, and gets the records it lacks of the others.
    pub(crate) fn coordinator_returned(&mut self, node: &NodeId, now: Time) {
        let held: Vec<JobId> =
            self.coordinator.jobs.iter().filter(|(_, h)| h.replica.holds()).map(|(j, _)| j.clone()).collect();
        for job in held {
            if self.is_local(&job) {
                if self.coordinator.open.contains(&job) && self.keepers(&job).contains(node) {
                    self.claim(&job, node.clone(), now);
                }
                continue;
            }
            if let Some(held) = self.coordinator.jobs.get_mut(&job) {
                held.replica.returned(node, now);
            }
            self.retime(&job);
        }
    }
}
