//! What owners, members and clients ask of a job; results, and how long they are kept.

use foa_wire::{JobId, NodeId, Time, Topic};
use foa_workflows::Record;
use foa_workflows::cluster::channel::Entry;
use foa_workflows::engine::Input as JobInput;
use foa_workflows::job::Control;
use foa_workflows::request::{ChannelEntries, ChannelRequest, WorkReply};

use super::KEEP_ENDED;
use super::replication::events;
use crate::body::Body;
use crate::journal::Stream;
use crate::machine::NodeMachine;

/// Entries sent in one answer, by size.
const ENTRIES_BYTES: usize = 180 * 1024;

impl NodeMachine {
    /// Cancel or replay, from whoever may.
    pub(crate) fn control(&mut self, job: &JobId, control: &Control, from: &NodeId, now: Time) {
        let Some(held) = self.coordinator.jobs.get(job) else { return };
        let holds = held.replica.holds() || (held.result().is_some() && self.speaks_for_ended(job));
        // While a holder is there it answers; a log may be shown by anyone who has it when it is not.
        if !holds && self.holder_alive(held) {
            return;
        }
        let owner = held.asked().and_then(|(_, owner)| owner);
        if owner != Some(from) && !self.config.operators.contains(from) {
            let detail = "wanted the job's owner or an operator".to_owned();
            let topic = Topic::JobControl(job.clone()).to_string();
            return self.refuse("not-owner", from.to_string(), topic, detail, now);
        }
        match control {
            Control::Cancel => self.job_input(job, JobInput::Cancel { by: from.clone() }, now),
            Control::Replay { from: first } => {
                let records: Vec<Record> =
                    held.committed().iter().filter(|r| r.index.0 >= *first).cloned().collect();
                for body in events(job, &records) {
                    self.command_after(Topic::Inbox(from.clone()), body, now);
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
        let held = self.coordinator.jobs.get(&request.job);
        let Some(machine) = held.and_then(|held| held.machine.as_ref()) else { return };
        let mut works = machine.state().works.values();
        if !works.any(|work| *work.order.agent.node() == from) {
            let detail = "wanted a node whose agents work on this job".to_owned();
            return self.refuse("not-member", from.to_string(), request.cluster.to_string(), detail, now);
        }
        let of_channel = |entry: &&Entry| {
            let cluster = &entry.content().cluster;
            *cluster == request.cluster || request.cluster.reads_drafts_of(cluster)
        };
        let wanted = |entry: &&Entry| request.entries.is_empty() || request.entries.contains(entry.hash());
        let entries: Vec<Entry> =
            machine.state().entries.values().filter(of_channel).filter(wanted).cloned().collect();
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

    /// A job is over, and that counts.
    pub(super) fn over(&mut self, job: &JobId) {
        tracing::info!(%job, "a job ended");
        self.coordinator.close(job);
        if let Some(held) = self.coordinator.jobs.get_mut(job) {
            held.machine = None;
            held.replica.complete();
        }
        self.publish_result(job);
        self.status_changed();
    }

    pub(super) fn publish_result(&mut self, job: &JobId) {
        if !self.speaks_for_ended(job) {
            return;
        }
        let result = self.coordinator.jobs.get(job).and_then(|held| held.result().cloned());
        if let Some(result) = result {
            self.send_after(Topic::Result(job.clone()), Body::JobResult(Box::new(result)));
        }
    }

    /// Whether a result is ours to publish: we held the job last, or whoever did is gone.
    fn speaks_for_ended(&self, job: &JobId) -> bool {
        let Some(held) = self.coordinator.jobs.get(job) else { return false };
        held.is_of(self.id()) || !self.holder_alive(held)
    }

    /// Ended jobs beyond the limit.
    pub(super) fn forget_oldest(&mut self, now: Time) {
        while self.coordinator.ended.len() > KEEP_ENDED {
            let Some((_, job)) = self.coordinator.ended.first().cloned() else { return };
            self.forget(&job, now);
        }
    }

    /// A job nobody needs to know of any more.
    pub(super) fn forget(&mut self, job: &JobId, now: Time) {
        let published = self.coordinator.jobs.get(job).is_some_and(|held| {
            // One that is gone for good clears nothing any more; before its time is over the result is not ours to clear.
            let left = held.forget_at() <= now && !self.holder_alive(held);
            held.result().is_some() && (held.is_of(self.id()) || left)
        });
        if published {
            self.clear_retained(Topic::Result(job.clone()));
        }
        self.drop_job(job);
        self.erase(Stream::Job(job.clone()));
    }

    /// Removes a job from memory.
    pub(super) fn drop_job(&mut self, job: &JobId) {
        let coordinator = &mut self.coordinator;
        let Some(held) = coordinator.jobs.remove(job) else { return };
        coordinator.campaigns.end(job);
        coordinator.lobby.leave(job);
        if let Some(timer) = held.timer {
            coordinator.timers.remove(&(timer, job.clone()));
        }
        if let Some(result) = held.result() {
            coordinator.ended.remove(&(result.ended, job.clone()));
        }
        coordinator.close(job);
    }
}
