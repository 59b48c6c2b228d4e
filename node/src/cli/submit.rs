//! `foa submit`: a job from question to answer.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use foa_capability::{Money, Policy};
use foa_wire::JobId;
use foa_workflows::JobResult;
use foa_workflows::job::{Accepted, Durability, JobSubmission, Priority};
use foa_workflows::result::Status;
use foa_workflows::settings::Profile;
use foa_workflows::work::SynthesisMode;

use super::terminal::Spinner;
use super::{Place, Stop, failed_client, plan_file, terminal};
use crate::client::{Client, Heard, new_job_id};
use crate::exit::Failure;
use crate::follow::{Follow, Followed};
use crate::render;

/// How long a submission is repeated before it is given up: a coordinator that restarts is back by then.
const ACCEPT_WITHIN: Duration = Duration::from_secs(15);
/// What a job may take beyond its own time limit before waiting for it makes no sense.
const OVERTIME: Duration = Duration::from_secs(15);

/// Submit a job and wait for its answer
///
/// Progress goes to stderr, the answer to stdout. ctrl-C leaves the job running.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa submit \"Compare the limits of cards and envelopes, then add them up\" --budget 0.5 --timeout 60"
)]
pub(super) struct Args {
    /// What is wanted, in words
    task: String,
    /// Name the job; the same name and task are one job [default: a new name]
    #[arg(long, value_name = "ID")]
    job: Option<JobId>,
    /// The most it may cost, in units of the federation's currency [default: no limit]
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<Money>,
    /// The most it may take, in seconds [default: 300]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<f64>,
    /// A policy every agent that sees it must be authorised for; may be repeated
    #[arg(long, value_name = "POLICY")]
    policy: Vec<Policy>,
    /// A skill every agent that works on it must have; may be repeated
    #[arg(long, value_name = "SKILL")]
    skill: Vec<String>,
    /// The numbers it runs with: ours, or those of the paper
    #[arg(long, value_enum, default_value = "default")]
    profile: ProfileName,
    /// Refinement rounds, at most [default: the profile's]
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// Agents on one subtask, at most [default: the profile's]
    #[arg(long, value_name = "N")]
    team: Option<usize>,
    /// How the parts become one answer
    #[arg(long, value_enum, default_value = "concatenate")]
    synthesis: SynthesisName,
    /// Where its log must be kept: on the disk of its holder, or of a majority of three coordinators
    /// [default: replicated where there are three]
    #[arg(long, value_enum)]
    durability: Option<DurabilityName>,
    /// Whether it may start before others that wait for the same coordinator, or after them
    #[arg(long, value_enum, default_value = "normal")]
    priority: PriorityName,
    /// The subtasks, from a JSON or TOML file; then no agent proposes or votes [default: agents propose]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// A file, or the text that blake3:… names, for the agents that draft; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// Print the name of the job once it is accepted and do not wait
    #[arg(long)]
    detach: bool,
    /// Print the whole result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ProfileName {
    Default,
    Paper,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DurabilityName {
    Local,
    Replicated,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PriorityName {
    Low,
    Normal,
    High,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum SynthesisName {
    Concatenate,
    Rebase,
    Merge,
}

impl Args {
    fn submission(&self) -> Result<JobSubmission, Failure> {
        let timeout_ms = match self.timeout {
            None => None,
            Some(seconds) if seconds > 0.0 && seconds < 1e9 => Some((seconds * 1000.0) as u64),
            Some(seconds) => {
                return Err(Failure::broken(anyhow::anyhow!(
                    "--timeout: wanted seconds, more than 0, found {seconds}"
                )));
            }
        };
        let submission = JobSubmission {
            task: self.task.clone(),
            job: Some(self.job.clone().unwrap_or_else(new_job_id)),
            plan: self.plan.as_deref().map(plan_file::read).transpose().map_err(Failure::broken)?,
            budget: self.budget,
            timeout_ms,
            policies: self.policy.iter().cloned().collect(),
            skills: self.skill.iter().cloned().collect(),
            profile: match self.profile {
                ProfileName::Default => Profile::Default,
                ProfileName::Paper => Profile::Paper,
            },
            rounds: self.rounds,
            team: self.team,
            priority: match self.priority {
                PriorityName::Low => Priority::Low,
                PriorityName::Normal => Priority::Normal,
                PriorityName::High => Priority::High,
            },
            synthesis: match self.synthesis {
                SynthesisName::Concatenate => SynthesisMode::Concatenate,
                SynthesisName::Rebase => SynthesisMode::Rebase,
                SynthesisName::Merge => SynthesisMode::Merge,
            },
            durability: self.durability.map(|name| match name {
                DurabilityName::Local => Durability::Local,
                DurabilityName::Replicated => Durability::Replicated,
            }),
            ..JobSubmission::default()
        };
        submission.check().map_err(Failure::broken)?;
        Ok(submission)
    }
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let mut submission = args.submission()?;
    let job = submission.job.clone().expect("a submission of ours names its job");
    let mut client = place.client().await?;
    // Before the job is sent: afterwards ctrl-C must say what becomes of it.
    let mut stop = Stop::listen().map_err(Failure::broken)?;
    client.follow(&job).await.map_err(failed_client)?;
    let spinner = Spinner::start("submitting");
    if !args.attach.is_empty() {
        let attached = super::artifacts::attach(&args.attach, Some(&job), &mut client, place, &spinner);
        submission.attachments = tokio::select! {
            attached = attached => attached?,
            () = stop.told() => return Ok(ExitCode::from(1)),
        };
        submission.check().map_err(Failure::broken)?;
    }
    let first = tokio::select! {
        first = client.submit(&submission, ACCEPT_WITHIN) => first.map_err(failed_client)?,
        () = stop.told() => return left_running(&job),
    };
    if args.detach && !matches!(first, Heard::Rejected(_)) {
        drop(spinner);
        client.close().await;
        terminal::print(job.as_str());
        terminal::note(&format!("hint: foa jobs watch {job}"));
        return Ok(ExitCode::SUCCESS);
    }
    let limit = submission.timeout_ms.map_or(Duration::from_secs(300), Duration::from_millis) + OVERTIME;
    let waited = tokio::select! {
        waited = tokio::time::timeout(limit, wait(&mut client, &job, first, &spinner)) => waited,
        () = stop.told() => {
            drop(spinner);
            return left_running(&job);
        }
    };
    drop(spinner);
    client.close().await;
    let Ok(result) = waited else {
        let seconds = limit.as_secs();
        return Err(Failure::refused(anyhow::anyhow!(
            "wanted a result of {job} within {seconds} s, found none"
        ))
        .hint(format!("foa jobs show {job}")));
    };
    shown(&result?, args.json)
}

fn left_running(job: &JobId) -> Result<ExitCode, Failure> {
    terminal::note(&format!("\nthe job goes on\nhint: foa jobs watch {job}   or   foa jobs cancel {job}"));
    Ok(ExitCode::from(1))
}

/// Shows what happens until the job has ended.
pub(crate) async fn wait(
    client: &mut Client,
    job: &JobId,
    first: Heard,
    spinner: &Spinner,
) -> Result<JobResult, Failure> {
    let style = terminal::stderr_style();
    let mut telling = render::Telling::default();
    let mut follow = Follow::new(job.clone(), 1, true);
    let mut heard = Some(first);
    loop {
        let heard = match heard.take() {
            Some(first) => first,
            None => match follow.next(client).await.map_err(failed_client)? {
                Followed::Other(heard) => heard,
                Followed::Records(records) => {
                    for record in &records {
                        spinner.note(&telling.line(record, style));
                    }
                    continue;
                }
            },
        };
        match heard {
            Heard::Accepted(accepted) if accepted.job == *job => {
                spinner.say(&format!("job {job}, {}", promised(&accepted)));
            }
            Heard::Rejected(rejection) if rejection.job == *job => {
                return Err(Failure::refused(anyhow::anyhow!("rejected, {}", rejection.refused)));
            }
            Heard::Records(events) => {
                for record in events.records.into_iter().flat_map(|record| follow.take(record)) {
                    spinner.note(&telling.line(&record, style));
                }
            }
            Heard::Progress(progress) if progress.job == *job => {
                let who = progress.agent.map_or_else(|| progress.node.name().to_string(), |a| a.short());
                spinner
                    .say(&render::brief(&format!("{who}: {}", progress.text), style.width.saturating_sub(4)));
            }
            Heard::Result(result) if result.job == *job => return Ok(*result),
            Heard::Lost(reason) => spinner.note(&format!("the broker is gone ({reason}); trying again")),
            Heard::Back => spinner.note("the broker is back"),
            Heard::Accepted(_)
            | Heard::Rejected(_)
            | Heard::Progress(_)
            | Heard::Result(_)
            | Heard::Reply(..)
            | Heard::Offer(..)
            | Heard::Status(_) => {}
        }
    }
}

/// What acceptance promises, in words.
fn promised(accepted: &Accepted) -> String {
    let holder = accepted.term.holder.name();
    match accepted.replicas.len() {
        0 | 1 => format!("held by {holder} alone"),
        2 => format!("held by {holder}, kept by two: both are needed to go on"),
        many => format!("held by {holder}, kept by {many}"),
    }
}

/// Prints the result; what failed exits with 1.
pub(super) fn shown(result: &JobResult, json: bool) -> Result<ExitCode, Failure> {
    if json {
        terminal::print_json(result);
    } else {
        terminal::print(&render::result(result, terminal::stdout_style()));
    }
    Ok(match result.status {
        Status::Completed | Status::Partial => ExitCode::SUCCESS,
        Status::Failed { .. } | Status::Cancelled => ExitCode::from(1),
    })
}
