//! `foa artifacts`: what is too large for a message.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use foa_wire::{ArtifactId, JobId};
use foa_workflows::work::Artifact;
use serde_json::json;

use super::terminal::Spinner;
use super::{Place, Stop, failed_config, terminal};
use crate::artifact::handover::{self, HandoverError};
use crate::artifact::{ArtifactStore, Mover, StoreError};
use crate::client::{self, Client};
use crate::exit::Failure;
use crate::render;

/// See, fetch and remove artifacts: content too large for a message
///
/// A result names them as blake3:… and agents and attachments make them. They move from node to node, past the broker.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa submit --attach report.md \"What does the report conclude?\"\n  foa artifacts get blake3:… -o answer.md"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List what the node of this configuration keeps, the last used first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a file to two coordinators, and print its name
    Put {
        /// The file
        file: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch an artifact from whoever holds it; after an interruption it goes on where it stopped
    Get {
        /// Its name: blake3:…
        id: ArtifactId,
        /// Write it to this file [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove an artifact from the node of this configuration
    Rm {
        /// Its name: blake3:…
        id: ArtifactId,
    },
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    match args.command {
        Command::List { json } => list(place, json),
        Command::Put { file, json } => put(place, &file, json).await,
        Command::Get { id, output } => get(place, id, output.as_deref()).await,
        Command::Rm { id } => {
            store(place)?.remove(&id).map_err(failed_store)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The store of the node of this configuration.
fn store(place: &Place) -> Result<ArtifactStore, Failure> {
    let config = place.layers(Vec::new())?.node().map_err(failed_config)?;
    let dir = config.artifacts_dir();
    if !dir.is_dir() {
        return Err(Failure::refused(anyhow::anyhow!(
            "wanted a node's artifacts in {}, found none",
            dir.display()
        ))
        .hint("name the node's configuration: foa --config FILE artifacts list"));
    }
    ArtifactStore::look(&dir, config.artifacts.limits).map_err(failed_store)
}

fn list(place: &Place, as_json: bool) -> Result<ExitCode, Failure> {
    let kept = store(place)?.list();
    if as_json {
        let list: Vec<_> = kept
            .iter()
            .map(|k| json!({"artifact": k.id, "bytes": k.bytes, "used": k.used, "whole": k.whole, "jobs": k.jobs}))
            .collect();
        terminal::print_json(&list);
    } else {
        terminal::print(&render::artifacts(&kept, client::now(), terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn put(place: &Place, file: &Path, as_json: bool) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let spinner = Spinner::start("handing over");
    let attached = attach(&[file.to_owned()], None, &mut client, place, &spinner).await?;
    drop(spinner);
    client.close().await;
    for artifact in &attached {
        if as_json {
            terminal::print_json(artifact);
        } else {
            terminal::print(&artifact.artifact.to_string());
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(place: &Place, id: ArtifactId, output: Option<&Path>) -> Result<ExitCode, Failure> {
    let mut stop = Stop::listen().map_err(Failure::broken)?;
    // Beside the file, so that what was fetched is there for the next try.
    let (dir, temporary) = match output {
        Some(output) => {
            let mut name = output.as_os_str().to_owned();
            name.push(".partial");
            (PathBuf::from(name), None)
        }
        None => {
            let dir = tempfile::tempdir().map_err(Failure::broken)?;
            (dir.path().to_owned(), Some(dir))
        }
    };
    let mut client = place.client().await?;
    let mover = peer(place, &client, &dir, false).await?;
    let spinner = Spinner::start("asking who holds it");
    let fetched = handover::fetch(&mut client, &mover, id, |progress| {
        let percent = u64::from(progress.have) * 100 / u64::from(progress.pieces.max(1));
        spinner.say(&format!("fetching {}: {percent} %", render::bytes(progress.bytes)));
    });
    tokio::select! {
        fetched = fetched => fetched.map_err(failed)?,
        () = stop.told() => {
            drop(spinner);
            terminal::note("stopped; the same command goes on from here");
            return Ok(ExitCode::from(1));
        }
    };
    drop(spinner);
    client.close().await;
    let wrote = match output {
        Some(path) => File::create(path)
            .map_err(Failure::broken)
            .and_then(|mut file| mover.store().copy(&id, &mut file, client::now()).map_err(failed_store)),
        None => {
            let mut stdout = io::stdout().lock();
            let copied = mover.store().copy(&id, &mut stdout, client::now()).map_err(failed_store);
            copied.and_then(|bytes| stdout.flush().map(|()| bytes).map_err(Failure::broken))
        }
    }?;
    if let Some(path) = output {
        fs::remove_dir_all(&dir).map_err(Failure::broken)?;
        terminal::note(&format!("{} in {}", render::bytes(wrote), path.display()));
    }
    drop(temporary);
    Ok(ExitCode::SUCCESS)
}

/// Gives files to the coordinators before their job is submitted.
pub(super) async fn attach(
    files: &[PathBuf],
    job: Option<&JobId>,
    client: &mut Client,
    place: &Place,
    spinner: &Spinner,
) -> Result<Vec<Artifact>, Failure> {
    let dir = tempfile::tempdir().map_err(Failure::broken)?;
    let mover = peer(place, client, dir.path(), true).await?;
    let mut attached = Vec::new();
    for path in files {
        spinner.say(&format!("handing over {}", path.display()));
        let named = path.to_str().and_then(|text| text.parse::<ArtifactId>().ok());
        let artifact = match named {
            Some(id) => handover::find(client, id).await.map_err(failed)?,
            None => handover::attach(client, &mover, path, job).await.map_err(failed)?,
        };
        let holders: Vec<&str> = artifact.holders.iter().map(|node| node.name().as_str()).collect();
        spinner.note(&format!(
            "attached {} ({}): {}, kept by {}",
            path.display(),
            render::bytes(artifact.bytes),
            artifact.artifact,
            holders.join(", ")
        ));
        attached.push(artifact);
    }
    Ok(attached)
}

/// A host under our own key, for as long as this command runs. Only who gives needs to be called.
async fn peer(place: &Place, client: &Client, dir: &Path, gives: bool) -> Result<Mover, Failure> {
    let config = place.layers(Vec::new())?.artifacts();
    let mut limits = config.limits;
    // A person asked for it by name: the quota of a node is no reason to refuse.
    limits.quota = u64::MAX;
    let store = ArtifactStore::open(dir, limits).map_err(failed_store)?;
    let (listen, announce) = if gives { (config.listen, config.announce) } else { (Vec::new(), Vec::new()) };
    Mover::start(client.key().clone(), listen, announce, store).await.map_err(|error| {
        Failure::broken(anyhow::Error::new(error).context("artifacts.listen"))
            .hint("an address like /ip4/0.0.0.0/udp/0/quic-v1 where the coordinators can reach this machine")
    })
}

fn failed_store(error: StoreError) -> Failure {
    let hint = error.hint().map(str::to_owned);
    Failure::refused(error).maybe_hint(hint)
}

fn failed(error: HandoverError) -> Failure {
    let hint = match &error {
        HandoverError::Store(error) => error.hint().map(str::to_owned),
        HandoverError::Client(error) => error.hint(),
        HandoverError::NotKept { .. } => Some(
            "can the coordinators reach this machine? artifacts.listen and artifacts.announce say where"
                .to_owned(),
        ),
        HandoverError::Nowhere { .. } => {
            Some("it may have expired; `foa nodes` lists who is there".to_owned())
        }
        HandoverError::File { .. } | HandoverError::Move(_) => None,
    };
    Failure::refused(error).maybe_hint(hint)
}
