//! Whole decisions: a task goes into a directory of signed cards, ranked candidates with every factor come out.

use std::time::Duration;

use foa_capability::{Directory, Query};
use serde::Serialize;

use super::super::Times;
use super::search::Stopwatch;
use super::workload::{self, NOW, Workload};

/// What deciding costs, and what a directory weighs.
#[derive(Debug, Serialize)]
pub(super) struct Decided {
    pub(super) agents: usize,
    /// CPU time of one decision without embedding, milliseconds.
    pub(super) mean_ms: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The same where only every second agent was granted what the task requires.
    pub(super) policy_mean_ms: f64,
    pub(super) policy_p99_ms: f64,
    /// CPU time of checking and keeping all cards, and of linking their vectors, seconds.
    pub(super) cards_s: f64,
    pub(super) linking_s: f64,
    /// Memory of the process before, and with the directory, megabytes; `None` where the system does not say.
    pub(super) resident_mb: Option<[f64; 2]>,
    pub(super) bytes_per_agent: Option<f64>,
    pub(super) reload: Reload,
}

/// What it takes to know everybody again after a restart, CPU time in seconds.
#[derive(Debug, Serialize)]
pub(super) struct Reload {
    /// Bytes of the saved directory.
    pub(super) bytes: usize,
    pub(super) saving_s: f64,
    /// From the bytes to the first decision, which was as before.
    pub(super) first_decision_s: f64,
}

/// A directory of all agents of a workload.
fn fill(workload: &Workload, agents: usize) -> (Directory, Duration, Duration) {
    let mut directory = Directory::new(workload::model(), None);
    let mut keeping = Duration::ZERO;
    for agent in 0..agents {
        let card = workload.card(agent, 0);
        let watch = Stopwatch::start();
        directory.presence(workload.node(agent).0, workload::online(), NOW);
        directory.apply(card, NOW).expect("a signed card of a known model is taken");
        keeping += watch.read();
    }
    let watch = Stopwatch::start();
    while directory.maintain(1_000) > 0 {}
    (directory, keeping, watch.read())
}

/// Fills a directory and asks it.
pub(super) fn measure(workload: &Workload, agents: usize, tasks: usize) -> Decided {
    let before = resident();
    let (directory, keeping, linking) = fill(workload, agents);
    let after = resident();
    let open = |query: Query| query;
    let granted = |mut query: Query| {
        query.policies.insert("gdpr".parse().expect("a plain word is a policy"));
        query
    };
    let mut all = ask(&directory, workload, tasks, &open);
    let mut policy = ask(&directory, workload, tasks, &granted);
    let reload = reload(directory, workload, agents);
    Decided {
        reload,
        agents,
        mean_ms: all.mean(),
        p50_ms: all.quantile(500),
        p99_ms: all.quantile(990),
        policy_mean_ms: policy.mean(),
        policy_p99_ms: policy.quantile(990),
        cards_s: keeping.as_secs_f64(),
        linking_s: linking.as_secs_f64(),
        resident_mb: before.zip(after).map(|(before, after)| [before, after].map(|b| b as f64 / 1e6)),
        bytes_per_agent: before
            .zip(after)
            .map(|(before, after)| after.saturating_sub(before) as f64 / agents as f64),
    }
}

fn ask(directory: &Directory, workload: &Workload, tasks: usize, with: &dyn Fn(Query) -> Query) -> Times {
    let mut times = Times::default();
    for number in 0..tasks {
        let query = with(workload.query(number));
        let watch = Stopwatch::start();
        let routed = directory.route(&query, NOW);
        times.0.push(watch.read());
        assert!(!routed.candidates.is_empty(), "somebody fits");
    }
    times
}

/// Saves a directory, loads it, and asks both the same.
fn reload(directory: Directory, workload: &Workload, agents: usize) -> Reload {
    let query = workload.query(0);
    let before = directory.route(&query, NOW).candidates;
    let watch = Stopwatch::start();
    let bytes = directory.image().to_bytes();
    let saving = watch.read();
    drop(directory);
    let watch = Stopwatch::start();
    let mut loaded = Directory::new(workload::model(), None);
    loaded.restore(&bytes, NOW).expect("these bytes were just saved");
    for agent in (0..agents).step_by(workload::AGENTS_PER_NODE) {
        loaded.presence(workload.node(agent).0, workload::online(), NOW);
    }
    let after = loaded.route(&query, NOW).candidates;
    let first_decision_s = watch.read().as_secs_f64();
    assert!(after == before, "a directory that was loaded decides as the one that was saved");
    Reload { bytes: bytes.len(), saving_s: saving.as_secs_f64(), first_decision_s }
}

/// Bytes of this process in memory.
pub(super) fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    // Linux says it in pages, of 4 KiB wherever we run.
    Some(pages * 4096)
}
