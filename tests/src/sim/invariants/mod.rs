//! What must be true at every moment, one file each. They look at what nodes write and do, never at how; each remembers
//! of a log what it needs, so that a record costs the same however long the log is.

mod agreement;
mod budget;
mod directory;
mod kept;
mod log;
mod obligations;
mod plan;
mod policy;
mod queues;
mod replay;
mod team;
mod terms;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use foa_capability::Policy;
use foa_node_core::NodeMachine;
use foa_node_core::journal::NodeRecord;
use foa_wire::{AgentId, JobId, Time, WorkId};
use foa_workflows::Record;

use super::World;
pub(crate) use queues::PER_AGENT;
pub use queues::Queues;

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

/// What is true of the federation whatever anybody says.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    /// The policies each agent is authorised for.
    pub policies: BTreeMap<AgentId, Vec<Policy>>,
    /// When the run began.
    pub start: Time,
    /// Whether all clocks show the same.
    pub clocks_agree: bool,
}

/// What one node wrote of one job.
#[derive(Debug, Default)]
struct Log {
    records: Vec<Rc<NodeRecord>>,
    /// How many of them are safe on disk.
    safe: usize,
    sum: Sum,
}

/// A log, as far as an invariant may care.
#[derive(Debug, Default)]
struct Sum {
    shape: log::Shape,
    budget: budget::Reserved,
    gate: policy::Gate,
    plan: plan::Limit,
    team: team::Limit,
    obligations: obligations::Open,
}

impl Sum {
    fn step(&mut self, record: &Record, truth: &Truth) -> [(&'static str, Result<(), String>); 5] {
        self.obligations.step(record);
        [
            ("log is gap-free", self.shape.step(record, truth)),
            ("budget holds", self.budget.step(record)),
            ("policy gate", self.gate.step(record, truth)),
            ("plan is acyclic", self.plan.step(record)),
            ("team is bounded", self.team.step(record)),
        ]
    }
}

impl Log {
    /// Takes a record, which replaces what the log has from there on.
    fn write(&mut self, written: &Rc<NodeRecord>, record: &Record, truth: &Truth) -> Vec<Violation> {
        let before = usize::try_from(record.index.0.saturating_sub(1)).unwrap_or(usize::MAX);
        if before < self.records.len() {
            self.records.truncate(before);
            self.safe = self.safe.min(before);
            self.sum = Sum::default();
            for record in self.records.iter().filter_map(|record| job_record(record)) {
                // They were checked when they were written.
                let _ = self.sum.step(record, truth);
            }
        }
        self.records.push(Rc::clone(written));
        violations(self.sum.step(record, truth))
    }
}

/// The step of a job that a record holds.
fn job_record(record: &NodeRecord) -> Option<&Record> {
    match record {
        NodeRecord::Job { record } => Some(record),
        NodeRecord::Promised { .. }
        | NodeRecord::Started { .. }
        | NodeRecord::Finished { .. }
        | NodeRecord::Enrolled { .. } => None,
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Invariants {
    truth: Truth,
    /// By node.
    logs: Vec<BTreeMap<JobId, Log>>,
    terms: terms::Promises,
    agreement: agreement::Committed,
    writes: writes::Writes,
}

impl Invariants {
    /// Nothing was seen yet of so many nodes.
    #[must_use]
    pub fn new(truth: Truth, nodes: usize) -> Self {
        Self { truth, logs: (0..nodes).map(|_| BTreeMap::new()).collect(), ..Self::default() }
    }

    /// A node wrote to its journal.
    pub fn wrote(&mut self, node: usize, written: &Rc<NodeRecord>) -> Vec<Violation> {
        let mut found = violations([("terms only grow", self.terms.wrote(node, written))]);
        if let Some(record) = job_record(written) {
            let logs = &mut self.logs[node];
            if !logs.contains_key(&record.job) {
                logs.insert(record.job.clone(), Log::default());
            }
            if let Some(log) = logs.get_mut(&record.job) {
                found.extend(log.write(written, record, &self.truth));
            }
        }
        found
    }

    /// A node starts: what it wrote and did not sync was never written.
    pub fn started(&mut self, node: usize, journal: &[Rc<NodeRecord>]) -> Vec<Violation> {
        self.logs[node].clear();
        self.terms.started(node);
        self.agreement.started(node);
        let found = journal.iter().flat_map(|record| self.wrote(node, record)).collect();
        for log in self.logs[node].values_mut() {
            log.safe = log.records.len();
        }
        found
    }

    /// Records of a node are safe on its disk: what counts there must count everywhere.
    pub fn synced(&mut self, node: usize, machine: &NodeMachine, safe: &[Rc<NodeRecord>]) -> Vec<Violation> {
        let mut touched = BTreeSet::new();
        for written in safe {
            let Some(record) = job_record(written) else { continue };
            let Some(log) = self.logs[node].get_mut(&record.job) else { continue };
            let many = usize::try_from(record.index.0).unwrap_or(usize::MAX);
            // It may have been replaced since.
            if log.records.get(many.saturating_sub(1)).is_some_and(|kept| Rc::ptr_eq(kept, written)) {
                log.safe = log.safe.max(many);
                touched.insert(&record.job);
            }
        }
        touched.into_iter().flat_map(|job| self.looked(node, machine, job)).collect()
    }

    /// Something happened to a job at a node: what counts there must count everywhere.
    pub fn looked(&mut self, node: usize, machine: &NodeMachine, job: &JobId) -> Vec<Violation> {
        let Some(view) = machine.job_view(job) else { return Vec::new() };
        let Some(log) = self.logs[node].get(job) else { return Vec::new() };
        violations([(
            "committed prefixes agree",
            self.agreement.check(node, &view, &log.records[..log.safe]),
        )])
    }

    /// A node no longer keeps a job.
    pub fn forgot(&mut self, node: usize, job: &JobId) {
        self.logs[node].remove(job);
        self.terms.forgot(node, job);
    }

    /// Whether any node wrote that it holds this job.
    #[must_use]
    pub fn holds(&self, job: &JobId) -> bool {
        self.logs.iter().any(|logs| logs.contains_key(job))
    }

    /// An agent begins work that changes something in the world.
    pub fn asked(&mut self, agent: &AgentId, work: &WorkId) -> Vec<Violation> {
        violations([("a write runs once", self.writes.ran(agent, work))])
    }

    /// A node did something; its queues are these long.
    #[must_use]
    pub fn queues(&self, queues: Queues) -> Vec<Violation> {
        violations([("queues are bounded", queues::check(queues))])
    }

    /// Looks at a federation that had the time to heal.
    #[must_use]
    pub fn at_end(&self, world: &World) -> Vec<Violation> {
        violations([
            ("no accepted job is lost", kept::check(world)),
            ("obligations are discharged", obligations::check(world, &self.logs)),
            ("events are gap-free", kept::events(world)),
            ("directories are equal", directory::check(world)),
            ("a log can be replayed", replay::check(&self.logs)),
        ])
    }
}

/// Whether all directories are equal.
#[must_use]
pub fn directories_equal(world: &World) -> bool {
    directory::check(world).is_ok()
}

/// What was found, to be dated by the caller.
fn violations<const N: usize>(checks: [(&'static str, Result<(), String>); N]) -> Vec<Violation> {
    let failed = checks.into_iter().filter_map(|(invariant, result)| Some((invariant, result.err()?)));
    failed.map(|(invariant, found)| Violation { invariant, found, at_ms: 0 }).collect()
}
