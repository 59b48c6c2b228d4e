//! Somebody who submits jobs and believes nothing: keeps every submission until it is accepted, and an account of
//! everything that was ever said about each job. Lives through the broker's restarts.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foa_node_core::Body;
use foa_node_core::query::{Query, QueryAnswer, QueryReply, Question};
use foa_wire::envelope::{self, Envelope, Header};
use foa_wire::{Boot, JobId, Namespace, NodeId, NodeKey, Sequence, Time, Topic};
use foa_workflows::JobResult;
use foa_workflows::job::JobSubmission;
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};

use crate::federation::PATIENCE;

/// A submission that nobody accepted is sent again after this.
const REPEAT_AFTER: Duration = Duration::from_secs(2);
/// A broker that is away is tried again after this.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
const MAX_PACKET: usize = 320 * 1024;

/// What became of one job, as the submitter heard it.
#[derive(Debug)]
pub(crate) struct Account {
    submission: JobSubmission,
    begun: Instant,
    sent: Instant,
    /// From submission to the first result.
    pub(crate) took: Duration,
    /// The terms it was accepted in.
    pub(crate) accepted: Vec<u64>,
    /// Reasons it was turned away for.
    pub(crate) rejected: Vec<String>,
    /// Every result that differs from the others. There must never be two.
    pub(crate) results: Vec<JobResult>,
}

impl Account {
    pub(crate) fn ended(&self) -> bool {
        !self.results.is_empty()
    }
}

enum Heard {
    Connected,
    Message { topic: String, payload: Vec<u8> },
}

pub(crate) struct Submitter {
    id: NodeId,
    key: NodeKey,
    boot: Boot,
    sent: u64,
    client: Client,
    heard: mpsc::Receiver<Heard>,
    /// Dropped to end the thread.
    _alive: mpsc::Sender<()>,
    connected: bool,
    replies: BTreeMap<String, QueryAnswer>,
    pub(crate) jobs: BTreeMap<JobId, Account>,
    /// What became of jobs that were submitted once.
    pub(crate) others: Counts,
}

/// What was said about jobs of which no account is kept.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
}

impl Submitter {
    /// Somebody of this name, who comes and goes with the broker on this port.
    pub(crate) fn new(port: u16, name: &str) -> Self {
        let seed = federation_tests::sim::random::fnv(name.as_bytes());
        let mut secret = [1; 32];
        secret[..8].copy_from_slice(&seed.to_le_bytes());
        let key = NodeKey::from_seed(secret);
        let id = NodeId::new(name.parse().unwrap(), &key.public());
        let mut options = MqttOptions::new(id.to_string(), "127.0.0.1", port);
        options.set_max_packet_size(MAX_PACKET, MAX_PACKET).set_keep_alive(Duration::from_secs(10));
        let (client, mut connection) = Client::new(options, 1000);
        let (tell, heard) = mpsc::channel();
        let (alive, ended) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            for event in connection.iter() {
                let told = match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => tell.send(Heard::Connected),
                    Ok(Event::Incoming(Packet::Publish(p))) => {
                        tell.send(Heard::Message { topic: p.topic, payload: p.payload.to_vec() })
                    }
                    Ok(_) => Ok(()),
                    Err(_) => match ended.recv_timeout(RECONNECT_AFTER) {
                        Err(mpsc::RecvTimeoutError::Timeout) => Ok(()),
                        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    },
                };
                if told.is_err() {
                    return;
                }
            }
        });
        let (connected, jobs, replies) = (false, BTreeMap::new(), BTreeMap::new());
        let boot = Boot(now().as_millis() / 1000);
        Self {
            id,
            key,
            boot,
            sent: 0,
            client,
            heard,
            _alive: alive,
            connected,
            replies,
            jobs,
            others: Counts::default(),
        }
    }

    /// Submits a job, and keeps at it until it is accepted.
    pub(crate) fn submit(&mut self, submission: JobSubmission) {
        let job = submission.job.clone().expect("the test names its jobs");
        let account = Account {
            submission: submission.clone(),
            begun: Instant::now(),
            sent: Instant::now(),
            took: Duration::ZERO,
            accepted: Vec::new(),
            rejected: Vec::new(),
            results: Vec::new(),
        };
        assert!(self.jobs.insert(job, account).is_none(), "a job is submitted once");
        self.command(&Topic::Jobs, &Body::JobSubmit(submission));
    }

    /// Submits a job and forgets it; waits while the broker takes no more.
    pub(crate) fn submit_once(&mut self, submission: JobSubmission) {
        let (topic, sealed) = self.seal(&Topic::Jobs, &Body::JobSubmit(submission));
        self.client.publish(topic, QoS::AtLeastOnce, false, sealed).expect("the connection has not ended");
    }

    /// Jobs without a result.
    pub(crate) fn open(&self) -> usize {
        self.jobs.values().filter(|account| !account.ended()).count()
    }

    /// How long the oldest job without a result has waited for one.
    pub(crate) fn waits(&self) -> Duration {
        let open = self.jobs.values().filter(|account| !account.ended());
        open.map(|account| account.begun.elapsed()).max().unwrap_or_default()
    }

    /// Listens for at most this long; returns early when something was heard. What is due is sent again.
    pub(crate) fn listen(&mut self, bound: Duration) {
        if let Ok(heard) = self.heard.recv_timeout(bound) {
            self.take(heard);
        }
        let due = |account: &Account| {
            account.accepted.is_empty() && !account.ended() && account.sent.elapsed() >= REPEAT_AFTER
        };
        let due: Vec<JobId> = self.jobs.iter().filter(|(_, a)| due(a)).map(|(job, _)| job.clone()).collect();
        for job in due {
            if let Some(account) = self.jobs.get_mut(&job) {
                account.sent = Instant::now();
                let body = Body::JobSubmit(account.submission.clone());
                self.command(&Topic::Jobs, &body);
            }
        }
    }

    /// Listens until `done`, or the bound is over; says whether it was done.
    pub(crate) fn until(&mut self, bound: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let until = Instant::now() + bound;
        while !done(self) {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            self.listen(left.min(REPEAT_AFTER));
        }
        true
    }

    /// What a coordinator knows of a job; asked again until it answers.
    pub(crate) fn ask(&mut self, coordinator: &NodeId, job: &JobId) -> QueryAnswer {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            let id = format!("q{}", self.sent);
            let query = Query { id: id.clone(), question: Question::Job { job: job.clone() } };
            self.command(&Topic::Inbox(coordinator.clone()), &Body::Query(query));
            if self.until(REPEAT_AFTER, |me| me.replies.contains_key(&id)) {
                return self.replies.remove(&id).expect("it is there");
            }
        }
        panic!("wanted {coordinator} to answer what it knows of {job} within {PATIENCE:?}");
    }

    fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Connected => {
                self.connected = true;
                let inbox = format!("foa/nodes/{}/inbox", self.id);
                for filter in [inbox.as_str(), "foa/result/+"] {
                    // The queue is emptied by the thread; a full one means the broker has been away for long.
                    let _ = self.client.try_subscribe(filter, QoS::AtLeastOnce);
                }
            }
            Heard::Message { topic, payload } => self.message(&topic, &payload),
        }
    }

    fn message(&mut self, topic: &str, payload: &[u8]) {
        let namespace = Namespace::default();
        let Ok(topic) = Topic::parse(&namespace, topic) else { return };
        if payload.is_empty() {
            return;
        }
        let envelope = match envelope::open(&namespace, &topic, payload, now()) {
            Ok(envelope) => envelope,
            // It waited in a broker that was away.
            Err(refusal) if refusal.name() == "expired" => return,
            Err(refusal) => panic!("wanted readable messages on {topic}, found {refusal}"),
        };
        let from = envelope.header.from.clone();
        match Body::read(envelope).unwrap_or_else(|e| panic!("{topic} by {from}: {e}")) {
            Body::JobAccepted(accepted) => {
                assert_eq!(accepted.term.holder, from, "only the holder accepts");
                match self.jobs.get_mut(&accepted.job) {
                    Some(account) => account.accepted.push(accepted.term.number),
                    None => self.others.accepted += 1,
                }
            }
            Body::JobRejected(rejection) => match self.jobs.get_mut(&rejection.job) {
                Some(account) => account.rejected.push(rejection.refused.to_string()),
                None => self.others.rejected += 1,
            },
            Body::JobResult(result) => {
                if let Some(account) = self.jobs.get_mut(&result.job)
                    && !account.results.contains(&result)
                {
                    if !account.ended() {
                        account.took = account.begun.elapsed();
                    }
                    account.results.push(*result);
                }
            }
            Body::QueryReply(reply) => {
                let QueryReply { id, answer } = *reply;
                self.replies.insert(id, answer);
            }
            other => panic!("wanted nothing else on {topic}, found {}", other.kind()),
        }
    }

    fn command(&mut self, topic: &Topic, body: &Body) {
        let (topic, sealed) = self.seal(topic, body);
        // What does not fit a full queue is repeated like what a dead broker lost.
        let _ = self.client.try_publish(topic, QoS::AtLeastOnce, false, sealed);
    }

    fn seal(&mut self, topic: &Topic, body: &Body) -> (String, Vec<u8>) {
        self.sent += 1;
        let sent = now();
        let header = Header {
            kind: body.kind().to_owned(),
            to: topic.to_string(),
            id: format!("s{:010}-{}", self.boot.0, self.sent).parse().unwrap(),
            from: self.id.clone(),
            boot: self.boot,
            seq: Sequence(self.sent),
            sent,
            expires: Some(sent + Duration::from_secs(60)),
            trace: None,
        };
        let namespace = Namespace::default();
        let sealed = Envelope { header, body: body.to_value() }.seal(&namespace, &self.key).unwrap();
        (topic.under(&namespace), sealed)
    }
}

impl Drop for Submitter {
    fn drop(&mut self) {
        let _ = self.client.try_disconnect();
    }
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_millis(u64::try_from(since.as_millis()).unwrap())
}
