//! Our agents' work: admitting it, asking the agent, signing what goes on the blackboard, replying, and repeating the reply
//! to whoever repeats the work.
//!
//! A deadline is told by the holder's clock, which may be behind ours by [`CLOCK_SKEW`]; so it is that much later here
//! (`by_our_clock`). That costs little, because a holder withdraws what it no longer waits for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use foa_capability::presence::Load;
use foa_capability::profile::Effects;
use foa_wire::envelope::CLOCK_SKEW;
use foa_wire::{AgentId, AgentName, ClusterId, JobId, NodeId, Term, Time, Topic, WorkId};
use foa_workflows::cluster::channel::{Body as EntryBody, Content, Entry, EntryHash};
use foa_workflows::decompose::merge::verify;
use foa_workflows::decompose::proposal::Proposal;
use foa_workflows::job::Progress;
use foa_workflows::request::{ChannelEntries, ChannelRequest, Request, Work, WorkOutcome, WorkReply};
use foa_workflows::work::{Answer, Ask, PeerContribution, Usage};

use crate::body::Body;
use crate::effect::{Effect, NoAnswer};
use crate::journal::{NodeRecord, Stream};
use crate::machine::NodeMachine;

/// Replies kept for repeats, at most.
const REPLIES: usize = 2000;
/// Side-effecting pieces of work remembered, at most.
const EFFECTS: usize = 10_000;
/// How long after its deadline side-effecting work is remembered: its holder gave it up at the deadline.
const EFFECTS_FOR: Duration = Duration::from_secs(3600);
/// Channels followed at once, at most; the oldest is left first.
const CHANNELS: usize = 500;
/// Entries kept of one channel, at most.
const CHANNEL_ENTRIES: usize = 500;
/// How often that is looked at.
const EFFECTS_CHECKED: Duration = Duration::from_secs(60);
/// Pieces of work that wait for entries of others, at most.
const LACKING: usize = 1000;
/// How long a refinement waits for the entries it should read before it goes on without them.
const ENTRIES_WAIT: Duration = Duration::from_secs(5);

/// The work of our agents.
#[derive(Debug, Default)]
pub struct Worker {
    running: BTreeMap<WorkId, Work>,
    waiting: VecDeque<Work>,
    lacking: BTreeMap<WorkId, Lacking>,
    /// Replies and who asked.
    replies: BTreeMap<WorkId, (Bound, WorkReply)>,
    reply_order: VecDeque<WorkId>,
    /// Side-effecting work that was begun, and what came of it. On disk too, until nobody can ask for it any more.
    effects: BTreeMap<WorkId, Effected>,
    channels: BTreeMap<ClusterId, BTreeMap<EntryHash, Entry>>,
    channel_order: VecDeque<ClusterId>,
    effects_checked: Option<Time>,
}

impl Bound {
    /// Why this work is not for the one who asks: a name and who holds it.
    fn objection(&self, work: &Work) -> Option<(&'static str, &Term)> {
        if work.term.holder != self.term.holder && !self.replicas.contains(work.holder()) {
            Some(("work-conflict", &self.term))
        } else if work.term < self.term {
            Some(("stale-term", &self.term))
        } else {
            None
        }
    }
}

/// Who may ask for a piece of work: the holder of this term, or of a higher one if it is of the same set.
#[derive(Clone, Debug)]
struct Bound {
    term: Term,
    replicas: Vec<NodeId>,
}

/// Side-effecting work that was begun.
#[derive(Debug)]
struct Effected {
    /// What came of it; `None` while it runs, or when a crash came between.
    reply: Option<WorkReply>,
    until: Time,
}

/// A refinement that waits for entries.
#[derive(Debug)]
struct Lacking {
    work: Work,
    until: Time,
}

impl Worker {
    pub(crate) fn idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty() && self.lacking.is_empty()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let lacking = self.lacking.values().map(|l| l.until);
        let deadlines = self.running.values().chain(&self.waiting).map(|w| w.deadline);
        lacking.chain(deadlines).min()
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &ClusterId> {
        self.channels.keys()
    }

    pub(crate) fn load(&self) -> BTreeMap<AgentName, Load> {
        let mut load: BTreeMap<AgentName, Load> = BTreeMap::new();
        for work in self.running.values() {
            load.entry(work.agent.agent().clone()).or_default().running += 1;
        }
        for work in &self.waiting {
            load.entry(work.agent.agent().clone()).or_default().queue += 1;
        }
        load
    }

    pub(crate) fn remember_started(&mut self, work: WorkId, until: Time) {
        self.effects.insert(work, Effected { reply: None, until });
    }

    pub(crate) fn remember_finished(&mut self, reply: WorkReply, until: Time) {
        self.effects.insert(reply.work.clone(), Effected { reply: Some(reply), until });
    }

    /// Drops what waits for agents that are there no more.
    pub(crate) fn keep_agents<'a>(&mut self, agents: impl Iterator<Item = &'a AgentName>) {
        let agents: BTreeSet<&AgentName> = agents.collect();
        self.waiting.retain(|work| agents.contains(work.agent.agent()));
    }

    fn keep(&mut self, bound: Bound, reply: WorkReply) {
        if self.replies.insert(reply.work.clone(), (bound, reply.clone())).is_none() {
            self.reply_order.push_back(reply.work);
        }
        while self.reply_order.len() > REPLIES {
            if let Some(oldest) = self.reply_order.pop_front() {
                self.replies.remove(&oldest);
            }
        }
    }

    /// Whether this work was taken here before.
    pub(crate) fn knows(&self, work: &WorkId) -> bool {
        self.bound(work).is_some()
    }

    /// What an agent of ours is doing at this moment.
    pub(crate) fn under_way(&self, work: &WorkId) -> Option<&Work> {
        self.running.get(work)
    }

    fn busy(&self, agent: &AgentId) -> usize {
        self.running.values().filter(|w| w.agent == *agent).count()
    }

    fn queued(&self, agent: &AgentId) -> usize {
        self.waiting.iter().filter(|w| w.agent == *agent).count()
    }

    /// Who asked for this work, if it is known here.
    fn bound(&self, work: &WorkId) -> Option<Bound> {
        let of = |w: &Work| Bound { term: w.term.clone(), replicas: w.replicas.clone() };
        let queued = || self.waiting.iter().find(|w| w.work == *work).map(of);
        let lacking = || self.lacking.get(work).map(|l| of(&l.work));
        let replied = || self.replies.get(work).map(|(bound, _)| bound.clone());
        self.running.get(work).map(of).or_else(lacking).or_else(queued).or_else(replied)
    }

    /// A successor asks from now on.
    fn rebind(&mut self, work: &WorkId, term: &Term) {
        let waiting = self.waiting.iter_mut().filter(|w| w.work == *work);
        let lacking = self.lacking.get_mut(work).map(|l| &mut l.work);
        for known in self.running.get_mut(work).into_iter().chain(waiting).chain(lacking) {
            known.term.clone_from(term);
        }
        if let Some((bound, _)) = self.replies.get_mut(work) {
            bound.term.clone_from(term);
        }
    }

    /// Whether a refinement waits for this entry.
    fn lacks(&self, hash: &EntryHash) -> bool {
        self.lacking.values().any(|l| match &l.work.request {
            Request::Refine { own, read, .. } => own == hash || read.contains(hash),
            Request::Propose { .. }
            | Request::Judge { .. }
            | Request::Draft { .. }
            | Request::Synthesise { .. } => false,
        })
    }

    fn entry(&self, cluster: &ClusterId, hash: &EntryHash) -> Option<&Entry> {
        self.channels.get(cluster)?.get(hash)
    }

    /// What we proposed for a job, if we still know.
    fn own_proposal(&self, request: &Request, agent: &AgentId) -> Option<Proposal> {
        let Request::Judge { input, .. } = request else { return None };
        let claimed = input.proposals.iter().find(|p| p.by == *agent)?;
        match &self.replies.get(&claimed.id)?.1.outcome {
            WorkOutcome::Answered { content: Answer::Proposal { subtasks, edges } } => Some(Proposal {
                id: claimed.id.clone(),
                by: agent.clone(),
                subtasks: subtasks.clone(),
                edges: edges.clone(),
            }),
            WorkOutcome::Answered { .. } | WorkOutcome::Posted { .. } | WorkOutcome::Failed { .. } => None,
        }
    }
}

/// Work as it came, with the latest moment by our clock that its holder may mean with its deadline.
pub(crate) fn by_our_clock(work: Work) -> Work {
    Work { deadline: work.deadline + CLOCK_SKEW, ..work }
}

/// The answer to work that is too old to be begun.
fn expired(now: Time, deadline: Time) -> WorkOutcome {
    let late = now.since(deadline).as_secs() + CLOCK_SKEW.as_secs();
    let detail = format!("its deadline had passed by {late} s, by this node's clock, before it was begun");
    WorkOutcome::Failed { reason: "expired".to_owned(), detail }
}

impl NodeMachine {
    /// Takes work for one of our agents, or repeats the reply to it.
    pub(crate) fn work(&mut self, work: Work, now: Time) {
        let bound = self.worker.bound(&work.work);
        if let Some(objection) = bound.as_ref().and_then(|bound| bound.objection(&work)) {
            let (sender, subject) = (work.holder().to_string(), work.agent.to_string());
            let detail = format!("{} is held by {}", work.work, objection.1);
            return self.refuse(objection.0, sender, subject, detail, now);
        }
        if bound.is_some() {
            self.worker.rebind(&work.work, &work.term);
        }
        let replied = self.worker.replies.get(&work.work).map(|(_, reply)| reply);
        let effected = || self.worker.effects.get(&work.work)?.reply.as_ref();
        if let Some(reply) = replied.or_else(effected).cloned() {
            self.deliver(reply, work.holder(), now);
            return;
        }
        if bound.is_some() {
            return;
        }
        let fail = |reason: &str, detail: String| WorkOutcome::Failed { reason: reason.to_owned(), detail };
        if self.worker.effects.contains_key(&work.work) {
            let detail = "it was begun before a crash; whether it took effect is unknown".to_owned();
            return self.reply_to(&work, fail("unknown", detail), Usage::default(), now);
        }
        if work.deadline <= now {
            return self.reply_to(&work, expired(now, work.deadline), Usage::default(), now);
        }
        let Some(own) = self.membership.own.get(work.agent.agent()) else {
            let detail = format!("wanted an agent of this node, found {}", work.agent);
            return self.reply_to(&work, fail("unknown-agent", detail), Usage::default(), now);
        };
        let profile = &own.advertised.profile;
        if self.draining {
            let detail = "this node is shutting down".to_owned();
            return self.reply_to(&work, fail("draining", detail), Usage::default(), now);
        }
        let writes = profile.effects == Effects::Write && matches!(work.request, Request::Draft { .. });
        if writes && self.worker.effects.len() >= EFFECTS {
            let detail = format!("{EFFECTS} side-effecting pieces of work are remembered already");
            return self.reply_to(&work, fail("overloaded", detail), Usage::default(), now);
        }
        let concurrency = usize::try_from(profile.offer.concurrency.max(1)).unwrap_or(usize::MAX);
        if let Some(cap) = work.cap.filter(|cap| profile.offer.worst_case() > *cap) {
            let detail = format!("wanted a cap of at least {}, found {cap}", profile.offer.worst_case());
            return self.reply_to(&work, fail("cap-too-low", detail), Usage::default(), now);
        }
        if self.worker.busy(&work.agent) >= concurrency {
            if self.worker.queued(&work.agent) >= self.config.max_queue {
                let detail = format!("{} pieces of work are waiting already", self.config.max_queue);
                return self.reply_to(&work, fail("overloaded", detail), Usage::default(), now);
            }
            self.worker.waiting.push_back(work);
            self.status_changed();
            return;
        }
        self.begin(work, now);
    }

    fn begin(&mut self, work: Work, now: Time) {
        if let Request::Judge { input, plan, hash, .. } = &work.request {
            let own = self.worker.own_proposal(&work.request, &work.agent);
            // After a restart we no longer know what we proposed; the merge itself can still be checked.
            let own = own.or_else(|| input.proposals.iter().find(|p| p.by == work.agent).cloned());
            let objection = match own {
                Some(own) => verify(input, plan, hash, &own).err().map(|o| (o.name(), o.to_string())),
                None => Some(("my-proposal-missing", "none of the proposals is ours".to_owned())),
            };
            if let Some((reason, detail)) = objection {
                let outcome = WorkOutcome::Failed { reason: reason.to_owned(), detail };
                return self.reply_to(&work, outcome, Usage::default(), now);
            }
        }
        if let Request::Refine { cluster, own, read, .. } = &work.request {
            self.follow(cluster);
            let missing: Vec<EntryHash> = read
                .iter()
                .chain([own])
                .filter(|hash| self.worker.entry(cluster, hash).is_none())
                .cloned()
                .collect();
            if !missing.is_empty() && self.worker.lacking.len() >= LACKING {
                let detail = format!("{LACKING} pieces of work wait for entries already");
                let outcome = WorkOutcome::Failed { reason: "overloaded".to_owned(), detail };
                return self.reply_to(&work, outcome, Usage::default(), now);
            }
            if !missing.is_empty() {
                let request =
                    ChannelRequest { job: work.work.job(), cluster: cluster.clone(), entries: missing };
                let topic = Topic::Inbox(work.holder().clone());
                self.command(topic, Body::ChannelRequest(request), now);
                let until = (now + ENTRIES_WAIT).min(work.deadline);
                self.worker.lacking.insert(work.work.clone(), Lacking { work, until });
                return;
            }
        }
        self.ask(work, now);
    }

    /// Gives the work to the agent.
    fn ask(&mut self, work: Work, now: Time) {
        let ask = match self.to_ask(&work.request) {
            Ok(ask) => ask,
            Err(detail) => {
                let outcome = WorkOutcome::Failed { reason: "missing-entries".to_owned(), detail };
                return self.reply_to(&work, outcome, Usage::default(), now);
            }
        };
        let name = work.agent.agent().clone();
        let writes =
            self.membership.own.get(&name).is_some_and(|o| o.advertised.profile.effects == Effects::Write);
        let effect = Effect::Ask {
            work: work.work.clone(),
            agent: name,
            ask: Box::new(ask),
            deadline: work.deadline,
            cap: work.cap,
        };
        if writes && matches!(work.request, Request::Draft { .. }) {
            let until = work.deadline + EFFECTS_FOR;
            self.persist(NodeRecord::Started { work: work.work.clone(), until });
            self.worker.remember_started(work.work.clone(), until);
            self.effect_after(effect);
        } else {
            self.effect(effect);
        }
        self.worker.running.insert(work.work.clone(), work);
        self.status_changed();
    }

    /// What the agent is asked: the request, with entries in the place of their hashes.
    fn to_ask(&self, request: &Request) -> Result<Ask, String> {
        Ok(match request.clone() {
            Request::Propose { task, limits } => Ask::Propose { task, limits },
            Request::Judge { task, plan, .. } => Ask::Judge { task, plan },
            Request::Draft { subtask, task, inputs } => Ask::Draft { subtask, task, inputs },
            Request::Synthesise { task, parts, mode, lead } => Ask::Synthesise { task, parts, mode, lead },
            Request::Refine { cluster, round, subtask, task, inputs, own, read, frame } => {
                let own = self
                    .worker
                    .entry(&cluster, &own)
                    .and_then(|entry| entry.body().contribution().cloned())
                    .ok_or_else(|| format!("our own entry {own} could not be had"))?;
                // A peer's entry that could not be had is not read; the round goes on.
                let peer = |hash: &EntryHash| {
                    let entry = self.worker.entry(&cluster, hash)?;
                    let contribution = entry.body().contribution()?.clone();
                    Some(PeerContribution { author: entry.author().clone(), contribution })
                };
                let peers = read.iter().filter_map(peer).collect();
                Ask::Refine { subtask, task, inputs, own, peers, frame, round }
            }
        })
    }

    /// Takes an agent's answer and replies with it.
    pub(crate) fn answered(
        &mut self,
        id: &WorkId,
        outcome: Result<Answer, NoAnswer>,
        usage: Usage,
        now: Time,
    ) {
        let Some(work) = self.worker.running.remove(id) else { return };
        let outcome = match outcome {
            Err(NoAnswer { reason, detail }) => WorkOutcome::Failed { reason, detail },
            Ok(Answer::Contribution(contribution)) => match self.entry_for(&work, contribution.sane()) {
                Some(entry) => WorkOutcome::Posted { entry: Box::new(entry) },
                None => {
                    let detail = format!("wanted an answer to {}", work.request.kind());
                    WorkOutcome::Failed { reason: "invalid-output".to_owned(), detail }
                }
            },
            Ok(content) => WorkOutcome::Answered { content },
        };
        if let (Request::Refine { cluster, .. }, WorkOutcome::Posted { entry }) = (&work.request, &outcome) {
            self.learn_entry(&cluster.clone(), (**entry).clone());
            self.send(Topic::Channel(cluster.clone()), Body::Entry(entry.clone()));
        }
        self.reply_to(&work, outcome, usage, now);
        self.begin_waiting(now);
    }

    /// A contribution as a signed blackboard entry.
    fn entry_for(&self, work: &Work, contribution: foa_workflows::work::Contribution) -> Option<Entry> {
        let job = work.work.job();
        let content = match &work.request {
            Request::Draft { subtask, .. } => Content {
                cluster: ClusterId::new(&job, &subtask.key, 0).ok()?,
                subtask: subtask.key.clone(),
                job,
                round: 0,
                author: work.agent.clone(),
                parents: BTreeSet::new(),
                body: EntryBody::Draft(contribution),
            },
            Request::Refine { cluster, round, subtask, own, read, .. } => Content {
                cluster: cluster.clone(),
                subtask: subtask.key.clone(),
                job,
                round: *round,
                author: work.agent.clone(),
                parents: read.iter().chain([own]).cloned().collect(),
                body: EntryBody::Revision(contribution),
            },
            Request::Propose { .. } | Request::Judge { .. } | Request::Synthesise { .. } => return None,
        };
        Some(Entry::sign(content, self.me.key()))
    }

    pub(crate) fn reply_to(&mut self, work: &Work, outcome: WorkOutcome, usage: Usage, now: Time) {
        let reply = WorkReply { work: work.work.clone(), agent: work.agent.clone(), outcome, usage };
        // "Try later" is no outcome to hold on to: a repeat may find room.
        let passing = matches!(&reply.outcome, WorkOutcome::Failed { reason, .. }
            if reason == "overloaded" || reason == "draining");
        let began = self.worker.effects.get(&work.work).filter(|effected| effected.reply.is_none());
        if let Some(until) = began.map(|effected| effected.until) {
            self.persist(NodeRecord::Finished { reply: Box::new(reply.clone()), until });
            self.worker.remember_finished(reply.clone(), until);
        }
        if !passing {
            let bound = Bound { term: work.term.clone(), replicas: work.replicas.clone() };
            self.worker.keep(bound, reply.clone());
        }
        self.status_changed();
        self.deliver(reply, work.holder(), now);
    }

    fn deliver(&mut self, reply: WorkReply, holder: &NodeId, now: Time) {
        self.command_after(Topic::Inbox(holder.clone()), Body::WorkReply(Box::new(reply)), now);
    }

    fn begin_waiting(&mut self, now: Time) {
        let waiting = std::mem::take(&mut self.worker.waiting);
        for work in waiting {
            self.work(work, now);
        }
    }

    /// The holder no longer wants a piece of work.
    pub(crate) fn cancel_work(&mut self, id: &WorkId, from: &NodeId, now: Time) {
        self.worker.waiting.retain(|w| !(w.work == *id && w.holder() == from));
        if self.worker.lacking.get(id).is_some_and(|l| l.work.holder() == from) {
            self.worker.lacking.remove(id);
        }
        if self.worker.running.get(id).is_some_and(|w| w.holder() == from) {
            self.worker.running.remove(id);
            // After the disk, like the question itself.
            self.effect_after(Effect::Abort { work: id.clone() });
            self.status_changed();
            self.begin_waiting(now);
        }
    }

    /// Shows watchers what an agent does meanwhile.
    pub(crate) fn working(&mut self, id: &WorkId, text: String) {
        let Some(work) = self.worker.running.get(id) else { return };
        let job = id.job();
        let progress =
            Progress { job: job.clone(), agent: Some(work.agent.clone()), node: self.id().clone(), text };
        self.send(Topic::JobProgress(job), Body::JobProgress(progress));
    }

    pub(crate) fn worker_tick(&mut self, now: Time) {
        let due: Vec<WorkId> =
            self.worker.lacking.iter().filter(|(_, l)| l.until <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            if let Some(lacking) = self.worker.lacking.remove(&id) {
                self.ask(lacking.work, now);
            }
        }
        self.forget_effects(now);
        let late: Vec<WorkId> =
            self.worker.running.values().filter(|w| w.deadline <= now).map(|w| w.work.clone()).collect();
        for id in late {
            self.effect_after(Effect::Abort { work: id.clone() });
            if let Some(work) = self.worker.running.remove(&id) {
                let detail = "the agent did not answer before the deadline".to_owned();
                let outcome = WorkOutcome::Failed { reason: "timeout".to_owned(), detail };
                self.reply_to(&work, outcome, Usage::default(), now);
            }
        }
        self.begin_waiting(now);
    }

    /// Side-effecting work nobody can ask for any more.
    fn forget_effects(&mut self, now: Time) {
        if self.worker.effects_checked.is_some_and(|at| now.since(at) < EFFECTS_CHECKED) {
            return;
        }
        self.worker.effects_checked = Some(now);
        let jobs: BTreeSet<JobId> = self.worker.effects.keys().map(WorkId::job).collect();
        for job in jobs {
            let of_job = |id: &WorkId| id.job() == job;
            if self.worker.effects.iter().filter(|(id, _)| of_job(id)).all(|(_, e)| e.until <= now) {
                self.worker.effects.retain(|id, _| !of_job(id));
                self.erase(Stream::Work(job));
            }
        }
    }

    /// Follows a channel, leaving the oldest when there are too many.
    fn follow(&mut self, cluster: &ClusterId) {
        if self.worker.channels.contains_key(cluster) {
            return;
        }
        self.worker.channels.insert(cluster.clone(), BTreeMap::new());
        self.worker.channel_order.push_back(cluster.clone());
        self.effect(Effect::Subscribe(vec![foa_wire::Filter::One(Topic::Channel(cluster.clone()))]));
        if self.worker.channel_order.len() > CHANNELS
            && let Some(oldest) = self.worker.channel_order.pop_front()
        {
            self.worker.channels.remove(&oldest);
            let filter = foa_wire::Filter::One(Topic::Channel(oldest));
            self.effect(Effect::Unsubscribe(vec![filter]));
        }
    }

    /// An entry on a channel we follow, by whoever posts it.
    pub(crate) fn channel_entry(&mut self, cluster: &ClusterId, entry: Entry, now: Time) {
        if !self.worker.channels.contains_key(cluster) {
            return;
        }
        let of_this =
            entry.content().cluster == *cluster || cluster.reads_drafts_of(&entry.content().cluster);
        let checked = if of_this {
            entry.verify().map_err(|e| (e.name(), e.to_string()))
        } else {
            Err(("wrong-channel", format!("an entry of {}", entry.content().cluster)))
        };
        if let Err((reason, detail)) = checked {
            let author = entry.author().to_string();
            return self.refuse(reason, author, cluster.to_string(), detail, now);
        }
        self.learn_entry(cluster, entry);
        self.go_on_refining(now);
    }

    /// Entries we asked the holder for.
    pub(crate) fn channel_entries(&mut self, entries: ChannelEntries, now: Time) {
        for entry in entries.entries {
            self.channel_entry(&entries.cluster.clone(), entry, now);
        }
    }

    fn learn_entry(&mut self, cluster: &ClusterId, entry: Entry) {
        let wanted = self.worker.lacks(entry.hash());
        // What a refinement waits for always finds room, whatever else was posted.
        if let Some(channel) = self.worker.channels.get_mut(cluster)
            && (wanted || channel.len() < CHANNEL_ENTRIES)
        {
            channel.insert(entry.hash().clone(), entry);
        }
    }

    /// Refinements that have all they should read.
    fn go_on_refining(&mut self, now: Time) {
        let complete = |lacking: &Lacking| match &lacking.work.request {
            Request::Refine { cluster, own, read, .. } => {
                read.iter().chain([own]).all(|hash| self.worker.entry(cluster, hash).is_some())
            }
            Request::Propose { .. }
            | Request::Judge { .. }
            | Request::Draft { .. }
            | Request::Synthesise { .. } => true,
        };
        let ready: Vec<WorkId> =
            self.worker.lacking.iter().filter(|(_, l)| complete(l)).map(|(id, _)| id.clone()).collect();
        for id in ready {
            if let Some(lacking) = self.worker.lacking.remove(&id) {
                self.ask(lacking.work, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
