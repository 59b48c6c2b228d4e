//! Agents, nodes, jobs and refusals as tables.

use std::collections::BTreeMap;

use foa_capability::card::AgentCard;
use foa_node_core::query::{AgentSummary, JobSummary};
use foa_node_core::refusal::Refusal;
use foa_node_core::status::{NodeStatus, Role};
use foa_wire::Time;

use crate::artifact::Kept;

use super::{Style, Table, bytes, count, duration, one_line, wrapped};

/// Agents, one a line.
#[must_use]
pub fn agents(agents: &[AgentSummary], style: Style) -> String {
    if agents.is_empty() {
        return "no agents\n".to_owned();
    }
    let mut table =
        Table::new(&["AGENT", "KIND", "STATE", "QUEUE", "SKILLS", "PRICE", "POLICIES", "DESCRIPTION"]);
    for agent in agents {
        let policies: Vec<String> = agent.policies.iter().map(ToString::to_string).collect();
        table.row(vec![
            agent.agent.short(),
            agent.kind.clone(),
            if agent.online { "online" } else { "offline" }.to_owned(),
            agent.load.queue.to_string(),
            agent.skills.to_string(),
            agent.price.to_string(),
            if policies.is_empty() { "-".to_owned() } else { policies.join(",") },
            agent.description.clone(),
        ]);
    }
    table.render(style)
}

/// One agent in full.
#[must_use]
pub fn card(card: &AgentCard, summary: &AgentSummary, style: Style) -> String {
    let mut out = format!("{}\n", style.bold(&summary.agent.to_string()));
    let mut line = |name: &str, value: String| {
        out.push_str(&format!("  {name:<12}{}\n", one_line(&value, style.width.saturating_sub(14))));
    };
    line("kind", summary.kind.clone());
    line("state", if summary.online { "online" } else { "offline" }.to_owned());
    line("version", summary.version.to_string());
    line("model", card.capability().model.to_string());
    line(
        "price",
        format!("{} a piece of work, at most {}", summary.price, card.capability().offer.worst_case()),
    );
    line("concurrency", card.capability().offer.concurrency.to_string());
    let policies: Vec<String> = summary.policies.iter().map(ToString::to_string).collect();
    line("policies", if policies.is_empty() { "none".to_owned() } else { policies.join(", ") });
    out.push_str(&wrapped(&summary.description, "  ", style.width));
    for skill in card.skills() {
        out.push_str(&format!(
            "  - {}: {}\n",
            skill.name,
            one_line(&skill.description, style.width.saturating_sub(8))
        ));
    }
    out
}

/// Nodes, one a line.
#[must_use]
pub fn nodes(nodes: &[NodeStatus], now: Time, style: Style) -> String {
    if nodes.is_empty() {
        return "no nodes\n".to_owned();
    }
    let mut table = Table::new(&["NODE", "STATE", "ROLES", "JOBS", "VERSION", "SEEN"]);
    for node in nodes {
        let roles = node.roles.iter().map(|role| match role {
            Role::Coordinator => "coordinator",
            Role::Worker => "worker",
        });
        let state = match (node.online, node.draining) {
            (false, _) => "offline",
            (true, true) => "draining",
            (true, false) => "online",
        };
        table.row(vec![
            node.node.to_string(),
            state.to_owned(),
            roles.collect::<Vec<_>>().join(","),
            node.jobs.to_string(),
            node.version.clone(),
            ago(node.at, now),
        ]);
    }
    table.render(style)
}

/// Jobs, one a line.
#[must_use]
pub fn jobs(jobs: &[JobSummary], now: Time, style: Style) -> String {
    if jobs.is_empty() {
        return "no jobs\n".to_owned();
    }
    let mut table = Table::new(&["JOB", "PHASE", "HELD BY", "ACCEPTED", "TOOK", "SPENT", "TASK"]);
    for job in jobs {
        let took = job.ended.unwrap_or(now).since(job.accepted);
        table.row(vec![
            job.job.to_string(),
            job.phase.clone(),
            job.term.holder.name().to_string(),
            ago(job.accepted, now),
            duration(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            job.spent.to_string(),
            job.task.clone(),
        ]);
    }
    table.render(style)
}

/// Artifacts, one a line.
#[must_use]
pub fn artifacts(kept: &[Kept], now: Time, style: Style) -> String {
    if kept.is_empty() {
        return "no artifacts\n".to_owned();
    }
    let mut table = Table::new(&["ARTIFACT", "SIZE", "STATE", "JOBS", "USED"]);
    for one in kept {
        table.row(vec![
            one.id.to_string(),
            bytes(one.bytes),
            if one.whole { "whole" } else { "partial" }.to_owned(),
            one.jobs.to_string(),
            ago(one.used, now),
        ]);
    }
    table.render(style)
}

/// What was refused: counts by name, then the latest.
#[must_use]
pub fn rejected(counts: &BTreeMap<String, u64>, recent: &[Refusal], style: Style) -> String {
    if counts.is_empty() {
        return "nothing was refused\n".to_owned();
    }
    let mut table = Table::new(&["REASON", "COUNT"]);
    for (reason, n) in counts {
        table.row(vec![reason.clone(), n.to_string()]);
    }
    let mut out = table.render(style);
    if !recent.is_empty() {
        let mut table = Table::new(&["AT", "REASON", "SENDER", "SUBJECT", "DETAIL"]);
        for refusal in recent {
            table.row(vec![
                refusal.at.to_string().get(11..19).unwrap_or_default().to_owned(),
                refusal.reason.clone(),
                one_line(&refusal.sender, 40),
                one_line(&refusal.subject, 40),
                refusal.detail.clone(),
            ]);
        }
        out.push_str(&format!("\nlatest {}\n{}", count(recent.len(), "refusal"), table.render(style)));
    }
    out
}

fn ago(at: Time, now: Time) -> String {
    let ms = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    if ms < 1000 { "now".to_owned() } else { format!("{} ago", duration(ms / 1000 * 1000)) }
}
