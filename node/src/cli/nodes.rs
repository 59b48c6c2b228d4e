//! `foa nodes`: who is there.

use std::process::ExitCode;

use foa_node_core::query::{QueryAnswer, Question};

use super::{Place, failed_client, terminal, unexpected};
use crate::client;
use crate::exit::Failure;
use crate::render;

/// List the nodes a coordinator knows
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa nodes --json | jq '.[] | select(.online) | .node'")]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let answer = client.ask(&Question::Nodes).await.map_err(failed_client)?;
    client.close().await;
    let QueryAnswer::Nodes { nodes } = answer else { return Err(unexpected(&answer)) };
    if args.json {
        terminal::print_json(&nodes);
    } else {
        terminal::print(&render::nodes(&nodes, client::now(), terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}
