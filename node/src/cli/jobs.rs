//! `foa jobs`: what the coordinators hold.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use foa_node_core::query::{JobSummary, QueryAnswer, Question};
use foa_wire::{Index, JobId};
use foa_workflows::job::Control;
use foa_workflows::{JobResult, Record};
use tokio::time::timeout;

use super::{Place, Stop, failed_client, submit, terminal, unexpected};
use crate::client::{self, Client, Heard};
use crate::exit::Failure;
use crate::render;

/// How long a holder may take to end a cancelled job: agents are told and not waited for.
const CANCEL_WITHIN: Duration = Duration::from_secs(10);

/// List, show, watch or cancel jobs
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa jobs list\n  foa jobs watch 3f2kq7 --from 1")]
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
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let client = place.client().await?;
    match args.command {
        Command::List { json } => list(client, json).await,
        Command::Show { job, json } => show(client, job, json).await,
        Command::Watch { job, from, json } => watch(client, job, from, json).await,
        Command::Cancel { job } => cancel(client, job).await,
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
    all.sort_by(|a, b| b.accepted.cmp(&a.accepted).then_with(|| a.job.cmp(&b.job)));
    // A job that moved is known to two coordinators; the higher term holds it.
    let mut newest: BTreeMap<JobId, u64> = BTreeMap::new();
    for job in &all {
        let term = newest.entry(job.job.clone()).or_default();
        *term = (*term).max(job.term.number);
    }
    all.retain(|job| newest.get(&job.job) == Some(&job.term.number));
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
    if from.is_some() {
        // What came meanwhile, or did not fit the answer; its owner's and operators' to ask for.
        client.control(&job, Control::Replay { from: next }).await.map_err(failed_client)?;
    }
    let mut early: BTreeMap<Index, Record> = BTreeMap::new();
    loop {
        let heard = tokio::select! {
            heard = client.next() => heard,
            () = stop.told() => return Ok(ExitCode::SUCCESS),
        };
        match heard {
            // Replayed and fresh records come on two topics; show them in order, each once.
            Some(Heard::Record(record)) if record.job == job && record.index.0 >= next => {
                early.insert(record.index, *record);
                while let Some(record) = early.remove(&Index(next)) {
                    next += 1;
                    shown(&record, json, &mut telling, style);
                }
            }
            Some(Heard::Result(result)) if result.job == job => {
                // The result may overtake the replay.
                let grace = Duration::from_millis(500);
                while let Ok(Some(heard)) = timeout(grace, client.next()).await {
                    if let Heard::Record(record) = heard
                        && record.job == job
                        && record.index.0 >= next
                    {
                        early.insert(record.index, *record);
                    }
                }
                for record in early.into_values() {
                    shown(&record, json, &mut telling, style);
                }
                client.close().await;
                return ended(&result, json);
            }
            Some(Heard::Lost(reason)) => {
                terminal::note(&format!("the broker is gone ({reason}); trying again"));
            }
            Some(_) => {}
            None => return Err(failed_client(client::ClientError::Closed)),
        }
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
