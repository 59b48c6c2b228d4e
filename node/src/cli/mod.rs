//! The command line: one file for each command.
//!
//! stdout is the answer and nothing else, stderr is for people. Exit code 0: done; 1: refused or failed; 2: usage or
//! surroundings are broken.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::client::{Client, ClientError};
use crate::config::{self, ConfigError, Flag, Layers, Value};
use crate::exit::Failure;
use crate::telemetry::{self, Verbosity};

mod agents;
mod agents_import;
mod artifacts;
mod bench;
mod broker;
mod completions;
mod config_show;
mod demo;
mod doctor;
mod doctor_store;
mod eval;
mod jobs;
mod jobs_file;
mod model;
mod node;
mod nodes;
mod plan_file;
mod replay;
mod route;
mod signal;
mod submit;
pub mod terminal;

pub(crate) use self::model::{load as load_model, load_second as load_second_model};
pub(crate) use self::signal::Stop;
pub(crate) use self::submit::wait as wait_for;

/// A federation of agents over MQTT: they advertise what they can do, break tasks down by consensus, refine answers
/// together, and say what every answer rests on
#[derive(Parser)]
#[command(name = "foa", version, propagate_version = true, arg_required_else_help = true)]
#[command(
    after_help = "Example:\n  foa demo            a whole federation in one command\n  foa submit \"How many bytes may an agent card have?\""
)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

/// Where the federation is.
#[derive(clap::Args, Clone, Debug, Default)]
struct Place {
    /// Configuration file [default: foa/foa.toml in your configuration directory] [env: FOA_CONFIG]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Federation")]
    config: Option<PathBuf>,
    /// Broker [default: mqtt://127.0.0.1:1883] [env: FOA_BROKER_URL]
    #[arg(long, global = true, value_name = "URL", help_heading = "Federation")]
    broker: Option<String>,
    /// First part of every topic [default: foa] [env: FOA_NAMESPACE]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Federation")]
    namespace: Option<String>,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Broker(broker::Args),
    Node(node::Args),
    Submit(submit::Args),
    Jobs(jobs::Args),
    Agents(agents::Args),
    Nodes(nodes::Args),
    Artifacts(artifacts::Args),
    Route(route::Args),
    Replay(replay::Args),
    Model(model::Args),
    Config(config_show::Args),
    Doctor(doctor::Args),
    Bench(bench::Args),
    Eval(eval::Args),
    Completions(completions::Args),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let verbosity = match cli.command {
        Command::Node(_) | Command::Broker(_) => Verbosity::Service,
        Command::Demo(_)
        | Command::Submit(_)
        | Command::Jobs(_)
        | Command::Agents(_)
        | Command::Nodes(_)
        | Command::Artifacts(_)
        | Command::Route(_)
        | Command::Replay(_)
        | Command::Model(_)
        | Command::Config(_)
        | Command::Doctor(_)
        | Command::Bench(_)
        | Command::Eval(_)
        | Command::Completions(_) => Verbosity::Command,
    };
    let outcome = telemetry::start(verbosity).map_err(Failure::broken).and_then(|()| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime =
            runtime.map_err(|e| Failure::broken(anyhow::Error::new(e).context("cannot start threads")))?;
        let outcome = runtime.block_on(run(cli));
        // A blocking read of a peer's machine must not hold up the end.
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        outcome
    });
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            terminal::note(&failure.to_string());
            failure.code()
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let place = cli.place;
    match cli.command {
        Command::Demo(args) => demo::run(args).await,
        Command::Broker(args) => broker::run(args, &place).await,
        Command::Node(args) => node::run(args, &place).await,
        Command::Submit(args) => submit::run(args, &place).await,
        Command::Jobs(args) => jobs::run(args, &place).await,
        Command::Agents(args) => agents::run(args, &place).await,
        Command::Artifacts(args) => artifacts::run(args, &place).await,
        Command::Nodes(args) => nodes::run(args, &place).await,
        Command::Route(args) => route::run(args, &place).await,
        Command::Replay(args) => replay::run(args, &place).await,
        Command::Model(args) => model::run(args).await,
        Command::Config(args) => config_show::run(&args, &place),
        Command::Doctor(args) => doctor::run(args, &place).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Eval(args) => eval::run(args).await,
        Command::Completions(args) => {
            completions::run(&args, Cli::command());
            Ok(ExitCode::SUCCESS)
        }
    }
}

impl Place {
    /// Everything that was said about the surroundings, with these flags on top.
    fn layers(&self, mut flags: Vec<Flag>) -> Result<Layers, Failure> {
        let text = |path, name, value: &Option<String>| {
            value.as_ref().map(|v| Flag { path, name, value: Value::Text(v.clone()) })
        };
        flags.extend(text("broker.url", "--broker", &self.broker));
        flags.extend(text("node.namespace", "--namespace", &self.namespace));
        let layers = config::load(self.config.as_deref(), flags).map_err(failed_config)?;
        for warning in &layers.warnings {
            terminal::note(&format!("warning: {warning}"));
        }
        Ok(layers)
    }

    /// A connection to the federation.
    async fn client(&self) -> Result<Client, Failure> {
        let config = self.layers(Vec::new())?.client().map_err(failed_config)?;
        let spinner = terminal::Spinner::start(&format!("connecting to {}", config.broker));
        let client = Client::connect(config).await.map_err(failed_client);
        drop(spinner);
        client
    }
}

fn failed_config(error: ConfigError) -> Failure {
    let hint = error.hint();
    Failure::broken(error).maybe_hint(hint)
}

fn failed_client(error: ClientError) -> Failure {
    let hint = error.hint();
    let failure = if error.is_environment() { Failure::broken(error) } else { Failure::refused(error) };
    failure.maybe_hint(hint)
}

/// A coordinator answered something else than what was asked: it does not know, or it speaks another version.
fn unexpected(answer: &foa_node_core::query::QueryAnswer) -> Failure {
    match answer {
        foa_node_core::query::QueryAnswer::Unknown { detail } => {
            Failure::refused(anyhow::anyhow!("{detail}"))
        }
        _ => Failure::refused(anyhow::anyhow!("wanted the answer to the question asked, found another one"))
            .hint("are foa and the coordinator of one version? `foa nodes` shows theirs"),
    }
}
