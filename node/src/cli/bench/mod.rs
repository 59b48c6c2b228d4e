//! `foa bench`: what this machine can do.

use std::process::ExitCode;
use std::time::Duration;

use crate::exit::Failure;

mod jobs;
mod routing;
mod store;

/// Measure this machine: its disk, how many jobs it carries, and how fast it finds who fits
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa bench jobs --in-flight 16\n  foa bench store --dir /var/lib/foa\n  foa bench routing --agents 10000"
)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Jobs(jobs::Args),
    Store(store::Args),
    Routing(routing::Args),
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Jobs(args) => jobs::run(args).await,
        Command::Routing(args) => {
            tokio::task::spawn_blocking(move || routing::run(&args)).await.expect("measuring does not panic")
        }
        Command::Store(args) => {
            tokio::task::spawn_blocking(move || store::run(&args)).await.expect("measuring does not panic")
        }
    }
}

/// Times, to be asked what share of them was how fast.
#[derive(Debug, Default)]
struct Times(Vec<Duration>);

impl Times {
    /// In milliseconds, the time that this share (‰) of all took at most.
    fn quantile(&mut self, share: usize) -> f64 {
        self.0.sort_unstable();
        let at = (self.0.len() * share / 1000).min(self.0.len().saturating_sub(1));
        self.0.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    }

    fn mean(&self) -> f64 {
        let all: Duration = self.0.iter().sum();
        all.as_secs_f64() * 1000.0 / self.0.len().max(1) as f64
    }
}
