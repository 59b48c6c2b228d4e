//! Known bugs put back, to see that the invariants catch them; and the same federation without them, to see that nothing
//! else does.

use federation_tests::sim::options::{Bug, FaultKind, PlannedFault};
use federation_tests::sim::{Options, Report, World};

/// One coordinator with a slow disk that crashes again and again while jobs arrive. Where the broker keeps what was not
/// acknowledged, a submission may be made once; where it crashes and forgets as well, submitters repeat.
fn run(seed: u64, bug: Option<Bug>, broker: bool) -> Report {
    let crashes = (0..12).flat_map(|n| {
        let at_ms = 3_080 + 913 * n;
        let node = PlannedFault { at_ms, kind: FaultKind::Crash, node: 0, for_ms: 120 };
        let broker = broker.then_some(PlannedFault { at_ms, kind: FaultKind::Broker, node: 0, for_ms: 60 });
        std::iter::once(node).chain(broker)
    });
    let options = Options {
        seed,
        nodes: 3,
        coordinators: 1,
        agents: 6,
        jobs: 24,
        every_ms: 450,
        plan: crashes.collect(),
        disk_ms: 300,
        bare: if broker { 0 } else { 500 },
        timeout_ms: Some(60_000),
        bug,
        ..Options::default()
    };
    World::new(options).run()
}

const SEEDS: std::ops::Range<u64> = 1..6;

fn caught(bug: Bug, broker: bool, by: &[&str]) {
    let found = SEEDS.map(|seed| run(seed, Some(bug), broker)).find(|report| !report.violations.is_empty());
    let report = found.unwrap_or_else(|| panic!("no seed of {SEEDS:?} noticed {bug:?}"));
    assert!(by.contains(&report.violations[0].invariant), "{report}");
}

#[test]
fn a_message_that_leaves_before_its_record_is_on_disk_is_noticed() {
    caught(Bug::SendBeforeSync, true, &["no accepted job is lost", "one result per term", "log is gap-free"]);
}

#[test]
fn an_acknowledgement_before_the_record_is_on_disk_is_noticed() {
    caught(Bug::AckBeforeSync, false, &["no accepted job is lost"]);
}

#[test]
fn without_a_bug_the_same_crashes_lose_nothing() {
    for (seed, broker) in SEEDS.flat_map(|seed| [(seed, false), (seed, true)]) {
        let report = run(seed, None, broker);
        assert!(report.violations.is_empty(), "seed {seed}, broker {broker}\n{report}");
        assert_eq!(report.jobs.open, 0, "seed {seed}, broker {broker}\n{report}");
    }
}
