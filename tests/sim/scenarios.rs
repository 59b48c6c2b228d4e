//! What happens when one particular thing goes wrong.

use std::time::Duration;

use federation_tests::sim::agents::{self, Manner};
use federation_tests::sim::{Options, World};
use foa_capability::Money;
use foa_node_core::Body;
use foa_node_core::status::NodeStatus;
use foa_wire::{Boot, Connection, JobId, Time, Topic};
use foa_workflows::JobSubmission;
use foa_workflows::result::{JobResult, Status};

const LONG: Duration = Duration::from_secs(400);

/// A federation without jobs of its own, after it has found itself.
fn settled(options: Options) -> World {
    let mut world = World::new(Options { jobs: 0, ..options });
    world.run_for(Duration::from_secs(4));
    world
}

fn task() -> JobSubmission {
    JobSubmission::of("find the tax invoice and vat; then find the rail train and signal")
}

fn submit(world: &mut World, submission: JobSubmission) -> JobId {
    world.submit_after(Duration::from_millis(10), submission, false)
}

fn result(world: &mut World, job: &JobId) -> JobResult {
    assert!(
        world.run_until(LONG, |world| !world.job(job).results.is_empty()),
        "{job} never ended\n{}",
        world.report()
    );
    let report = world.report();
    assert!(report.violations.is_empty(), "{report}");
    world.job(job).results.values().next_back().unwrap().clone()
}

fn reason(result: &JobResult) -> String {
    match &result.status {
        Status::Failed { reason } => reason.clone(),
        other => panic!("wanted a failure, found {other:?}"),
    }
}

#[test]
fn files_hold_what_they_expect() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let options = Options::read(&path).unwrap();
        let expect = options.expect.clone();
        let report = World::new(options).run();
        assert!(report.violations.is_empty(), "{}\n{report}", path.display());
        assert!(
            expect.unmet(&report).is_empty(),
            "{}: {:?}\n{report}",
            path.display(),
            expect.unmet(&report)
        );
        seen += 1;
    }
    assert!(seen >= 3, "{seen} scenarios were found");
}

#[test]
fn a_worker_killed_while_it_works_is_replaced_or_named() {
    let mut world = settled(Options::default());
    let job = submit(&mut world, task());
    // Someone drafts; it is gone before it answers.
    world.record("work.draft");
    assert!(world.run_until(LONG, |world| !world.recorded().is_empty()));
    let Topic::Tasks(agent) = world.recorded()[0].topic.clone() else {
        panic!("drafts are asked for on task topics")
    };
    let node = (0..12).find(|n| world.node(*n).identity.id() == agent.node()).unwrap();
    world.kill(node);
    let result = result(&mut world, &job);
    let named = result.failures.iter().any(|f| f.agent.node() == agent.node());
    assert!(named, "{:?}", result.failures);
    assert!(matches!(result.status, Status::Completed | Status::Partial), "{:?}", result.status);
}

#[test]
fn when_nobody_may_do_it_the_requirement_is_named() {
    let mut world = settled(Options::default());
    let policies = ["top-secret".parse().unwrap()].into();
    let job = submit(&mut world, JobSubmission { policies, ..task() });
    let reason = reason(&result(&mut world, &job));
    assert!(reason.contains("top-secret"), "{reason}");
}

#[test]
fn an_agent_without_the_policy_is_never_asked() {
    let mut world = settled(Options { agents: 40, ..Options::default() });
    world.record("work.draft");
    let job = submit(&mut world, JobSubmission { policies: [agents::policy()].into(), ..task() });
    let result = result(&mut world, &job);
    assert!(!result.contributors.is_empty());
    for message in world.recorded() {
        let Topic::Tasks(agent) = &message.topic else { continue };
        let node = world.nodes().find(|n| n.identity.id() == agent.node()).unwrap();
        assert!(node.agents[agent.agent()].profile.policies.contains(&agents::policy()), "{agent} was asked");
    }
}

#[test]
fn jobs_of_a_coordinator_that_crashes_and_returns_end() {
    let mut world = settled(Options { coordinators: 1, ..Options::default() });
    let jobs: Vec<JobId> = (0..3).map(|_| submit(&mut world, task())).collect();
    for wait in [100, 700, 1500, 400] {
        world.run_for(Duration::from_millis(wait));
        world.crash(0, Duration::from_millis(900));
    }
    for job in jobs {
        assert_eq!(result(&mut world, &job).status, Status::Completed);
    }
}

#[test]
fn a_broker_that_restarts_without_memory_loses_no_job() {
    let mut world = settled(Options::default());
    let job = submit(&mut world, task());
    for wait in [600, 2500] {
        world.run_for(Duration::from_millis(wait));
        assert!(world.job(&job).results.is_empty(), "the job ended before the fault");
        world.restart_broker(Duration::from_millis(800));
    }
    assert_eq!(result(&mut world, &job).status, Status::Completed);
}

#[test]
fn a_late_coordinator_learns_of_three_hundred_agents_though_a_broker_hands_out_a_hundred() {
    let options = Options { nodes: 32, coordinators: 2, agents: 300, ..Options::default() };
    let mut world = World::new(Options { jobs: 0, ..options });
    world.run_for(Duration::from_millis(600));
    world.kill(1);
    world.run_for(Duration::from_secs(5));
    world.start(1);
    let known =
        |world: &World| world.node(1).machine.as_ref().map_or(0, foa_node_core::NodeMachine::agents_online);
    assert!(world.run_until(Duration::from_secs(15), |world| known(world) == 300), "knows {}", known(&world));
}

#[test]
fn a_deadline_ends_a_job_by_name() {
    let manners = vec![(Manner::Silent, 1000)];
    let mut world = settled(Options { manners, ..Options::default() });
    let job = submit(&mut world, JobSubmission { timeout_ms: Some(8_000), ..task() });
    let result = result(&mut world, &job);
    assert!(matches!(result.status, Status::Failed { .. }), "{:?}", result.status);
    let took = result.ended.since(result.accepted);
    assert!(took >= Duration::from_secs(8) && took < Duration::from_secs(9), "{took:?}");
}

#[test]
fn a_cancelled_job_ends_as_cancelled_and_its_agents_stop() {
    let mut world = settled(Options { manners: vec![(Manner::Slow, 1000)], ..Options::default() });
    let job = submit(&mut world, task());
    world.run_for(Duration::from_secs(2));
    world.cancel(&job);
    assert_eq!(result(&mut world, &job).status, Status::Cancelled);
    world.run_for(Duration::from_secs(2));
    assert!(world.nodes().all(|node| node.thinking.is_empty()), "someone still thinks");
}

#[test]
fn a_budget_that_is_too_small_is_said_and_not_exceeded() {
    let mut world = settled(Options { price: 1_000, ..Options::default() });
    let job = submit(&mut world, JobSubmission { budget: Some(Money(10)), ..task() });
    let result = result(&mut world, &job);
    assert!(reason(&result).contains("budget") || reason(&result).contains("cost"), "{:?}", result.status);
    assert_eq!(result.usage.cost, Money(0));
}

#[test]
fn two_cards_of_one_version_are_counted_and_the_directories_agree_on_one() {
    let mut world = settled(Options::default());
    world.record("card");
    world.crash(5, Duration::from_millis(300));
    world.run_for(Duration::from_secs(3));
    let node = world.node(5);
    let (boot, id, key) = (node.boot, node.identity.id().clone(), node.identity.key().clone());
    let mut profile = node.agents.values().next().unwrap().profile.clone();
    profile.description = "claims to be somebody else under the same version".to_owned();
    let agent = foa_wire::AgentId::new(profile.name.clone(), id);
    let holds = world.node(0).machine.as_ref().unwrap().directory().unwrap();
    let version = holds.get(&agent).unwrap().card().order().1;
    let vectors = profile.texts().iter().map(|text| agents::embed(text)).collect();
    let own = [foa_capability::Embedding { model: agents::model(), vectors }];
    let life = Duration::from_secs(86_400);
    let forged = foa_capability::card::AgentCard::issue(
        &profile,
        &own,
        agent.clone(),
        boot,
        version,
        world.now(),
        life,
        &key,
    );
    world.speak_as(5, Topic::Card(agent.clone()), Body::Card(Box::new(forged.unwrap())), None);
    world.run_for(Duration::from_secs(40));
    let mut hashes = std::collections::BTreeSet::new();
    for n in [0, 1] {
        let machine = world.node(n).machine.as_ref().unwrap();
        assert!(
            machine.refused().get("equivocation").is_some_and(|count| *count > 0),
            "{:?}",
            machine.refused()
        );
        hashes.insert(machine.directory().unwrap().get(&agent).unwrap().hash().to_owned());
    }
    assert_eq!(hashes.len(), 1);
}

#[test]
fn a_status_of_an_earlier_start_changes_nothing() {
    let mut world = settled(Options::default());
    let id = world.node(7).identity.id().clone();
    let old = NodeStatus::will(id.clone(), Boot(17), Connection(1), Time::from_millis(1));
    world.speak_as(7, Topic::Status(id.clone()), Body::Status(old), None);
    world.run_for(Duration::from_secs(1));
    for n in [0, 1] {
        let machine = world.node(n).machine.as_ref().unwrap();
        assert!(machine.directory().unwrap().is_online(&id), "a stale will was believed");
    }
}

#[test]
fn a_replayed_command_is_dropped() {
    let mut world = settled(Options::default());
    world.record("work.propose");
    let job = submit(&mut world, task());
    result(&mut world, &job);
    let message = (*world.recorded()[0]).clone();
    world.record("work.reply");
    let before = world.recorded().len();
    world.inject(message);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.recorded().len(), before, "the agent's node answered a replay");
}

#[test]
fn a_drained_coordinator_finishes_what_it_holds_and_takes_nothing_new() {
    let mut world = settled(Options { coordinators: 2, ..Options::default() });
    let before: Vec<JobId> = (0..4).map(|_| submit(&mut world, task())).collect();
    world.run_for(Duration::from_millis(500));
    world.drain(0);
    world.run_for(Duration::from_millis(500));
    let after: Vec<JobId> = (0..4).map(|_| submit(&mut world, task())).collect();
    for job in &before {
        assert_eq!(result(&mut world, job).status, Status::Completed);
    }
    for job in &after {
        let holder = result(&mut world, job).term.holder;
        assert_eq!(holder, *world.node(1).identity.id());
    }
}
