//! `foa agents`: who can do what, and what was refused.

use std::collections::BTreeMap;
use std::process::ExitCode;

use foa_node_core::query::{QueryAnswer, Question};

use super::{Place, failed_client, terminal, unexpected};
use crate::exit::Failure;
use crate::render;

/// List the agents a coordinator knows, show one, or show what was refused
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Example:\n  foa agents\n  foa agents show calc@abacus\n  foa agents rejected")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The same as `foa agents rejected`
    #[arg(long)]
    rejected: bool,
}

#[derive(clap::Subcommand)]
enum Command {
    /// List all agents
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one agent's card
    Show {
        /// Its id, or agent@name when only one is called so
        agent: String,
        /// Print the signed card as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which messages and cards were refused, by reason
    Rejected {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    match args.command {
        None if args.rejected => rejected(place, args.json).await,
        None => list(place, args.json).await,
        Some(Command::List { json }) => list(place, json).await,
        Some(Command::Show { agent, json }) => show(place, agent, json).await,
        Some(Command::Rejected { json }) => rejected(place, json).await,
    }
}

async fn list(place: &Place, json: bool) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let mut agents = Vec::new();
    loop {
        let after = agents.last().map(|a: &foa_node_core::query::AgentSummary| a.agent.clone());
        let answer = client.ask(&Question::Agents { after }).await.map_err(failed_client)?;
        let QueryAnswer::Agents { agents: page, more } = answer else { return Err(unexpected(&answer)) };
        let empty = page.is_empty();
        agents.extend(page);
        if !more || empty {
            break;
        }
    }
    client.close().await;
    if json {
        terminal::print_json(&agents);
    } else {
        terminal::print(&render::agents(&agents, terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(place: &Place, agent: String, json: bool) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let answer = client.ask(&Question::Agent { agent }).await.map_err(failed_client)?;
    client.close().await;
    let QueryAnswer::Agent { card, summary } = answer else {
        return Err(unexpected(&answer).hint("`foa agents` lists those there are"));
    };
    if json {
        terminal::print_json(&card);
    } else {
        terminal::print(&render::card(&card, &summary, terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Each coordinator counts what it refused itself; shown together.
async fn rejected(place: &Place, json: bool) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let answers = client.ask_all(&Question::Rejected).await.map_err(failed_client)?;
    client.close().await;
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    let mut latest = Vec::new();
    for (_, answer) in answers {
        let QueryAnswer::Rejected { counts, recent } = answer else { return Err(unexpected(&answer)) };
        for (reason, n) in counts {
            *all.entry(reason).or_default() += n;
        }
        latest.extend(recent);
    }
    latest.sort_by_key(|refusal| std::cmp::Reverse(refusal.at));
    latest.truncate(50);
    if json {
        terminal::print_json(&serde_json::json!({ "counts": all, "recent": latest }));
    } else {
        terminal::print(&render::rejected(&all, &latest, terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}
