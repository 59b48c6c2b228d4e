//! The decisions of a job, made again: what was asked, who was chosen from whom, and whether it comes out the same.

use std::collections::BTreeSet;

use foa_wire::AgentId;
use foa_workflows::Replay;
use foa_workflows::decision::{Candidate, Decision};
use foa_workflows::journal::{Record, Step};
use foa_workflows::replay::{Answered, Counts, Outcome};
use serde_json::Value;

use super::{Style, Table, Telling, brief, count, wrapped};

/// Characters shown of what differs, on either side of where it begins.
const AROUND: usize = 60;

/// Every decision with its grounds, and how many came out the same.
#[must_use]
pub fn replay(replay: &Replay, records: &[Record], style: Style) -> String {
    let mut out = String::new();
    let mut telling = Telling::default();
    let mut decisions = replay.decisions.iter().peekable();
    for record in records {
        let line = telling.line(record, Style { width: style.width.saturating_sub(8), ..style });
        let Some(decision) = decisions.next_if(|d| d.index == record.index) else { continue };
        let mark = match &decision.outcome {
            Outcome::Reproduced => style.green("✓"),
            Outcome::Differs { .. } => style.red("✗"),
            Outcome::CannotBeRecomputed { .. } => style.dim("–"),
        };
        out.push_str(&format!("{mark} {:<5} {line}\n", format!("#{}", record.index)));
        let chosen = chosen(&record.step);
        for answered in &decision.routed {
            out.push_str(&question(answered, &chosen, style));
        }
        match &decision.outcome {
            Outcome::Reproduced => {}
            Outcome::Differs { logged, recomputed } => out.push_str(&difference(logged, recomputed.as_ref())),
            Outcome::CannotBeRecomputed { reason } => {
                out.push_str(&wrapped(&format!("not recomputed: {reason}"), "    ", style.width));
            }
        }
    }
    let Counts { reproduced, differ, cannot } = replay.counts();
    let counts = format!(
        "{}: {reproduced} reproduced, {differ} differ, {cannot} cannot be recomputed from the log alone",
        count(replay.decisions.len(), "decision")
    );
    out.push_str(&if differ > 0 { style.red(&counts) } else { style.bold(&counts) });
    out.push('\n');
    out
}

/// Whom a step gives something to do.
fn chosen(step: &Step) -> BTreeSet<&AgentId> {
    match step {
        Step::Routed { orders, .. } | Step::Dispatched { orders, .. } => {
            orders.iter().map(|o| &o.agent).collect()
        }
        Step::Assigned { teams, .. } => teams.values().flatten().map(|s| &s.agent).collect(),
        Step::Reassigned { team, .. } => team.iter().map(|s| &s.agent).collect(),
        Step::Accepted { .. }
        | Step::TookOver { .. }
        | Step::Answered { .. }
        | Step::Failed { .. }
        | Step::Merged { .. }
        | Step::Adopted { .. }
        | Step::Clustered { .. }
        | Step::RoundClosed { .. }
        | Step::Settled { .. }
        | Step::Cancelled { .. }
        | Step::Ended { .. } => BTreeSet::new(),
    }
}

fn question(answered: &Answered, chosen: &BTreeSet<&AgentId>, style: Style) -> String {
    let decision = &answered.decision;
    let said = format!("{}: {}", answered.about, asked(decision));
    let mut out = wrapped(&said, "    ", style.width);
    if !decision.candidates.is_empty() {
        let mut table = Table::new(&[
            "", "AGENT", "SCORE", "SIM", "DENSE", "LEX", "EXP", "RES", "PRICE", "LOAD", "SPEC", "REP",
            "TURN", "CARD",
        ]);
        decision.candidates.iter().for_each(|c| table.row(row(c, chosen.contains(&c.agent))));
        let rows = table.render(Style { width: style.width.saturating_sub(4), ..style });
        out.extend(rows.lines().map(|row| format!("    {row}\n")));
    }
    if !decision.lost.is_empty() {
        let lost: Vec<String> = decision.lost.iter().map(|(reason, n)| format!("{n} by {reason}")).collect();
        let nearest: Vec<String> = decision
            .nearest
            .iter()
            .map(|l| format!("{} ({:.3}) {}", l.agent.short(), l.similarity, l.reason))
            .collect();
        let mut said = format!("lost: {}", lost.join(", "));
        if !nearest.is_empty() {
            said.push_str(&format!("; nearest: {}", nearest.join("; ")));
        }
        out.push_str(&wrapped(&said, "    ", style.width));
    }
    out
}

/// The question in words: what, with which requirements, of whom.
fn asked(decision: &Decision) -> String {
    let (asked, scoring) = (&decision.asked, &decision.scoring);
    let mut said = vec![format!("{:?}", brief(&asked.text, 80))];
    let list = |what: &str, all: Vec<String>| format!("{what} {}", all.join(" "));
    if !asked.skills.is_empty() {
        said.push(list("skills", asked.skills.iter().cloned().collect()));
    }
    if !asked.policies.is_empty() {
        said.push(list("policies", asked.policies.iter().map(ToString::to_string).collect()));
    }
    if asked.needs != foa_capability::Needs::default() {
        said.push(format!("needs {}", serde_json::to_string(&asked.needs).unwrap_or_default()));
    }
    if let Some(budget) = asked.budget {
        said.push(format!("{budget} left"));
    }
    if !asked.exclude.is_empty() {
        said.push(list("without", asked.exclude.iter().map(AgentId::short).collect()));
    }
    said.push(if asked.allow_write { "writing allowed" } else { "reading only" }.to_owned());
    said.push(format!("seed {:016x}", asked.seed));
    said.push(format!("{} considered", count(decision.considered, "agent")));
    said.push(format!("{} search", decision.engine));
    said.push(format!("threshold {:.2}", scoring.threshold));
    if let Some(model) = &scoring.model {
        said.push(format!("vectors of {model}"));
    }
    said.join(", ")
}

fn row(candidate: &Candidate, is_chosen: bool) -> Vec<String> {
    let number = |x: f64| format!("{x:.3}");
    let mut row = vec![
        if is_chosen { "→" } else { "" }.to_owned(),
        candidate.agent.short(),
        format!("{:.6}", candidate.alpha),
    ];
    match &candidate.factors {
        Some(f) => {
            row.extend([number(f.similarity), number(f.dense), number(f.lexical)]);
            row.push(f.experience.map_or_else(|| "-".to_owned(), number));
            row.extend([f.resources, f.price, f.load, f.spec, f.reputation, f.turn].map(number));
        }
        // The log keeps the factors of the best and of the chosen.
        None => row.extend(std::iter::repeat_n("·".to_owned(), 10)),
    }
    row.push(format!("{}.{}", candidate.card.0, candidate.card.1));
    row
}

/// Where the two begin to differ, with a little around it.
fn difference(logged: &Value, recomputed: Option<&Value>) -> String {
    let logged = logged.to_string();
    let Some(recomputed) = recomputed.map(Value::to_string) else {
        return "    nothing was to be decided here\n".to_owned();
    };
    let (logged, recomputed): (Vec<char>, Vec<char>) =
        (logged.chars().collect(), recomputed.chars().collect());
    let same = logged.iter().zip(&recomputed).take_while(|(a, b)| a == b).count();
    let excerpt = |of: &[char]| -> String {
        of[same.saturating_sub(AROUND).min(of.len())..(same + AROUND).min(of.len())].iter().collect()
    };
    format!("    logged:     …{}…\n    recomputed: …{}…\n", excerpt(&logged), excerpt(&recomputed))
}
