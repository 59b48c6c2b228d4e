//! Artifacts: content too large for an envelope, moved from node to node past the broker. What is said about them, and
//! who has to have what before work goes on.
//!
//! - Whoever wants an artifact asks those who may hold it ([`ArtifactAsk`]); who holds it says so and where it can be
//!   reached ([`ArtifactOffer`]), and serves the asker for [`SERVED_FOR`]: a signed message is what lets a peer in.
//! - Work whose inputs are artifacts begins once they are here.
//! - An agent's answer that became an artifact counts once its job's holder keeps it too, or another coordinator when the
//!   holder is its author ([`ArtifactKeep`]): no single node can lose it.
//! - Whoever keeps a copy of a job's log fetches and keeps what the log names, so that a takeover finds it.
//!
//! ```text
//! asker ── artifact.ask ──> holder      asker <── artifact.offer ── holder      asker ══ bytes over libp2p ══ holder
//! author ── artifact.keep ──> keeper    keeper ══ bytes ══ author               keeper ── artifact.offer ──> author
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use foa_wire::{ArtifactId, JobId, NodeId, PeerAddress, Time, Topic, WorkId};
use foa_workflows::Record;
use foa_workflows::request::{Request, Work, WorkOutcome};
use foa_workflows::work::{Answer, Artifact, Usage};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::effect::{Effect, NoAnswer};
use crate::machine::NodeMachine;
use crate::status::Role;

/// How long a node that asked is served. It asks again when it needs longer.
pub const SERVED_FOR: Duration = Duration::from_secs(600);
/// How often a question about an artifact is repeated.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a node keeps trying to keep what it was asked to.
const KEEP_TRYING: Duration = Duration::from_secs(300);
/// Artifacts on their way here at once, at most.
const FETCHES: usize = 64;
/// Of those, artifacts that only the log of a job names: work that waits for its inputs finds room beside them.
const FETCHES_OF_LOGS: usize = FETCHES / 2;
/// Artifacts of logs that wait for their turn, at most; what is beyond is fetched after the next connection.
const NAMED: usize = 4096;
/// Artifacts in one message, at most; what is beyond is not looked at.
const LISTED: usize = 64;
/// Nodes an artifact is asked of, at most.
const SOURCES: usize = 8;

/// `artifact.ask`: who holds these?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactAsk {
    /// The artifacts; the first 64 count.
    pub artifacts: Vec<ArtifactId>,
}

/// `artifact.offer`: I hold these, and serve you for ten minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactOffer {
    /// What is here, wholly. Empty: none of those asked for.
    pub artifacts: Vec<Offered>,
    /// Where the sender can be reached.
    #[serde(default)]
    pub addresses: Vec<PeerAddress>,
}

/// One artifact that somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its size.
    pub bytes: u64,
}

/// `artifact.keep`: fetch this from me and keep it. Answered by an offer once it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactKeep {
    /// The artifact.
    pub artifact: ArtifactId,
    /// Its size.
    pub bytes: u64,
    /// Where the sender can be reached.
    pub addresses: Vec<PeerAddress>,
    /// The job it belongs to; it is needed while that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
}

/// A node to fetch from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The node.
    pub node: NodeId,
    /// Where it says it can be reached.
    pub addresses: Vec<PeerAddress>,
}

/// What this node wants, and what it waits for others to keep.
#[derive(Debug, Default)]
pub(crate) struct Artifacts {
    /// Where we can be reached.
    pub(crate) addresses: Vec<PeerAddress>,
    fetches: BTreeMap<ArtifactId, Fetch>,
    /// What logs name and nobody has looked for yet.
    named: VecDeque<Named>,
    /// Work whose inputs are not all here.
    parked: BTreeMap<WorkId, Parked>,
    /// Answers of our agents that others do not keep yet.
    unkept: BTreeMap<WorkId, Unkept>,
}

/// An artifact on its way here.
#[derive(Debug)]
struct Fetch {
    bytes: u64,
    job: Option<JobId>,
    /// Other jobs that need it too.
    also: BTreeSet<JobId>,
    sources: BTreeSet<NodeId>,
    /// Who offered it and was not tried since.
    offered: BTreeMap<NodeId, Vec<PeerAddress>>,
    /// The shell is at it.
    running: bool,
    again: Time,
    until: Time,
    /// Who is to be told when it is here.
    tell: BTreeSet<NodeId>,
    trouble: String,
}

/// An artifact that a job's log names.
#[derive(Debug)]
struct Named {
    artifact: ArtifactId,
    bytes: u64,
    job: JobId,
    sources: Vec<NodeId>,
}

#[derive(Debug)]
struct Parked {
    work: Work,
    missing: BTreeSet<ArtifactId>,
}

#[derive(Debug)]
struct Unkept {
    answer: Answer,
    usage: Usage,
    /// Who is to keep it; none when there is nobody but us.
    keeper: Option<NodeId>,
    /// What the keeper does not keep yet, with its size.
    missing: BTreeMap<ArtifactId, u64>,
    again: Time,
}

impl Artifacts {
    /// Whatever logs name will be told again.
    pub(crate) fn look_anew(&mut self) {
        self.named.clear();
    }

    pub(crate) fn idle(&self) -> bool {
        self.parked.is_empty() && self.unkept.is_empty()
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let fetches = self
            .fetches
            .values()
            .map(|fetch| if fetch.running { fetch.until } else { fetch.again.min(fetch.until) });
        let unkept = self.unkept.values().map(|unkept| unkept.again);
        fetches.chain(unkept).chain(self.parked.values().map(|parked| parked.work.deadline)).min()
    }
}

/// The artifacts of an answer that nobody is known to hold, with their sizes.
fn unheld(answer: &Answer) -> BTreeMap<ArtifactId, u64> {
    let own = answer.artifacts().filter(|artifact| artifact.holders.is_empty());
    own.map(|artifact| (artifact.artifact, artifact.bytes)).collect()
}

/// The artifacts an agent must have to do this work.
fn inputs(request: &Request) -> BTreeMap<ArtifactId, Artifact> {
    let inputs = match request {
        Request::Draft { inputs, .. } | Request::Refine { inputs, .. } => inputs.as_slice(),
        Request::Propose { .. } | Request::Judge { .. } | Request::Synthesise { .. } => &[],
    };
    let artifacts =
        inputs.iter().flat_map(|finding| &finding.evidence).filter_map(|evidence| evidence.artifact.as_ref());
    artifacts.take(LISTED).map(|artifact| (artifact.artifact, artifact.clone())).collect()
}

impl NodeMachine {
    /// Our addresses, each time they change.
    pub(crate) fn reachable(&mut self, mut addresses: Vec<PeerAddress>) {
        addresses.truncate(PeerAddress::MOST);
        self.artifacts.addresses = addresses;
        self.status_changed();
    }

    /// Holds work back until its inputs are here, or does it.
    pub(crate) fn work_with_inputs(&mut self, work: Work, now: Time) {
        let wanted = inputs(&work.request);
        if wanted.is_empty() || self.worker.knows(&work.work) {
            return self.work(work, now);
        }
        let missing = wanted.keys().copied().collect();
        let (job, deadline, holder) = (work.work.job(), work.deadline, work.holder().clone());
        if deadline <= now {
            return self.work(work, now);
        }
        // A repeat replaces what it repeats: its holder may be another.
        self.artifacts.parked.insert(work.work.clone(), Parked { work, missing });
        for artifact in wanted.into_values() {
            let sources = artifact.holders.iter().cloned().chain([holder.clone()]);
            self.want(artifact.artifact, artifact.bytes, Some(job.clone()), sources, deadline, now);
        }
    }

    /// Starts to fetch, or adds to what is under way who else may hold it.
    fn want(
        &mut self,
        artifact: ArtifactId,
        bytes: u64,
        job: Option<JobId>,
        sources: impl Iterator<Item = NodeId>,
        until: Time,
        now: Time,
    ) -> bool {
        let me = self.id().clone();
        let others = sources.filter(|node| *node != me).take(SOURCES);
        if let Some(fetch) = self.artifacts.fetches.get_mut(&artifact) {
            fetch.sources.extend(others.take(SOURCES.saturating_sub(fetch.sources.len())));
            fetch.until = fetch.until.max(until);
            fetch.also.extend(job);
            return true;
        }
        if self.artifacts.fetches.len() >= FETCHES {
            return false;
        }
        let fetch = Fetch {
            bytes,
            job,
            also: BTreeSet::new(),
            sources: others.collect(),
            offered: BTreeMap::new(),
            running: false,
            again: now,
            until,
            tell: BTreeSet::new(),
            trouble: "nobody offers it".to_owned(),
        };
        self.artifacts.fetches.insert(artifact, fetch);
        // Without anybody to fetch from: it may be here.
        self.fetch(artifact);
        true
    }

    /// Has the shell fetch from all that offered and were not tried.
    fn fetch(&mut self, artifact: ArtifactId) {
        let Some(fetch) = self.artifacts.fetches.get_mut(&artifact) else { return };
        fetch.running = true;
        let offered = std::mem::take(&mut fetch.offered);
        let from = offered.into_iter().map(|(node, addresses)| Source { node, addresses }).collect();
        let (bytes, job) = (fetch.bytes, fetch.job.clone());
        self.effect(Effect::Fetch { artifact, bytes, job, from });
    }

    /// The shell has it, or could not get it from those it was told.
    pub(crate) fn fetched(&mut self, artifact: ArtifactId, result: Result<(), String>, now: Time) {
        let Some(fetch) = self.artifacts.fetches.get_mut(&artifact) else { return };
        fetch.running = false;
        match result {
            Ok(()) => self.have_arrived(artifact, now),
            Err(_) if !fetch.offered.is_empty() => self.fetch(artifact),
            Err(trouble) => {
                fetch.trouble = trouble;
                if fetch.again <= now {
                    self.ask_around(artifact, now);
                }
            }
        }
    }

    fn ask_around(&mut self, artifact: ArtifactId, now: Time) {
        let Some(fetch) = self.artifacts.fetches.get_mut(&artifact) else { return };
        fetch.again = now + AGAIN;
        let sources: Vec<NodeId> = fetch.sources.iter().cloned().collect();
        for node in sources {
            let ask = ArtifactAsk { artifacts: vec![artifact] };
            self.command(Topic::Inbox(node), Body::ArtifactAsk(ask), now);
        }
    }

    fn have_arrived(&mut self, artifact: ArtifactId, now: Time) {
        let Some(fetch) = self.artifacts.fetches.remove(&artifact) else { return };
        for node in fetch.tell {
            self.effect(Effect::LookUp { asker: node, artifacts: vec![artifact] });
        }
        for job in fetch.also.into_iter().filter(|job| fetch.job.as_ref() != Some(job)) {
            // It is here; this keeps it for this job as well.
            let bytes = fetch.bytes;
            self.effect(Effect::Fetch { artifact, bytes, job: Some(job), from: Vec::new() });
        }
        let mut ready = Vec::new();
        for (id, parked) in &mut self.artifacts.parked {
            parked.missing.remove(&artifact);
            if parked.missing.is_empty() {
                ready.push(id.clone());
            }
        }
        for id in ready {
            if let Some(parked) = self.artifacts.parked.remove(&id) {
                self.work(parked.work, now);
            }
        }
        self.fetch_named(now);
    }

    /// A record is in our copy of a job's log: what it names is kept while the job is known. Its holders are asked, and the
    /// other replicas, which do the same.
    pub(crate) fn keep_named(&mut self, record: &Record, replicas: &[NodeId], now: Time) {
        for artifact in record.artifacts() {
            if self.artifacts.named.len() >= NAMED {
                return;
            }
            let others = [&record.term.holder].into_iter().chain(replicas);
            self.artifacts.named.push_back(Named {
                artifact: artifact.artifact,
                bytes: artifact.bytes,
                job: record.job.clone(),
                sources: artifact.holders.iter().chain(others).cloned().collect(),
            });
        }
        self.fetch_named(now);
    }

    /// Starts to fetch what logs name, as far as there is room.
    fn fetch_named(&mut self, now: Time) {
        while self.artifacts.fetches.len() < FETCHES_OF_LOGS
            && let Some(Named { artifact, bytes, job, sources }) = self.artifacts.named.pop_front()
        {
            self.want(artifact, bytes, Some(job), sources.into_iter(), now + KEEP_TRYING, now);
        }
    }

    /// Somebody asks what we hold: from now on it is served.
    pub(crate) fn artifact_ask(&mut self, mut ask: ArtifactAsk, from: NodeId, now: Time) {
        ask.artifacts.truncate(LISTED);
        self.effect(Effect::Admit { node: from.clone(), until: now + SERVED_FOR });
        self.effect(Effect::LookUp { asker: from, artifacts: ask.artifacts });
    }

    /// What the shell holds of what somebody asked for.
    pub(crate) fn looked_up(&mut self, asker: NodeId, artifacts: Vec<Offered>, now: Time) {
        let addresses = self.artifacts.addresses.clone();
        self.command(Topic::Inbox(asker), Body::ArtifactOffer(ArtifactOffer { artifacts, addresses }), now);
    }

    /// Somebody holds what we want, or keeps what we asked it to.
    pub(crate) fn artifact_offer(&mut self, mut offer: ArtifactOffer, from: &NodeId, now: Time) {
        offer.artifacts.truncate(LISTED);
        offer.addresses.truncate(PeerAddress::MOST);
        for Offered { artifact, .. } in offer.artifacts {
            let fetch = self.artifacts.fetches.get_mut(&artifact);
            if let Some(fetch) = fetch.filter(|fetch| fetch.sources.contains(from)) {
                fetch.offered.insert(from.clone(), offer.addresses.clone());
                if !fetch.running {
                    self.fetch(artifact);
                }
            }
            self.kept(from, artifact, now);
        }
    }

    /// Somebody asks us to keep what it holds. Only coordinators do that for others.
    pub(crate) fn artifact_keep(&mut self, mut keep: ArtifactKeep, from: NodeId, now: Time) {
        keep.addresses.truncate(PeerAddress::MOST);
        if !self.is(Role::Coordinator) {
            let detail = "this node keeps nothing for others".to_owned();
            return self.refuse("not-a-keeper", from.to_string(), keep.artifact.to_string(), detail, now);
        }
        let until = now + KEEP_TRYING;
        let sources = [from.clone()].into_iter();
        if !self.want(keep.artifact, keep.bytes, keep.job, sources, until, now) {
            let detail = format!("{FETCHES} artifacts are on their way here already");
            return self.refuse("overloaded", from.to_string(), keep.artifact.to_string(), detail, now);
        }
        let Some(fetch) = self.artifacts.fetches.get_mut(&keep.artifact) else { return };
        fetch.tell.insert(from.clone());
        fetch.offered.insert(from, keep.addresses);
        if !fetch.running {
            self.fetch(keep.artifact);
        }
    }

    /// An answer of our agent, held back while it rests on an artifact of ours that nobody else keeps.
    pub(crate) fn answered_with_artifacts(
        &mut self,
        id: &WorkId,
        outcome: Result<Answer, NoAnswer>,
        usage: Usage,
        now: Time,
    ) {
        let missing = outcome.as_ref().map(unheld).unwrap_or_default();
        match outcome {
            Ok(answer) if !missing.is_empty() && self.worker.under_way(id).is_some() => {
                let unkept = Unkept { answer, usage, keeper: None, missing, again: now };
                self.artifacts.unkept.insert(id.clone(), unkept);
                self.have_kept(id, now);
            }
            outcome => self.answered(id, outcome, usage, now),
        }
    }

    /// Who is to keep what an agent of ours makes for this work.
    fn keeper(&self, id: &WorkId) -> Option<NodeId> {
        let holder = self.worker.under_way(id)?.holder().clone();
        if holder != *self.id() {
            return Some(holder);
        }
        self.membership.coordinators_for(&id.job(), None).into_iter().find(|node| node != self.id())
    }

    /// Asks the keeper to keep what it does not keep yet; the answer goes when there is nothing left to ask for. A keeper
    /// that was replaced meanwhile, because the job has another holder, is asked for everything.
    fn have_kept(&mut self, id: &WorkId, now: Time) {
        let keeper = self.keeper(id);
        let Some(unkept) = self.artifacts.unkept.get_mut(id) else { return };
        if unkept.keeper != keeper {
            unkept.missing = unheld(&unkept.answer);
            unkept.keeper = keeper;
        }
        let Some(keeper) = unkept.keeper.clone().filter(|_| !unkept.missing.is_empty()) else {
            return self.let_go(id, now);
        };
        unkept.again = now + AGAIN;
        let missing = unkept.missing.clone();
        self.effect(Effect::Admit { node: keeper.clone(), until: now + SERVED_FOR });
        for (artifact, bytes) in missing {
            let addresses = self.artifacts.addresses.clone();
            let keep = ArtifactKeep { artifact, bytes, addresses, job: Some(id.job()) };
            self.command(Topic::Inbox(keeper.clone()), Body::ArtifactKeep(keep), now);
        }
    }

    /// Lets an answer go, with the names of those who hold what it rests on.
    fn let_go(&mut self, id: &WorkId, now: Time) {
        let Some(Unkept { mut answer, usage, keeper, .. }) = self.artifacts.unkept.remove(id) else { return };
        let holders: Vec<NodeId> = [self.id().clone()].into_iter().chain(keeper).collect();
        for artifact in answer.artifacts_mut().filter(|artifact| artifact.holders.is_empty()) {
            artifact.holders.clone_from(&holders);
        }
        self.answered(id, Ok(answer), usage, now);
    }

    fn kept(&mut self, by: &NodeId, artifact: ArtifactId, now: Time) {
        let mut done = Vec::new();
        for (id, unkept) in self.artifacts.unkept.iter_mut().filter(|(_, u)| u.keeper.as_ref() == Some(by)) {
            unkept.missing.remove(&artifact);
            if unkept.missing.is_empty() {
                done.push(id.clone());
            }
        }
        for id in done {
            self.let_go(&id, now);
        }
    }

    pub(crate) fn artifacts_tick(&mut self, now: Time) {
        let over = |fetch: &&Fetch| fetch.until <= now;
        let late: Vec<ArtifactId> =
            self.artifacts.fetches.iter().filter(|(_, f)| over(f)).map(|(id, _)| *id).collect();
        for artifact in late {
            if let Some(fetch) = self.artifacts.fetches.remove(&artifact) {
                tracing::warn!(%artifact, trouble = fetch.trouble, "an artifact could not be had");
            }
        }
        self.fetch_named(now);
        let due: Vec<ArtifactId> = self
            .artifacts
            .fetches
            .iter()
            .filter(|(_, fetch)| !fetch.running && fetch.again <= now)
            .map(|(id, _)| *id)
            .collect();
        for artifact in due {
            self.ask_around(artifact, now);
        }
        let parked = &self.artifacts.parked;
        let late: Vec<WorkId> =
            parked.iter().filter(|(_, p)| p.work.deadline <= now).map(|(id, _)| id.clone()).collect();
        for id in late {
            let Some(Parked { work, missing }) = self.artifacts.parked.remove(&id) else { continue };
            let listed: Vec<String> = missing.iter().map(ToString::to_string).collect();
            let detail = format!("wanted {}, found nobody who gives it", listed.join(", "));
            let outcome = WorkOutcome::Failed { reason: "artifact-missing".to_owned(), detail };
            self.reply_to(&work, outcome, Usage::default(), now);
        }
        // What has ended meanwhile, by its deadline or because nobody wants it, needs no keeper.
        let worker = &self.worker;
        self.artifacts.unkept.retain(|id, _| worker.under_way(id).is_some());
        let unkept = &self.artifacts.unkept;
        let again: Vec<WorkId> =
            unkept.iter().filter(|(_, u)| u.again <= now).map(|(id, _)| id.clone()).collect();
        for id in again {
            self.have_kept(&id, now);
        }
    }

    /// Work that is no longer wanted need not wait for its inputs.
    pub(crate) fn unpark(&mut self, id: &WorkId, from: &NodeId) {
        if self.artifacts.parked.get(id).is_some_and(|parked| parked.work.holder() == from) {
            self.artifacts.parked.remove(id);
        }
    }
}
