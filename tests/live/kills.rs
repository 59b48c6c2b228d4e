//! Everything is killed, again and again, while jobs go on: `kill -9` at random moments over workers, coordinators and the
//! broker, each started again after a random wait. At the end every job has one result and nothing was written twice.
//!
//! `FOA_KILL_ROUNDS=200 cargo test -p federation-tests --test live kill_rounds -- --nocapture --test-threads=1` plays
//! more rounds than a run of all tests does, `FOA_KILL_SEED` plays others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use federation_tests::sim::random::Random;
use foa_node_core::query::QueryAnswer;
use foa_wire::{JobId, NodeId};
use foa_workflows::JobResult;
use foa_workflows::job::JobSubmission;

use crate::broker::Kind;
use crate::federation::Federation;
use crate::program::say;
use crate::scribes::Scribes;
use crate::submitter::Submitter;
use crate::wire::Wire;

const COORDINATORS: [&str; 3] = ["atlas", "borealis", "cygnus"];
const WORKERS: [&str; 3] = ["draco", "eridanus", "fornax"];
/// Rounds in a run of all tests.
const ROUNDS: usize = 6;
/// Jobs that are always under way.
const IN_FLIGHT: usize = 5;
/// A round kills after at most this long, and starts again after at most this long.
const WAIT_MS: u64 = 1200;
/// A job ends by itself at its time limit of five minutes; that it takes as long would be a failure to go on.
const END_WITHIN: Duration = Duration::from_secs(240);

struct Game {
    federation: Federation,
    scribes: Scribes,
    submitter: Submitter,
    random: Random,
    seed: u64,
    kills: BTreeMap<&'static str, usize>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

impl Game {
    fn new(kind: Kind) -> Option<Self> {
        let mut federation = Federation::new(kind)?;
        let scribes = Scribes::new();
        for name in COORDINATORS {
            federation.start(name, &["coordinator"], "");
        }
        for name in WORKERS {
            federation.start(name, &["worker"], &scribes.agents());
        }
        federation.ready(&COORDINATORS);
        federation.ready(&WORKERS);
        federation.agents(2 * WORKERS.len());
        let seed = setting("FOA_KILL_SEED", 1);
        let random = Random::of(seed, &format!("{kind:?}"));
        let submitter = Submitter::new(federation.broker.port(), "guest-of-kills");
        Some(Self { federation, scribes, submitter, random, seed, kills: BTreeMap::new() })
    }

    /// A job as soon as one has ended; every third of them writes.
    fn fill(&mut self) {
        while self.submitter.open() < IN_FLIGHT {
            let n = self.submitter.jobs.len();
            let tag = format!("{}-{n:05}", self.seed);
            let task = if n % 3 == 2 { Scribes::writing(&tag) } else { Scribes::reading(&tag) };
            let job = format!("kill-{tag}").parse().unwrap();
            self.submitter.submit(JobSubmission { job: Some(job), team: Some(2), ..JobSubmission::of(task) });
        }
    }

    /// Jobs go on for a random time.
    fn play(&mut self) {
        let until = Instant::now() + self.random.millis(0, WAIT_MS);
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            self.fill();
            self.submitter.listen(left);
        }
    }

    /// Kills one or two of them at once, and starts them again later, in any state the others are in.
    fn round(&mut self) {
        self.play();
        let mut victims = vec![self.victim()];
        if self.random.chance(0.25) {
            let second = self.victim();
            if second != victims[0] {
                victims.push(second);
            }
        }
        for (kind, name) in &victims {
            *self.kills.entry(kind).or_default() += 1;
            match *kind {
                "broker" => self.federation.broker.kill(),
                _ => self.federation.take(name).kill(),
            }
        }
        for (kind, name) in victims {
            self.play();
            match kind {
                "broker" => self.federation.broker.resume(),
                _ => self.federation.again(name),
            }
        }
    }

    fn victim(&mut self) -> (&'static str, &'static str) {
        match self.random.below(10) {
            0..4 => ("worker", WORKERS[self.random.below(WORKERS.len())]),
            4..8 => ("coordinator", COORDINATORS[self.random.below(COORDINATORS.len())]),
            _ => ("broker", "broker"),
        }
    }

    /// Waits for the end of every job, then asks everyone who could know something else.
    fn settle(&mut self, rounds: usize, took: Duration) {
        let begun = Instant::now();
        let all = self.submitter.until(END_WITHIN, |submitter| submitter.open() == 0);
        let settled = begun.elapsed();
        let lost: Vec<_> = self.submitter.jobs.iter().filter(|(_, account)| !account.ended()).collect();
        assert!(all, "wanted a result of every job within {END_WITHIN:?}, found none of {lost:#?}");
        let mut doubled = Vec::new();
        let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
        let entries = self.scribes.entries();
        let mut terms = 1;
        for (job, account) in &self.submitter.jobs {
            assert!(account.rejected.is_empty(), "{job}: {:?}", account.rejected);
            if account.results.len() > 1 {
                doubled.push(format!("{job}: {:#?}", account.results));
            }
            let result = &account.results[0];
            *statuses.entry(result.status.name()).or_default() += 1;
            terms = terms.max(result.term.number);
            self.believable(result, &entries);
        }
        doubled.extend(entries.iter().filter(|(_, n)| **n > 1).map(|(entry, n)| format!("{n} × {entry}")));
        let slowest = self.submitter.jobs.values().map(|account| account.took).max().unwrap_or_default();
        let kills = self.kills.iter().fold(String::new(), |mut text, (kind, n)| {
            let _ = write!(text, " {kind} {n}");
            text
        });
        say(&format!(
            "rounds {rounds}, kills{kills}, jobs {}, {statuses:?}, highest term {terms}, writes {}, lost {}, doubled {}; \
             {:.1} s a round, slowest job {slowest:.1?}, last ones {settled:.1?} after the last kill, seed {}",
            self.submitter.jobs.len(),
            entries.values().sum::<usize>(),
            lost.len(),
            doubled.len(),
            took.as_secs_f64() / rounds as f64,
            self.seed,
        ));
        assert!(
            doubled.is_empty(),
            "wanted one result of each job and one entry of each writing: {doubled:#?}"
        );
        assert!(entries.values().sum::<usize>() > 0, "wanted something written, found nothing");
        assert!(statuses.contains_key("completed"), "wanted some answers, found {statuses:?}");
    }

    /// An answer is that of its own task, and who says that it wrote has written.
    fn believable(&self, result: &JobResult, entries: &BTreeMap<String, usize>) {
        if result.status.name() == "failed" {
            return;
        }
        assert!(result.answer.contains(&result.task), "an answer to something else: {result:#?}");
        let wrote = result.contributors.iter().any(|c| {
            c.agent.to_string().starts_with("writer@") && c.did.iter().any(|did| did.starts_with("draft"))
        });
        if wrote {
            assert_eq!(entries.get(&result.task), Some(&1), "said to be written: {result:#?}");
        }
    }

    /// Coordinators and the broker know of each job nothing but what the submitter was told.
    fn agree(&mut self) {
        self.federation.ready(&COORDINATORS);
        let nodes = self.federation.json(&["nodes", "--json"]);
        let ids: Vec<NodeId> = crate::federation::list(&nodes)
            .iter()
            .filter_map(|node| node["node"].as_str()?.parse().ok())
            .filter(|id: &NodeId| COORDINATORS.contains(&id.name().as_str()))
            .collect();
        assert_eq!(ids.len(), COORDINATORS.len(), "{nodes:#}");
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

fn kill_rounds(kind: Kind) {
    let Some(mut game) = Game::new(kind) else { return };
    let rounds = usize::try_from(setting("FOA_KILL_ROUNDS", ROUNDS as u64)).unwrap();
    let begun = Instant::now();
    for _ in 0..rounds {
        game.round();
    }
    let took = begun.elapsed();
    game.settle(rounds, took);
    game.agree();
}

#[test]
fn kill_rounds_over_the_embedded_broker_lose_nothing_and_double_nothing() {
    kill_rounds(Kind::Embedded);
}
