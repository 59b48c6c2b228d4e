//! `foa bench jobs`: what a federation carries on this machine when its agents take no time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;
use foa_broker::{BrokerUrl, Embedded, EmbeddedConfig};
use foa_capability::resources::Offer;
use foa_capability::skills::Skill;
use foa_capability::{AgentProfile, Effects};
use foa_node_core::status::Role;
use foa_wire::{JobId, Namespace};
use foa_workflows::GivenPlan;
use foa_workflows::job::JobSubmission;
use foa_workflows::work::{Answer, Ask, Contribution, ProposedSubtask, Usage};

use super::Times;
use crate::agent::{self, Agent, Reply};
use crate::artifact::{ArtifactStore, Limits as ArtifactLimits, Mover};
use crate::cli::{failed_client, load_model, terminal};
use crate::client::{Client, Heard, new_job_id};
use crate::config::ClientConfig;
use crate::daemon::{self, Counts, Daemon};
use crate::exit::Failure;
use crate::identity::Identity;
use crate::model::Embedder;
use crate::store::{MemoryStore, SegmentStore, Store};

/// Run jobs through a whole federation in this process, and count
///
/// A broker, a coordinator and a worker whose agent answers at once. A job brings its plan, a chain of steps; each step is a
/// message to the worker and back, and nothing leaves the coordinator before it is on disk.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa bench jobs\n  foa bench jobs --in-flight 1 --jobs 200 --json\n  foa bench jobs --durability none"
)]
pub(super) struct Args {
    /// Jobs under way at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    in_flight: usize,
    /// Jobs in all
    #[arg(long, value_name = "N", default_value_t = 2000)]
    jobs: usize,
    /// Steps of a job, each building on the one before
    #[arg(long, value_name = "N", default_value_t = 5)]
    steps: usize,
    /// Where the coordinator and the worker keep what they must not lose
    #[arg(long, value_enum, default_value_t = Kept::Local)]
    durability: Kept,
    /// Where the journals are made, and removed again [default: the system's place for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
enum Kept {
    /// On this disk
    Local,
    /// In memory: what the disk costs is the difference
    None,
}

/// What came of it.
#[derive(Debug, serde::Serialize)]
struct Outcome {
    jobs: usize,
    in_flight: usize,
    steps: usize,
    durability: Kept,
    failed: usize,
    seconds: f64,
    jobs_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
    syncs_per_job: f64,
    records_per_job: f64,
    journal_bytes_per_job: f64,
    messages_per_job: f64,
    coordinator: Counts,
    worker: Counts,
}

/// How long one job may take before the measurement is given up.
const STUCK: Duration = Duration::from_secs(60);

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    if args.in_flight == 0 || args.jobs == 0 || args.steps == 0 {
        return Err(Failure::broken(anyhow::anyhow!("wanted at least one job, one at a time, of one step")));
    }
    let place = match &args.dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let place = place.context("wanted a directory for the journals").map_err(Failure::broken)?;
    let embedder = load_model(None, 1).await?;
    let federation = Federation::start(place.path(), &args, embedder).await?;
    let outcome = federation.measure(&args).await;
    federation.stop().await?;
    let outcome = outcome?;
    if args.json {
        terminal::print_json(&outcome);
    } else {
        terminal::print(&outcome.text());
    }
    Ok(if outcome.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A broker, a coordinator, a worker.
struct Federation {
    broker: Embedded,
    url: BrokerUrl,
    namespace: Namespace,
    coordinator: Daemon,
    worker: Daemon,
}

impl Federation {
    async fn start(place: &Path, args: &Args, embedder: Embedder) -> Result<Self, Failure> {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = Embedded::start(EmbeddedConfig::new(listen)).await.map_err(Failure::broken)?;
        let url = BrokerUrl::tcp("127.0.0.1", broker.addr().port());
        let namespace: Namespace = "bench".parse().expect("a word is a namespace");
        let start = async |name: &str, role, agents| {
            let store: Arc<dyn Store> = match args.durability {
                Kept::Local => Arc::new(SegmentStore::open(&place.join(name))?),
                Kept::None => Arc::new(MemoryStore::default()),
            };
            let identity = Identity::generate(name.parse().expect("a short word is a name"))?;
            let limits = ArtifactLimits { quota: 1 << 30, keep: Duration::from_secs(3600) };
            let artifacts = ArtifactStore::open(&place.join(format!("{name}-artifacts")), limits)?;
            let mover = Mover::start(identity.key().clone(), Vec::new(), Vec::new(), artifacts).await?;
            let options = daemon::Options {
                mover,
                limits: foa_node_core::admission::Limits::default(),
                sharding: foa_node_core::shards::Sharding::default(),
                identity,
                namespace: namespace.clone(),
                broker: daemon::Broker { url: url.clone(), credentials: None, ca: None },
                roles: vec![role],
                agents,
                store,
                directory: None,
                embedder: embedder.clone(),
                also: None,
                operators: BTreeSet::new(),
                coordinators: BTreeSet::new(),
                accept_unsigned: false,
            };
            daemon::start(options).await
        };
        let stub: Arc<dyn Agent> = Arc::new(Stub);
        let worker = start("worker", Role::Worker, vec![stub]).await.map_err(Failure::broken)?;
        let coordinator =
            start("coordinator", Role::Coordinator, Vec::new()).await.map_err(Failure::broken)?;
        worker.ready().await;
        coordinator.ready().await;
        coordinator.knows(1).await;
        Ok(Self { broker, url, namespace, coordinator, worker })
    }

    async fn measure(&self, args: &Args) -> Result<Outcome, Failure> {
        let identity =
            Identity::generate("bench".parse().expect("a word is a name")).map_err(Failure::broken)?;
        let config = ClientConfig {
            broker: self.url.clone(),
            credentials: None,
            ca: None,
            namespace: self.namespace.clone(),
            name: "bench".parse().expect("a word is a name"),
            key_file: std::path::PathBuf::new(),
        };
        let mut client = Client::connect_as(config, identity).await.map_err(failed_client)?;
        client.follow_results().await.map_err(failed_client)?;
        let submission = job(args.steps);
        // The texts are embedded once, and all caches are as warm as in a node that has run for a while.
        let warm_up = Run { jobs: args.in_flight, ..Run::of(args) };
        warm_up.go(&mut client, &submission).await?;
        let before = (self.coordinator.meter().counts(), self.worker.meter().counts());
        let began = Instant::now();
        let (mut times, failed) = Run::of(args).go(&mut client, &submission).await?;
        let took = began.elapsed();
        let coordinator = since(self.coordinator.meter().counts(), before.0);
        let worker = since(self.worker.meter().counts(), before.1);
        client.close().await;
        let per_job = |count: u64| count as f64 / args.jobs as f64;
        Ok(Outcome {
            jobs: args.jobs,
            in_flight: args.in_flight,
            steps: args.steps,
            durability: args.durability,
            failed,
            seconds: took.as_secs_f64(),
            jobs_per_s: args.jobs as f64 / took.as_secs_f64(),
            p50_ms: times.quantile(500),
            p99_ms: times.quantile(990),
            syncs_per_job: per_job(coordinator.syncs + worker.syncs),
            records_per_job: per_job(coordinator.records + worker.records),
            journal_bytes_per_job: per_job(coordinator.bytes + worker.bytes),
            // The submission is the only message that neither node sends.
            messages_per_job: per_job(coordinator.sent + worker.sent) + 1.0,
            coordinator,
            worker,
        })
    }

    async fn stop(self) -> Result<(), Failure> {
        let grace = Duration::from_secs(2);
        self.worker.drain(grace).await.map_err(Failure::broken)?;
        self.coordinator.drain(grace).await.map_err(Failure::broken)?;
        self.broker.stop().await;
        Ok(())
    }
}

fn since(now: Counts, before: Counts) -> Counts {
    Counts {
        syncs: now.syncs - before.syncs,
        records: now.records - before.records,
        bytes: now.bytes - before.bytes,
        sent: now.sent - before.sent,
        received: now.received - before.received,
    }
}

/// So many jobs, so many at once.
struct Run {
    jobs: usize,
    in_flight: usize,
}

impl Run {
    fn of(args: &Args) -> Self {
        Self { jobs: args.jobs, in_flight: args.in_flight }
    }

    /// Returns how long each job took from submission to result, and how many did not complete.
    async fn go(&self, client: &mut Client, submission: &JobSubmission) -> Result<(Times, usize), Failure> {
        let mut open: BTreeMap<JobId, Instant> = BTreeMap::new();
        let (mut times, mut failed, mut submitted) = (Times::default(), 0, 0);
        while times.0.len() < self.jobs {
            while open.len() < self.in_flight && submitted < self.jobs {
                let job = new_job_id();
                let submission = JobSubmission { job: Some(job.clone()), ..submission.clone() };
                open.insert(job, Instant::now());
                client.submit_once(&submission).await.map_err(failed_client)?;
                submitted += 1;
            }
            let heard = tokio::time::timeout(STUCK, client.next()).await;
            match heard {
                Ok(Some(Heard::Result(result))) => {
                    let Some(began) = open.remove(&result.job) else { continue };
                    times.0.push(began.elapsed());
                    failed += usize::from(result.status != foa_workflows::result::Status::Completed);
                }
                Ok(Some(Heard::Rejected(rejection))) => {
                    let refused = anyhow::anyhow!(
                        "wanted {} taken, found it refused: {}",
                        rejection.job,
                        rejection.refused
                    );
                    return Err(Failure::refused(refused));
                }
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Err(Failure::refused(anyhow::anyhow!("the connection to the broker was closed")));
                }
                Err(_) => {
                    let waits = open.len();
                    return Err(Failure::refused(anyhow::anyhow!(
                        "wanted a result within {} s, found none for {waits} jobs",
                        STUCK.as_secs()
                    )));
                }
            }
        }
        Ok((times, failed))
    }
}

/// A job whose steps are known and nobody refines.
fn job(steps: usize) -> JobSubmission {
    JobSubmission {
        team: Some(1),
        rounds: Some(0),
        plan: Some(chain(steps)),
        ..JobSubmission::of("Measure how many jobs this machine carries")
    }
}

/// So many steps in a row.
fn chain(steps: usize) -> GivenPlan {
    let key = |n: usize| format!("s{n}");
    let subtasks = (1..=steps).map(|n| ProposedSubtask {
        key: key(n),
        description: format!("Do step {n} of the measurement"),
        ..ProposedSubtask::default()
    });
    let edges = (1..steps).map(|n| [key(n), key(n + 1)]).collect();
    GivenPlan { subtasks: subtasks.collect(), edges }
}

/// An agent that answers at once.
struct Stub;

#[async_trait]
impl Agent for Stub {
    fn profile(&self) -> AgentProfile {
        AgentProfile {
            name: "stub".parse().expect("a word is a name"),
            description: "Does any step of a measurement at once".to_owned(),
            skills: vec![Skill {
                id: "measuring".to_owned(),
                name: "Measuring".to_owned(),
                description: "Does a step of a measurement".to_owned(),
                ..Skill::default()
            }],
            policies: BTreeSet::new(),
            offer: Offer { concurrency: 64, ..Offer::default() },
            spec: None,
            effects: Effects::default(),
            kind: "stub".to_owned(),
            base_model: None,
            base: foa_capability::Base::default(),
        }
    }

    async fn answer(&self, ask: Ask, _: agent::Context) -> Result<Reply, agent::Failure> {
        let answer = match ask {
            Ask::Draft { .. } | Ask::Refine { .. } => Answer::Contribution(Contribution {
                text: "The step is done.".to_owned(),
                confidence: 0.9,
                complete: true,
                ..Contribution::default()
            }),
            Ask::Propose { .. } | Ask::Judge { .. } | Ask::Synthesise { .. } => {
                return Ok(Reply::declined("only steps are measured"));
            }
        };
        Ok(Reply { answer, usage: Usage::default() })
    }
}

impl Outcome {
    fn text(&self) -> String {
        let kept = match self.durability {
            Kept::Local => "on disk",
            Kept::None => "in memory",
        };
        format!(
            "{} jobs of {} steps, {} in flight, kept {kept}: {:.1} s, {} failed\n\
             {:>10.1} jobs/s\n{:>10.2} syncs/job\n{:>10.1} messages/job\n{:>10.1} ms p50 latency\n{:>10.1} ms p99 latency\n\
             {:>10.1} records/job, {:.0} bytes\n",
            self.jobs,
            self.steps,
            self.in_flight,
            self.seconds,
            self.failed,
            self.jobs_per_s,
            self.syncs_per_job,
            self.messages_per_job,
            self.p50_ms,
            self.p99_ms,
            self.records_per_job,
            self.journal_bytes_per_job,
        )
    }
}
