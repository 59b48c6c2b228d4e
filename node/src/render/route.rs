//! Why a task would go to whom: every candidate with every factor of its score, and who lost by what.

use foa_capability::route::{Candidate, Routed};

use super::{Style, Table, count};

/// The decision in full.
#[must_use]
pub fn route(routed: &Routed, style: Style) -> String {
    let mut out = format!(
        "{} considered, {} search, threshold {:.2}",
        count(routed.considered, "agent"),
        routed.engine,
        routed.threshold
    );
    if let Some(model) = &routed.model {
        out.push_str(&format!(", vectors of {model}"));
    }
    if let Some(seed) = routed.seed {
        out.push_str(&format!(", seed {seed:016x}"));
    }
    out.push('\n');
    if let Some(spread) = &routed.spread {
        out.push_str(&format!("{} of {} shards are near", spread.asked, spread.shards));
        out.push_str(&format!(", {} asked", count(spread.nodes, "other coordinator")));
        if !spread.silent.is_empty() {
            let silent = format!("; nobody answered for {} of them", spread.silent.len());
            out.push_str(&style.yellow(&silent));
        }
        out.push('\n');
    }
    if !routed.candidates.is_empty() {
        let mut table = Table::new(&[
            "AGENT",
            "SCORE",
            "",
            "SIM",
            "DENSE",
            "LEX",
            "EXP",
            "POL",
            "RES",
            "PRICE",
            "LOAD",
            "SPEC",
            "REP",
            "TURN",
            "VERSION",
            "BEST VECTOR",
        ]);
        routed.candidates.iter().for_each(|c| table.row(row(c)));
        out.push_str(&format!("\n{}", table.render(style)));
        out.push_str(&style.dim("score = sim × pol × res × price × load × spec × rep × turn; sim = 1 − (1 − max(dense, exp)) × (1 − lex)\n"));
    }
    if !routed.losers.is_empty() {
        let mut table = Table::new(&["NOT CHOSEN", "SIM", "WHY"]);
        for loser in &routed.losers {
            table.row(vec![
                loser.agent.short(),
                format!("{:.3}", loser.similarity),
                loser.reason.to_string(),
            ]);
        }
        out.push_str(&format!("\n{}", table.render(style)));
    }
    if let Some(unmet) = &routed.unmet {
        let nearest = unmet.nearest.as_ref().map_or_else(String::new, |n| {
            format!("; nearest is {} ({:.3}), {}", n.agent.short(), n.similarity, n.reason)
        });
        let line = format!(
            "nobody meets: {} ({} everything else{nearest})\n",
            unmet.requirement,
            count(unmet.lacked_by, "agent") + if unmet.lacked_by == 1 { " meets" } else { " meet" }
        );
        out.push_str(&format!("\n{}", style.yellow(&line)));
    }
    out
}

fn row(candidate: &Candidate) -> Vec<String> {
    let f = &candidate.factors;
    let number = |x: f64| format!("{x:.2}");
    vec![
        candidate.agent.short(),
        format!("{:.3}", candidate.alpha),
        if candidate.passes { "pass" } else { "low" }.to_owned(),
        format!("{:.3}", f.similarity),
        format!("{:.3}", f.dense),
        number(f.lexical),
        f.experience.map_or_else(|| "-".to_owned(), number),
        number(f.policy),
        number(f.resources),
        number(f.price),
        number(f.load),
        number(f.spec),
        number(f.reputation),
        number(f.turn),
        format!("{}.{}", candidate.version.0, candidate.version.1),
        f.best_vector.clone(),
    ]
}
