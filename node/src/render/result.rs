//! A job's answer, and below it everything it rests on.

use foa_workflows::JobResult;
use foa_workflows::result::Status;
use foa_workflows::work::{Evidence, Part, PartOutcome};

use super::record::{adopted, names};
use super::{Style, bytes, count, duration, one_line, wrapped};

/// Passages shown of one part.
const EVIDENCE: usize = 3;

/// The answer, then its provenance: plan, votes, who did what, rounds, dissent, failures, cost and time.
#[must_use]
pub fn result(result: &JobResult, style: Style) -> String {
    let mut out = String::new();
    let answer = result.answer.trim();
    match (&result.status, answer.is_empty()) {
        (_, false) => out.push_str(&wrapped(answer, "", style.width)),
        (Status::Failed { reason }, true) => {
            out.push_str(&wrapped(&format!("no answer: {reason}"), "", style.width));
        }
        (Status::Cancelled, true) => out.push_str("no answer: cancelled\n"),
        (Status::Completed | Status::Partial, true) => out.push_str("no answer\n"),
    }
    let mut section = |title: &str, body: String| {
        if !body.is_empty() {
            out.push_str(&format!("\n{}\n{body}", style.bold(title)));
        }
    };
    section("Rests on", result.parts.iter().map(|part| rests_on(part, style)).collect());
    section("Plan", plan(result, style));
    section("Who did what", contributors(result, style));
    section("Dissent", dissent(result, style));
    section("Came to nothing", failures(result, style));
    section("Mind", result.warnings.iter().map(|w| bullet(w, style)).collect());
    out.push_str(&format!("\n{}", wrapped(&bill(result), "", style.width)));
    out
}

fn bullet(text: &str, style: Style) -> String {
    let body = wrapped(text, "    ", style.width);
    format!("  - {}", body.trim_start())
}

fn rests_on(part: &Part, style: Style) -> String {
    let PartOutcome::Answered { evidence, .. } = &part.outcome else { return String::new() };
    evidence.iter().take(EVIDENCE).map(|e| quoted(&part.key, e, style)).collect()
}

fn quoted(key: &str, evidence: &Evidence, style: Style) -> String {
    let held_by =
        evidence.held_by.as_ref().map_or_else(String::new, |agent| format!(", held by {}", agent.short()));
    let source = format!("{key}: {}{held_by} ({:.2})", evidence.source, evidence.score);
    let quote = one_line(&evidence.quote, 4 * style.width);
    let artifact = evidence.artifact.as_ref().map_or_else(String::new, |artifact| {
        format!("    {} ({})\n", artifact.artifact, bytes(artifact.bytes))
    });
    format!(
        "  {}\n{}{artifact}",
        one_line(&source, style.width - 2),
        wrapped(&format!("“{quote}”"), "    ", style.width)
    )
}

fn plan(result: &JobResult, style: Style) -> String {
    let mut out = String::new();
    if let Some(how) = &result.adoption {
        out.push_str(&bullet(&adopted(how), style));
    }
    let Some(plan) = &result.plan else { return out };
    for subtask in plan.subtasks() {
        let before = plan.before(&subtask.key);
        let after = if before.is_empty() { String::new() } else { format!(" (after {})", before.join(", ")) };
        out.push_str(&bullet(&format!("{}{after}: {}", subtask.key, subtask.description), style));
        let Some(part) = result.parts.iter().find(|p| p.key == subtask.key) else { continue };
        let rounds = result.rounds.iter().find(|r| r.subtask == subtask.key);
        let outcome = match &part.outcome {
            PartOutcome::Answered { authors, confidence, dissent, .. } => {
                let rounds = rounds.map_or_else(String::new, |r| {
                    format!(", {}, {} % agree", count(r.rounds as usize, "round"), r.agreement / 10)
                });
                let dissent =
                    if dissent.is_empty() { String::new() } else { format!(", {} dissent", dissent.len()) };
                format!("answered by {}, confidence {confidence:.2}{rounds}{dissent}", names(authors.iter()))
            }
            PartOutcome::Failed { reason } => format!("failed: {reason}"),
        };
        out.push_str(&wrapped(&outcome, "      ", style.width));
    }
    out
}

fn contributors(result: &JobResult, style: Style) -> String {
    let line = |c: &foa_workflows::result::Contributor| {
        let model = c.usage.model.as_ref().map_or_else(String::new, |m| format!(" with {m}"));
        let cost = if c.usage.cost.0 == 0 { String::new() } else { format!(", cost {}", c.usage.cost) };
        bullet(&format!("{}{model}: {}{cost}", c.agent.short(), c.did.join(", ")), style)
    };
    result.contributors.iter().map(line).collect()
}

fn dissent(result: &JobResult, style: Style) -> String {
    let mut out = String::new();
    for part in &result.parts {
        if let PartOutcome::Answered { dissent, .. } = &part.outcome {
            for other in dissent {
                let said = one_line(&other.contribution.text, 3 * style.width);
                out.push_str(&bullet(&format!("{} on {}: {said}", other.author.short(), part.key), style));
            }
        }
    }
    let met = result.rounds.iter().any(|r| r.members.len() > 1);
    if out.is_empty() && met {
        out = bullet("none: those who refined together agree", style);
    }
    out
}

fn failures(result: &JobResult, style: Style) -> String {
    let line = |f: &foa_workflows::result::Failure| {
        bullet(&format!("{} by {}: {}, {}", f.purpose, f.agent.short(), f.reason, f.detail), style)
    };
    result.failures.iter().map(line).collect()
}

/// The last line: how it ended, how long each phase took, what it cost, which job it was.
fn bill(result: &JobResult) -> String {
    let total = u64::try_from(result.ended.since(result.accepted).as_millis()).unwrap_or(u64::MAX);
    let phases: Vec<String> =
        result.phases.iter().map(|p| format!("{} {}", p.phase, duration(p.ms))).collect();
    let phases = if phases.is_empty() { String::new() } else { format!(" ({})", phases.join(", ")) };
    let budget = result.budget.map_or_else(String::new, |b| format!(" of {b}"));
    let tokens = match result.usage.tokens_in + result.usage.tokens_out {
        0 => String::new(),
        _ => format!(", {} tokens read, {} written", result.usage.tokens_in, result.usage.tokens_out),
    };
    format!(
        "{} in {}{phases}, cost {}{budget}{tokens}, job {} held by {}",
        result.status.name(),
        duration(total),
        result.usage.cost,
        result.job,
        result.term.holder.name()
    )
}
