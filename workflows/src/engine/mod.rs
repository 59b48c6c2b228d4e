//! The machine of one job: from an accepted submission to a result or a named failure.
//!
//! ```text
//! Routing ──► Proposing ──► Voting ──► Assigning ──► Working ──► Synthesising ──► Ended
//!    │            └── one or no proposal ──►┘            │              ▲           ▲
//!    │                                                   └─ per subtask: drafts ─► clusters ─► rounds ─► outcome
//!    └── nobody suitable, cancelled, out of time or money ─────────────────────────┘
//! ```
//!
//! A job that brings its plan begins at Assigning.
//!
//! | input | from |
//! |---|---|
//! | [`Input::Resume`] | the node: after acceptance or a restart |
//! | [`Input::Embedded`], [`Input::NotEmbedded`] | the embedder, to [`Command::Embed`] |
//! | [`Input::Routed`] | the directory, to [`Command::Route`] |
//! | [`Input::Reply`] | an agent, to [`Command::Send`] |
//! | [`Input::Offline`] | presence: a node is gone |
//! | [`Input::Cancel`] | the owner or an operator |
//! | [`Input::Tick`] | the node's timer, at [`JobMachine::wake`] |
//!
//! What is true of a job is a fold of its records ([`state::JobState`]). Everything else here (vectors, routes, timers)
//! is rebuilt from it: after each input the machine looks at the state and does what comes next, so a restart needs no
//! code of its own. A command stands after the [`Command::Commit`]s that must be durable before it.

mod again;
mod ask;
mod decompose;
mod finish;
mod refine;
pub mod state;
mod team;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foa_capability::route::{Query, Routed};
use foa_capability::{Money, Vector};
use foa_wire::{AgentId, ClusterId, JobId, NodeId, Term, Time, WorkId};

pub(crate) use self::again::{Again, again, is_decision};
use self::ask::Route;
pub use self::ask::RouteKey;
pub use self::finish::SYNTHESIS_SKILL;
pub use self::state::{BrokenLog, JobState, Phase};
use self::state::{WorkState, WorkStatus};
use crate::cluster::channel::{self, Entry};
use crate::job::JobSubmission;
use crate::journal::{Order, Purpose, Record, Reply, Step};
use crate::request::{Request, Work, WorkOutcome, WorkReply};
use crate::settings::Settings;
use crate::work::{Answer, Artifact, Evidence, Finding, ProposeLimits};

/// First wait before a piece of work is sent again; doubles up to [`RESEND_MOST`].
const RESEND_FIRST: Duration = Duration::from_secs(4);
/// Longest wait before a piece of work is sent again.
const RESEND_MOST: Duration = Duration::from_secs(30);
/// How often a failed embedding is tried again before the job is given up.
const EMBED_TRIES: u32 = 3;
/// Wait before a failed embedding is tried again.
const EMBED_AGAIN: Duration = Duration::from_secs(2);

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input {
    /// Go on from where the log ends.
    Resume,
    /// A slot is free for a job that was told to [`JobMachine::queue`].
    Start,
    /// These texts mean this.
    Embedded(Vec<(String, Vector)>),
    /// The embedder could not.
    NotEmbedded {
        /// Why.
        error: String,
    },
    /// The directory's answer.
    Routed {
        /// The question.
        key: RouteKey,
        /// The answer.
        routed: Routed,
    },
    /// An agent's reply.
    Reply(WorkReply),
    /// A node is gone; nothing it was asked will be answered.
    Offline(NodeId),
    /// Stop.
    Cancel {
        /// Who says so; the node has checked that they may.
        by: NodeId,
    },
    /// Time has passed.
    Tick,
}

/// What the machine wants done, in order.
#[derive(Clone, Debug)]
pub enum Command {
    /// Make durable before anything that follows.
    Commit(Box<Record>),
    /// Find out what these texts mean.
    Embed(Vec<String>),
    /// Find out who fits.
    Route {
        /// To recognise the answer.
        key: RouteKey,
        /// The question.
        query: Box<Query>,
    },
    /// Send work to an agent.
    Send(Box<Work>),
    /// Tell an agent that its work is no longer wanted.
    Withdraw {
        /// The agent.
        agent: AgentId,
        /// The work.
        work: WorkId,
    },
    /// Put entries of others on a cluster's channel.
    Post {
        /// The cluster.
        cluster: ClusterId,
        /// The entries.
        entries: Vec<Entry>,
    },
    /// Open or close a round on a cluster's channel, under the holder's own signature.
    Moderate {
        /// The cluster.
        cluster: ClusterId,
        /// The subtask.
        subtask: String,
        /// The round.
        round: u32,
        /// Open or close.
        body: channel::Body,
    },
    /// An agent delivered, or did not.
    Grade {
        /// The agent.
        agent: AgentId,
        /// What it was asked, as a meaning.
        task: Vector,
        /// Whether it delivered.
        delivered: bool,
    },
}

/// The machine of one job.
#[derive(Debug)]
pub struct JobMachine {
    state: JobState,
    vectors: BTreeMap<String, Vector>,
    embedding: BTreeSet<String>,
    embed_failures: u32,
    embed_again: Option<Time>,
    embed_error: String,
    queued: bool,
    routes: BTreeMap<RouteKey, Route>,
    sent: BTreeMap<u32, Sent>,
}

/// When a piece of work goes out again.
#[derive(Clone, Copy, Debug)]
struct Sent {
    again: Time,
    wait: Duration,
}

/// What one input led to.
type Commands = Vec<Command>;

impl JobMachine {
    /// Takes a job whose submission has passed [`JobSubmission::check`], in a term of ours. The first command commits the
    /// acceptance, which names who keeps the log. It costs `cap` at most, whatever the submission says.
    #[must_use]
    pub fn accept(
        job: JobId,
        submission: JobSubmission,
        owner: Option<NodeId>,
        term: Term,
        replicas: Vec<NodeId>,
        cap: Option<Money>,
        now: Time,
    ) -> (Self, Vec<Command>) {
        let mut settings = Settings::for_submission(&submission);
        settings.budget = cap.map(|cap| submission.budget.map_or(cap, |asked| asked.min(cap)));
        let record = Record {
            job,
            term,
            index: foa_wire::Index(1),
            committed: foa_wire::Index(1),
            at: now,
            step: Step::Accepted { submission, owner, replicas, settings },
        };
        let state = JobState::accepted(&record)
            .expect("the submission was checked, and the record made an acceptance");
        (Self::at(state), vec![Command::Commit(Box::new(record))])
    }

    /// Takes a job up where its log ends, in a term of ours. The first command commits the takeover: until a majority has
    /// it, nobody can know whether the last records count.
    ///
    /// # Errors
    /// When the records are no log of a job.
    pub fn take_over(records: &[Record], term: Term, now: Time) -> Result<(Self, Vec<Command>), BrokenLog> {
        let mut machine = Self::at(JobState::replay(records)?);
        let from = std::mem::replace(&mut machine.state.term, term);
        let mut out = Commands::new();
        machine.commit(Step::TookOver { from }, now, &mut out);
        Ok((machine, out))
    }

    fn at(state: JobState) -> Self {
        Self {
            state,
            vectors: BTreeMap::new(),
            embedding: BTreeSet::new(),
            embed_failures: 0,
            embed_again: None,
            embed_error: String::new(),
            queued: false,
            routes: BTreeMap::new(),
            sent: BTreeMap::new(),
        }
    }

    /// Takes note of what some texts mean, so that it need not be asked. Changes nothing by itself.
    pub fn learn(&mut self, meanings: impl IntoIterator<Item = (String, Vector)>) {
        for (text, vector) in meanings {
            self.embedding.remove(&text);
            self.vectors.insert(text, vector);
        }
    }

    /// Does nothing until [`Input::Start`], except end when it is cancelled or its time is up. For a job that is accepted
    /// and has to wait until others are over.
    pub fn queue(&mut self) {
        self.queued = true;
    }

    /// Whether anything was done about the job yet.
    #[must_use]
    pub fn begun(&self) -> bool {
        self.state.assigned || !self.state.works.is_empty()
    }

    /// What is true of the job.
    #[must_use]
    pub fn state(&self) -> &JobState {
        &self.state
    }

    /// Work whose reply is still awaited.
    #[must_use]
    pub fn open_work(&self) -> Vec<(AgentId, WorkId)> {
        let open = self.state.works.values().filter(|w| w.status == WorkStatus::Open);
        open.map(|w| (w.order.agent.clone(), WorkId::new(&self.state.job, w.order.work))).collect()
    }

    /// Sends what is open again at `at` at the latest: the broker may have lost it.
    pub fn resend(&mut self, at: Time) {
        for sent in self.sent.values_mut() {
            *sent = Sent { again: sent.again.min(at), wait: RESEND_FIRST };
        }
    }

    /// When the machine wants a [`Input::Tick`]; `None` when it is over.
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        if self.state.phase() == Phase::Ended {
            return None;
        }
        if self.queued {
            return Some(self.state.deadline());
        }
        let open = self.state.works.values().filter(|w| w.status == WorkStatus::Open);
        let deadlines = open.map(|w| w.order.deadline);
        let resends = self.sent.values().map(|s| s.again);
        deadlines.chain(resends).chain(self.embed_again).chain([self.state.deadline()]).min()
    }

    /// Takes one input and does what comes next.
    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Command> {
        let mut out = Commands::new();
        if self.state.phase() == Phase::Ended {
            return out;
        }
        match input {
            Input::Resume | Input::Tick => {}
            Input::Start => self.queued = false,
            Input::Embedded(meanings) => {
                self.embed_failures = 0;
                self.learn(meanings);
            }
            Input::NotEmbedded { error } => {
                self.embedding.clear();
                self.embed_failures += 1;
                self.embed_error = error;
                self.embed_again = Some(now + EMBED_AGAIN);
            }
            Input::Routed { key, routed } => self.answered(&key, routed),
            Input::Reply(reply) => self.reply(reply, now, &mut out),
            Input::Offline(node) => self.offline(&node, now, &mut out),
            Input::Cancel { by } => self.commit(Step::Cancelled { by }, now, &mut out),
        }
        self.drive(now, &mut out);
        out
    }

    /// Does what comes next until there is nothing to do but wait.
    fn drive(&mut self, now: Time, out: &mut Commands) {
        if self.embed_again.is_some_and(|at| at <= now) {
            self.embed_again = None;
        }
        self.expire(now, out);
        // What a record says follows from the log and the record's time, which does not go back.
        let at = now.max(self.state.latest);
        while self.step(at, out) {}
        self.send_open_work(now, out);
    }

    /// One step; `false` when there is nothing to do but wait.
    fn step(&mut self, now: Time, out: &mut Commands) -> bool {
        if self.state.phase() == Phase::Ended {
            return false;
        }
        if let Some(why) = self.stop(now) {
            self.finish(why, None, None, now, out);
            return true;
        }
        if self.queued {
            return false;
        }
        match self.state.phase() {
            Phase::Routing => self.route_task(now, out),
            Phase::Proposing => self.merge_proposals(now, out),
            Phase::Voting => self.count_votes(now, out),
            Phase::Assigning => self.assign_teams(now, out),
            Phase::Working => self.work(now, out),
            Phase::Synthesising => self.synthesise(now, out),
            Phase::Ended => false,
        }
    }

    /// Why the job must end now, whatever its phase.
    fn stop(&self, now: Time) -> Option<finish::Why> {
        if self.state.cancelled.is_some() {
            Some(finish::Why::Cancelled)
        } else if now >= self.state.deadline() {
            Some(finish::Why::Deadline)
        } else if self.embed_failures >= EMBED_TRIES {
            Some(finish::Why::Unable(format!("the embedding model failed: {}", self.embed_error)))
        } else {
            None
        }
    }

    /// Writes the next record: into the state, and to whoever makes it durable.
    fn commit(&mut self, step: Step, now: Time, out: &mut Commands) {
        let index = self.state.last.next();
        let record = Record {
            job: self.state.job.clone(),
            term: self.state.term.clone(),
            index,
            committed: index,
            // Another holder's clock may be ahead of ours; a log does not go back.
            at: now.max(self.state.latest),
            step,
        };
        self.state.apply(&record);
        out.push(Command::Commit(Box::new(record)));
    }

    /// What these texts mean, or `None` while that is being found out.
    fn meanings(&mut self, texts: &[&str], out: &mut Commands) -> Option<Vec<Vector>> {
        let mut lacking = BTreeSet::new();
        for text in texts {
            if !self.vectors.contains_key(*text) {
                lacking.insert((*text).to_owned());
            }
        }
        if lacking.is_empty() {
            return Some(texts.iter().map(|text| self.vectors[*text].clone()).collect());
        }
        let asked: Vec<String> = lacking.difference(&self.embedding).cloned().collect();
        if !asked.is_empty() && self.embed_again.is_none() {
            self.embedding.extend(asked.iter().cloned());
            out.push(Command::Embed(asked));
        }
        None
    }

    /// Numbers the work, reserves what it may cost, and leaves out what the budget does not allow.
    fn orders(
        &self,
        wanted: Vec<(AgentId, foa_capability::Money, Purpose)>,
        lasting_ms: u64,
        now: Time,
    ) -> Vec<Order> {
        let deadline = (now + Duration::from_millis(lasting_ms)).min(self.state.deadline());
        let mut number = self.state.works.keys().next_back().map_or(0, |last| last + 1);
        let mut pending = foa_capability::Money::ZERO;
        let mut orders = Vec::new();
        for (agent, worst_case, purpose) in wanted {
            if self.state.budget.fits(pending, worst_case) {
                pending = pending + worst_case;
                orders.push(Order { work: number, agent, purpose, reserved: worst_case, deadline });
                number += 1;
            }
        }
        orders
    }

    /// Work whose time is up has failed.
    fn expire(&mut self, now: Time, out: &mut Commands) {
        let late = |w: &&WorkState| w.status == WorkStatus::Open && w.order.deadline <= now;
        let late: Vec<Order> = self.state.works.values().filter(late).map(|w| w.order.clone()).collect();
        for order in late {
            let detail = "no reply before its deadline".to_owned();
            self.withdraw(&order, out);
            self.fail(&order, "timeout", detail, now, out);
        }
    }

    fn withdraw(&self, order: &Order, out: &mut Commands) {
        let work = WorkId::new(&self.state.job, order.work);
        out.push(Command::Withdraw { agent: order.agent.clone(), work });
    }

    fn fail(&mut self, order: &Order, reason: &str, detail: String, now: Time, out: &mut Commands) {
        self.sent.remove(&order.work);
        let reason = reason.to_owned();
        self.commit(Step::Failed { work: order.work, reason, detail, usage: None }, now, out);
        self.grade(order, false, out);
    }

    /// A node is gone: what its agents were asked has failed.
    fn offline(&mut self, node: &NodeId, now: Time, out: &mut Commands) {
        let lost = |w: &&WorkState| w.status == WorkStatus::Open && w.order.agent.node() == node;
        let lost: Vec<Order> = self.state.works.values().filter(lost).map(|w| w.order.clone()).collect();
        for order in lost {
            self.fail(&order, "offline", "its node went offline".to_owned(), now, out);
        }
    }

    /// Takes a reply, if it is to open work and by the agent that was asked.
    fn reply(&mut self, reply: WorkReply, now: Time, out: &mut Commands) {
        let Some(state) = self.state.works.get(&reply.work.number()) else { return };
        if state.status != WorkStatus::Open || state.order.agent != reply.agent {
            return;
        }
        let order = state.order.clone();
        self.sent.remove(&order.work);
        let reply = WorkReply { usage: reply.usage.sane(), ..reply };
        let kept = match reply.outcome {
            WorkOutcome::Failed { reason, detail } => {
                let usage = Some(reply.usage);
                self.commit(Step::Failed { work: order.work, reason, detail, usage }, now, out);
                self.grade(&order, false, out);
                return;
            }
            WorkOutcome::Answered { content: Answer::Declined { reason } } => {
                // An honest "not mine" is no failure to deliver.
                let (work, detail, usage) = (order.work, reason, Some(reply.usage));
                self.commit(Step::Failed { work, reason: "declined".to_owned(), detail, usage }, now, out);
                return;
            }
            WorkOutcome::Answered { content } => Reply::Private { content },
            WorkOutcome::Posted { entry } => Reply::Posted { entry },
        };
        if let Err(detail) = self.fits(&order, &kept) {
            self.fail(&order, "invalid-reply", detail, now, out);
            return;
        }
        self.commit(Step::Answered { work: order.work, reply: kept, usage: reply.usage }, now, out);
        self.grade(&order, true, out);
    }

    /// Whether a reply is of the kind its order asked for.
    fn fits(&self, order: &Order, reply: &Reply) -> Result<(), String> {
        let wanted = |what: &str| Err(format!("wanted {what}"));
        match (&order.purpose, reply) {
            (Purpose::Propose, Reply::Private { content: Answer::Proposal { subtasks, edges } }) => {
                crate::decompose::proposal::check(subtasks, edges, self.limits()).map_err(|e| e.to_string())
            }
            (Purpose::Propose, _) => wanted("a proposal"),
            (Purpose::Judge, Reply::Private { content: Answer::Verdict { .. } }) => Ok(()),
            (Purpose::Judge, _) => wanted("a verdict"),
            (Purpose::Synthesise, Reply::Private { content: Answer::Synthesis { text, .. } }) => {
                if text.trim().is_empty() { wanted("a text that says something") } else { Ok(()) }
            }
            (Purpose::Synthesise, _) => wanted("a synthesis"),
            (Purpose::Solo, Reply::Posted { entry }) => self.entry_fits(entry, order, "solo", 0),
            (Purpose::Draft { subtask }, Reply::Posted { entry }) => {
                self.entry_fits(entry, order, subtask, 0)
            }
            (Purpose::Refine { cluster, round }, Reply::Posted { entry }) => {
                let subtask = self.subtask_of(cluster).ok_or("wanted a cluster of this job")?;
                self.entry_fits(entry, order, &subtask, *round)
            }
            (Purpose::Solo | Purpose::Draft { .. } | Purpose::Refine { .. }, Reply::Private { .. }) => {
                wanted("a signed blackboard entry")
            }
        }
    }

    fn entry_fits(&self, entry: &Entry, order: &Order, subtask: &str, round: u32) -> Result<(), String> {
        entry.verify().map_err(|e| e.to_string())?;
        let said = entry.content();
        let about = (&said.job, said.subtask.as_str(), said.round, &said.author);
        if about != (&self.state.job, subtask, round, &order.agent) {
            return Err(format!("wanted an entry by {} on {subtask}, round {round}", order.agent));
        }
        match entry.body().contribution() {
            Some(contribution) if !contribution.text.trim().is_empty() => Ok(()),
            Some(_) => Err("wanted a text that says something".to_owned()),
            None => Err("wanted a contribution".to_owned()),
        }
    }

    fn limits(&self) -> ProposeLimits {
        ProposeLimits { min: self.state.settings.min_subtasks, max: self.state.settings.max_subtasks }
    }

    fn grade(&self, order: &Order, delivered: bool, out: &mut Commands) {
        let text = match &order.purpose {
            Purpose::Solo | Purpose::Propose | Purpose::Judge | Purpose::Synthesise => return,
            Purpose::Draft { subtask } => self.description(subtask),
            Purpose::Refine { cluster, .. } => {
                self.subtask_of(cluster).and_then(|key| self.description(&key))
            }
        };
        if let Some(task) = text.and_then(|text| self.vectors.get(&text)) {
            let (agent, task) = (order.agent.clone(), task.clone());
            out.push(Command::Grade { agent, task, delivered });
        }
    }

    fn description(&self, key: &str) -> Option<String> {
        let (plan, _) = self.state.plan.as_ref()?;
        Some(plan.get(key)?.description.clone())
    }

    fn subtask_of(&self, cluster: &ClusterId) -> Option<String> {
        let has = |s: &state::SubtaskState| s.clusters.iter().flatten().any(|c| c.id == *cluster);
        self.state.subtasks.iter().find(|(_, s)| has(s)).map(|(key, _)| key.clone())
    }

    /// Sends what is open and was not sent yet, or not for a while.
    fn send_open_work(&mut self, now: Time, out: &mut Commands) {
        if self.state.phase() == Phase::Ended || self.queued {
            return;
        }
        let open = self.state.works.values().filter(|w| w.status == WorkStatus::Open);
        let due = |w: &&WorkState| self.sent.get(&w.order.work).is_none_or(|sent| sent.again <= now);
        let due: Vec<Order> = open.filter(due).map(|w| w.order.clone()).collect();
        for order in due {
            let Some(request) = self.request(&order, out) else { continue };
            let wait = self.sent.get(&order.work).map_or(RESEND_FIRST, |s| (s.wait * 2).min(RESEND_MOST));
            self.sent.insert(order.work, Sent { again: now + wait, wait });
            let cap = self.state.budget.limit().map(|_| order.reserved);
            out.push(Command::Send(Box::new(Work {
                work: WorkId::new(&self.state.job, order.work),
                agent: order.agent,
                term: self.state.term.clone(),
                replicas: self.state.replicas.clone(),
                deadline: order.deadline,
                cap,
                request,
            })));
        }
    }

    /// What an order asks for, from the state it was made in; `None` while something must be embedded first.
    fn request(&mut self, order: &Order, out: &mut Commands) -> Option<Request> {
        let task = self.state.submission.task.clone();
        match &order.purpose {
            Purpose::Propose => Some(Request::Propose { task, limits: self.limits() }),
            Purpose::Judge => {
                let merged = self.state.merged.as_ref()?;
                let (input, plan) = (merged.input.clone(), merged.plan.clone());
                Some(Request::Judge { task, input, plan, hash: merged.hash.clone() })
            }
            Purpose::Solo => {
                let mut subtask = crate::plan::Plan::solo(&task).subtasks()[0].clone();
                subtask.key = "solo".to_owned();
                Some(Request::Draft { subtask, task, inputs: self.attachments() })
            }
            Purpose::Draft { subtask } => {
                let inputs = self.findings(subtask);
                let subtask = self.state.plan.as_ref()?.0.get(subtask)?.clone();
                Some(Request::Draft { subtask, task, inputs })
            }
            Purpose::Refine { cluster, round } => self.refine_request(cluster, *round, &order.agent, out),
            Purpose::Synthesise => {
                let lead = self.state.plan.as_ref().and_then(|(plan, _)| plan.sink()).map(str::to_owned);
                let mode = self.state.submission.synthesis;
                Some(Request::Synthesise { task, parts: self.parts(), mode, lead })
            }
        }
    }

    /// Outcomes of what a subtask builds on, in plan order. Failed ones are not there.
    fn findings(&self, key: &str) -> Vec<Finding> {
        let Some((plan, _)) = &self.state.plan else { return Vec::new() };
        let finding = |before: &str| {
            let contribution = self.outcome(before)?;
            Some(Finding {
                subtask: before.to_owned(),
                question: plan.get(before)?.description.clone(),
                text: contribution.text.clone(),
                evidence: contribution.evidence.clone(),
            })
        };
        let mut findings = self.attachments();
        findings.extend(plan.before(key).into_iter().filter_map(finding));
        findings
    }

    /// What came with the task, as if an earlier subtask had found it.
    fn attachments(&self) -> Vec<Finding> {
        let finding = |artifact: &Artifact| Finding {
            subtask: "attachment".to_owned(),
            question: artifact.title(),
            text: String::new(),
            evidence: vec![Evidence {
                quote: String::new(),
                source: artifact.title(),
                held_by: None,
                score: 1.0,
                artifact: Some(artifact.clone()),
            }],
        };
        self.state.submission.attachments.iter().map(finding).collect()
    }
}
