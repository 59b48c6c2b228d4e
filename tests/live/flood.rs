//! A flood: one key submits as fast as the broker takes it, another one job after the other. Five nodes keep their memory
//! bounded, turn away what is too much, and do not let the second one wait for the first.
//!
//! `FOA_FLOOD=100000 cargo test -p federation-tests --test live flood -- --nocapture` pours more than a run of all tests does.

use std::time::{Duration, Instant};

use foa_workflows::job::JobSubmission;

use crate::broker::Kind;
use crate::federation::Federation;
use crate::game::COORDINATORS;
use crate::program::{say, setting};
use crate::scribes::Scribes;
use crate::submitter::Submitter;

const WORKERS: [&str; 2] = ["draco", "eridanus"];
/// Submissions in a run of all tests.
const FLOOD: u64 = 1500;
/// A job of the one who is patient must end within this, however many the other one has submitted.
const END_WITHIN: Duration = Duration::from_secs(120);
/// What a node may grow by, in KiB: what it may keep of jobs, of submissions kept for others, and of messages on their way.
const GROWTH_KIB: u64 = 400 * 1024;
/// Submissions poured before anybody listens for what came of them.
const POUR: u64 = 50;
/// Jobs the other one has done at least.
const PATIENT: usize = 4;
const LISTEN: Duration = Duration::from_millis(50);

/// The most memory a process has had so far.
fn peak_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    line.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes")
}

fn reading(name: &str, n: u64) -> JobSubmission {
    let tag = format!("{name}-{n:06}");
    let job = Some(format!("flood-{tag}").parse().expect("a job id"));
    JobSubmission { job, team: Some(1), ..JobSubmission::of(Scribes::reading(&tag)) }
}

#[test]
#[cfg(target_os = "linux")]
fn a_flood_neither_fills_the_memory_nor_starves_another_submitter() {
    let Some(mut federation) = Federation::new(Kind::Embedded) else { return };
    let scribes = Scribes::new();
    for name in COORDINATORS {
        federation.start(name, &["coordinator"], "");
    }
    for name in WORKERS {
        federation.start(name, &["worker"], &scribes.readers());
    }
    federation.ready(&COORDINATORS);
    federation.ready(&WORKERS);
    federation.agents(WORKERS.len());
    let port = federation.broker.port();
    let (mut flood, mut neighbour) = (Submitter::new(port, "flood"), Submitter::new(port, "neighbour"));

    let nodes = COORDINATORS.iter().chain(&WORKERS).map(|name| (*name, federation.node(name).id()));
    let before: Vec<(&str, u32, u64)> = nodes.map(|(name, id)| (name, id, peak_kib(id))).collect();
    let (all, begun) = (setting("FOA_FLOOD", FLOOD), Instant::now());
    let (mut poured, mut pouring) = (0, Duration::ZERO);
    while poured < all || neighbour.jobs.len() < PATIENT || neighbour.open() > 0 {
        for _ in 0..POUR.min(all - poured) {
            flood.submit_once(reading("flood", poured));
            poured += 1;
            pouring = begun.elapsed();
        }
        flood.listen(Duration::ZERO);
        if neighbour.open() == 0 && (poured < all || neighbour.jobs.len() < PATIENT) {
            neighbour.submit(reading("neighbour", neighbour.jobs.len() as u64));
        }
        neighbour.listen(if poured < all { Duration::ZERO } else { LISTEN });
        assert!(neighbour.waits() < END_WITHIN, "the neighbour waits in vain: {:?}", neighbour.jobs);
    }
    flood.until(END_WITHIN, |me| me.others.accepted > 0 && me.others.rejected > 0);

    let slowest = neighbour.jobs.values().map(|account| account.took).max().unwrap_or_default();
    let grown = before.iter().map(|(name, id, kib)| (*name, peak_kib(*id) - kib));
    let grown: Vec<(&str, u64)> = grown.collect();
    say(&format!(
        "{poured} submissions in {pouring:.1?}: {:?}; the neighbour's {} jobs took {slowest:.1?} at most; grown by {}",
        flood.others,
        neighbour.jobs.len(),
        grown.iter().map(|(name, kib)| format!("{name} {} MB", kib / 1024)).collect::<Vec<_>>().join(", "),
    ));
    assert!(flood.others.accepted > 0, "wanted some of the flood taken: {:?}", flood.others);
    assert!(flood.others.rejected > 0, "wanted some of the flood turned away: {:?}", flood.others);
    assert!(slowest < END_WITHIN, "wanted the neighbour's jobs within {END_WITHIN:?}, found {slowest:?}");
    assert!(
        grown.iter().all(|(_, kib)| *kib < GROWTH_KIB),
        "wanted less than {GROWTH_KIB} KiB, found {grown:?}"
    );
}
