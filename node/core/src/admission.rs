//! Which jobs a node takes, which of those it starts, and how many submissions it keeps for others: bounded, and fair to
//! whoever asks.
//!
//! ```text
//! submission ── room? ──► waiting (durable, promised) ── slot? ──► running ──► over
//!                 └─ no: overloaded, retry after …
//! ```
//!
//! - A node has at most `max_jobs` open jobs, of which at most `max_running` run at once.
//! - While it is at most half full everyone gets in. Beyond, a submitter gets its fair share at most: `max_jobs` through
//!   the number of submitters with open jobs and one more, so that there is room for whoever comes next.
//! - While its store is full a node takes no job; those it has go on, and so does keeping logs for other holders.
//! - Unsigned submissions count as one submitter, which never holds more than a quarter.
//! - A free slot goes to the highest priority; a job rises by one for every [`RISE`] it waited, without end, so it is
//!   overtaken only by jobs that came at most two such times after it. Then to the submitter with the fewest running jobs,
//!   then to the oldest job, then by id.
//!
//! A key costs nothing, so whoever makes thousands of them gets as many shares; where that matters, the federation admits
//! keys, not this file.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foa_capability::Money;
use foa_wire::{JobId, NodeId, Time};
use foa_workflows::job::Priority;

/// What a waiting job waits to rise by one priority.
pub const RISE: Duration = Duration::from_secs(30);
/// When a client that was turned away may try again, at the soonest and at the latest.
const RETRY_FIRST: Duration = Duration::from_secs(2);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// Who submits: a key, or everyone without one together.
pub type Submitter = Option<NodeId>;

/// How much a node takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open jobs, at most.
    pub max_jobs: usize,
    /// Of those, jobs at work at once, at most.
    pub max_running: usize,
    /// What an unsigned job may cost, at most; none is no limit.
    pub unsigned_budget: Option<Money>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A job's log in memory is some tens of kilobytes.
            max_jobs: 1000,
            // Jobs mostly wait for agents; more at once would only make each of them slower.
            max_running: 256,
            // Nobody can be billed, so one unit: enough to try things out.
            unsigned_budget: Some(Money(1_000_000)),
        }
    }
}

/// What there is no room for one more job in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The submitter has its share of the jobs that may be open.
    #[error("too many jobs are open")]
    Jobs {
        /// When there may be room.
        retry_after: Duration,
    },
    /// The store has outgrown what its operator allows.
    #[error("the store is full: raise store.max_bytes, or wait until jobs that ended have left it")]
    Store,
}

impl Full {
    /// When to try again.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        match self {
            Self::Jobs { retry_after } => retry_after,
            Self::Store => RETRY_LAST,
        }
    }
}

/// The open jobs of a node, by who submitted them and whether they run.
#[derive(Debug)]
pub struct Admission {
    limits: Limits,
    jobs: BTreeMap<JobId, Entry>,
    submitters: BTreeMap<Submitter, Held>,
    running: usize,
    store_full: bool,
}

#[derive(Debug)]
struct Entry {
    submitter: Submitter,
    place: Option<(Priority, Time)>,
}

/// The open jobs of one submitter.
#[derive(Debug, Default)]
struct Held {
    running: usize,
    waiting: BTreeMap<Priority, BTreeSet<(Time, JobId)>>,
    open: usize,
}

impl Admission {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, jobs: BTreeMap::new(), submitters: BTreeMap::new(), running: 0, store_full: false }
    }

    /// The store is full, or has room again.
    pub fn store_full(&mut self, full: bool) {
        self.store_full = full;
    }

    /// Whether one more job of this submitter may be taken.
    ///
    /// # Errors
    /// Why not, and when to try again: later the more jobs wait for a slot, and the more of them are this submitter's.
    pub fn room(&self, submitter: &Submitter) -> Result<(), Full> {
        if self.store_full {
            return Err(Full::Store);
        }
        let held = self.submitters.get(submitter).map_or(0, |held| held.open);
        let full = self.jobs.len() >= self.limits.max_jobs;
        if !full && held < self.most(submitter) {
            return Ok(());
        }
        let ahead = self.waiting() / self.limits.max_running.max(1);
        let own = held.checked_div(self.share(submitter)).unwrap_or(0);
        let turns = u32::try_from(1 + ahead + own).unwrap_or(u32::MAX);
        Err(Full::Jobs { retry_after: RETRY_FIRST.saturating_mul(turns).min(RETRY_LAST) })
    }

    /// How many open jobs this submitter may have now.
    fn most(&self, submitter: &Submitter) -> usize {
        let all = self.limits.max_jobs;
        let most = if self.jobs.len() > all / 2 { self.share(submitter) } else { all };
        if submitter.is_none() { most.min((all / 4).max(1)) } else { most }
    }

    fn share(&self, submitter: &Submitter) -> usize {
        let active = self.submitters.len() + usize::from(!self.submitters.contains_key(submitter));
        (self.limits.max_jobs / (active + 1)).max(1)
    }

    /// A job was taken. It waits for [`Admission::next`].
    pub fn enter(&mut self, job: JobId, submitter: Submitter, priority: Priority, now: Time) {
        self.leave(&job);
        let held = self.submitters.entry(submitter.clone()).or_default();
        held.open += 1;
        held.waiting.entry(priority).or_default().insert((now, job.clone()));
        self.jobs.insert(job, Entry { submitter, place: Some((priority, now)) });
    }

    /// A job that runs already, from before a restart or from another holder: it keeps running, whatever the limits.
    pub fn resume(&mut self, job: JobId, submitter: Submitter) {
        self.leave(&job);
        let held = self.submitters.entry(submitter.clone()).or_default();
        held.open += 1;
        held.running += 1;
        self.running += 1;
        self.jobs.insert(job, Entry { submitter, place: None });
    }

    /// A job is over, or somebody else's.
    pub fn leave(&mut self, job: &JobId) {
        let Some(Entry { submitter, place }) = self.jobs.remove(job) else { return };
        let Some(held) = self.submitters.get_mut(&submitter) else { return };
        held.open -= 1;
        match place {
            Some((priority, since)) => held.unqueue(priority, since, job),
            None => {
                held.running -= 1;
                self.running -= 1;
            }
        }
        if held.open == 0 {
            self.submitters.remove(&submitter);
        }
    }

    /// The job that a free slot goes to; it counts as running from now on.
    pub fn next(&mut self, now: Time) -> Option<JobId> {
        // Asked after every input of a node: mostly nothing waits.
        if self.waiting() == 0 || self.running >= self.limits.max_running {
            return None;
        }
        // The oldest of one submitter and priority comes before the others of both.
        let heads = self.submitters.values().flat_map(|held| {
            let head = |(priority, queue): (&Priority, &BTreeSet<(Time, JobId)>)| {
                let (since, job) = queue.first()?;
                Some((Reverse(level(*priority, *since, now)), held.running, *since, job.clone()))
            };
            held.waiting.iter().filter_map(head)
        });
        let (_, _, _, job) = heads.min()?;
        let entry = self.jobs.get_mut(&job)?;
        let held = self.submitters.get_mut(&entry.submitter)?;
        if let Some((priority, since)) = entry.place.take() {
            held.unqueue(priority, since, &job);
        }
        held.running += 1;
        self.running += 1;
        Some(job)
    }

    /// Whether a job waits for a slot.
    #[must_use]
    pub fn waits(&self, job: &JobId) -> bool {
        self.jobs.get(job).is_some_and(|entry| entry.place.is_some())
    }

    /// How many jobs run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running
    }

    /// How many jobs wait for a slot.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len() - self.running
    }
}

impl Held {
    fn unqueue(&mut self, priority: Priority, since: Time, job: &JobId) {
        if let Some(queue) = self.waiting.get_mut(&priority) {
            queue.remove(&(since, job.clone()));
            if queue.is_empty() {
                self.waiting.remove(&priority);
            }
        }
    }
}

/// A job's priority with what it rose by waiting.
fn level(priority: Priority, since: Time, now: Time) -> u64 {
    let start = match priority {
        Priority::Low => 0,
        Priority::Normal => 1,
        Priority::High => 2,
    };
    start + now.since(since).as_secs() / RISE.as_secs()
}

/// What is kept for others, bounded by number and by bytes, and fair: when it is full, whoever has most of it gives way.
#[derive(Debug)]
pub struct Shelf {
    most: usize,
    most_bytes: usize,
    bytes: usize,
    kept: BTreeMap<JobId, (Submitter, usize)>,
    submitters: BTreeMap<Submitter, (usize, BTreeSet<JobId>)>,
}

impl Shelf {
    /// An empty shelf with room for this much.
    #[must_use]
    pub fn new(most: usize, most_bytes: usize) -> Self {
        Self { most, most_bytes, bytes: 0, kept: BTreeMap::new(), submitters: BTreeMap::new() }
    }

    /// Puts something on the shelf. Returns what has to go for it; it may be the new one itself.
    pub fn put(&mut self, job: &JobId, submitter: &Submitter, bytes: usize) -> Vec<JobId> {
        self.take(job);
        self.bytes += bytes;
        let (sum, jobs) = self.submitters.entry(submitter.clone()).or_default();
        *sum += bytes;
        jobs.insert(job.clone());
        self.kept.insert(job.clone(), (submitter.clone(), bytes));
        let mut gone = Vec::new();
        while self.bytes > self.most_bytes || self.kept.len() > self.most {
            // By bytes, then by number; whoever asks gives way before another who has as much.
            let weight = |(who, (bytes, jobs)): &(&Submitter, &(usize, BTreeSet<JobId>))| {
                (*bytes, jobs.len(), *who == submitter)
            };
            let Some((who, (_, jobs))) = self.submitters.iter().max_by_key(weight) else { break };
            let Some(last) = if who == submitter { Some(job) } else { jobs.last() }.cloned() else { break };
            self.take(&last);
            gone.push(last);
        }
        gone
    }

    /// Takes something off the shelf.
    pub fn take(&mut self, job: &JobId) {
        let Some((submitter, bytes)) = self.kept.remove(job) else { return };
        self.bytes -= bytes;
        if let Some((sum, jobs)) = self.submitters.get_mut(&submitter) {
            *sum -= bytes;
            jobs.remove(job);
            if jobs.is_empty() {
                self.submitters.remove(&submitter);
            }
        }
    }

    /// How many things stand on it, and how many bytes they have.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.kept.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests;
