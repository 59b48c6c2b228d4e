//! Federations left to chance.

use federation_tests::sim::{Options, Report, World};

fn hold(seeds: impl Iterator<Item = u64>, encode: bool) {
    for seed in seeds {
        let report = World::new(Options { encode, ..Options::short(seed) }).run();
        assert!(report.violations.is_empty(), "`sim reproduce {seed}` (encode: {encode})\n{report}");
        assert_eq!(report.jobs.open, 0, "`sim reproduce {seed}`: jobs are open\n{report}");
    }
}

#[test]
fn short_runs_with_every_fault_and_every_kind_of_agent_hold_every_invariant() {
    hold(1..=14, false);
}

#[test]
fn the_same_through_real_envelopes() {
    hold(101..=102, true);
}

#[test]
fn two_hundred_nodes_and_fifty_jobs_over_lossy_links() {
    let options = Options {
        seed: 7,
        nodes: 200,
        coordinators: 5,
        agents: 400,
        jobs: 50,
        every_ms: 500,
        loss: 0.05,
        ..Options::default()
    };
    let report: Report = World::new(options).run();
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!(report.jobs.completed, 50, "{report}");
    // Measured at 190: a message more or less is fine, twice as many is a defect.
    assert!(report.messages.per_job < 300.0, "{report}");
}

#[test]
fn the_same_seed_gives_the_same_report_to_the_byte() {
    let run = || World::new(Options { bytes: true, ..Options::short(42) }).run().json();
    let (first, second) = (run(), run());
    assert_eq!(first, second);
    let other = World::new(Options { bytes: true, ..Options::short(43) }).run().json();
    assert_ne!(first, other, "the seed changes nothing");
}
