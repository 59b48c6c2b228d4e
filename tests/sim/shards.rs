//! A directory that outgrew its nodes: each coordinator keeps a part of the cards, and a question finds whom it would have
//! found in the whole, also when a holder dies.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use federation_tests::sim::agents;
use federation_tests::sim::link::Payload;
use federation_tests::sim::random::Random;
use federation_tests::sim::{Options, World};
use foa_capability::card::AgentCard;
use foa_capability::presence::Presence;
use foa_capability::route::{Query, Routed};
use foa_capability::{Directory, parts};
use foa_node_core::Body;
use foa_node_core::afar::RouteGrade;
use foa_node_core::query::{self, QueryAnswer};
use foa_wire::{AgentId, Boot, Connection, Sequence, Topic};

const COORDINATORS: usize = 20;
const AGENTS: usize = 1000;
/// Three of twenty keep each card, so each has 150 on average, and more because an agent can be in two shards.
const MAX_CARDS: usize = 400;
const WORDS: usize = 40;
const QUESTIONS: usize = 100;
const LIMIT: usize = 10;

fn federation(seed: u64) -> World {
    let mut world = World::new(Options {
        seed,
        nodes: 100,
        coordinators: COORDINATORS,
        agents: AGENTS,
        jobs: 0,
        max_cards: Some(MAX_CARDS),
        vocabulary: Some(WORDS),
        ..Options::default()
    });
    world.record("query.reply");
    let shared = world.run_until(Duration::from_secs(180), |world| {
        let shared = |directory: &Directory| {
            directory.known() == AGENTS
                && directory.wanted().next().is_none()
                && directory.shards().is_some()
                && directory.len() <= MAX_CARDS
        };
        coordinators(world).count() == COORDINATORS && coordinators(world).all(|(_, d)| shared(d))
    });
    assert!(shared, "the cards were not shared out: {:?}", sizes(&world));
    world
}

fn coordinators(world: &World) -> impl Iterator<Item = (usize, &Directory)> {
    let machines = world.nodes().enumerate().filter_map(|(n, node)| Some((n, node.machine.as_ref()?)));
    machines.filter_map(|(n, machine)| Some((n, machine.directory()?)))
}

fn sizes(world: &World) -> Vec<usize> {
    coordinators(world).map(|(_, directory)| directory.len()).collect()
}

/// One directory of all cards, as every coordinator would have had.
fn whole(world: &World) -> Directory {
    let mut whole = Directory::new(agents::model(), None);
    let now = world.now();
    let cards: BTreeMap<&AgentId, &AgentCard> =
        coordinators(world).flat_map(|(_, part)| part.iter()).map(|(id, entry)| (id, entry.card())).collect();
    for card in cards.into_values() {
        whole.apply(card.clone(), now).unwrap();
    }
    for node in world.nodes().filter(|node| node.machine.is_some()) {
        let presence = Presence {
            online: true,
            boot: Boot(1),
            connection: Connection(1),
            seq: Sequence(1),
            load: BTreeMap::new(),
        };
        whole.presence(node.identity.id().clone(), presence, now);
    }
    whole
}

/// The same questions for every federation.
fn questions() -> Vec<String> {
    let mut random = Random::of(5, "questions");
    (0..QUESTIONS).map(|_| agents::request(WORDS, &mut random)).collect()
}

/// Asks coordinators in turn, in the name of the last node, and waits for all answers.
fn ask(world: &mut World, round: &str, asked: &[usize]) -> Vec<Routed> {
    let asker = world.nodes().count() - 1;
    for (n, text) in questions().into_iter().enumerate() {
        let to = world.node(asked[n % asked.len()]).identity.id().clone();
        let (policies, skills) = (BTreeSet::new(), BTreeSet::new());
        let question = query::Question::Route { text, policies, skills, budget: None, limit: LIMIT };
        let body = Body::Query(query::Query { id: format!("{round}-{n}"), question });
        let expires = Some(world.now() + Duration::from_secs(60));
        world.speak_as(asker, Topic::Inbox(to), body, expires);
    }
    let complete = world.run_until(Duration::from_secs(10), |world| replies(world, round).len() == QUESTIONS);
    let found = replies(world, round);
    assert!(complete, "{} of {QUESTIONS} answers came", found.len());
    found.into_values().collect()
}

fn replies(world: &World, round: &str) -> BTreeMap<usize, Routed> {
    let mut replies = BTreeMap::new();
    for message in world.recorded() {
        let Some(Payload::Plain(body)) = &message.payload else { continue };
        let Body::QueryReply(reply) = &**body else { continue };
        let Some((of, n)) = reply.id.split_once('-') else { continue };
        if let (true, QueryAnswer::Route { routed }) = (of == round, &reply.answer) {
            replies.insert(n.parse().unwrap(), (**routed).clone());
        }
    }
    replies
}

/// Of the best that the whole finds, how many were found.
fn recall(world: &World, answers: &[Routed]) -> f64 {
    let whole = whole(world);
    let (mut found, mut wanted) = (0, 0);
    for (text, answer) in questions().into_iter().zip(answers) {
        let vectors = parts::texts(&text).iter().map(|part| agents::embed(part)).collect();
        let mut query = Query::in_parts(text, vectors).unwrap();
        (query.limit, query.allow_write) = (LIMIT, true);
        let best = whole.route(&query, world.now()).candidates;
        let got: BTreeSet<&AgentId> = answer.candidates.iter().map(|c| &c.agent).collect();
        wanted += best.len();
        found += best.iter().filter(|c| got.contains(&c.agent)).count();
    }
    f64::from(u32::try_from(found).unwrap()) / f64::from(u32::try_from(wanted).unwrap())
}

#[test]
fn a_question_to_a_few_shards_finds_whom_the_whole_directory_finds_also_when_a_holder_dies() {
    let mut world = federation(1);
    let sizes = sizes(&world);
    let (sum, most) = (sizes.iter().sum::<usize>(), sizes.iter().max().copied().unwrap_or_default());
    println!("cards kept by each coordinator: {sizes:?}");
    assert!((3 * AGENTS..=5 * AGENTS).contains(&sum), "{sum} cards are kept in all");
    assert!(most <= MAX_CARDS, "one coordinator keeps {most} cards");

    let all: Vec<usize> = (0..COORDINATORS).collect();
    let answers = ask(&mut world, "before", &all);
    let spreads: Vec<_> = answers.iter().filter_map(|routed| routed.spread.as_ref()).collect();
    let asked = spreads.iter().map(|spread| spread.nodes).sum::<usize>();
    let before = recall(&world, &answers);
    println!("recall@{LIMIT} {before:.3}; {} questions asked {asked} other nodes", spreads.len());
    assert!(spreads.len() > QUESTIONS / 2 && spreads.iter().all(|spread| spread.silent.is_empty()));
    assert!(before >= 0.98, "recall@{LIMIT} {before}");

    // Nobody knows yet that it is gone: those who ask it wait, and ask the next.
    world.kill(COORDINATORS - 1);
    let left = &all[..COORDINATORS - 1];
    let answers = ask(&mut world, "dying", left);
    let dying = recall(&world, &answers);
    println!("recall@{LIMIT} {dying:.3} while a holder dies");
    assert!(dying >= 0.98, "recall@{LIMIT} {dying} while a holder dies");

    // Others take its shards over.
    let took = world.run_until(Duration::from_secs(120), |world| {
        let parts: Vec<&Directory> = coordinators(world).map(|(_, directory)| directory).collect();
        let whole = parts.iter().all(|directory| directory.wanted().next().is_none());
        let keepers = |agent: &AgentId| parts.iter().filter(|d| d.get(agent).is_some()).count();
        let gone = world.node(COORDINATORS - 1).identity.id();
        let agents: BTreeSet<&AgentId> =
            parts.iter().flat_map(|d| d.iter()).map(|(id, _)| id).filter(|id| id.node() != gone).collect();
        whole && agents.into_iter().all(|agent| keepers(agent) >= 3)
    });
    assert!(took, "nobody took the shards of the one that died over");
    let answers = ask(&mut world, "after", left);
    let after = recall(&world, &answers);
    println!("recall@{LIMIT} {after:.3} after it died");
    assert!(after >= 0.98, "recall@{LIMIT} {after} after a holder died");
}

#[test]
fn cards_that_are_shared_out_survive_what_nodes_and_brokers_do() {
    use federation_tests::sim::faults::FaultKind;

    let mut graded = 0;
    for seed in 1..=12 {
        let mut world = World::new(Options {
            seed,
            nodes: 16,
            coordinators: 6,
            agents: 80,
            jobs: 10,
            max_cards: Some(30),
            vocabulary: Some(WORDS),
            loss: 0.01,
            faults: vec![
                FaultKind::Crash,
                FaultKind::Partition,
                FaultKind::Deaf,
                FaultKind::Mute,
                FaultKind::Broker,
                FaultKind::Restart,
                FaultKind::Session,
            ],
            faults_each: 2,
            ..Options::default()
        });
        world.record("route.grade");
        let report = world.run();
        assert!(report.violations.is_empty(), "seed {seed}: {report}");
        graded += grades(&world).filter(|grade| knows_better(&world, grade)).count();
        let shared = coordinators(&world).filter(|(_, directory)| directory.shards().is_some()).count();
        assert_eq!(shared, coordinators(&world).count(), "seed {seed}: not everybody shares");
        println!("seed {seed}: cards kept by each coordinator: {:?}", sizes(&world));
    }
    println!("{graded} grades reached who keeps the card");
    assert!(graded > 100, "{graded} grades reached who keeps the card");
}

fn grades(world: &World) -> impl Iterator<Item = &RouteGrade> {
    let bodies = world.recorded().iter().filter_map(|message| match &message.payload {
        Some(Payload::Plain(body)) => Some(&**body),
        _ => None,
    });
    bodies.filter_map(|body| match body {
        Body::RouteGrade(grade) => Some(&**grade),
        _ => None,
    })
}

/// Whether somebody who keeps the agent's card has heard of a task like this.
fn knows_better(world: &World, grade: &RouteGrade) -> bool {
    let keepers = coordinators(world).filter(|(_, directory)| directory.get(&grade.agent).is_some());
    let mean = |directory: &Directory| directory.reputation().mean(&grade.agent, &grade.task, world.now());
    keepers.map(|(_, directory)| mean(directory)).any(|mean| (mean > 0.5) == grade.delivered)
}
