//! What a job wants done. Records go to the replicas; everything else waits until the records before it are committed.

use std::collections::VecDeque;

use foa_capability::Vector;
use foa_capability::reputation::Outcome;
use foa_wire::{AgentId, ClusterId, JobId, Time, Topic, WorkId};
use foa_workflows::cluster::channel::{self, Content, Entry};
use foa_workflows::engine::{Command, Input as JobInput};
use foa_workflows::request::WorkCancel;

use crate::afar::Asker;
use crate::body::Body;
use crate::machine::NodeMachine;
use crate::membership::CONFIRM_WITHIN;
use crate::queries::Asked;

impl NodeMachine {
    /// Feeds every open job.
    pub(crate) fn each_job(&mut self, input: &JobInput, now: Time) {
        for job in self.coordinator.open_ids() {
            self.job_input(&job, input.clone(), now);
        }
    }

    pub(crate) fn job_input(&mut self, job: &JobId, input: JobInput, now: Time) {
        let Some(machine) = self.coordinator.jobs.get_mut(job).and_then(|held| held.machine.as_mut()) else {
            return;
        };
        let commands = machine.handle(input, now);
        self.perform(job, commands, now);
    }

    pub(super) fn perform(&mut self, job: &JobId, commands: Vec<Command>, now: Time) {
        let mut commands = VecDeque::from(commands);
        while let Some(command) = commands.pop_front() {
            let Some(held) = self.coordinator.jobs.get_mut(job) else { return };
            match command {
                Command::Commit(record) => {
                    let out = held.replica.push(*record);
                    self.replicate(job, out, now);
                }
                Command::Embed(texts) => {
                    self.embed(Asked::Job { job: job.clone(), texts: texts.clone() }, texts);
                }
                Command::Route { key, query } => {
                    // Answered on the spot if it can be, so that what follows from it is flushed with what led to it.
                    let here = if self.membership.ready { self.route_here(&query, now) } else { None };
                    let held = self.coordinator.jobs.get_mut(job);
                    match (here, held.and_then(|held| held.machine.as_mut())) {
                        (Some(routed), Some(machine)) => {
                            commands.extend(machine.handle(JobInput::Routed { key, routed }, now));
                        }
                        _ => self.coordinator.routes.push((job.clone(), key, *query)),
                    }
                }
                Command::Grade { agent, task, delivered } => self.grade(&agent, &task, delivered, now),
                Command::Send(_)
                | Command::Withdraw { .. }
                | Command::Post { .. }
                | Command::Moderate { .. } => {
                    held.pending.push_back((held.replica.last(), command));
                }
            }
        }
        if let Some(held) = self.coordinator.jobs.get_mut(job) {
            let out = held.replica.flush(now);
            self.replicate(job, out, now);
        }
        self.release(job, now);
        self.retime(job);
        self.answer_routes(now);
    }

    /// Does what waited for records that count by now.
    pub(super) fn release(&mut self, job: &JobId, now: Time) {
        while let Some(held) = self.coordinator.jobs.get_mut(job) {
            let committed = held.replica.committed();
            let Some((_, command)) = held.pending.pop_front_if(|(index, _)| *index <= committed) else {
                return;
            };
            match command {
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
                Command::Commit(_) | Command::Embed(_) | Command::Route { .. } | Command::Grade { .. } => {}
            }
        }
    }

    pub(super) fn withdraw(&mut self, agent: AgentId, work: WorkId, now: Time) {
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

    fn grade(&mut self, agent: &AgentId, task: &Vector, delivered: bool, now: Time) {
        if let Some(directory) = &mut self.membership.directory {
            directory.report(agent, task, Outcome::of(delivered), now);
        }
        self.grade_afar(agent, task, delivered, now);
    }

    /// Answers routing questions, once the directory can be trusted to be whole.
    fn answer_routes(&mut self, now: Time) {
        if !self.membership.ready {
            return;
        }
        for (job, key, query) in std::mem::take(&mut self.coordinator.routes) {
            match self.route_here(&query, now) {
                Some(routed) => self.job_input(&job, JobInput::Routed { key, routed }, now),
                None => self.route_afar(Asker::Job { job, key }, query, now),
            }
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

    /// Open jobs go on, after a restart or a lost broker.
    pub(crate) fn resume_jobs(&mut self, now: Time) {
        for job in self.coordinator.open_ids() {
            self.announce(&job, now);
            if let Some(machine) = self.coordinator.jobs.get_mut(&job).and_then(|held| held.machine.as_mut())
            {
                machine.resend(now + CONFIRM_WITHIN);
            }
            self.job_input(&job, JobInput::Resume, now);
        }
        self.retime_all();
    }
}
