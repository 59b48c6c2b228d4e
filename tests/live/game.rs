//! A federation of six nodes at work: jobs are always under way while something is done to it, and at the end everybody
//! who could know something else is asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use foa_node_core::query::QueryAnswer;
use foa_wire::{JobId, NodeId};
use foa_workflows::JobResult;
use foa_workflows::job::JobSubmission;

use crate::broker::Kind;
use crate::federation::{Federation, list};
use crate::scribes::Scribes;
use crate::submitter::Submitter;
use crate::wire::Wire;

pub(crate) const COORDINATORS: [&str; 3] = ["atlas", "borealis", "cygnus"];
pub(crate) const WORKERS: [&str; 3] = ["draco", "eridanus", "fornax"];
/// Jobs that are always under way.
const IN_FLIGHT: usize = 5;
/// A job ends by itself at its time limit of five minutes; that it takes as long would be a failure to go on.
const END_WITHIN: Duration = Duration::from_secs(240);

pub(crate) struct Game {
    pub(crate) federation: Federation,
    scribes: Scribes,
    submitter: Submitter,
    name: String,
}

/// What came of all jobs.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) jobs: usize,
    /// How many ended in each status.
    pub(crate) statuses: BTreeMap<&'static str, usize>,
    /// What those that were not completed say of themselves.
    pub(crate) excuses: Vec<String>,
    pub(crate) writes: usize,
    /// Two results of one job, or two entries of one writing.
    pub(crate) doubled: Vec<String>,
    pub(crate) highest_term: u64,
    pub(crate) slowest: Duration,
    /// From the last disturbance to the end of the last job.
    pub(crate) settled: Duration,
}

impl Game {
    /// Nobody plays yet. The name marks its jobs.
    pub(crate) fn new(kind: Kind, name: &str) -> Option<Self> {
        let federation = Federation::new(kind)?;
        let submitter = Submitter::new(federation.broker.port(), "guest-of-the-game");
        Some(Self { federation, scribes: Scribes::new(), submitter, name: name.to_owned() })
    }

    /// Configures all six and starts them with `start`.
    pub(crate) fn begin(
        &mut self,
        agents: fn(&Scribes) -> String,
        mut start: impl FnMut(&mut Federation, &str),
    ) {
        let url = self.federation.broker.url();
        for name in COORDINATORS {
            self.federation.configure(&url, name, &["coordinator"], "");
            start(&mut self.federation, name);
        }
        let agents = agents(&self.scribes);
        for name in WORKERS {
            self.federation.configure(&url, name, &["worker"], &agents);
            start(&mut self.federation, name);
        }
        self.federation.ready(&COORDINATORS);
        self.federation.ready(&WORKERS);
        self.federation.agents(agents.matches("[[agent]]").count() * WORKERS.len());
    }

    /// Jobs go on until `done`; every third of them writes. Says whether it was done within the bound.
    pub(crate) fn play(&mut self, bound: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = Instant::now() + bound;
        loop {
            if done(self) {
                return true;
            }
            while self.submitter.open() < IN_FLIGHT {
                let n = self.submitter.jobs.len();
                let tag = format!("{}-{n:05}", self.name);
                let task = if n % 3 == 2 { Scribes::writing(&tag) } else { Scribes::reading(&tag) };
                let job = Some(format!("game-{tag}").parse().unwrap());
                self.submitter.submit(JobSubmission { job, team: Some(2), ..JobSubmission::of(task) });
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return false };
            self.submitter.listen(left.min(Duration::from_millis(50)));
        }
    }

    /// How many jobs have ended.
    pub(crate) fn ended(&self) -> usize {
        self.submitter.jobs.len() - self.submitter.open()
    }

    /// Waits for the end of every job and counts.
    pub(crate) fn settle(&mut self) -> Outcome {
        let begun = Instant::now();
        let all = self.submitter.until(END_WITHIN, |submitter| submitter.open() == 0);
        let settled = begun.elapsed();
        let lost: Vec<_> = self.submitter.jobs.iter().filter(|(_, account)| !account.ended()).collect();
        assert!(all, "wanted a result of every job within {END_WITHIN:?}, found none of {lost:#?}");
        let entries = self.scribes.entries();
        let mut outcome = Outcome {
            jobs: self.submitter.jobs.len(),
            statuses: BTreeMap::new(),
            excuses: Vec::new(),
            writes: entries.values().sum(),
            doubled: Vec::new(),
            highest_term: 0,
            slowest: Duration::ZERO,
            settled,
        };
        for (job, account) in &self.submitter.jobs {
            assert!(account.rejected.is_empty(), "{job}: {:?}", account.rejected);
            if account.results.len() > 1 {
                outcome.doubled.push(format!("{job}: {:#?}", account.results));
            }
            let result = &account.results[0];
            *outcome.statuses.entry(result.status.name()).or_default() += 1;
            if result.status.name() != "completed" {
                let why = (&result.term, &result.parts, &result.failures);
                outcome.excuses.push(format!("{job}: {:?} {why:?}", result.status));
            }
            outcome.highest_term = outcome.highest_term.max(result.term.number);
            outcome.slowest = outcome.slowest.max(account.took);
            believable(result, &entries);
        }
        let twice = entries.iter().filter(|(_, n)| **n > 1);
        outcome.doubled.extend(twice.map(|(entry, n)| format!("{n} times: {entry}")));
        outcome
    }

    /// Coordinators that run and the broker know of each job nothing but what the submitter was told.
    pub(crate) fn agree(&mut self) {
        let there: Vec<&str> = COORDINATORS.into_iter().filter(|name| self.federation.runs(name)).collect();
        self.federation.ready(&there);
        let nodes = self.federation.json(&["nodes", "--json"]);
        let ids: Vec<NodeId> = list(&nodes)
            .iter()
            .filter_map(|node| node["node"].as_str()?.parse().ok())
            .filter(|id: &NodeId| there.contains(&id.name().as_str()))
            .collect();
        assert_eq!(ids.len(), there.len(), "{nodes:#}");
        let jobs: Vec<JobId> = self.submitter.jobs.keys().cloned().collect();
        let mut late = Wire::join(self.federation.broker.port(), "late", &[]);
        for job in jobs {
            let told = self.submitter.jobs[&job].results[0].clone();
            let mut known = 0;
            for id in &ids {
                if let QueryAnswer::Job { result: Some(result), .. } = self.submitter.ask(id, &job) {
                    assert_eq!(*result, told, "{id} knows another result");
                    known += 1;
                }
            }
            assert!(known > 0, "wanted a coordinator that knows the result of {job}, found none");
            let topic = format!("foa/result/{job}");
            late.subscribe(&topic);
            let kept = late.until("the retained result", |m| (m.topic == topic).then(|| m.json()));
            let kept: JobResult = serde_json::from_value(kept["body"].clone()).unwrap();
            assert_eq!(kept, told, "the broker keeps another result");
        }
    }
}

/// An answer is that of its own task, and who says that it wrote has written.
fn believable(result: &JobResult, entries: &BTreeMap<String, usize>) {
    if result.status.name() == "failed" {
        return;
    }
    assert!(result.answer.contains(&result.task), "an answer to something else: {result:#?}");
    let wrote = result.contributors.iter().any(|c| {
        c.agent.to_string().starts_with("writer@") && c.did.iter().any(|did| did.starts_with("draft"))
    });
    assert!(!wrote || entries.contains_key(&result.task), "said to be written, and is not: {result:#?}");
}
