//! Whether claims are worth anything: who claims everything and delivers nothing loses its work, and who is new gets some.

use std::collections::{BTreeMap, BTreeSet};

use federation_tests::sim::agents::Manner;
use federation_tests::sim::link::Payload;
use federation_tests::sim::{Options, World};
use foa_node_core::Body;
use foa_wire::{AgentId, Topic};

/// Agents, and how many of them know one subject.
const AGENTS: usize = 200;
const PER_SUBJECT: usize = AGENTS / 10;

fn federation(seed: u64, jobs: usize, manners: Vec<(Manner, u32)>) -> Options {
    Options {
        seed,
        nodes: 103,
        coordinators: 3,
        agents: AGENTS,
        jobs,
        every_ms: 500,
        manners,
        ..Options::default()
    }
}

/// For each agent, the jobs in which it was asked for a draft, by number.
fn asked(world: &World) -> BTreeMap<AgentId, BTreeSet<usize>> {
    let mut asked: BTreeMap<AgentId, BTreeSet<usize>> = BTreeMap::new();
    for message in world.recorded() {
        let (Topic::Tasks(agent), Some(Payload::Plain(body))) = (&message.topic, &message.payload) else {
            continue;
        };
        let Body::Work(work) = &**body else { continue };
        let job = work.work.job();
        let number = job.as_str().rsplit('-').next().and_then(|n| n.parse().ok());
        asked.entry(agent.clone()).or_default().insert(number.expect("jobs of the simulation are numbered"));
    }
    asked
}

/// Of so many jobs from a number on, those in which it was asked.
fn within(jobs: &BTreeSet<usize>, from: usize, many: usize) -> usize {
    jobs.range(from..from + many).count()
}

#[test]
fn who_claims_everything_and_delivers_nothing_loses_nine_tenths_of_its_work_within_fifty_jobs() {
    for seed in 1..4 {
        let mut world = World::new(federation(seed, 100, vec![(Manner::Boasting, 5)]));
        world.record("work.draft");
        let report = world.run();
        assert!(report.violations.is_empty(), "{report}");
        let boaster = world.nodes().flat_map(|node| {
            let boasts = node.agents.values().filter(|agent| agent.manner == Manner::Boasting);
            boasts
                .map(|agent| AgentId::new(agent.profile.name.clone(), node.identity.id().clone()))
                .collect::<Vec<_>>()
        });
        let boaster = boaster.collect::<Vec<_>>().pop().expect("one agent boasts");
        let jobs = asked(&world).remove(&boaster).unwrap_or_default();
        println!("seed {seed}: {boaster} {jobs:?}");
        let (first, later) = (within(&jobs, 0, 10), within(&jobs, 50, 50));
        assert!(first >= 2, "seed {seed}: believed at first, it was asked in {first} of 10 jobs");
        assert!(later * 10 <= first * 5, "seed {seed}: {first} of the first 10 jobs, {later} of the last 50");
    }
}

#[test]
fn who_is_new_and_honest_gets_half_of_its_share_within_a_hundred_jobs() {
    for seed in 1..4 {
        let mut world = World::new(federation(seed, 150, Vec::new()));
        world.record("work.draft");
        let newcomers = 3 + usize::try_from(seed).unwrap();
        world.kill(newcomers);
        let fiftieth = world.clients()[0].jobs.keys().nth(50).expect("150 jobs").clone();
        let submitted = |world: &World| world.job(&fiftieth).submitted.is_some();
        assert!(world.run_until(std::time::Duration::from_secs(600), submitted));
        world.start(newcomers);
        let report = world.run();
        assert!(report.violations.is_empty(), "{report}");
        let asked = asked(&world);
        let id = world.node(newcomers).identity.id().clone();
        for agent in world.node(newcomers).agents.values() {
            let subject = agent.profile.skills[0].id.clone();
            let alike = |other: &AgentId| other.to_string().starts_with(&format!("{subject}-"));
            let all: usize =
                asked.iter().filter(|(a, _)| alike(a)).map(|(_, jobs)| within(jobs, 50, 100)).sum();
            let me = AgentId::new(agent.profile.name.clone(), id.clone());
            let mine = asked.get(&me).map_or(0, |jobs| within(jobs, 50, 100));
            let most = asked.iter().filter(|(a, _)| alike(a)).map(|(_, jobs)| within(jobs, 50, 100)).max();
            println!("seed {seed}: {me} {mine} of {all} drafts of {PER_SUBJECT} agents, most {most:?}");
            assert!(
                2 * mine * PER_SUBJECT >= all,
                "seed {seed}: {me} got {mine} of {all} among {PER_SUBJECT}"
            );
        }
    }
}
