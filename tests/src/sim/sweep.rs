//! The short scenario of many seeds, one world for each thread, and what was found.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Options, Report, World};

/// Seeds whose failures are kept with all they say.
const KEPT: usize = 20;

/// What a sweep found.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that ran.
    pub seeds: u64,
    /// Jobs submitted and jobs that ended, in full or in part.
    pub jobs: [u64; 2],
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// For each invariant that did not hold, the seeds.
    pub violated: BTreeMap<&'static str, Vec<u64>>,
    /// The first reports with a violation.
    pub reports: Vec<Report>,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.seeds += 1;
        self.jobs[0] += report.jobs.submitted as u64;
        self.jobs[1] += (report.jobs.completed + report.jobs.partial) as u64;
        for (kind, count) in &report.faults {
            *self.faults.entry(kind.clone()).or_default() += count;
        }
        if let Some(first) = report.violations.first() {
            self.violated.entry(first.invariant).or_default().push(report.seed);
            if self.reports.len() < KEPT {
                self.reports.push(report);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [submitted, ended] = self.jobs;
        writeln!(f, "{} seeds: {submitted} jobs, {ended} answered", self.seeds)?;
        let faults: Vec<String> = self.faults.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
        writeln!(f, "faults: {}", faults.join(", "))?;
        if self.violated.is_empty() {
            return write!(f, "every invariant held");
        }
        for (invariant, seeds) in &self.violated {
            let some: Vec<String> = seeds.iter().take(KEPT).map(ToString::to_string).collect();
            writeln!(f, "VIOLATED by {} seeds: {invariant}: {}", seeds.len(), some.join(" "))?;
        }
        for report in &self.reports {
            for violation in report.violations.iter().take(1) {
                writeln!(f, "  seed {}: {}: {}", report.seed, violation.invariant, violation.found)?;
            }
        }
        Ok(())
    }
}

/// Runs so many seeds from the first on, in so many threads; tells `progress` how many ran, as they do.
pub fn sweep(
    first: u64,
    seeds: u64,
    threads: usize,
    change: impl Fn(Options) -> Options + Sync,
    progress: impl Fn(u64, u64) + Sync,
) -> Summary {
    let next = AtomicU64::new(first);
    let summary = Mutex::new(Summary::default());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let report = World::new(change(Options::short(seed))).run();
            let mut summary = summary.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            summary.add(report);
            let failed = summary.violated.values().map(|seeds| seeds.len() as u64).sum();
            progress(summary.seeds, failed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    summary.violated.values_mut().for_each(|seeds| seeds.sort_unstable());
    summary.reports.sort_by_key(|report| report.seed);
    summary
}
