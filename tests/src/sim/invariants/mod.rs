//! What must be true at every moment, one file each. They look at what nodes write and do, never at how.

mod budget;
mod directory;
mod kept;
mod log;
mod plan;
mod policy;
mod queues;
mod team;
mod writes;

use std::collections::BTreeMap;

use foa_capability::Policy;
use foa_node_core::journal::NodeRecord;
use foa_wire::{AgentId, JobId, NodeId, Time, WorkId};
use foa_workflows::Record;

use super::World;
pub(crate) use queues::PER_AGENT;

/// What a federation must never do, found at a moment.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
    /// Milliseconds after the start.
    pub at_ms: u64,
}

/// Something that happened, as far as an invariant may care.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A node wrote a step of a job; `log` is what it wrote of that job so far, this step included.
    Step {
        /// The node.
        node: &'a NodeId,
        /// The log.
        log: &'a [Record],
    },
    /// An agent begins to work.
    Asked {
        /// The agent.
        agent: &'a AgentId,
        /// The work.
        work: &'a WorkId,
        /// Whether it changes something in the world.
        writes: bool,
    },
    /// A node starts with this journal.
    Started {
        /// The node.
        node: &'a NodeId,
        /// What is on its disk.
        journal: &'a [NodeRecord],
    },
    /// A node did something; its queues are these long.
    Queues(Queues),
}

/// How long the queues are.
#[derive(Clone, Copy, Debug)]
pub struct Queues {
    /// Work that waits for agents of the node.
    pub waiting: usize,
    /// How many agents it has.
    pub agents: usize,
    /// Submissions it keeps for others.
    pub submissions: usize,
    /// Effects that wait for its disk.
    pub held: usize,
    /// Messages the broker has not confirmed.
    pub outbox: usize,
    /// The longest queue at the broker.
    pub broker: usize,
}

/// What is true of the federation whatever anybody says.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The policies each agent is authorised for.
    pub policies: BTreeMap<AgentId, Vec<Policy>>,
    /// When the run began.
    pub start: Time,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Invariants {
    truth: Truth,
    logs: BTreeMap<(NodeId, JobId), Vec<Record>>,
    writes: writes::Writes,
}

impl Invariants {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(truth: Truth) -> Self {
        Self { truth, ..Self::default() }
    }

    /// A node wrote to its journal.
    pub fn wrote(&mut self, node: &NodeId, record: &NodeRecord, now: Time) -> Vec<Violation> {
        let NodeRecord::Job { record } = record else { return Vec::new() };
        let key = (node.clone(), record.job.clone());
        let mut log = self.logs.remove(&key).unwrap_or_default();
        replace(&mut log, record);
        let found = self.seen(Seen::Step { node, log: &log }, now);
        self.logs.insert(key, log);
        found
    }

    /// A node starts: what it wrote and did not sync was never written.
    pub fn started(&mut self, node: &NodeId, journal: &[NodeRecord], now: Time) -> Vec<Violation> {
        self.logs.retain(|(of, _), _| of != node);
        for record in journal {
            if let NodeRecord::Job { record } = record {
                replace(self.logs.entry((node.clone(), record.job.clone())).or_default(), record);
            }
        }
        self.seen(Seen::Started { node, journal }, now)
    }

    /// A node no longer keeps a job.
    pub fn forgot(&mut self, node: &NodeId, job: &JobId) {
        self.logs.remove(&(node.clone(), job.clone()));
    }

    /// Whether any node wrote that it holds this job.
    #[must_use]
    pub fn holds(&self, job: &JobId) -> bool {
        self.logs.keys().any(|(_, held)| held == job)
    }

    /// Looks at something that happened.
    pub fn seen(&mut self, seen: Seen<'_>, now: Time) -> Vec<Violation> {
        let truth = &self.truth;
        let checks = [
            ("log is gap-free", log::check(seen)),
            ("budget holds", budget::check(seen)),
            ("policy gate", policy::check(seen, truth)),
            ("plan is acyclic", plan::check(seen)),
            ("team is bounded", team::check(seen)),
            ("queues are bounded", queues::check(seen)),
            ("a write runs once", self.writes.check(seen)),
        ];
        violations(checks, now.since(self.truth.start).as_millis())
    }

    /// Looks at a federation that had the time to heal.
    #[must_use]
    pub fn at_end(&self, world: &World) -> Vec<Violation> {
        let checks = [
            ("no accepted job is lost", kept::check(world)),
            ("directories are equal", directory::check(world)),
        ];
        violations(checks, world.elapsed().as_millis())
    }
}

/// Writes a record where it belongs: it replaces whatever the log has from there on.
pub(super) fn replace(log: &mut Vec<Record>, record: &Record) {
    log.truncate(usize::try_from(record.index.0.saturating_sub(1)).unwrap_or(usize::MAX));
    log.push(record.clone());
}

/// Whether all directories are equal.
#[must_use]
pub fn directories_equal(world: &World) -> bool {
    directory::check(world).is_ok()
}

fn violations<const N: usize>(checks: [(&'static str, Result<(), String>); N], at: u128) -> Vec<Violation> {
    let at_ms = u64::try_from(at).unwrap_or(u64::MAX);
    let failed = checks.into_iter().filter_map(|(invariant, result)| Some((invariant, result.err()?)));
    failed.map(|(invariant, found)| Violation { invariant, found, at_ms }).collect()
}
