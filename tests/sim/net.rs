//! Known bugs put back, to see that the invariants catch them; and the same federation without them, to see that nothing
//! else does.

use federation_tests::sim::faults::{FaultKind, PlannedFault};
use federation_tests::sim::options::Bug;
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
    let by = ["no accepted job is lost", "one result per term", "log is gap-free", "one record at one index"];
    caught(Bug::SendBeforeSync, true, &by);
}

#[test]
fn an_acknowledgement_before_the_record_is_on_disk_is_noticed() {
    caught(Bug::AckBeforeSync, false, &["no accepted job is lost"]);
}

/// Three coordinators, each cut off in its turn for long enough that the others take over what it holds; what it had sent
/// meanwhile arrives when it is back.
fn rivals(seed: u64, bug: Option<Bug>) -> Report {
    let cuts = (0..6u64).map(|n| PlannedFault {
        at_ms: 3_400 + 21_000 * n,
        kind: FaultKind::Partition,
        node: usize::try_from(n % 3).unwrap_or_default(),
        for_ms: 20_000,
    });
    let options = Options {
        seed,
        nodes: 8,
        coordinators: 3,
        agents: 10,
        jobs: 24,
        every_ms: 3_000,
        loss: 0.1,
        plan: cuts.collect(),
        fixed: true,
        bug,
        ..Options::default()
    };
    World::new(options).run()
}

const RIVALS: std::ops::Range<u64> = 1..6;

fn noticed(bug: Bug, by: &[&str]) {
    let found = RIVALS.map(|seed| rivals(seed, Some(bug))).find(|report| !report.violations.is_empty());
    let report = found.unwrap_or_else(|| panic!("no seed of {RIVALS:?} noticed {bug:?}"));
    assert!(by.contains(&report.violations[0].invariant), "{report}");
}

#[test]
fn records_of_an_earlier_term_taken_for_present_ones_are_noticed() {
    let by =
        ["no accepted job is lost", "log is gap-free", "committed prefixes agree", "one record at one index"];
    noticed(Bug::StaleTerm, &by);
}

#[test]
fn a_repeat_that_is_taken_for_another_job_is_noticed() {
    noticed(Bug::AcceptAgain, &["one job per submission"]);
}

#[test]
fn without_a_bug_rivals_agree() {
    for seed in RIVALS {
        let report = rivals(seed, None);
        assert!(report.violations.is_empty(), "seed {seed}\n{report}");
    }
}

#[test]
fn without_a_bug_the_same_crashes_lose_nothing() {
    for (seed, broker) in SEEDS.flat_map(|seed| [(seed, false), (seed, true)]) {
        let report = run(seed, None, broker);
        assert!(report.violations.is_empty(), "seed {seed}, broker {broker}\n{report}");
        assert_eq!(report.jobs.open, 0, "seed {seed}, broker {broker}\n{report}");
    }
}
