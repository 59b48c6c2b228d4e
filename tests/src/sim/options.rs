//! What a run is made of. The same options and seed give the same run.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::agents::Manner;
use super::faults::{FaultKind, PlannedFault};
use super::random::Random;
use super::report::Report;

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Nodes, coordinators included.
    pub nodes: usize,
    /// How many of them coordinate.
    pub coordinators: usize,
    /// Agents, spread over the nodes that do not coordinate (over all when all do).
    pub agents: usize,
    /// Jobs, submitted at even distances.
    pub jobs: usize,
    /// Milliseconds between two submissions.
    pub every_ms: u64,
    /// How likely a packet is lost on a link: QoS 0 is gone, QoS 1 comes late and perhaps twice.
    pub loss: f64,
    /// Which faults happen.
    pub faults: Vec<FaultKind>,
    /// Faults at stated times, besides the random ones.
    pub plan: Vec<PlannedFault>,
    /// Milliseconds during which random faults happen; after them everything must heal.
    pub faults_ms: u64,
    /// How many random faults of each kind happen.
    pub faults_each: usize,
    /// Every message goes through the real envelope: sealed, checked, read.
    pub encode: bool,
    /// Messages are counted by size, too.
    pub bytes: bool,
    /// Share of agents of each kind, in per mille; the rest is honest.
    pub manners: Vec<(Manner, u32)>,
    /// Money of each job; `None` for no limit.
    pub budget: Option<i64>,
    /// What an agent charges for a piece of work.
    pub price: i64,
    /// Share of jobs that require a policy, in per mille.
    pub policies: u32,
    /// Share of jobs submitted once, without a signature and without ever asking again, in per mille.
    pub bare: u32,
    /// How long a job may take; `None` for the default.
    pub timeout_ms: Option<u64>,
    /// How long a sync of a disk may take, in milliseconds.
    pub disk_ms: u64,
    /// Every node is told who coordinates, instead of finding out.
    pub fixed: bool,
    /// How far the clock of each node may be off, either way, in milliseconds.
    pub skew_ms: u64,
    /// How much the clock of each node may gain or lose, in millionths.
    pub drift_ppm: u64,
    /// Messages that the broker keeps for one client; what comes then is dropped. `None` for no limit.
    pub queued: Option<usize>,
    /// Cards a coordinator keeps before cards are shared out by shards; `None` for no limit.
    pub max_cards: Option<usize>,
    /// Words of each subject, of which an agent knows [`agents::KNOWN_WORDS`](super::agents::KNOWN_WORDS); `None`: all
    /// agents of a subject know the same.
    pub vocabulary: Option<usize>,
    /// A known bug put back, to see that the invariants notice.
    pub bug: Option<Bug>,
    /// What must come of it; checked by `sim scenario` and by the tests.
    pub expect: Expect,
}

/// What must come of a run, besides every invariant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Jobs that end with a full answer, at least.
    pub completed: usize,
    /// Jobs that end with a full or partial answer, at least.
    pub answered: usize,
    /// Jobs that fail, at least.
    pub failed: usize,
    /// A failed job says this.
    pub reason: Option<String>,
}

impl Expect {
    /// What a report lacks, in words.
    #[must_use]
    pub fn unmet(&self, report: &Report) -> Vec<String> {
        let jobs = &report.jobs;
        let failed = jobs.failed.values().sum::<usize>();
        let counts = [
            ("completed", self.completed, jobs.completed),
            ("answered", self.answered, jobs.completed + jobs.partial),
            ("failed", self.failed, failed),
        ];
        let few = counts.into_iter().filter(|(_, wanted, found)| found < wanted);
        let mut unmet: Vec<String> =
            few.map(|(what, wanted, found)| format!("wanted {wanted} jobs {what}, found {found}")).collect();
        if let Some(reason) = self.reason.as_ref().filter(|r| !jobs.failed.keys().any(|f| f.contains(*r))) {
            unmet.push(format!("wanted a job that failed for {reason:?}, found {:?}", jobs.failed));
        }
        unmet
    }
}

/// A mistake that this project once made or could make, put back into the simulator's shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Bug {
    /// Messages leave before the record they stand on is on disk.
    SendBeforeSync,
    /// A message is acknowledged before what came of it is on disk.
    AckBeforeSync,
    /// Records of an earlier term are taken for records of the present one.
    StaleTerm,
    /// A repeat of a submission is taken for a job of its own.
    AcceptAgain,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 12,
            coordinators: 2,
            agents: 24,
            jobs: 6,
            every_ms: 400,
            loss: 0.0,
            faults: Vec::new(),
            plan: Vec::new(),
            faults_ms: 20_000,
            faults_each: 3,
            encode: false,
            bytes: false,
            manners: Vec::new(),
            budget: None,
            price: 0,
            policies: 0,
            bare: 0,
            timeout_ms: None,
            disk_ms: 12,
            fixed: false,
            skew_ms: 0,
            drift_ppm: 0,
            queued: None,
            max_cards: None,
            vocabulary: None,
            bug: None,
            expect: Expect::default(),
        }
    }
}

impl Options {
    /// Reads a scenario.
    ///
    /// # Errors
    /// When the file cannot be read or says something unknown.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is no scenario", path.display()))
    }

    /// Whether this kind of fault may happen.
    #[must_use]
    pub fn has(&self, kind: FaultKind) -> bool {
        self.faults.contains(&kind) || self.plan.iter().any(|fault| fault.kind == kind)
    }

    /// Whether a message that the broker had taken may be gone for good.
    #[must_use]
    pub fn loses_messages(&self) -> bool {
        FaultKind::ALL.into_iter().any(|kind| kind.loses_messages() && self.has(kind))
    }

    /// The run that `sim reproduce SEED` repeats: small, lossy, with several kinds of fault and every kind of agent. Which
    /// faults, whether clocks agree and what the broker keeps depend on the seed.
    #[must_use]
    pub fn short(seed: u64) -> Self {
        let mut random = Random::of(seed, "short");
        let faults = FaultKind::ALL.into_iter().filter(|_| random.chance(0.35)).collect();
        let skewed = random.chance(0.4);
        let loss = if random.chance(0.5) { 0.05 } else { 0.0 };
        let fixed = random.chance(0.5);
        let coordinators = 1 + usize::try_from(seed % 4).unwrap_or(0);
        // Any one of three may be lost for good, where all know who the three are.
        let lost = fixed && coordinators >= 3 && random.chance(0.5);
        let (at_ms, node) = (random.draw() % 12_000 + 3_000, random.below(coordinators));
        let lost = lost.then_some(PlannedFault { at_ms, kind: FaultKind::Kill, node, for_ms: 0 });
        let options = Self {
            seed,
            nodes: 14,
            coordinators,
            agents: 26,
            jobs: 8,
            every_ms: 900,
            loss,
            faults,
            faults_ms: 15_000,
            faults_each: 2,
            manners: Manner::ALL.iter().map(|manner| (*manner, 40)).collect(),
            budget: seed.is_multiple_of(3).then_some(2_000),
            price: 10,
            policies: 300,
            fixed,
            plan: lost.into_iter().collect(),
            skew_ms: if skewed { 30_000 } else { 0 },
            drift_ppm: if skewed { 500 } else { 0 },
            ..Self::default()
        };
        if random.chance(0.15) { options.submitted_once() } else { options }
    }

    /// Half of the jobs are submitted once and for all: only then does an acknowledgement that came too early lose one.
    /// Nothing loses messages, and the one coordinator, whose disk is slow, crashes again and again. (Of several, those that
    /// are not the first to take a job keep it in memory only: they count on its submitter to repeat it.)
    fn submitted_once(self) -> Self {
        let keeps =
            |kind: &FaultKind| !kind.loses_messages() && !matches!(kind, FaultKind::Kill | FaultKind::Crash);
        let faults = self.faults.into_iter().filter(keeps).collect();
        let crash =
            |n: u64| PlannedFault { at_ms: 3_080 + 913 * n, kind: FaultKind::Crash, node: 0, for_ms: 120 };
        let plan = (0..8).map(crash).collect();
        Self { coordinators: 1, faults, plan, bare: 500, disk_ms: 300, ..self }
    }
}
