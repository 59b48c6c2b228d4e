//! `foa node`: one node of a federation.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::{Place, Stop, failed_config, terminal};
use crate::config::{Flag, Value};
use crate::exit::Failure;
use crate::launch;
use crate::model::{SledCache, VectorCache};

/// Run a node: its agents, and the coordinator if it has that role
///
/// Its agents stand in the configuration file as [[agent]] tables. ctrl-C or SIGTERM finishes what it has, tells the
/// others, and exits 0.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa node --config deploy/config/cygnus.toml\n  foa node --name atlas --role coordinator"
)]
pub(super) struct Args {
    /// What people call it [default: node] [env: FOA_NODE_NAME]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Where it keeps its key and journal [default: foa/<name> in your data directory] [env: FOA_DATA_DIR]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// coordinator or worker; may be repeated [default: both] [env: FOA_ROLES]
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Run the broker in this process too, on the broker's address [default: false] [env: FOA_BROKER_EMBEDDED]
    #[arg(long)]
    embedded_broker: bool,
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let mut flags = Vec::new();
    let mut flag = |path, name, value| flags.push(Flag { path, name, value });
    if let Some(name) = args.name {
        flag("node.name", "--name", Value::Text(name));
    }
    if let Some(dir) = args.data_dir {
        flag("node.data_dir", "--data-dir", Value::Text(dir.to_string_lossy().into_owned()));
    }
    if !args.role.is_empty() {
        flag("node.roles", "--role", Value::List(args.role));
    }
    if args.embedded_broker {
        flag("broker.embedded", "--embedded-broker", Value::Bool(true));
    }
    let config = place.layers(flags)?.node().map_err(failed_config)?;

    // From here on ctrl-C is ours to answer.
    let mut stop = Stop::listen().map_err(Failure::broken)?;
    let mut running = tokio::select! {
        running = async {
            let vectors = SledCache::open(&config.vectors()).map_err(|error| {
                let hint = error.hint();
                Failure::broken(error).maybe_hint(hint)
            })?;
            let vectors: Arc<dyn VectorCache> = Arc::new(vectors);
            let also = super::load_second_model(vectors.clone()).await?;
            let embedder = super::load_model(Some(vectors), 1).await?;
            launch::start(&config, embedder, also).await
        } => running?,
        () = stop.told() => return Ok(ExitCode::SUCCESS),
    };
    terminal::note(&format!("{} starts, broker {}", running.node(), running.broker()));
    let told = tokio::select! {
        () = running.ready() => false,
        () = stop.told() => true,
    };
    if !told {
        terminal::note(&format!("{} is ready", running.node()));
        tokio::select! {
            () = stop.told() => {}
            ended = running.ended() => return ended.map(|()| ExitCode::SUCCESS),
        }
    }
    terminal::note("stopping: finishing what is here, telling the others; ctrl-C again stops at once");
    tokio::select! {
        drained = running.drain(config.drain) => drained?,
        () = stop.told() => {}
    }
    Ok(ExitCode::SUCCESS)
}
