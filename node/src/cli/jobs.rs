//! `foa jobs`: what the coordinators hold.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use foa_node_core::query::{JobSummary, QueryAnswer, Question};
use foa_wire::JobId;
use foa_workflows::job::Control;
use foa_workflows::journal::Step;
use foa_workflows::{JobResult, Record};
use tokio::time::{Instant, timeout};

use super::{Place, Stop, failed_client, failed_config, jobs_file, submit, terminal, unexpected};
use crate::client::{self, Client, Heard};
use crate::exit::Failure;
use crate::follow::{Follow, Followed};
use crate::render;

/// How long the last records of a job are waited for once its result is there.
const LAST_RECORDS: Duration = Duration::from_secs(2);
/// How long a holder may take to end a cancelled job: agents are told and not waited for.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);

/// List, show, watch or cancel jobs; move them between stores
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa jobs list\n  foa jobs watch 3f2kq7 --from 1\n  foa --config atlas.toml jobs export --all -o jobs.jsonl"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List the jobs of all coordinators, newest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show a job's log and its result
    Show {
        /// The job
        job: JobId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what happens in a job until it ends
    Watch {
        /// The job
        job: JobId,
        /// Begin with this record [default: what happens from now on]
        #[arg(long, value_name = "INDEX")]
        from: Option<u64>,
        /// Print records and result as JSON, one a line
        #[arg(long)]
        json: bool,
    },
    /// Stop a job; it ends with what there is
    Cancel {
        /// The job
        job: JobId,
    },
    /// Write the logs of jobs out of this machine's store; the node must be stopped
    Export(jobs_file::Export),
    /// Read such logs into this machine's store; the node must be stopped
    Import(jobs_file::Import),
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let journal = || Ok::<_, Failure>(place.layers(Vec::new())?.node().map_err(failed_config)?.journal());
    match args.command {
        Command::List { json } => list(place.client().await?, json).await,
        Command::Show { job, json } => show(place.client().await?, job, json).await,
        Command::Watch { job, from, json } => watch(place.client().await?, job, from, json).await,
        Command::Cancel { job } => cancel(place.client().await?, job).await,
        Command::Export(args) => jobs_file::export(&args, &journal()?),
        Command::Import(args) => jobs_file::import(&args, &journal()?),
    }
}

async fn list(mut client: Client, json: bool) -> Result<ExitCode, Failure> {
    let answers = client.ask_all(&Question::Jobs).await.map_err(failed_client)?;
    client.close().await;
    let mut all: Vec<JobSummary> = Vec::new();
    for (_, answer) in answers {
        let QueryAnswer::Jobs { jobs } = answer else { return Err(unexpected(&answer)) };
        all.extend(jobs);
    }
    // Every replica of a job knows it; whoever knows most of it in the highest term is right.
    let mut newest: BTreeMap<JobId, JobSummary> = BTreeMap::new();
    let known = |job: &JobSummary| (job.term.clone(), job.records);
    for job in all {
        match newest.get(&job.job) {
            Some(other) if known(other) >= known(&job) => {}
            Some(_) | None => drop(newest.insert(job.job.clone(), job)),
        }
    }
    let mut all: Vec<JobSummary> = newest.into_values().collect();
    all.sort_by(|a, b| b.accepted.cmp(&a.accepted).then_with(|| a.job.cmp(&b.job)));
    if json {
        terminal::print_json(&all);
    } else {
        terminal::print(&render::jobs(&all, client::now(), terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(mut client: Client, job: JobId, json: bool) -> Result<ExitCode, Failure> {
    let answer = client.ask(&Question::Job { job }).await.map_err(failed_client)?;
    client.close().await;
    let QueryAnswer::Job { summary, records, result } = answer else {
        return Err(unexpected(&answer).hint("`foa jobs list` lists those there are"));
    };
    if json {
        let whole = serde_json::json!({ "summary": summary, "records": records, "result": result });
        terminal::print_json(&whole);
        return Ok(ExitCode::SUCCESS);
    }
    let style = terminal::stdout_style();
    let mut out = render::jobs(std::slice::from_ref(&summary), client::now(), style);
    out.push('\n');
    if let Some(first) = records.first().filter(|r| r.index.0 > 1) {
        out.push_str(&format!("… {} earlier records\n", first.index.0 - 1));
    }
    let mut telling = render::Telling::default();
    for record in &records {
        out.push_str(&telling.line(record, style));
        out.push('\n');
    }
    if let Some(result) = &result {
        out.push_str(&format!("\n{}", render::result(result, style)));
    }
    terminal::print(&out);
    Ok(ExitCode::SUCCESS)
}

async fn watch(mut client: Client, job: JobId, from: Option<u64>, json: bool) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen().map_err(Failure::broken)?;
    // Says at once when nobody knows the job, instead of waiting for ever.
    let answer = client.ask(&Question::Job { job: job.clone() }).await.map_err(failed_client)?;
    let QueryAnswer::Job { summary, records, result } = answer else { return Err(unexpected(&answer)) };
    let mut telling = render::Telling::default();
    let style = terminal::stdout_style();
    let mut next = from.map_or(summary.records + 1, |from| from.max(1));
    // The answer leaves out the oldest records when they do not fit one message.
    let complete = records.first().is_some_and(|first| first.index.0 <= next);
    for record in records.iter().filter(|_| complete) {
        if record.index.0 >= next {
            shown(record, json, &mut telling, style);
            next = record.index.0 + 1;
        } else {
            telling.heed(record);
        }
    }
    if let Some(result) = result.filter(|_| next > summary.records) {
        client.close().await;
        return ended(&result, json);
    }
    client.follow(&job).await.map_err(failed_client)?;
    let owned = summary.owner.as_ref() == Some(client.id());
    let mut follow = Follow::new(job.clone(), next, owned);
    // What came meanwhile, or did not fit the answer.
    follow.ask(&mut client).await.map_err(failed_client)?;
    let mut end = None;
    loop {
        let followed = tokio::select! {
            followed = follow.next(&mut client) => followed.map_err(failed_client)?,
            () = stop.told() => return Ok(ExitCode::SUCCESS),
            () = patience(end.as_ref()) => Followed::Records(Vec::new()),
        };
        match followed {
            Followed::Records(records) => {
                let last = records.iter().any(|r| matches!(r.step, Step::Ended { .. }));
                for record in &records {
                    shown(record, json, &mut telling, style);
                }
                let late = end.as_ref().is_some_and(|(_, until)| *until <= Instant::now());
                if let Some((result, _)) = end.take_if(|_| last || late) {
                    client.close().await;
                    return ended(&result, json);
                }
                // The end counts; its result is on the way.
                if let Some(Step::Ended { result, .. }) =
                    records.into_iter().map(|r| r.step).find(|step| matches!(step, Step::Ended { .. }))
                {
                    client.close().await;
                    return ended(&result, json);
                }
            }
            // The result may overtake the last records.
            Followed::Other(Heard::Result(result)) if result.job == job => {
                follow.ask(&mut client).await.map_err(failed_client)?;
                end = Some((result, Instant::now() + LAST_RECORDS));
            }
            Followed::Other(Heard::Lost(reason)) => {
                terminal::note(&format!("the broker is gone ({reason}); trying again"));
            }
            Followed::Other(_) => {}
        }
    }
}

/// How long the last records of an ended job are waited for.
async fn patience(end: Option<&(Box<JobResult>, Instant)>) {
    match end {
        Some((_, until)) => tokio::time::sleep_until(*until).await,
        None => std::future::pending().await,
    }
}

fn shown(record: &Record, json: bool, telling: &mut render::Telling, style: render::Style) {
    if json {
        terminal::print_json_line(record);
    } else {
        terminal::print(&telling.line(record, style));
    }
}

fn ended(result: &JobResult, json: bool) -> Result<ExitCode, Failure> {
    if json {
        terminal::print_json_line(result);
        return Ok(ExitCode::SUCCESS);
    }
    terminal::print("");
    submit::shown(result, false)
}

async fn cancel(mut client: Client, job: JobId) -> Result<ExitCode, Failure> {
    let answer = client.ask(&Question::Job { job: job.clone() }).await.map_err(failed_client)?;
    let QueryAnswer::Job { summary, result, .. } = answer else { return Err(unexpected(&answer)) };
    if let Some(result) = result {
        return Err(Failure::refused(anyhow::anyhow!("{job} has ended: {}", result.status.name())));
    }
    client.follow(&job).await.map_err(failed_client)?;
    client.control(&job, Control::Cancel).await.map_err(failed_client)?;
    let ended = timeout(CANCEL_WITHIN, async {
        while let Some(heard) = client.next().await {
            if let Heard::Result(result) = heard
                && result.job == job
            {
                return Some(result);
            }
        }
        None
    });
    match ended.await {
        Ok(Some(result)) => {
            terminal::note(&format!("{job}: {}", result.status.name()));
            client.close().await;
            Ok(ExitCode::SUCCESS)
        }
        Ok(None) | Err(_) => {
            let failure =
                Failure::refused(anyhow::anyhow!("wanted {job} to end, found it {} still", summary.phase));
            Err(match summary.owner {
                Some(owner) if owner != *client.id() => failure.hint(format!(
                    "only its owner {owner} or an operator may cancel it; you are {}",
                    client.id()
                )),
                Some(_) => failure.hint("its holder may be away; `foa nodes` shows who is there"),
                None => failure.hint(format!(
                    "nobody signed it, so only an operator may cancel it; you are {}",
                    client.id()
                )),
            })
        }
    }
}
