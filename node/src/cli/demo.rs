//! `foa demo`: see [`crate::demo`].

use std::path::PathBuf;
use std::process::ExitCode;

use super::submit;
use crate::demo;
use crate::exit::Failure;

/// Run a whole federation on this machine and ask it something
///
/// A broker and five nodes, each with its own key, journal and connection, answer a question that none of them can
/// answer alone. Without a language model, unless OPENAI_BASE_URL names one.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  foa demo\n  foa demo --docs ~/notes \"What did we decide about backups, and why?\"\n  foa demo --serve --port 1883"
)]
pub(super) struct Args {
    /// What to ask [default: a question about this repository]
    question: Option<String>,
    /// Answer from the documents in this folder: Markdown, plain text, HTML [default: this repository's own]
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
    /// Stay up for other clients until ctrl-C
    #[arg(long)]
    serve: bool,
    /// The broker's port; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// Run each node as a process of its own
    #[arg(long)]
    processes: bool,
    /// Print the whole result as JSON
    #[arg(long, conflicts_with = "serve")]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let json = args.json;
    let options = demo::Options {
        question: args.question,
        docs: args.docs,
        serve: args.serve,
        port: args.port,
        processes: args.processes,
    };
    match demo::run(options).await? {
        Some(result) => submit::shown(&result, json),
        None => Ok(ExitCode::SUCCESS),
    }
}
