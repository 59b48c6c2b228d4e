//! A federation that changes while it is asked: agents replaced every second, and a burst of many at once.

use foa_capability::Vector;
use foa_capability::index::{Index as _, Snapshot, Vectors};
use serde::Serialize;

use super::super::Times;
use super::decide::resident;
use super::search::{self, Stopwatch, WANTED};
use super::workload::Workload;

/// One agent in so many is replaced every second: 0.1 %.
const REPLACED: usize = 1_000;
/// One agent in so many is replaced at once, half-way: 5 %.
const BURST: usize = 20;
/// Searches in a second of churn.
const SEARCHES: usize = 20;
/// Searches that recall, and the cost of searching at rest, are measured over.
const SAMPLE: usize = 200;
/// Steps of upkeep after each change; a replaced agent leaves two and a check behind.
const UPKEEP: usize = 4;

/// What churn does to searches.
#[derive(Debug, Serialize)]
pub(super) struct Churned {
    pub(super) agents: usize,
    pub(super) seconds: usize,
    pub(super) replaced: usize,
    /// CPU time of a search before anything changed, while agents were replaced, and after the burst while its vectors
    /// wait beside the graph, microseconds.
    pub(super) quiet: Cost,
    pub(super) churning: Cost,
    pub(super) burst: Cost,
    /// Recall@10 before, right after the burst, and at the end.
    pub(super) recall: [f64; 3],
    /// CPU time of replacing and linking, as a share of one core.
    pub(super) upkeep: f64,
    /// Megabytes of the process before and at the end.
    pub(super) resident_mb: Option<[f64; 2]>,
    /// Vectors that could not find themselves, and were linked anew.
    pub(super) lost: u64,
}

/// What searches cost, in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    pub(super) mean_us: f64,
    pub(super) p99_us: f64,
}

impl Cost {
    fn of(mut times: Times) -> Self {
        Self { mean_us: times.mean() * 1000.0, p99_us: times.quantile(990) * 1000.0 }
    }
}

/// A federation and how often each of its agents was replaced.
struct Changing<'a> {
    workload: &'a Workload,
    versions: Vec<u64>,
    index: Vectors,
    replaced: usize,
}

impl Changing<'_> {
    /// Replaces the next so many agents, in an order that visits all.
    fn replace(&mut self, count: usize) {
        for _ in 0..count {
            // A prime step larger than any federation measured here.
            let agent = self.replaced * 7_919 % self.versions.len();
            self.versions[agent] += 1;
            let vector = self.workload.vector(agent, self.versions[agent]);
            self.index.insert(search::key(agent), &vector.quantise());
            self.replaced += 1;
        }
    }
}

/// Replaces agents for so many seconds, as fast as it can be done, and searches all the while.
pub(super) fn measure(workload: &Workload, agents: usize, seconds: usize) -> Churned {
    let (index, _) = search::build(workload, agents);
    let mut all = Changing { workload, versions: vec![0; agents], index, replaced: 0 };
    let tasks: Vec<Vector> = (0..SAMPLE).map(|number| workload.task(number)).collect();
    let before = resident();
    let quiet = times(&all.index.snapshot(), &tasks);
    let mut recalls = [recall(&all.index.snapshot(), &tasks), 0.0, 0.0];
    let (mut churning, mut upkeep) = (Times::default(), std::time::Duration::ZERO);
    let mut burst = Times::default();
    for second in 0..seconds {
        if second == seconds / 2 {
            all.replace(agents / BURST);
            let snapshot = all.index.snapshot();
            recalls[1] = recall(&snapshot, &tasks);
            burst = times(&snapshot, &tasks);
        }
        let part = (agents / REPLACED / SEARCHES).max(1);
        for number in 0..SEARCHES {
            let watch = Stopwatch::start();
            all.replace(part);
            all.index.maintain(part * UPKEEP);
            upkeep += watch.read();
            let snapshot = all.index.snapshot();
            let task = &tasks[(second * SEARCHES + number) % tasks.len()];
            churning.0.extend(times(&snapshot, std::slice::from_ref(task)).0);
        }
    }
    recalls[2] = recall(&all.index.snapshot(), &tasks);
    Churned {
        agents,
        seconds,
        replaced: all.replaced,
        quiet: Cost::of(quiet),
        churning: Cost::of(churning),
        burst: Cost::of(burst),
        recall: recalls,
        upkeep: upkeep.as_secs_f64() / seconds as f64,
        resident_mb: before.zip(resident()).map(|(a, b)| [a, b].map(|bytes| bytes as f64 / 1e6)),
        lost: all.index.lost(),
    }
}

fn times(index: &Snapshot, tasks: &[Vector]) -> Times {
    let mut times = Times::default();
    for task in tasks {
        let watch = Stopwatch::start();
        let (hits, _) = index.nearest(task, WANTED, usize::MAX, &|_| true);
        times.0.push(watch.read());
        assert_eq!(hits.len(), WANTED, "there are more than ten agents");
    }
    times
}

fn recall(index: &Snapshot, tasks: &[Vector]) -> f64 {
    let mut found = 0;
    for task in tasks {
        let wanted = index.exactly(task, WANTED, &|_| true);
        let (hits, _) = index.nearest(task, WANTED, usize::MAX, &|_| true);
        found += wanted.iter().filter(|hit| hits.iter().any(|other| other.key == hit.key)).count();
    }
    found as f64 / (WANTED * tasks.len()) as f64
}
