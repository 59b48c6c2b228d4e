//! A sample of every message body, kept as a file: what crosses the wire changes on purpose or not at all.
//! `UPDATE_GOLDEN=1` writes the files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use federation_tests::sim::agents::{self, Agent, Manner};
use federation_tests::sim::random::Random;
use foa_capability::card::AgentCard;
use foa_capability::delta::CardDelta;
use foa_capability::digest::{Digest, Mark};
use foa_capability::presence::Load;
use foa_capability::route::Query as RouteQuery;
use foa_capability::{Directory, Effects, Engine, Loser, LostBy, Money, Needs, ShardMap};
use foa_node_core::Body;
use foa_node_core::afar::{RouteAnswer, RouteAsk, RouteGrade};
use foa_node_core::artifact::{ArtifactAsk, ArtifactKeep, ArtifactOffer, Offered};
use foa_node_core::gossip::{self, CardRequest, Cards, DirectoryDigest, Roll};
use foa_node_core::query::{self, Query, QueryAnswer, QueryReply};
use foa_node_core::refusal::{EnforcementReport, Refusal};
use foa_node_core::replica::{Message, Tip, What};
use foa_node_core::shards::DirectoryMap;
use foa_node_core::status::{NodeStatus, Role};
use foa_wire::envelope::{Envelope, Header};
use foa_wire::{
    AgentId, ArtifactId, Boot, ClusterId, Connection, Index, JobId, NodeId, NodeKey, PeerAddress, Sequence,
    Term, Time, Version, WorkId, codec,
};
use foa_workflows::Record;
use foa_workflows::cluster::channel::{Body as EntryBody, Content, Entry};
use foa_workflows::decompose::merge::{MERGE_VERSION, MergeInput, merge};
use foa_workflows::decompose::proposal::Proposal;
use foa_workflows::grounds::{self, Card, Grounds, Row};
use foa_workflows::job::{Accepted, Control, Durability, JobSubmission, Progress, Refused, Rejection};
use foa_workflows::journal::{JobEvents, Step};
use foa_workflows::plan::Plan;
use foa_workflows::request::{
    ChannelEntries, ChannelRequest, Request, Work, WorkCancel, WorkOutcome, WorkReply,
};
use foa_workflows::result::{Contributor, JobResult, Status};
use foa_workflows::settings::Settings;
use foa_workflows::work::{
    Artifact, Contribution, Evidence, Finding, Part, PartOutcome, ProposeLimits, ProposedSubtask,
    SynthesisMode, Usage,
};

const NOW: Time = Time::from_millis(1_769_851_800_250);
const TASK: &str = "find the tide; then find the invoice";

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

fn node(n: u8) -> NodeId {
    NodeId::new(format!("node-{n}").parse().unwrap(), &key(n).public())
}

fn job() -> JobId {
    "golden-job".parse().unwrap()
}

fn term() -> Term {
    Term::first(node(1))
}

fn address() -> PeerAddress {
    "/ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooWSCufgHzV4fCwRijfH2k3abrpAJxTKxEvN1FDuRXA2U9x"
        .parse()
        .unwrap()
}

fn artifact() -> Artifact {
    Artifact {
        artifact: ArtifactId::from_bytes([7; 32]),
        bytes: 52_428_800,
        media_type: "text/plain".to_owned(),
        name: Some("tides.txt".to_owned()),
        holders: vec![node(2), node(1)],
    }
}

fn usage() -> Usage {
    Usage { tokens_in: 120, tokens_out: 45, cost: Money(1500), model: Some("scripted-1".to_owned()) }
}

fn contribution() -> Contribution {
    let evidence = Evidence {
        quote: "High tide at noon.".to_owned(),
        source: "tides.md § Today".to_owned(),
        held_by: Some(agent()),
        score: 0.75,
        artifact: Some(artifact()),
    };
    Contribution {
        text: "The tide is high at noon.".to_owned(),
        evidence: vec![evidence],
        confidence: 0.75,
        complete: true,
    }
}

/// An agent whose every field is in use.
fn scripted() -> Agent {
    let mut scripted = Agent::new(7, Manner::Honest, 1500, &mut Random::new(1));
    scripted.profile.policies = BTreeSet::from([agents::policy()]);
    scripted.profile.offer.token_budget = Some(4000);
    scripted.profile.spec = Some("answers about music".to_owned());
    scripted
}

fn agent() -> AgentId {
    AgentId::new(scripted().profile.name, node(2))
}

fn card(version: u64) -> AgentCard {
    let mut profile = scripted().profile;
    if version > 1 {
        profile.description = "find the music and the words".to_owned();
    }
    let vectors = profile.texts().iter().map(|text| agents::embed(text)).collect();
    let own = [foa_capability::Embedding { model: agents::model(), vectors }];
    let life = Duration::from_secs(86_400);
    AgentCard::issue(&profile, &own, agent(), Boot(5), Version(version), NOW, life, &key(2)).unwrap()
}

fn work(number: u32, request: Request) -> Body {
    Body::Work(Box::new(Work {
        work: WorkId::new(&job(), number),
        agent: agent(),
        term: term(),
        replicas: vec![term().holder],
        deadline: NOW + Duration::from_secs(45),
        cap: Some(Money(2000)),
        request,
    }))
}

fn proposal() -> Proposal {
    let step = |key: &str, text: &str| ProposedSubtask {
        key: key.to_owned(),
        description: text.to_owned(),
        skills: BTreeSet::from(["tides".to_owned()]),
        policies: BTreeSet::from([agents::policy()]),
        done_when: Some("a time is named".to_owned()),
        ..ProposedSubtask::default()
    };
    Proposal {
        id: WorkId::new(&job(), 0),
        by: agent(),
        subtasks: vec![step("a", "find the tide"), step("b", "find the invoice")],
        edges: vec![["a".to_owned(), "b".to_owned()]],
    }
}

fn merge_input() -> MergeInput {
    let proposal = proposal();
    let vectors =
        proposal.subtasks.iter().map(|s| (proposal.node(&s.key), agents::embed(&s.description).quantise()));
    MergeInput {
        version: MERGE_VERSION,
        vectors: vectors.collect(),
        weights: BTreeMap::from([(agent(), 1000)]),
        proposals: vec![proposal],
        merge_sim: 620,
        quorum: 500,
        max_subtasks: 6,
        prices: BTreeMap::new(),
        budget: None,
        deadline_ms: None,
    }
    .normalised()
}

fn entry() -> Entry {
    let content = Content {
        job: job(),
        subtask: "s1".to_owned(),
        cluster: ClusterId::new(&job(), "s1", 0).unwrap(),
        round: 0,
        author: agent(),
        parents: BTreeSet::new(),
        body: EntryBody::Draft(contribution()),
    };
    Entry::sign(content, &key(2))
}

fn parts() -> Vec<Part> {
    let answered = PartOutcome::Answered {
        text: contribution().text,
        evidence: contribution().evidence,
        authors: vec![agent()],
        confidence: 0.75,
        dissent: Vec::new(),
    };
    let failed = PartOutcome::Failed { reason: "nobody knows invoices".to_owned() };
    let part = |key: &str, outcome| Part { key: key.to_owned(), description: "find it".to_owned(), outcome };
    vec![part("s1", answered), part("s2", failed)]
}

fn submission() -> JobSubmission {
    JobSubmission {
        job: Some(job()),
        budget: Some(Money(250_000)),
        timeout_ms: Some(60_000),
        policies: BTreeSet::from([agents::policy()]),
        attachments: vec![artifact()],
        ..JobSubmission::of(TASK)
    }
}

/// A record that says what its choice rests on.
fn routed() -> Record {
    let best = Row {
        agent: 0,
        alpha: 0.424119,
        dense: Some(0.4775),
        lexical: 0.113,
        experience: Some(0.25),
        resources: 0.9,
        load: 0.882497,
        spec: 0.95,
        reputation: 0.8,
    };
    let question = grounds::Question {
        of: None,
        any_skill: false,
        skills: BTreeSet::from(["tides".to_owned()]),
        policies: BTreeSet::from([agents::policy()]),
        needs: Needs { latency_ms: Some(2000), ..Needs::default() },
        budget: Some(Money(250_000)),
        exclude: BTreeSet::from([agent()]),
        write: true,
        limit: 16,
        seed: 0x5f4c_5f87_7902_b5a6,
        considered: 70_000,
        engine: Engine::Hnsw,
        candidates: vec![best],
        lost: BTreeMap::from([("offline".to_owned(), 3)]),
        nearest: vec![Loser { agent: agent(), similarity: 0.4, reason: LostBy::Offline }],
        unmet: None,
    };
    let card = Card {
        agent: agent(),
        card: (Boot(5), Version(2)),
        price: Money(1500),
        worst_case: Money(6000),
        concurrency: 2,
        effects: Effects::Write,
        base_model: Some("scripted-1".to_owned()),
    };
    let grounds = Grounds {
        model: Some(agents::model()),
        threshold: 0.2,
        price_weight: 0.5,
        agents: vec![card],
        questions: vec![question],
        left_out: 0,
    };
    let step = Step::Routed { candidates: Vec::new(), orders: Vec::new(), grounds: Some(Box::new(grounds)) };
    Record { job: job(), term: term(), index: Index(2), committed: Index(2), at: NOW, step }
}

fn samples() -> Vec<Body> {
    let plan = merge(&merge_input()).unwrap();
    let hash = foa_workflows::decompose::merge::hash(&merge_input(), &plan.plan);
    let subtask = plan.plan.subtasks()[0].clone();
    let cluster = ClusterId::new(&job(), "s1", 1).unwrap();
    let finding = Finding {
        subtask: "s0".to_owned(),
        question: "where".to_owned(),
        text: "at the harbour".to_owned(),
        evidence: Vec::new(),
    };
    let accepted = Step::Accepted {
        submission: submission(),
        owner: Some(node(3)),
        replicas: vec![node(1)],
        settings: Settings::for_submission(&submission()),
    };
    let result = JobResult {
        job: job(),
        term: term(),
        status: Status::Partial,
        task: TASK.to_owned(),
        answer: "The tide is high at noon.".to_owned(),
        parts: parts(),
        plan: Some(Plan::solo(TASK)),
        adoption: None,
        rounds: Vec::new(),
        contributors: vec![Contributor {
            agent: agent(),
            did: vec!["draft of s1".to_owned()],
            usage: usage(),
        }],
        failures: Vec::new(),
        warnings: vec!["one part is missing".to_owned()],
        usage: usage(),
        budget: Some(Money(250_000)),
        accepted: NOW,
        ended: NOW + Duration::from_secs(9),
        phases: Vec::new(),
    };
    let refusal = Refusal {
        reason: "stale".to_owned(),
        sender: node(3).to_string(),
        subject: agent().to_string(),
        detail: "wanted a card newer than the one known".to_owned(),
        at: NOW,
    };
    let status = NodeStatus {
        node: node(2),
        online: true,
        draining: false,
        boot: Boot(5),
        connection: Connection(2),
        seq: Sequence(9),
        at: NOW,
        roles: vec![Role::Worker],
        load: BTreeMap::from([(agent().agent().clone(), Load { running: 1, queue: 2 })]),
        jobs: 0,
        version: "0.1.0".to_owned(),
        addresses: vec![address()],
    };
    let mark = Mark(Boot(5), Version(1), card(1).hash().to_owned());
    let limits = ProposeLimits { min: 1, max: 6 };
    let task = TASK.to_owned();
    let record =
        Record { job: job(), term: term(), index: Index(1), committed: Index(1), at: NOW, step: accepted };
    let refine = Request::Refine {
        cluster: cluster.clone(),
        round: 1,
        subtask: subtask.clone(),
        task: task.clone(),
        inputs: vec![finding.clone()],
        own: entry().hash().clone(),
        read: vec![entry().hash().clone()],
        frame: Some("a time of day".to_owned()),
    };
    vec![
        Body::JobSubmit(submission()),
        Body::JobAccepted(Accepted {
            job: job(),
            term: term(),
            durability: Durability::Local,
            replicas: vec![term().holder],
        }),
        Body::JobRejected(Rejection {
            job: job(),
            refused: Refused::Overloaded {
                detail: Some("the store is full".to_owned()),
                retry_after_ms: 5000,
            },
        }),
        Body::JobEvents(JobEvents { job: job(), records: vec![record.clone(), routed()] }),
        replica(What::Append { previous: None, records: vec![record.clone()], committed: Index(0) }),
        replica(What::Stored { last: Index(1), committed: Index(0) }),
        replica(What::Behind { last: Index(0) }),
        replica(What::Prepare { replicas: vec![node(1), node(2), node(3)] }),
        replica(What::Promise { tip: Some(Tip { term: term(), index: Index(1) }) }),
        replica(What::Refuse { higher: Term { number: 3, holder: node(2) } }),
        replica(What::Fetch { after: Index(0) }),
        replica(What::Records { previous: None, records: vec![record] }),
        Body::JobProgress(Progress {
            job: job(),
            agent: Some(agent()),
            node: node(2),
            text: "reading".to_owned(),
        }),
        Body::JobControl(Control::Replay { from: 3 }),
        Body::JobResult(Box::new(result)),
        work(0, Request::Propose { task: task.clone(), limits }),
        work(1, Request::Judge { task: task.clone(), input: merge_input(), plan: plan.plan, hash }),
        work(2, Request::Draft { subtask, task: task.clone(), inputs: vec![finding] }),
        work(3, refine),
        work(
            4,
            Request::Synthesise {
                task,
                parts: parts(),
                mode: SynthesisMode::Merge,
                lead: Some("s1".to_owned()),
            },
        ),
        Body::WorkReply(Box::new(WorkReply {
            work: WorkId::new(&job(), 2),
            agent: agent(),
            outcome: WorkOutcome::Posted { entry: Box::new(entry()) },
            usage: usage(),
        })),
        Body::WorkCancel(WorkCancel { work: WorkId::new(&job(), 2) }),
        Body::Entry(Box::new(entry())),
        Body::ChannelRequest(ChannelRequest {
            job: job(),
            cluster: cluster.clone(),
            entries: vec![entry().hash().clone()],
        }),
        Body::ChannelEntries(ChannelEntries { cluster, entries: vec![entry()] }),
        Body::Card(Box::new(card(1))),
        Body::CardDelta(Box::new(CardDelta::between(&card(1), &card(2)).unwrap())),
        Body::Digest(DirectoryDigest {
            map: Some(3),
            coordinators: BTreeMap::from([(node(3), NOW)]),
            digest: Digest::Agents { agents: BTreeMap::from([(agent(), mark)]) },
            answer: true,
        }),
        Body::CardRequest(CardRequest { agents: vec![agent()] }),
        Body::Cards(Cards { cards: vec![card(1)] }),
        Body::DirectoryMap(Box::new(DirectoryMap { map: map(), model: agents::model(), made: NOW })),
        Body::RouteAsk(Box::new(RouteAsk { id: 7, model: agents::model(), query: query() })),
        Body::RouteAnswer(Box::new(RouteAnswer {
            id: 7,
            whole: true,
            routed: directory().route(&query(), NOW),
        })),
        Body::RouteGrade(Box::new(RouteGrade {
            agent: agent(),
            task: query().vector,
            model: agents::model(),
            delivered: true,
        })),
        Body::Roll(Roll {
            nodes: BTreeMap::from([(node(2), gossip::mark([gossip::marked(&card(1))].into_iter()))]),
            after: None,
            until: None,
        }),
        Body::Status(status),
        Body::Query(Query { id: "question-1".to_owned(), question: query::Question::Job { job: job() } }),
        Body::QueryReply(Box::new(QueryReply {
            id: "question-1".to_owned(),
            answer: QueryAnswer::Unknown { detail: "this coordinator does not hold that job".to_owned() },
        })),
        Body::Enforcement(EnforcementReport { refusal, count: 3 }),
        Body::ArtifactAsk(ArtifactAsk { artifacts: vec![artifact().artifact] }),
        Body::ArtifactOffer(ArtifactOffer {
            artifacts: vec![Offered { artifact: artifact().artifact, bytes: artifact().bytes }],
            addresses: vec![address()],
        }),
        Body::ArtifactKeep(ArtifactKeep {
            artifact: artifact().artifact,
            bytes: artifact().bytes,
            addresses: vec![address()],
            job: Some(job()),
        }),
    ]
}

fn map() -> ShardMap {
    ShardMap::learn(3, &[agents::embed("the tide"), agents::embed("an invoice")], 2, 3).unwrap()
}

fn query() -> RouteQuery {
    RouteQuery { limit: 1, seed: Some(9), ..RouteQuery::new(TASK, agents::embed(TASK)) }
}

fn directory() -> Directory {
    let mut directory = Directory::new(agents::model(), Some(node(2)));
    directory.apply(card(1), NOW).unwrap();
    directory
}

fn replica(what: What) -> Body {
    Body::Replica(Box::new(Message { job: job(), term: term(), what }))
}

/// Every type that a body can have. A new one does not compile without a place here, and does not pass without a sample.
fn kinds(body: &Body) -> &'static [&'static str] {
    match body {
        Body::Work(_) => &["work.propose", "work.judge", "work.draft", "work.refine", "work.synthesise"],
        Body::Replica(_) => &[
            "replica.append",
            "replica.stored",
            "replica.behind",
            "replica.prepare",
            "replica.promise",
            "replica.refuse",
            "replica.fetch",
            "replica.records",
        ],
        Body::JobSubmit(_) | Body::JobAccepted(_) | Body::JobRejected(_) | Body::JobEvents(_) => {
            &["job.submit", "job.accepted", "job.rejected", "job.events"]
        }
        Body::JobProgress(_) | Body::JobControl(_) | Body::JobResult(_) => {
            &["job.progress", "job.control", "job.result"]
        }
        Body::WorkReply(_) | Body::WorkCancel(_) => &["work.reply", "work.cancel"],
        Body::Entry(_) | Body::ChannelRequest(_) | Body::ChannelEntries(_) => {
            &["channel.entry", "channel.request", "channel.entries"]
        }
        Body::Card(_) | Body::CardDelta(_) => &["card", "card.delta"],
        Body::Digest(_) | Body::CardRequest(_) | Body::Cards(_) | Body::Roll(_) | Body::DirectoryMap(_) => {
            &["directory.digest", "directory.request", "directory.cards", "directory.roll", "directory.map"]
        }
        Body::RouteAsk(_) | Body::RouteAnswer(_) | Body::RouteGrade(_) => {
            &["route.ask", "route.answer", "route.grade"]
        }
        Body::Status(_) | Body::Enforcement(_) => &["node.status", "policy.report"],
        Body::Query(_) | Body::QueryReply(_) => &["query", "query.reply"],
        Body::ArtifactAsk(_) | Body::ArtifactOffer(_) | Body::ArtifactKeep(_) => {
            &["artifact.ask", "artifact.offer", "artifact.keep"]
        }
    }
}

fn file(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{kind}.json"))
}

fn reread(kind: &str, body: serde_json::Value) -> Body {
    let header = Header {
        kind: kind.to_owned(),
        to: "board/calls".to_owned(),
        id: "golden-message".parse().unwrap(),
        from: node(1),
        boot: Boot(1),
        seq: Sequence(1),
        sent: NOW,
        expires: None,
        trace: None,
    };
    Body::read(Envelope { header, body }).unwrap_or_else(|e| panic!("{kind}: {e}"))
}

#[test]
fn every_body_is_written_as_it_always_was_and_read_back() {
    for sample in samples() {
        let kind = sample.kind();
        let value = sample.to_value();
        assert_eq!(reread(kind, value.clone()), sample, "{kind} reads back as something else");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            let text = serde_json::to_string_pretty(&value).unwrap();
            std::fs::write(file(kind), text + "\n").unwrap();
            continue;
        }
        let text =
            std::fs::read_to_string(file(kind)).unwrap_or_else(|e| panic!("{}: {e}", file(kind).display()));
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (kept, written) = (codec::canonical(&kept), codec::canonical(&value));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(kept),
            text(written),
            "{kind} is written differently; UPDATE_GOLDEN=1 if that is meant"
        );
    }
}

#[test]
fn no_body_is_without_a_sample() {
    let samples = samples();
    let sampled: BTreeSet<&str> = samples.iter().map(Body::kind).collect();
    let all: BTreeSet<&str> = samples.iter().flat_map(kinds).copied().collect();
    assert_eq!(sampled, all);
    let files = std::fs::read_dir(file("x").parent().unwrap()).unwrap();
    // Folders are those of released versions.
    let files = files.map(Result::unwrap).filter(|f| f.file_type().unwrap().is_file());
    let names: BTreeSet<String> = files.map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(names, sampled.iter().map(|kind| format!("{kind}.json")).collect());
}
