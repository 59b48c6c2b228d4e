//! A federation moves from one embedding model to another, node by node, and goes on working meanwhile.

use std::time::Duration;

use federation_tests::sim::agents::Model::{self, Mirrored, Words};
use federation_tests::sim::{Options, World};
use foa_workflows::JobSubmission;
use foa_workflows::result::Status;

const NODES: usize = 8;
const COORDINATORS: usize = 3;

fn federation() -> World {
    let options =
        Options { nodes: NODES, coordinators: COORDINATORS, agents: 20, jobs: 0, ..Options::default() };
    let mut world = World::new(options);
    world.run_for(Duration::from_secs(4));
    world
}

/// Restarts every node with these models, one after the other, and has a job done after each; says how each ended.
fn move_to(world: &mut World, models: &[Model]) -> Vec<Status> {
    let mut ended = Vec::new();
    for node in 0..NODES {
        world.kill(node);
        world.run_for(Duration::from_millis(200));
        world.start_with(node, models);
        world.run_for(Duration::from_secs(3));
        let task = JobSubmission::of("find the tax invoice and vat; then find the rail train and signal");
        let job = world.submit_after(Duration::from_millis(10), task, false);
        let over = |world: &World| !world.job(&job).results.is_empty();
        assert!(world.run_until(Duration::from_secs(300), over), "{job} never ended\n{}", world.report());
        let report = world.report();
        assert!(report.violations.is_empty(), "{report}");
        ended.push(world.job(&job).results.values().next_back().expect("it ended").status.clone());
    }
    ended
}

/// How many cards each coordinator could not compare.
fn incomparable(world: &World) -> Vec<u64> {
    let of = |n| {
        let directory = world.node(n).machine.as_ref()?.directory()?;
        Some(directory.rejections().get("other-model").copied().unwrap_or(0))
    };
    (0..COORDINATORS).filter_map(of).collect()
}

#[test]
fn with_vectors_of_both_models_on_the_cards_no_coordinator_loses_sight_of_anybody() {
    let mut world = federation();
    for models in [&[Words, Mirrored][..], &[Mirrored, Words], &[Mirrored]] {
        let ended = move_to(&mut world, models);
        assert!(ended.iter().all(|status| *status == Status::Completed), "{models:?}: {ended:?}");
        assert_eq!(incomparable(&world), [0; COORDINATORS], "{models:?}");
    }
    for n in 0..COORDINATORS {
        let directory = world.node(n).machine.as_ref().and_then(|m| m.directory()).expect("a coordinator");
        assert_eq!(*directory.model(), Mirrored.id());
        assert!(directory.iter().all(|(_, entry)| entry.card().capability().also.is_empty()));
    }
}

#[test]
fn without_them_those_of_the_other_model_are_counted_and_asked_nothing() {
    let mut world = federation();
    world.record("work.draft");
    for node in 0..COORDINATORS {
        world.kill(node);
        world.run_for(Duration::from_millis(200));
        world.start_with(node, &[Mirrored]);
    }
    world.run_for(Duration::from_secs(5));
    assert!(incomparable(&world).iter().all(|count| *count > 0), "{:?}", incomparable(&world));
    let task = JobSubmission::of("find the tax invoice and vat");
    let job = world.submit_after(Duration::from_millis(10), task, false);
    let over = |world: &World| !world.job(&job).results.is_empty();
    assert!(world.run_until(Duration::from_secs(300), over), "{job} never ended\n{}", world.report());
    assert!(world.recorded().is_empty(), "an agent whose vectors cannot be compared was asked");
    let ended = &world.job(&job).results.values().next_back().expect("it ended").status;
    assert!(matches!(ended, Status::Failed { reason } if reason.contains("model")), "{ended:?}");
}
