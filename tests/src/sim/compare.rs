//! Two runs side by side: what they cost and what came of them.

use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::{Options, World};

/// What is compared: a name, and where a report has it.
const ROWS: [(&str, &str); 15] = [
    ("jobs submitted", "/jobs/submitted"),
    ("jobs completed", "/jobs/completed"),
    ("jobs in part", "/jobs/partial"),
    ("jobs open", "/jobs/open"),
    ("median, ms", "/jobs/median_ms"),
    ("99th, ms", "/jobs/p99_ms"),
    ("makespan, ms", "/jobs/makespan_ms"),
    ("rounds", "/jobs/rounds"),
    ("messages", "/messages/published"),
    ("messages a job", "/messages/per_job"),
    ("bytes", "/messages/bytes"),
    ("bytes a job", "/messages/bytes_per_job"),
    ("syncs", "/syncs"),
    ("healed, ms", "/healed_ms"),
    ("simulated, ms", "/simulated_ms"),
];

/// A report: read from a JSON file that `sim run --json` wrote, or made by running a scenario.
///
/// # Errors
/// When the file is neither.
pub fn report(file: &Path) -> anyhow::Result<Value> {
    if file.extension().is_some_and(|extension| extension == "json") {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        return serde_json::from_str(&text).with_context(|| format!("{} is no report", file.display()));
    }
    let options = Options { bytes: true, ..Options::read(file)? };
    let report = World::new(options).run();
    serde_json::from_str(&report.json()).context("a report reads back")
}

/// The two of them as a table.
#[must_use]
pub fn table(a: &Value, b: &Value) -> String {
    let mut lines = vec![format!("{:<16} {:>14} {:>14} {:>9}", "", "A", "B", "B / A")];
    let recall = |report: &Value| {
        let answered = |n: usize| report.pointer(&format!("/jobs/answered/{n}")).and_then(Value::as_f64);
        Some(answered(1)? * 1000.0 / answered(0)?.max(1.0))
    };
    let rows = ROWS.iter().map(|(name, at)| {
        let number = |report: &Value| report.pointer(at).and_then(Value::as_f64);
        (*name, number(a), number(b))
    });
    for (name, a, b) in rows.chain([("recall, 1/1000", recall(a), recall(b))]) {
        let shown = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.1}"));
        let ratio = a.zip(b).filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a);
        let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        lines.push(format!("{name:<16} {:>14} {:>14} {ratio:>9}", shown(a), shown(b)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn two_reports_stand_side_by_side() {
        let report = |n: u64| json!({ "jobs": { "submitted": 4, "answered": [10, n] }, "syncs": n });
        let table = table(&report(5), &report(10));
        let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("syncs").ends_with("2.00"), "{table}");
        assert!(line("recall").contains("500.0") && line("recall").contains("1000.0"), "{table}");
        assert!(line("makespan").contains('-'), "{table}");
    }
}
