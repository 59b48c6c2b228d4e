//! `foa route`: whom a task would go to, and why.

use std::collections::BTreeSet;
use std::process::ExitCode;

use foa_capability::{Money, Policy};
use foa_node_core::query::{QueryAnswer, Question};

use super::{Place, failed_client, terminal, unexpected};
use crate::exit::Failure;
use crate::render;

/// Show whom a task would go to, without doing it
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foa route \"translate a contract\" --policy gdpr --explain")]
pub(super) struct Args {
    /// The task, in words
    text: String,
    /// Show every factor of the score, the threshold, the versions, and who was not chosen and why
    #[arg(long)]
    explain: bool,
    /// A policy the agent must be authorised for; may be repeated
    #[arg(long, value_name = "POLICY")]
    policy: Vec<Policy>,
    /// A skill the agent must have; may be repeated
    #[arg(long, value_name = "SKILL")]
    skill: Vec<String>,
    /// Money there is, in units of the federation's currency [default: no limit]
    #[arg(long, value_name = "AMOUNT")]
    budget: Option<Money>,
    /// Candidates wanted, at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args, place: &Place) -> Result<ExitCode, Failure> {
    let mut client = place.client().await?;
    let question = Question::Route {
        text: args.text,
        policies: args.policy.into_iter().collect(),
        skills: args.skill.into_iter().collect::<BTreeSet<_>>(),
        budget: args.budget,
        limit: args.limit,
    };
    let answer = client.ask(&question).await.map_err(failed_client)?;
    client.close().await;
    let QueryAnswer::Route { routed } = answer else { return Err(unexpected(&answer)) };
    if args.json {
        terminal::print_json(&routed);
    } else if args.explain {
        terminal::print(&render::route(&routed, terminal::stdout_style()));
    } else {
        let lines: Vec<String> = routed
            .candidates
            .iter()
            .map(|c| {
                format!(
                    "{:.3}  {}{}",
                    c.alpha,
                    c.agent,
                    if c.passes { "" } else { "  (below the threshold)" }
                )
            })
            .collect();
        terminal::print(&lines.join("\n"));
    }
    if routed.candidates.is_empty() {
        let unmet = routed.unmet.as_ref().map_or("no agent is known", |u| u.requirement.as_str());
        return Err(Failure::refused(anyhow::anyhow!("nobody can do this: {unmet}"))
            .hint("--explain shows who came nearest"));
    }
    Ok(ExitCode::SUCCESS)
}
