//! What a run cost and what came of it, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use foa_wire::Topic;
use foa_workflows::JobResult;
use foa_workflows::result::Status;
use foa_workflows::work::PartOutcome;
use serde::Serialize;

use super::World;
use super::faults::FaultKind;
use super::invariants::Violation;
use super::link::Message;

/// What travelled.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Things that happened.
    pub events: u64,
    /// Messages that reached a client.
    pub delivered: u64,
    /// QoS 0 messages that did not.
    pub lost: u64,
    /// Messages that nobody would have accepted.
    pub unsendable: u64,
    /// Faults that happened.
    pub faults: BTreeMap<FaultKind, u64>,
    /// By type: messages that reached the broker, and their bytes.
    pub by_type: BTreeMap<&'static str, (u64, u64)>,
    /// The same, for messages that are about a job.
    pub of_jobs: (u64, u64),
}

impl Traffic {
    /// A message reached the broker.
    pub fn published(&mut self, message: &Message) {
        let bytes = message.bytes as u64;
        let count = self.by_type.entry(message.kind).or_default();
        count.0 += 1;
        count.1 += bytes;
        let of_job = match &message.topic {
            Topic::Jobs
            | Topic::JobEvents(_)
            | Topic::JobProgress(_)
            | Topic::JobControl(_)
            | Topic::Result(_)
            | Topic::Tasks(_)
            | Topic::Channel(_) => true,
            Topic::Inbox(_) => {
                message.kind.starts_with("work")
                    || message.kind.starts_with("job")
                    || message.kind.starts_with("channel")
            }
            Topic::Calls | Topic::Card(_) | Topic::CardUpdates(_) | Topic::Status(_) | Topic::Enforcement => {
                false
            }
        };
        if of_job {
            self.of_jobs.0 += 1;
            self.of_jobs.1 += bytes;
        }
    }
}

/// What came of a run. The same options and seed give the same report, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Nodes, coordinators, agents, jobs.
    pub size: [usize; 4],
    /// Things that happened.
    pub events: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// How the jobs fared.
    pub jobs: Jobs,
    /// What travelled.
    pub messages: Messages,
    /// Syncs of all disks.
    pub syncs: u64,
    /// Faults that happened, by kind.
    pub faults: BTreeMap<String, u64>,
    /// After the last fault, milliseconds until all directories were equal.
    pub healed_ms: Option<u64>,
    /// What nodes refused, by name.
    pub refused: BTreeMap<String, u64>,
    /// A hash of everything that happened, in order.
    pub fingerprint: String,
    /// Invariants that did not hold.
    pub violations: Vec<Violation>,
}

/// How the jobs fared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Jobs {
    /// Submitted.
    pub submitted: usize,
    /// Answered in full.
    pub completed: usize,
    /// Answered in part.
    pub partial: usize,
    /// Failed, by reason (as far as the first colon).
    pub failed: BTreeMap<String, usize>,
    /// Cancelled.
    pub cancelled: usize,
    /// Turned away.
    pub refused: usize,
    /// Neither.
    pub open: usize,
    /// From submission to result: the median, in milliseconds.
    pub median_ms: u64,
    /// The slowest of a hundred, in milliseconds.
    pub p99_ms: u64,
    /// From the first submission to the last result, in milliseconds.
    pub makespan_ms: u64,
    /// How plans were adopted.
    pub plans: BTreeMap<String, usize>,
    /// Rounds of refinement, all together.
    pub rounds: u64,
    /// Subtasks answered, and of these by an agent of the very subject.
    pub answered: [u64; 2],
}

impl Jobs {
    /// Of the subtasks answered, how many in a thousand by an agent of the very subject.
    #[must_use]
    pub fn recall_permille(&self) -> u64 {
        self.answered[1] * 1000 / self.answered[0].max(1)
    }

    fn quality(&mut self, result: &JobResult) {
        self.rounds += result.rounds.iter().map(|r| u64::from(r.rounds)).sum::<u64>();
        for part in &result.parts {
            let PartOutcome::Answered { authors, .. } = &part.outcome else { continue };
            let subject = authors.first().and_then(|a| a.agent().as_str().split('-').next());
            self.answered[0] += 1;
            self.answered[1] += u64::from(subject.is_some_and(|s| part.description.contains(s)));
        }
    }
}

/// What travelled.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Messages {
    /// Messages that reached the broker.
    pub published: u64,
    /// Messages that reached a client.
    pub delivered: u64,
    /// QoS 0 messages that did not.
    pub lost: u64,
    /// Messages that nobody would have accepted, which is why they were not sent.
    pub unsendable: u64,
    /// Messages that the broker dropped because too many waited for one client.
    pub dropped: u64,
    /// Bytes that reached the broker, where bytes are counted.
    pub bytes: u64,
    /// Messages about jobs, for each job.
    pub per_job: f64,
    /// Bytes about jobs, for each job.
    pub bytes_per_job: f64,
    /// Messages and bytes, by type.
    pub by_type: BTreeMap<String, (u64, u64)>,
}

impl Report {
    pub(super) fn of(world: &World, traffic: &Traffic, fingerprint: u64, violations: Vec<Violation>) -> Self {
        let options = world.options();
        let jobs = jobs(world);
        let of_each = |total: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a mean needs no more digits")]
            let mean = total as f64 / jobs.submitted.max(1) as f64;
            (mean * 10.0).round() / 10.0
        };
        let mut refused: BTreeMap<String, u64> = BTreeMap::new();
        for machine in world.nodes().filter_map(|node| node.machine.as_ref()) {
            for (name, count) in machine.refused() {
                *refused.entry(name.clone()).or_default() += count;
            }
        }
        Self {
            seed: options.seed,
            size: [options.nodes, options.coordinators, options.agents, jobs.submitted],
            events: traffic.events,
            simulated_ms: ms(world.elapsed()),
            messages: Messages {
                published: traffic.by_type.values().map(|(n, _)| n).sum(),
                delivered: traffic.delivered,
                lost: traffic.lost,
                unsendable: traffic.unsendable,
                dropped: world.dropped(),
                bytes: traffic.by_type.values().map(|(_, b)| b).sum(),
                per_job: of_each(traffic.of_jobs.0),
                bytes_per_job: of_each(traffic.of_jobs.1),
                by_type: traffic.by_type.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect(),
            },
            jobs,
            syncs: world.nodes().map(|node| node.disk.syncs).sum(),
            faults: traffic.faults.iter().map(|(kind, n)| (format!("{kind:?}").to_lowercase(), *n)).collect(),
            healed_ms: world.healed_after().map(ms),
            refused,
            fingerprint: format!("{fingerprint:016x}"),
            violations,
        }
    }

    /// The report as JSON, always in the same order.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a report has text keys and finite numbers")
    }
}

fn jobs(world: &World) -> Jobs {
    let mut jobs = Jobs::default();
    let mut lasted = Vec::new();
    let (mut first, mut last) = (None, None);
    for job in world.clients().iter().flat_map(|client| client.jobs.values()) {
        let Some(submitted) = job.submitted else { continue };
        jobs.submitted += 1;
        first = Some(first.map_or(submitted, |first: foa_wire::Time| first.min(submitted)));
        if let Some(ended) = job.ended {
            lasted.push(ms(ended.since(submitted)));
            last = last.max(Some(ended));
        }
        // The highest term is the one that counts.
        let Some(result) = job.results.values().next_back() else {
            if job.refused.is_some() {
                jobs.refused += 1;
            } else {
                jobs.open += 1;
            }
            continue;
        };
        jobs.quality(result);
        match &result.status {
            Status::Completed => jobs.completed += 1,
            Status::Partial => jobs.partial += 1,
            Status::Cancelled => jobs.cancelled += 1,
            Status::Failed { reason } => {
                let short = reason.split(':').next().unwrap_or_default().to_owned();
                *jobs.failed.entry(short).or_default() += 1;
            }
        }
        if let Some(adoption) = &result.adoption {
            let how = serde_json::to_value(adoption).ok();
            let how = how.as_ref().and_then(|value| value["how"].as_str()).unwrap_or("unknown").to_owned();
            *jobs.plans.entry(how).or_default() += 1;
        }
    }
    lasted.sort_unstable();
    jobs.median_ms = lasted.get(lasted.len() / 2).copied().unwrap_or_default();
    jobs.p99_ms = lasted.get(lasted.len() * 99 / 100).copied().unwrap_or_default();
    jobs.makespan_ms = first.zip(last).map_or(0, |(first, last)| ms(last.since(first)));
    jobs
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [nodes, coordinators, agents, _] = self.size;
        let Jobs { submitted, completed, partial, cancelled, refused, open, .. } = &self.jobs;
        let failed: usize = self.jobs.failed.values().sum();
        writeln!(f, "seed {}: {nodes} nodes ({coordinators} coordinate), {agents} agents", self.seed)?;
        writeln!(
            f,
            "jobs: {submitted} submitted, {completed} completed, {partial} partial, {failed} failed, \
             {cancelled} cancelled, {refused} refused, {open} open"
        )?;
        let jobs = &self.jobs;
        writeln!(
            f,
            "rounds: {}; answered by an agent of the subject: {} of {} subtasks ({} in 1000)",
            jobs.rounds,
            jobs.answered[1],
            jobs.answered[0],
            jobs.recall_permille()
        )?;
        for (reason, count) in &self.jobs.failed {
            writeln!(f, "  {count:>6}  {reason}")?;
        }
        for (how, count) in &self.jobs.plans {
            writeln!(f, "  {count:>6}  plan by {how}")?;
        }
        writeln!(
            f,
            "time: median {} ms, 99th {} ms, all {} ms; simulated {} ms, {} events, {} syncs",
            self.jobs.median_ms,
            self.jobs.p99_ms,
            self.jobs.makespan_ms,
            self.simulated_ms,
            self.events,
            self.syncs
        )?;
        let m = &self.messages;
        writeln!(
            f,
            "messages: {} published, {} delivered, {} lost, {} unsendable, {} dropped; {} per job ({} bytes)",
            m.published, m.delivered, m.lost, m.unsendable, m.dropped, m.per_job, m.bytes_per_job
        )?;
        for (kind, (count, bytes)) in &m.by_type {
            writeln!(f, "  {count:>8} {bytes:>12}  {kind}")?;
        }
        for (name, count) in &self.refused {
            writeln!(f, "refused: {count:>6}  {name}")?;
        }
        for (kind, count) in &self.faults {
            writeln!(f, "faults: {count:>6}  {kind}")?;
        }
        if let Some(healed) = self.healed_ms {
            writeln!(f, "directories equal {healed} ms after the last fault")?;
        }
        writeln!(f, "fingerprint {}", self.fingerprint)?;
        for Violation { invariant, found, at_ms } in &self.violations {
            writeln!(f, "VIOLATED at {at_ms} ms: {invariant}: {found}")?;
        }
        Ok(())
    }
}
