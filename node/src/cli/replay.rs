//! `foa replay`: every decision of a job, made again from its log.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use foa_node_core::query::{QueryAnswer, Question};
use foa_wire::JobId;
use foa_workflows::replay::Counts;
use foa_workflows::{Record, Replay};
use tokio::time::{Instant, timeout_at};

use super::{Place, failed_client, jobs_file, terminal, unexpected};
use crate::client::Client;
use crate::exit::Failure;
use crate::follow::{Follow, Followed};
use crate::render;

/// How long the records of a job may take to come.
const WITHIN: Duration = Duration::from_secs(10);

/// Make every decision of a job again from its log, and compare
///
/// Who was asked, which plan ran, who was on which team, what the votes came to, what the result says: each follows from the
/// log before it and from the scores in its own record. What depends on the meaning of texts, such as which answer
/// represents the others, needs the embedding model and is named as not recomputed. Exit code 1 when a decision differs.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa replay 3f2kq7\n  foa replay 3f2kq7 --json\n  foa jobs export 3f2kq7 -o job.jsonl && foa replay 3f2kq7 --file job.jsonl"
)]
pub(super) struct Args {
    /// The job
    job: JobId,
    /// Read the log from this file, which `foa jobs export` wrote [default: ask the federation]
    #[arg(long, value_name = "LOG")]
    file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Counted<'a> {
    counts: Counts,
    #[serde(flatten)]
    replay: &'a Replay,
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let records = match &args.file {
        Some(file) => from_file(file, &args.job)?,
        None => asked(place.client().await?, &args.job).await?,
    };
    let replay = Replay::of(&records)
        .with_context(|| format!("cannot replay {}", args.job))
        .map_err(Failure::refused)?;
    let counts = replay.counts();
    if args.json {
        terminal::print_json(&Counted { counts, replay: &replay });
    } else {
        terminal::print(&render::replay(&replay, &records, terminal::stdout_style()));
    }
    match replay.difference() {
        None => Ok(ExitCode::SUCCESS),
        Some(first) => Err(Failure::refused(anyhow::anyhow!(
            "wanted every decision of {} as its log says, found {} otherwise, the first in record {}",
            args.job,
            counts.differ,
            first.index
        ))),
    }
}

fn from_file(file: &Path, job: &JobId) -> Result<Vec<Record>, Failure> {
    let place = || format!("cannot read {}", file.display());
    jobs_file::records_of(file, job).with_context(place).map_err(Failure::refused)
}

/// The records of a job, from whoever holds it. Its owner is sent all of them; anybody else as many as fit one message,
/// without the last, which says what the result says.
async fn asked(mut client: Client, job: &JobId) -> Result<Vec<Record>, Failure> {
    let answer = client.ask(&Question::Job { job: job.clone() }).await.map_err(failed_client)?;
    let QueryAnswer::Job { summary, records, .. } = answer else {
        return Err(unexpected(&answer).hint("`foa jobs list` lists those there are"));
    };
    let mut known = records;
    if summary.owner.as_ref() == Some(client.id()) {
        let all = followed(&mut client, job, summary.records).await?;
        if all.len() >= known.len() {
            known = all;
        }
    }
    client.close().await;
    if known.first().is_none_or(|first| first.index.0 != 1) {
        let first = known.first().map_or(summary.records, |first| first.index.0);
        let failure = anyhow::anyhow!("wanted the log of {job} from its first record, found it from {first}");
        return Err(Failure::refused(failure)
            .hint("its owner gets all of it; so does `foa jobs export` on a coordinator, for --file"));
    }
    Ok(known)
}

/// The first `wanted` records of a job of ours, or as many as come in time.
async fn followed(client: &mut Client, job: &JobId, wanted: u64) -> Result<Vec<Record>, Failure> {
    client.follow(job).await.map_err(failed_client)?;
    let mut follow = Follow::new(job.clone(), 1, true);
    follow.ask(client).await.map_err(failed_client)?;
    let until = Instant::now() + WITHIN;
    let mut all = Vec::new();
    while follow.wanted() <= wanted {
        let Ok(next) = timeout_at(until, follow.next(client)).await else { break };
        match next.map_err(failed_client)? {
            Followed::Records(records) => all.extend(records),
            Followed::Other(_) => {}
        }
    }
    Ok(all)
}
