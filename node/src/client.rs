//! The federation from outside: what the command line is to it. One key, one connection, questions and jobs.
//!
//! Everything received is opened like anywhere else: a result or a record that its holder did not sign is not shown.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use foa_broker::{Event, Events, Fabric, Protocol};
use foa_node_core::artifact::ArtifactOffer;
use foa_node_core::body::Body;
use foa_node_core::query::{Query, QueryAnswer, Question};
use foa_node_core::status::{NodeStatus, Role};
use foa_wire::envelope::{self, Envelope, Header};
use foa_wire::{Boot, Filter, JobId, MessageId, NodeId, Sequence, Time, Topic};
use foa_workflows::JobResult;
use foa_workflows::job::{Accepted, Control, JobSubmission, Progress, Refused, Rejection};
use foa_workflows::journal::{JobEvents, Step};
use tokio::time::{Instant, timeout_at};

use crate::config::ClientConfig;
use crate::config::defaults::QUERY_TIMEOUT;
use crate::identity::{Identity, IdentityError};

/// A submission is repeated this often until somebody answers: a coordinator accepts within milliseconds.
const REPEAT_AFTER: Duration = Duration::from_secs(2);
/// Life of a command: long enough for a reconnection, short enough that a stale one does nothing.
const COMMAND_LIFE: Duration = Duration::from_secs(60);
/// After the first coordinator is seen, others have this long to show up before a question to all is asked: retained
/// statuses arrive in one burst.
const BURST: Duration = Duration::from_millis(150);

/// Why the federation could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no key to sign with.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// There is no broker.
    #[error("wanted a broker at {url}, found none: {reason}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// There is a broker and nobody to ask.
    #[error("wanted a coordinator of {namespace} at {url}, found {found} and none of them is one")]
    NoCoordinator {
        /// The federation.
        namespace: String,
        /// The broker.
        url: String,
        /// Who is there.
        found: String,
    },
    /// Nobody answered in time.
    #[error("wanted an answer within {}, found none from {asked}", crate::render::duration(*.waited_ms))]
    Silent {
        /// Who was asked.
        asked: String,
        /// How long, in milliseconds.
        waited_ms: u64,
    },
    /// The question or job cannot be sent.
    #[error("cannot send the {kind}: {detail}")]
    Unsendable {
        /// What it is.
        kind: String,
        /// Why.
        detail: String,
    },
    /// The connection was closed under us.
    #[error("the connection to the broker was closed")]
    Closed,
}

impl ClientError {
    /// What to try next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Identity(error) => error.hint(),
            Self::Unreachable { .. } => {
                Some("start one with `foa broker`, or name another with --broker (FOA_BROKER_URL)".to_owned())
            }
            Self::NoCoordinator { .. } => {
                Some("start one with `foa node`, or name another federation with --namespace; `foa nodes` lists who is there".to_owned())
            }
            Self::Silent { .. } => Some("`foa doctor` looks at broker, clocks and nodes".to_owned()),
            Self::Unsendable { .. } | Self::Closed => None,
        }
    }

    /// Whether the surroundings are at fault, not the request.
    #[must_use]
    pub fn is_environment(&self) -> bool {
        match self {
            Self::Identity(_) | Self::Unreachable { .. } | Self::NoCoordinator { .. } => true,
            Self::Silent { .. } | Self::Unsendable { .. } | Self::Closed => false,
        }
    }
}

/// What was heard.
#[derive(Debug)]
pub enum Heard {
    /// A node holds artifacts that were asked for, or keeps what it was asked to.
    Offer(NodeId, ArtifactOffer),
    /// A holder took the job.
    Accepted(Accepted),
    /// A coordinator did not.
    Rejected(Rejection),
    /// Committed steps of one job, in order.
    Records(JobEvents),
    /// Something to show.
    Progress(Progress),
    /// The end of a job.
    Result(Box<JobResult>),
    /// An answer to the question of this id.
    Reply(String, Box<QueryAnswer>),
    /// Someone's presence.
    Status(NodeStatus),
    /// The broker is gone; it is being tried again.
    Lost(String),
    /// The broker is back.
    Back,
}

/// A connection with our key.
pub struct Client {
    config: ClientConfig,
    identity: Identity,
    fabric: Fabric,
    events: Events,
    boot: Boot,
    seq: Sequence,
    protocol: Protocol,
    statuses: BTreeMap<NodeId, NodeStatus>,
    /// Who keeps the log of a job, as its holder or its first record said.
    replicas: BTreeMap<JobId, Vec<NodeId>>,
}

/// The time of this machine's clock.
#[must_use]
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// 16 characters nobody can guess.
fn random_text() -> String {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).expect("the system gave randomness for the key just before");
    BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
}

/// What a coordinator asked for, within reason.
fn after(ms: u64) -> Duration {
    Duration::from_millis(ms.clamp(100, 3_600_000))
}

/// This long, or up to half as much again.
fn jittered(wait: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness everybody comes at once, and some are turned away again.
    let _ = getrandom::fill(&mut random);
    wait.mul_f64(1.0 + f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) / 2.0)
}

/// A job id nobody else has.
#[must_use]
pub fn new_job_id() -> JobId {
    random_text().parse().expect("16 lower-case letters and digits are a job id")
}

impl Client {
    /// Connects, with the key of the configuration, made on first use.
    ///
    /// # Errors
    /// When the key cannot be used, or no broker answers within [`QUERY_TIMEOUT`].
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        let identity = Identity::load_or_create(&config.key_file, config.name.clone())?;
        Self::connect_as(config, identity).await
    }

    /// Connects with this identity.
    ///
    /// # Errors
    /// When no broker answers within [`QUERY_TIMEOUT`].
    pub async fn connect_as(config: ClientConfig, identity: Identity) -> Result<Self, ClientError> {
        // Two commands of one person may run at once, and a broker ends the older of two sessions of one name.
        let session = format!("{}-{}", identity.id(), random_text());
        let mut broker = foa_broker::Config::new(config.broker.clone(), config.namespace.clone(), session);
        broker.credentials = config.credentials.clone();
        broker.ca = config.ca.clone();
        broker.session_expiry = Duration::ZERO;
        let (fabric, mut events) = foa_broker::connect(broker);
        let unreachable =
            |reason: String| ClientError::Unreachable { url: config.broker.to_string(), reason };
        let deadline = Instant::now() + QUERY_TIMEOUT;
        let mut last = "it does not answer".to_owned();
        let protocol = loop {
            match timeout_at(deadline, events.next()).await {
                Ok(Some(Event::Connected { protocol, .. })) => break protocol,
                // A refused connection will not heal while someone waits at a prompt.
                Ok(Some(Event::Unreachable { reason, .. })) => return Err(unreachable(reason)),
                Ok(Some(Event::Disconnected { reason })) => last = reason,
                Ok(Some(_)) => {}
                Ok(None) => return Err(ClientError::Closed),
                Err(_) => return Err(unreachable(last)),
            }
        };
        let boot = Boot(now().as_millis() / 1000);
        let mut client = Self {
            config,
            identity,
            fabric,
            events,
            boot,
            seq: Sequence::default(),
            protocol,
            statuses: BTreeMap::new(),
            replicas: BTreeMap::new(),
        };
        client.subscribe(vec![Filter::One(Topic::Inbox(client.id().clone())), Filter::Statuses]).await?;
        Ok(client)
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> &NodeId {
        self.identity.id()
    }

    /// The key we sign with.
    #[must_use]
    pub fn key(&self) -> &foa_wire::NodeKey {
        self.identity.key()
    }

    /// The version of MQTT that is spoken.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Everyone whose presence was heard so far.
    #[must_use]
    pub fn statuses(&self) -> &BTreeMap<NodeId, NodeStatus> {
        &self.statuses
    }

    /// Subscribes and waits until the broker has agreed.
    async fn subscribe(&mut self, filters: Vec<Filter>) -> Result<(), ClientError> {
        self.fabric.subscribe(filters.clone()).map_err(|_| ClientError::Closed)?;
        let mut missing = filters;
        let deadline = Instant::now() + QUERY_TIMEOUT;
        while !missing.is_empty() {
            match timeout_at(deadline, self.events.next()).await {
                Ok(Some(Event::Subscribed { filters })) => missing.retain(|f| !filters.contains(f)),
                Ok(Some(Event::SubscriptionRefused { filter, reason })) => {
                    let detail =
                        format!("the broker refuses {}: {reason}", filter.under(&self.config.namespace));
                    return Err(ClientError::Unsendable { kind: "subscription".to_owned(), detail });
                }
                Ok(Some(event)) => {
                    // Retained presence may come before the agreement; nothing else is expected this early.
                    self.read(event);
                }
                Ok(None) => return Err(ClientError::Closed),
                Err(_) => {
                    let waited_ms = u64::try_from(QUERY_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
                    return Err(ClientError::Silent { asked: "the broker".to_owned(), waited_ms });
                }
            }
        }
        Ok(())
    }

    /// The next thing heard; none when the connection was closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            let event = self.events.next().await?;
            if let Some(heard) = self.read(event) {
                return Some(heard);
            }
        }
    }

    fn read(&mut self, event: Event) -> Option<Heard> {
        match event {
            Event::Message { topic, payload, ack, .. } => {
                self.fabric.ack(ack);
                if payload.is_empty() {
                    return None;
                }
                let opened = envelope::open(&self.config.namespace, &topic, &payload, now());
                match opened {
                    Ok(envelope) => self.believed(envelope),
                    Err(refusal) => {
                        tracing::debug!(%topic, %refusal, "message refused");
                        None
                    }
                }
            }
            Event::Disconnected { reason } => Some(Heard::Lost(reason)),
            Event::Connected { .. } => Some(Heard::Back),
            Event::Unreachable { .. }
            | Event::Subscribed { .. }
            | Event::SubscriptionRefused { .. }
            | Event::PublishRefused { .. }
            | Event::Foreign { .. }
            | Event::TooLarge { .. }
            | Event::Missed { .. } => None,
        }
    }

    fn believed(&mut self, envelope: Envelope) -> Option<Heard> {
        let from = envelope.header.from.clone();
        let body = match Body::read(envelope) {
            Ok(body) => body,
            Err(unreadable) => {
                tracing::debug!(%from, %unreadable, "message refused");
                return None;
            }
        };
        match body {
            Body::JobAccepted(accepted) if self.speaks(&accepted.job, &from, &accepted.term.holder) => {
                self.kept_by(&accepted.job, &accepted.replicas);
                Some(Heard::Accepted(accepted))
            }
            Body::JobRejected(rejection) => Some(Heard::Rejected(rejection)),
            Body::JobEvents(events) => {
                let last = events.records.last()?;
                let of_one_job = events.records.iter().all(|record| record.job == events.job);
                if !of_one_job || !self.speaks(&events.job, &from, &last.term.holder) {
                    return None;
                }
                for record in &events.records {
                    if let Step::Accepted { replicas, .. } = &record.step {
                        self.kept_by(&record.job, replicas);
                    }
                }
                Some(Heard::Records(events))
            }
            Body::JobResult(result) if self.speaks(&result.job, &from, &result.term.holder) => {
                Some(Heard::Result(result))
            }
            Body::JobProgress(progress) if progress.node == from => Some(Heard::Progress(progress)),
            Body::QueryReply(reply) => Some(Heard::Reply(reply.id, Box::new(reply.answer))),
            Body::ArtifactOffer(offer) => Some(Heard::Offer(from, offer)),
            Body::Status(status) if status.node == from => {
                let order = |s: &NodeStatus| (s.boot, s.connection, s.seq);
                let newer = self.statuses.get(&from).is_none_or(|known| order(known) <= order(&status));
                if newer {
                    self.statuses.insert(from, status.clone());
                }
                newer.then_some(Heard::Status(status))
            }
            _ => None,
        }
    }

    /// Whether a sender may speak for a job: one of those who keep its log, once they are known; before that whoever says
    /// to hold it, or a coordinator.
    fn speaks(&self, job: &JobId, from: &NodeId, holder: &NodeId) -> bool {
        match self.replicas.get(job) {
            Some(replicas) => replicas.contains(from),
            None => {
                let known = self.statuses.get(from);
                from == holder || known.is_some_and(|status| status.roles.contains(&Role::Coordinator))
            }
        }
    }

    fn kept_by(&mut self, job: &JobId, replicas: &[NodeId]) {
        if !replicas.is_empty() {
            self.replicas.entry(job.clone()).or_insert_with(|| replicas.to_vec());
        }
    }

    /// Seals and publishes a command.
    async fn send(&mut self, topic: &Topic, body: &Body) -> Result<(), ClientError> {
        self.seq = self.seq.next();
        let sent = now();
        let header = Header {
            kind: body.kind().to_owned(),
            to: topic.to_string(),
            id: random_text()
                .parse::<MessageId>()
                .expect("16 lower-case letters and digits are a message id"),
            from: self.identity.id().clone(),
            boot: self.boot,
            seq: self.seq,
            sent,
            expires: Some(sent + COMMAND_LIFE),
            trace: None,
        };
        let unsendable = |detail: String| ClientError::Unsendable { kind: body.kind().to_owned(), detail };
        let sealed = Envelope { header, body: body.to_value() }
            .seal(&self.config.namespace, self.identity.key())
            .map_err(|e| unsendable(e.to_string()))?;
        let published = self.fabric.publish(topic, sealed.into(), false, Some(COMMAND_LIFE));
        published.await.map_err(|e| unsendable(e.to_string()))
    }

    /// The coordinators that are there, waiting for the first to show up.
    ///
    /// # Errors
    /// When none shows up within [`QUERY_TIMEOUT`].
    pub async fn coordinators(&mut self) -> Result<Vec<NodeId>, ClientError> {
        let mut deadline = Instant::now() + QUERY_TIMEOUT;
        let mut seen = !self.online_coordinators().is_empty();
        if seen {
            deadline = Instant::now() + BURST;
        }
        while let Ok(heard) = timeout_at(deadline, self.next()).await {
            if heard.is_none() {
                return Err(ClientError::Closed);
            }
            if !seen && !self.online_coordinators().is_empty() {
                seen = true;
                deadline = Instant::now() + BURST;
            }
        }
        let found = self.online_coordinators();
        if !found.is_empty() {
            return Ok(found);
        }
        let online: Vec<String> =
            self.statuses.values().filter(|s| s.online).map(|s| s.node.name().to_string()).collect();
        Err(ClientError::NoCoordinator {
            namespace: self.config.namespace.to_string(),
            url: self.config.broker.to_string(),
            found: match online.len() {
                0 => "nobody".to_owned(),
                n => format!("{} ({})", crate::render::count(n, "node"), online.join(", ")),
            },
        })
    }

    /// Says something to one node.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn say(&mut self, node: &NodeId, body: &Body) -> Result<(), ClientError> {
        self.send(&Topic::Inbox(node.clone()), body).await
    }

    fn online_coordinators(&self) -> Vec<NodeId> {
        let there = |s: &&NodeStatus| s.online && s.roles.contains(&Role::Coordinator);
        self.statuses.values().filter(there).map(|s| s.node.clone()).collect()
    }

    /// Asks one coordinator after another until one knows.
    ///
    /// # Errors
    /// When there is none, or none answers within [`QUERY_TIMEOUT`].
    pub async fn ask(&mut self, question: &Question) -> Result<QueryAnswer, ClientError> {
        let mut answer = None;
        let mut silent = None;
        for coordinator in self.coordinators().await? {
            match self.ask_one(&coordinator, question.clone()).await {
                Ok(found @ QueryAnswer::Unknown { .. }) => answer = answer.or(Some(found)),
                Ok(found) => return Ok(found),
                Err(error @ ClientError::Silent { .. }) => silent = Some(error),
                Err(error) => return Err(error),
            }
        }
        match (answer, silent) {
            (Some(answer), _) => Ok(answer),
            (None, Some(silent)) => Err(silent),
            (None, None) => Err(ClientError::Closed),
        }
    }

    /// Asks every coordinator; those that stay silent are left out.
    ///
    /// # Errors
    /// When there is none, or all stay silent.
    pub async fn ask_all(&mut self, question: &Question) -> Result<Vec<(NodeId, QueryAnswer)>, ClientError> {
        let mut answers = Vec::new();
        let mut silent = None;
        for coordinator in self.coordinators().await? {
            match self.ask_one(&coordinator, question.clone()).await {
                Ok(answer) => answers.push((coordinator, answer)),
                Err(error @ ClientError::Silent { .. }) => silent = Some(error),
                Err(error) => return Err(error),
            }
        }
        match silent {
            Some(silent) if answers.is_empty() => Err(silent),
            Some(_) | None => Ok(answers),
        }
    }

    /// Asks a coordinator without waiting for its answer, which is heard as [`Heard::Reply`].
    ///
    /// # Errors
    /// When it cannot be sent. That no coordinator is there is no error: one may come.
    pub async fn question(&mut self, question: Question) -> Result<(), ClientError> {
        for coordinator in self.online_coordinators() {
            let body = Body::Query(Query { id: random_text(), question: question.clone() });
            self.send(&Topic::Inbox(coordinator), &body).await?;
        }
        Ok(())
    }

    /// Asks one node.
    ///
    /// # Errors
    /// When it does not answer within [`QUERY_TIMEOUT`].
    pub async fn ask_one(&mut self, node: &NodeId, question: Question) -> Result<QueryAnswer, ClientError> {
        let id = random_text();
        let body = Body::Query(Query { id: id.clone(), question });
        self.send(&Topic::Inbox(node.clone()), &body).await?;
        let deadline = Instant::now() + QUERY_TIMEOUT;
        loop {
            match timeout_at(deadline, self.next()).await {
                Ok(Some(Heard::Reply(of, answer))) if of == id => return Ok(*answer),
                Ok(Some(_)) => {}
                Ok(None) => return Err(ClientError::Closed),
                Err(_) => {
                    let waited_ms = u64::try_from(QUERY_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
                    return Err(ClientError::Silent { asked: node.name().to_string(), waited_ms });
                }
            }
        }
    }

    /// Subscribes to everything about a job; its result comes at once if there is one already.
    ///
    /// # Errors
    /// When the broker does not agree.
    pub async fn follow(&mut self, job: &JobId) -> Result<(), ClientError> {
        let topics =
            [Topic::JobEvents(job.clone()), Topic::JobProgress(job.clone()), Topic::Result(job.clone())];
        self.subscribe(topics.into_iter().map(Filter::One).collect()).await
    }

    /// Listens to the results of all jobs, and to nothing else about them.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn follow_results(&mut self) -> Result<(), ClientError> {
        self.subscribe(vec![Filter::Results]).await
    }

    /// Sends a job once. Whoever takes it says so: [`Heard::Accepted`].
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn submit_once(&mut self, submission: &JobSubmission) -> Result<(), ClientError> {
        self.send(&Topic::Jobs, &Body::JobSubmit(submission.clone())).await
    }

    /// Sends a job until somebody takes it or refuses it, or it gets on without an answer to us. The submission must
    /// name its job, and [`Client::follow`] must have been called for it.
    ///
    /// # Errors
    /// When nobody says anything within `patience`.
    pub async fn submit(
        &mut self,
        submission: &JobSubmission,
        patience: Duration,
    ) -> Result<Heard, ClientError> {
        let started = Instant::now();
        let job = submission.job.clone().unwrap_or_else(new_job_id);
        let submission = JobSubmission { job: Some(job.clone()), ..submission.clone() };
        while started.elapsed() < patience {
            self.submit_once(&submission).await?;
            let mut repeat = Instant::now() + REPEAT_AFTER.min(patience);
            loop {
                match timeout_at(repeat, self.next()).await {
                    Ok(Some(Heard::Accepted(a))) if a.job == job => return Ok(Heard::Accepted(a)),
                    Ok(Some(Heard::Rejected(r))) if r.job == job => match r.refused {
                        // Whoever is turned away asks again when told to; not everyone in the same moment.
                        Refused::Overloaded { retry_after_ms, .. }
                            if started.elapsed() + after(retry_after_ms) < patience =>
                        {
                            repeat = repeat.max(Instant::now() + jittered(after(retry_after_ms)));
                        }
                        _ => return Ok(Heard::Rejected(r)),
                    },
                    Ok(Some(Heard::Records(r))) if r.job == job => return Ok(Heard::Records(r)),
                    Ok(Some(Heard::Result(r))) if r.job == job => return Ok(Heard::Result(r)),
                    Ok(Some(_)) => {}
                    Ok(None) => return Err(ClientError::Closed),
                    Err(_) => break,
                }
            }
        }
        let waited_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        Err(ClientError::Silent { asked: "any coordinator".to_owned(), waited_ms })
    }

    /// Asks the holder of a job to do something about it.
    ///
    /// # Errors
    /// When it cannot be sent.
    pub async fn control(&mut self, job: &JobId, control: Control) -> Result<(), ClientError> {
        self.send(&Topic::JobControl(job.clone()), &Body::JobControl(control)).await
    }

    /// Says goodbye.
    pub async fn close(self) {
        self.fabric.disconnect(Duration::from_secs(1)).await;
    }
}
