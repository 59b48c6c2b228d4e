//! Known bugs put back, to see that the invariants catch them; and the same federation without them, to see that nothing
//! else does.

use federation_tests::sim::options::{Bug, FaultKind, PlannedFault};
use federation_tests::sim::{Options, Report, World};

/// One coordinator with a slow disk that crashes again and again while jobs arrive.
fn run(seed: u64, bug: Option<Bug>) -> Report {
    let crash =
        |n: u64| PlannedFault { at_ms: 3_100 + 900 * n, kind: FaultKind::Crash, node: 0, for_ms: 250 };
    let options = Options {
        seed,
        nodes: 3,
        coordinators: 1,
        agents: 6,
        jobs: 24,
        every_ms: 450,
        plan: (0..12).map(crash).collect(),
        disk_ms: 300,
        bare: 500,
        timeout_ms: Some(60_000),
        bug,
        ..Options::default()
    };
    World::new(options).run()
}

const SEEDS: std::ops::Range<u64> = 1..7;

fn caught(bug: Bug, by: &[&str]) {
    let found = SEEDS.map(|seed| run(seed, Some(bug))).find(|report| !report.violations.is_empty());
    let report = found.unwrap_or_else(|| panic!("no seed of {SEEDS:?} noticed {bug:?}"));
    assert!(by.contains(&report.violations[0].invariant), "{report}");
}

#[test]
fn a_message_that_leaves_before_its_record_is_on_disk_is_noticed() {
    caught(Bug::SendBeforeSync, &["no accepted job is lost", "one result per term", "log is gap-free"]);
}

#[test]
fn an_acknowledgement_before_the_record_is_on_disk_is_noticed() {
    caught(Bug::AckBeforeSync, &["no accepted job is lost"]);
}

#[test]
fn without_a_bug_the_same_crashes_lose_nothing() {
    for seed in SEEDS {
        let report = run(seed, None);
        assert!(report.violations.is_empty(), "seed {seed}\n{report}");
        assert_eq!(report.jobs.open, 0, "seed {seed}\n{report}");
    }
}
