//! Nearest vectors: how many of the true nearest are found, and what a search costs, with and without a filter.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use foa_capability::index::{HnswRs, Index as _, Key, Snapshot, Vectors};
use foa_capability::{Engine, Vector};
use serde::{Deserialize, Serialize};

use super::super::Times;
use super::workload::{Numbers, Workload};

/// Nearest wanted, as in recall@10.
pub(super) const WANTED: usize = 10;

/// Tasks that are answered in the plain way; it takes long and always the same.
const PLAIN: usize = 50;

/// One way to search, over so many vectors.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Measured {
    pub(super) agents: usize,
    pub(super) engine: String,
    /// Share of the true ten nearest among the ten found.
    pub(super) recall: f64,
    /// CPU time of one search, microseconds.
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// CPU time of putting all vectors in, seconds.
    pub(super) build_s: f64,
}

/// Searches that only some vectors pass.
#[derive(Debug, Serialize)]
pub(super) struct Filtered {
    pub(super) agents: usize,
    /// The share that passes.
    pub(super) passing: f64,
    /// Recall against comparing all that pass.
    pub(super) recall: f64,
    pub(super) mean_us: f64,
    pub(super) p99_us: f64,
    /// CPU time of comparing all that pass.
    pub(super) exact_us: f64,
    /// How many of the searches walked the graph.
    pub(super) walked: usize,
    pub(super) searches: usize,
}

/// What is asked, and the true answers.
pub(super) struct Truth {
    pub(super) tasks: Vec<Vector>,
    pub(super) nearest: Vec<Vec<u32>>,
    times: Times,
}

/// CPU time of this thread; wall time where that cannot be had.
pub(super) struct Stopwatch {
    cpu: Option<ThreadTime>,
    wall: Instant,
}

impl Stopwatch {
    pub(super) fn start() -> Self {
        Self { cpu: ThreadTime::try_now().ok(), wall: Instant::now() }
    }

    pub(super) fn read(&self) -> Duration {
        self.cpu.and_then(|cpu| cpu.try_elapsed().ok()).unwrap_or_else(|| self.wall.elapsed())
    }
}

/// Builds the bare index over a workload; says how long it took.
pub(super) fn build(workload: &Workload, agents: usize) -> (Vectors, Duration) {
    let (mut index, watch) = (Vectors::default(), Stopwatch::start());
    for agent in 0..agents {
        index.insert(key(agent), &workload.vector(agent, 0).quantise());
    }
    while index.maintain(1_000) > 0 {}
    (index, watch.read())
}

pub(super) fn key(agent: usize) -> Key {
    Key { agent: u32::try_from(agent).expect("fewer agents than fit in memory"), part: 0 }
}

impl Truth {
    /// Answers so many tasks by comparing every vector.
    pub(super) fn new(workload: &Workload, index: &Snapshot, tasks: usize) -> Self {
        let tasks: Vec<Vector> = (0..tasks).map(|number| workload.task(number)).collect();
        let (mut times, mut nearest) = (Times::default(), Vec::new());
        for task in &tasks {
            let watch = Stopwatch::start();
            let hits = index.exactly(task, WANTED, &|_| true);
            times.0.push(watch.read());
            nearest.push(hits.iter().map(|hit| hit.key.agent).collect());
        }
        Self { tasks, nearest, times }
    }

    /// What comparing every vector took.
    pub(super) fn exact(&mut self, agents: usize) -> Measured {
        measured(agents, "exact scan", 1.0, &mut self.times, Duration::ZERO)
    }

    /// Every vector compared in the plain way, four bytes a component, one cosine after the other.
    pub(super) fn plain(&self, workload: &Workload, agents: usize) -> Measured {
        let received = |agent| Vector::try_from(&workload.vector(agent, 0).quantise());
        let vectors: Vec<Vector> = (0..agents).filter_map(|agent| received(agent).ok()).collect();
        let (mut times, mut found) = (Times::default(), Vec::new());
        for task in self.tasks.iter().take(PLAIN) {
            let watch = Stopwatch::start();
            let cosines = vectors.iter().map(|vector| vector.cosine(task));
            let mut all: Vec<(f64, u32)> = cosines.zip(0..).collect();
            if all.len() > WANTED {
                all.select_nth_unstable_by(WANTED - 1, |a, b| b.0.total_cmp(&a.0));
                all.truncate(WANTED);
            }
            times.0.push(watch.read());
            found.push(all.into_iter().map(|(_, agent)| agent).collect());
        }
        measured(agents, "plain f32 scan", self.recall(&found), &mut times, Duration::ZERO)
    }

    /// Our graph, as it is used, and keeping ever more in sight.
    pub(super) fn ours(
        &self,
        agents: usize,
        index: &Snapshot,
        built: Duration,
        sights: &[usize],
    ) -> Vec<Measured> {
        let mut looking = index.clone();
        let ask = |name: &str, index: &Snapshot| {
            let (mut times, mut found) = (Times::default(), Vec::new());
            for task in &self.tasks {
                let watch = Stopwatch::start();
                let (hits, _) = index.nearest(task, WANTED, agents, &|_| true);
                times.0.push(watch.read());
                found.push(hits.iter().map(|hit| hit.key.agent).collect());
            }
            measured(agents, name, self.recall(&found), &mut times, built)
        };
        let mut out = vec![ask("foa", index)];
        for sight in sights {
            looking.look(*sight);
            out.push(ask(&format!("foa ef {sight}"), &looking));
        }
        out
    }

    /// The library `hnsw_rs`, over the same bytes, keeping ever more in sight until it finds what we find.
    pub(super) fn hnsw_rs(&self, workload: &Workload, agents: usize, sights: &[usize]) -> Vec<Measured> {
        let watch = Stopwatch::start();
        let mut index = HnswRs::new(agents, 0);
        for agent in 0..agents {
            index.insert(key(agent), &workload.vector(agent, 0).quantise());
        }
        let built = watch.read();
        let mut out = Vec::new();
        for sight in sights {
            index.look(*sight);
            let (mut times, mut found) = (Times::default(), Vec::new());
            for task in &self.tasks {
                let watch = Stopwatch::start();
                let hits = index.search(task, WANTED, &|_| true);
                times.0.push(watch.read());
                found.push(hits.iter().map(|hit| hit.key.agent).collect());
            }
            let name = format!("hnsw_rs ef {sight}");
            out.push(measured(agents, &name, self.recall(&found), &mut times, built));
        }
        out
    }

    fn recall(&self, found: &[Vec<u32>]) -> f64 {
        share(self.nearest.iter().zip(found))
    }
}

fn share<'a>(pairs: impl Iterator<Item = (&'a Vec<u32>, &'a Vec<u32>)>) -> f64 {
    let (mut hit, mut all) = (0, 0);
    for (wanted, found) in pairs {
        let found: BTreeSet<u32> = found.iter().copied().collect();
        hit += wanted.iter().filter(|agent| found.contains(agent)).count();
        all += wanted.len();
    }
    if all == 0 { 1.0 } else { hit as f64 / all as f64 }
}

fn measured(agents: usize, engine: &str, recall: f64, times: &mut Times, built: Duration) -> Measured {
    Measured {
        agents,
        engine: engine.to_owned(),
        recall,
        mean_us: times.mean() * 1000.0,
        p50_us: times.quantile(500) * 1000.0,
        p99_us: times.quantile(990) * 1000.0,
        build_s: built.as_secs_f64(),
    }
}

/// Searches that only a share of the vectors pass, spread over all of the space.
pub(super) fn filtered(index: &Snapshot, agents: usize, tasks: &[Vector], share_passing: f64) -> Filtered {
    let bar = (share_passing * (1_u64 << 32) as f64) as u64;
    let passes: Vec<bool> = (0..agents).map(|agent| Numbers::new(agent as u64).next() >> 32 < bar).collect();
    let passing = passes.iter().filter(|passes| **passes).count();
    let filter = |key: Key| passes[key.agent as usize];
    let (mut times, mut exact) = (Times::default(), Times::default());
    let (mut found, mut nearest, mut walked) = (Vec::new(), Vec::new(), 0);
    for task in tasks {
        let watch = Stopwatch::start();
        let (hits, engine) = index.nearest(task, WANTED, passing, &filter);
        times.0.push(watch.read());
        walked += usize::from(engine == Engine::Hnsw);
        found.push(hits.iter().map(|hit| hit.key.agent).collect::<Vec<u32>>());
        let watch = Stopwatch::start();
        let hits = index.exactly(task, WANTED, &filter);
        exact.0.push(watch.read());
        nearest.push(hits.iter().map(|hit| hit.key.agent).collect::<Vec<u32>>());
    }
    Filtered {
        agents,
        passing: share_passing,
        recall: share(nearest.iter().zip(&found)),
        mean_us: times.mean() * 1000.0,
        p99_us: times.quantile(990) * 1000.0,
        exact_us: exact.mean() * 1000.0,
        walked,
        searches: tasks.len(),
    }
}
