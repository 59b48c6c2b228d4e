//! The dispatch: one input in, outputs out.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::ModelId;
use foa_capability::saved::Unreadable;
use foa_wire::topic::Class;
use foa_wire::{Boot, Connection, Filter, NodeId, NodeKey, NodeName, Time, Topic};

use crate::admission::Limits;
use crate::afar::Afar;
use crate::artifact::Artifacts;
use crate::body::Body;
use crate::coordinator::Coordinator;
use crate::effect::{Effect, EmbedId, Input, Output, Received, Send};
use crate::journal::{NodeRecord, Stream};
use crate::membership::Membership;
use crate::queries::Asked;
use crate::refusal::{Refusal, Refusals};
use crate::replica::Durable;
use crate::shards::Sharding;
use crate::status::Role;
use crate::window::Window;
use crate::worker::{Worker, by_our_clock};

/// How long a command means anything, unless it says otherwise.
pub(crate) const COMMAND_LIFE: std::time::Duration = std::time::Duration::from_secs(300);

/// A node's name and key.
#[derive(Clone, Debug)]
pub struct Identity {
    id: NodeId,
    key: NodeKey,
}

impl Identity {
    /// The identity of whoever holds this key, under this name.
    #[must_use]
    pub fn new(name: NodeName, key: NodeKey) -> Self {
        Self { id: NodeId::new(name, &key.public()), key }
    }

    /// The node's id.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// The node's key.
    #[must_use]
    pub fn key(&self) -> &NodeKey {
        &self.key
    }
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What it is for.
    pub roles: BTreeSet<Role>,
    /// Who may control any job.
    pub operators: BTreeSet<NodeId>,
    /// The coordinators of the federation, if they are fixed; empty is whoever says to be one.
    pub coordinators: BTreeSet<NodeId>,
    /// Whether submissions without a signature are taken.
    pub accept_unsigned: bool,
    /// The embedding model whose vectors it compares.
    pub model: ModelId,
    /// The program's version, for its status.
    pub version: String,
    /// Jobs held and run at once, at most.
    pub limits: Limits,
    /// Pieces of work waiting for one agent, at most.
    pub max_queue: usize,
    /// When the directory is shared among the coordinators.
    pub sharding: Sharding,
}

/// Everything a node decides.
#[derive(Debug)]
pub struct NodeMachine {
    pub(crate) me: Identity,
    pub(crate) config: Config,
    pub(crate) boot: Boot,
    pub(crate) connection: Connection,
    pub(crate) connected: bool,
    /// Since when, or until when.
    pub(crate) connected_at: Time,
    pub(crate) draining: bool,
    pub(crate) membership: Membership,
    pub(crate) worker: Worker,
    pub(crate) coordinator: Coordinator,
    pub(crate) artifacts: Artifacts,
    pub(crate) refusals: Refusals,
    pub(crate) afar: Afar,
    pub(crate) embeds: BTreeMap<EmbedId, Asked>,
    window: Window,
    next_embed: u64,
    persisted: u64,
    out: Vec<Output>,
}

impl NodeMachine {
    /// A node that starts, with what its journal holds from before. The log of a job that makes no sense is set aside
    /// ([`NodeMachine::broken_logs`]).
    #[must_use]
    pub fn new(me: Identity, config: Config, boot: Boot, journal: Vec<NodeRecord>) -> Self {
        let mut membership = Membership::new(&config, me.id().clone());
        let mut worker = Worker::default();
        let mut kept: BTreeMap<foa_wire::JobId, Vec<Durable>> = BTreeMap::new();
        for record in journal {
            match record {
                NodeRecord::Job { record } => {
                    kept.entry(record.job.clone()).or_default().push(Durable::Record(record));
                }
                NodeRecord::Promised { job, term } => {
                    kept.entry(job).or_default().push(Durable::Promised(term));
                }
                NodeRecord::Started { work, until } => worker.remember_started(work, until),
                NodeRecord::Finished { reply, until } => worker.remember_finished(*reply, until),
                NodeRecord::Enrolled { node } => membership.remember_enrolled(node),
            }
        }
        let coordinator = Coordinator::recover(kept, me.id(), config.limits);
        Self {
            me,
            config,
            boot,
            connection: Connection(0),
            connected: false,
            connected_at: Time::ZERO,
            draining: false,
            membership,
            worker,
            coordinator,
            artifacts: Artifacts::default(),
            refusals: Refusals::default(),
            afar: Afar::default(),
            embeds: BTreeMap::new(),
            window: Window::default(),
            next_embed: 0,
            persisted: 0,
            out: Vec::new(),
        }
    }

    /// Who this is.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        self.me.id()
    }

    /// Its start.
    #[must_use]
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input, now: Time) -> Vec<Output> {
        match input {
            Input::Connected { connection } => self.connected(connection, now),
            Input::Disconnected => {
                self.connected = false;
                self.republish_no_more();
                self.retime_all();
            }
            Input::Received(received) => self.received(*received, now),
            Input::Refused { reason, sender, subject, detail } => {
                self.refuse(&reason, sender, subject, detail, now);
            }
            Input::Advertise(agents) => self.advertise(agents, now),
            Input::Answered { work, outcome, usage } => {
                self.answered_with_artifacts(&work, outcome, usage, now);
            }
            Input::Working { work, text } => self.working(&work, text),
            Input::Embedded { id, result } => self.embedded(id, result, now),
            Input::Reachable(addresses) => self.reachable(addresses),
            Input::LookedUp { asker, held } => self.looked_up(asker, held, now),
            Input::Fetched { artifact, result } => self.fetched(artifact, result, now),
            Input::StoreFull(full) => self.coordinator.admission.store_full(full),
            Input::Drain => {
                self.draining = true;
                self.publish_status(now);
                self.retime_all();
            }
            Input::Leave => self.leave(now),
            Input::Tick => self.tick(now),
        }
        self.end_turn(now);
        std::mem::take(&mut self.out)
    }

    /// When the machine wants an [`Input::Tick`].
    #[must_use]
    pub fn wake(&self) -> Option<Time> {
        let parts = [self.membership.wake(), self.coordinator.wake(), self.worker.wake()];
        parts.into_iter().chain([self.artifacts.wake(), self.afar.wake()]).flatten().min()
    }

    /// Whether it is connected, has told of itself and, if it keeps a directory, trusts it to be whole.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.connected && self.membership.ready
    }

    /// How many agents are known and online; 0 for a node that keeps no directory.
    #[must_use]
    pub fn agents_online(&self) -> usize {
        self.membership.directory.as_ref().map_or(0, foa_capability::Directory::online)
    }

    /// Goes on with what the directory put off, at most so many steps of about a millisecond, and says how many are left.
    /// Nothing is wrong if nobody ever calls it; questions about many agents are answered faster if somebody does.
    pub fn upkeep(&mut self, steps: usize) -> usize {
        self.membership.directory.as_mut().map_or(0, |directory| directory.maintain(steps))
    }

    /// Knows the agents again that [`Image::to_bytes`](foa_capability::directory::Image::to_bytes) wrote of its directory
    /// before it ended; says how many. A node that keeps no directory has nobody to know. Call it before the first input.
    ///
    /// # Errors
    /// When the bytes are no image of such a directory; the node then learns everybody anew.
    pub fn remember(&mut self, saved: &[u8], now: Time) -> Result<usize, Unreadable> {
        self.membership.directory.as_mut().map_or(Ok(0), |directory| directory.restore(saved, now))
    }

    /// Whether nothing is being worked on: no agent thinks, no job is open.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.worker.idle() && self.artifacts.idle() && self.coordinator.open_jobs() == 0
    }

    fn connected(&mut self, connection: Connection, now: Time) {
        self.connected = true;
        self.connected_at = now;
        self.coordinator.began(now);
        self.connection = connection;
        let me = self.id().clone();
        let mut filters = vec![
            Filter::One(Topic::Inbox(me.clone())),
            Filter::One(Topic::Calls),
            Filter::TasksOf(me.clone()),
        ];
        if self.is(Role::Coordinator) {
            // Statuses before cards: there are fewer, and a broker may stop handing out what it keeps half-way.
            filters.extend([
                Filter::Statuses,
                Filter::Cards,
                Filter::CardUpdates,
                Filter::Controls,
                Filter::One(Topic::Jobs),
            ]);
        }
        filters.extend(self.worker.channels().map(|c| Filter::One(Topic::Channel(c.clone()))));
        self.effect(Effect::Subscribe(filters));
        self.publish_status(now);
        self.republish_cards(now);
        self.introduce(now);
        self.republish_results(now);
        self.keep_named_again(now);
        self.resume_jobs(now);
    }

    fn tick(&mut self, now: Time) {
        self.membership_tick(now);
        self.afar_tick(now);
        self.artifacts_tick(now);
        self.worker_tick(now);
        self.coordinator_tick(now);
    }

    fn received(&mut self, message: Received, now: Time) {
        if let (Some(from), Some(id), Some(expires), Class::Command) =
            (&message.from, &message.id, message.expires, message.topic.class())
            && !self.window.first_time(from, message.boot, id, expires + foa_wire::envelope::CLOCK_SKEW, now)
        {
            return;
        }
        let Received { topic, from, boot, body, job, .. } = message;
        let Some(from) = from else {
            return self.bare(body, job, now);
        };
        match (&topic, body) {
            (Topic::Jobs, Body::JobSubmit(submission)) => self.submitted(submission, Some(from), job, now),
            (Topic::JobControl(id), Body::JobControl(control)) => self.control(id, &control, &from, now),
            (Topic::Tasks(agent), Body::Work(work)) if work.agent == *agent && *work.holder() == from => {
                self.work_with_inputs(by_our_clock(*work), now);
            }
            (Topic::Tasks(_), Body::WorkCancel(cancel)) => {
                self.unpark(&cancel.work, &from);
                self.cancel_work(&cancel.work, &from, now);
            }
            (Topic::Inbox(_), Body::WorkReply(reply)) if *reply.agent.node() == from => {
                self.work_reply(*reply, now);
            }
            (Topic::Inbox(_), Body::JobAccepted(accepted)) if accepted.term.holder == from => {
                self.accepted_elsewhere(&accepted, now);
            }
            (Topic::Inbox(_), Body::Replica(message)) => self.replica_message(&from, boot, *message, now),
            (Topic::Inbox(_), Body::ChannelRequest(request)) => self.channel_request(&request, from, now),
            (Topic::Inbox(_), Body::ChannelEntries(entries)) => self.channel_entries(entries, now),
            (Topic::Inbox(_), Body::Digest(digest)) => self.digest(&digest, &from, now),
            (Topic::Inbox(_), Body::CardRequest(request)) => self.card_request(&request, &from, now),
            (Topic::Inbox(_), Body::Cards(cards)) => self.cards(cards, &from, now),
            (Topic::Inbox(_), Body::DirectoryMap(map)) => self.directory_map(&map, &from, now),
            (Topic::Inbox(_), Body::RouteAsk(ask)) => self.route_ask(*ask, &from, now),
            (Topic::Inbox(_), Body::RouteAnswer(answer)) => self.route_answer(*answer, &from, now),
            (Topic::Inbox(_), Body::RouteGrade(grade)) => self.route_grade(&grade, &from, now),
            (Topic::Inbox(_), Body::ArtifactAsk(ask)) => self.artifact_ask(ask, from, now),
            (Topic::Inbox(_), Body::ArtifactOffer(offer)) => self.artifact_offer(offer, &from, now),
            (Topic::Inbox(_), Body::ArtifactKeep(keep)) => self.artifact_keep(keep, from, now),
            (Topic::Inbox(_), Body::Query(query)) => self.query(query, from, now),
            (Topic::Calls, Body::Roll(roll)) => self.roll_call(&roll, now),
            (Topic::Channel(cluster), Body::Entry(entry)) => {
                self.channel_entry(&cluster.clone(), *entry, now);
            }
            (Topic::Card(agent), Body::Card(card)) if card.agent() == agent => self.card(*card, &from, now),
            (Topic::CardUpdates(_), Body::CardDelta(delta)) => self.card_delta(&delta, &from, now),
            (Topic::Status(node), Body::Status(status)) if *node == status.node => self.status(status, now),
            (Topic::Status(_) | Topic::Card(_) | Topic::Tasks(_) | Topic::Inbox(_), body) => {
                let detail = format!("a {} does not belong here from this sender", body.kind());
                self.refuse("out-of-place", from.to_string(), topic.to_string(), detail, now);
            }
            // What others watch passes us by.
            (Topic::JobEvents(_) | Topic::JobProgress(_) | Topic::Result(_) | Topic::Enforcement, _) => {}
            (
                Topic::Jobs | Topic::JobControl(_) | Topic::Channel(_) | Topic::Calls | Topic::CardUpdates(_),
                body,
            ) => {
                let detail = format!("a {} does not belong here", body.kind());
                self.refuse("out-of-place", from.to_string(), topic.to_string(), detail, now);
            }
        }
    }

    fn bare(&mut self, body: Body, job: Option<foa_wire::JobId>, now: Time) {
        match body {
            Body::JobSubmit(submission) => self.submitted(submission, None, job, now),
            other => {
                let detail = format!("wanted a signature on a {}", other.kind());
                self.refuse("unsigned", "unknown".to_owned(), other.kind().to_owned(), detail, now);
            }
        }
    }

    fn embedded(&mut self, id: EmbedId, result: Result<Vec<foa_capability::Vector>, String>, now: Time) {
        match self.embeds.remove(&id) {
            Some(Asked::Job { job, texts }) => self.job_embedded(&job, texts, result, now),
            Some(Asked::Arrival { job, texts }) => self.arrival_embedded(job, texts, result, now),
            Some(Asked::Route { id, asker, question }) => {
                self.route_embedded(id, asker, &question, result, now);
            }
            None => {}
        }
    }

    pub(crate) fn is(&self, role: Role) -> bool {
        self.config.roles.contains(&role)
    }

    /// Counts a refusal and tells auditors, at a bounded rate.
    pub(crate) fn refuse(
        &mut self,
        reason: &str,
        sender: String,
        subject: String,
        detail: String,
        now: Time,
    ) {
        tracing::debug!(reason, %sender, %subject, %detail, "refused");
        let about_reports = subject == Topic::Enforcement.to_string();
        let refusal = Refusal { reason: reason.to_owned(), sender, subject, detail, at: now };
        if let Some(report) = self.refusals.record(refusal)
            && !about_reports
        {
            self.send(Topic::Enforcement, Body::Enforcement(report));
        }
    }

    /// An effect that needs nothing to be durable.
    pub(crate) fn effect(&mut self, effect: Effect) {
        self.out.push(Output { after: None, effect });
    }

    /// An effect that must wait for all that was to be persisted so far.
    pub(crate) fn effect_after(&mut self, effect: Effect) {
        let after = (self.persisted > 0).then_some(self.persisted);
        self.out.push(Output { after, effect });
    }

    /// Publishes a state.
    pub(crate) fn send(&mut self, topic: Topic, body: Body) {
        debug_assert_eq!(topic.class(), Class::State, "{topic} is a command topic");
        self.effect(Effect::Send(Box::new(Send { topic, expires: None, body })));
    }

    /// Publishes a state once what was to be persisted is durable.
    pub(crate) fn send_after(&mut self, topic: Topic, body: Body) {
        self.effect_after(Effect::Send(Box::new(Send { topic, expires: None, body })));
    }

    /// Sends a command.
    pub(crate) fn command(&mut self, topic: Topic, body: Body, now: Time) {
        let expires = Some(now + COMMAND_LIFE);
        self.effect(Effect::Send(Box::new(Send { topic, expires, body })));
    }

    /// Sends a command once what was to be persisted is durable.
    pub(crate) fn command_after(&mut self, topic: Topic, body: Body, now: Time) {
        let expires = Some(now + COMMAND_LIFE);
        self.effect_after(Effect::Send(Box::new(Send { topic, expires, body })));
    }

    pub(crate) fn persist(&mut self, record: NodeRecord) {
        self.persisted += 1;
        self.effect(Effect::Persist { seq: self.persisted, record: Box::new(record) });
    }

    /// Removes from the journal, in turn with what is persisted: held back, it would take what is persisted meanwhile with
    /// it, such as a promise about a job that was forgotten and came again.
    pub(crate) fn erase(&mut self, stream: Stream) {
        self.effect(Effect::Forget(stream));
    }

    pub(crate) fn embed(&mut self, asked: Asked, texts: Vec<String>) {
        let id = EmbedId(self.next_embed);
        self.next_embed += 1;
        self.embeds.insert(id, asked);
        self.effect(Effect::Embed { id, texts });
    }
}
