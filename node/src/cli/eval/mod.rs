//! `foa eval`: how good it is at what it does.

use std::process::ExitCode;

use crate::exit::Failure;

mod routing;

/// Measure how good foa is, on labelled sets
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa eval routing --set metatool --data ../shared/data")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Routing(routing::Args),
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Routing(args) => routing::run(args).await,
    }
}
