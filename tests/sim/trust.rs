//! Whether claims are worth anything: who claims everything and delivers nothing loses its work, and who is new gets some.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

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
type Asked = BTreeMap<AgentId, BTreeSet<usize>>;

fn asked(world: &World) -> Asked {
    let mut asked = Asked::new();
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

/// What one agent got, and what its share would have been.
#[derive(Debug, Default)]
struct Share {
    got: usize,
    fair: f64,
}

impl Share {
    /// Of jobs from a number on: what one agent got, beside an equal part of what those who claim the same were asked for.
    fn add(&mut self, asked: &Asked, me: &AgentId, subject: &str, jobs: Range<usize>) {
        let within = |jobs_of: &BTreeSet<usize>| jobs_of.range(jobs.clone()).count();
        let alike = |other: &AgentId| other.agent().as_str().starts_with(&format!("{subject}-"));
        let all: usize = asked.iter().filter(|(a, _)| alike(a)).map(|(_, jobs)| within(jobs)).sum();
        self.got += asked.get(me).map_or(0, within);
        self.fair += all as f64 / PER_SUBJECT as f64;
    }
}

#[test]
fn who_claims_everything_and_delivers_nothing_loses_nine_tenths_of_its_work_within_fifty_jobs() {
    let (mut first, mut later) = (0, 0);
    for seed in 1..4 {
        let mut world = World::new(federation(seed, 120, vec![(Manner::Boasting, 5)]));
        world.record("work.draft");
        let report = world.run();
        assert!(report.violations.is_empty(), "{report}");
        let boaster = world.nodes().find_map(|node| {
            let boasts = node.agents.values().find(|agent| agent.manner == Manner::Boasting)?;
            Some(AgentId::new(boasts.profile.name.clone(), node.identity.id().clone()))
        });
        let jobs = asked(&world).remove(&boaster.expect("one agent boasts")).unwrap_or_default();
        println!("seed {seed}: asked in jobs {jobs:?}");
        first += jobs.range(..10).count();
        later += jobs.range(50..).count();
    }
    assert!(first >= 3, "believed at first, it was asked in {first} of 30 jobs");
    // Seven times as many jobs: a tenth of what it was asked in the same number.
    assert!(
        10 * later <= 7 * first,
        "asked in {first} of the first 30 jobs, and still in {later} of the last 210"
    );
}

#[test]
fn who_is_new_and_honest_gets_half_of_its_share_within_a_hundred_jobs() {
    let mut share = Share::default();
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
            let me = AgentId::new(agent.profile.name.clone(), id.clone());
            share.add(&asked, &me, &agent.profile.skills[0].id, 50..150);
        }
    }
    assert!(2.0 * share.got as f64 >= share.fair, "newcomers got {} of {}", share.got, share.fair);
}
