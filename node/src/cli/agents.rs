//! `foa agents`: who can do what, and what was refused; cards in and out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use foa_capability::AgentCard;
use foa_node_core::query::{AgentSummary, QueryAnswer, Question};
use foa_wire::AgentId;

use super::{Place, agents_import, failed_client, terminal, unexpected};
use crate::client::Client;
use crate::exit::Failure;
use crate::render;

/// List the agents a coordinator knows, show one, show what was refused, or move cards in and out
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Example:\n  foa agents\n  foa agents show calc@abacus\n  foa agents rejected\n  foa agents import openapi.yaml -o card.json\n  foa agents export calc@abacus -o card.json"
)]
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
    Import(agents_import::Args),
    /// Write an agent's signed card as plain A2A JSON, for others
    Export {
        /// Its id, or agent@name when only one is called so
        agent: String,
        /// Write it to this file [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
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
        Some(Command::Import(args)) => agents_import::run(args).await,
        Some(Command::Export { agent, output }) => export(place, agent, output).await,
        Some(Command::Rejected { json }) => rejected(place, json).await,
    }
}

async fn list(place: &Place, json: bool) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let mut agents = Vec::new();
    loop {
        let after = agents.last().map(|a: &AgentSummary| a.agent.clone());
        let (page, more) = page(&mut client, after).await?;
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

/// The agents that follow, and whether there are more. Where coordinators share cards out, each is asked for its own.
async fn page(client: &mut Client, after: Option<AgentId>) -> Result<(Vec<AgentSummary>, bool), Failure> {
    let question = Question::Agents { after };
    let answer = client.ask(&question).await.map_err(failed_client)?;
    let QueryAnswer::Agents { agents, more, elsewhere } = answer else { return Err(unexpected(&answer)) };
    if elsewhere == 0 {
        return Ok((agents, more));
    }
    let mut all: BTreeMap<AgentId, AgentSummary> = BTreeMap::new();
    // Behind the end of the shortest page that goes on, not everybody has spoken.
    let mut until: Option<AgentId> = None;
    for (_, answer) in client.ask_all(&question).await.map_err(failed_client)? {
        let QueryAnswer::Agents { agents, more, .. } = answer else { continue };
        if let (true, Some(last)) = (more, agents.last()) {
            until = Some(until.map_or(last.agent.clone(), |until| until.min(last.agent.clone())));
        }
        all.extend(agents.into_iter().map(|agent| (agent.agent.clone(), agent)));
    }
    let page = all.into_values().filter(|a| until.as_ref().is_none_or(|until| a.agent <= *until)).collect();
    Ok((page, until.is_some()))
}

async fn show(place: &Place, agent: String, json: bool) -> Result<ExitCode, Failure> {
    let (card, summary) = one(place, agent).await?;
    if json {
        terminal::print_json(&card);
    } else {
        terminal::print(&render::card(&card, &summary, terminal::stdout_style()));
    }
    Ok(ExitCode::SUCCESS)
}

async fn export(place: &Place, agent: String, output: Option<PathBuf>) -> Result<ExitCode, Failure> {
    let (card, _) = one(place, agent).await?;
    match output {
        None => terminal::print_json(&card),
        Some(path) => agents_import::save(&path, &card)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn one(place: &Place, agent: String) -> Result<(Box<AgentCard>, AgentSummary), Failure> {
    let mut client = place.client().await?;
    let answer = client.ask(&Question::Agent { agent }).await.map_err(failed_client)?;
    client.close().await;
    match answer {
        QueryAnswer::Agent { card, summary } => Ok((card, summary)),
        other => Err(unexpected(&other).hint("`foa agents` lists those there are")),
    }
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
