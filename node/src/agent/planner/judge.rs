//! Whether a merged plan still does the task it was made for.

use foa_workflows::Plan;

use super::{CALCULATION, compare};
use crate::agent::text::{shortened, term_set};

/// Share of the task's words that must come back in the plan.
const COVERED: f64 = 0.6;

/// Approves, or says what is wrong.
///
/// # Errors
/// With the reason, for people.
pub fn judge(task: &str, plan: &Plan) -> Result<(), String> {
    let mut wanted = term_set(task);
    // Numbers of a list are not content.
    wanted.retain(|w| w.len() > 2 || !w.chars().all(|c| c.is_ascii_digit()));
    let said: Vec<_> = plan.subtasks().iter().map(|s| term_set(&s.description)).collect();
    for (subtask, terms) in plan.subtasks().iter().zip(&said) {
        if terms.is_empty() {
            return Err(format!(
                "subtask {} asks for nothing: {:?}",
                subtask.key,
                shortened(&subtask.description, 60)
            ));
        }
    }
    let same = |a: &str, b: &str| a.trim().eq_ignore_ascii_case(b.trim());
    for (i, a) in plan.subtasks().iter().enumerate() {
        if let Some(j) = (0..i).find(|&j| same(&plan.subtasks()[j].description, &a.description)) {
            return Err(format!("subtasks {} and {} ask the same", plan.subtasks()[j].key, a.key));
        }
    }
    for subtask in plan.subtasks() {
        let numbers = subtask.description.chars().any(|c| c.is_ascii_digit());
        let computes = subtask.skills.contains(CALCULATION) && compare::computes(&subtask.description);
        if computes && !numbers && plan.before(&subtask.key).is_empty() {
            return Err(format!("subtask {} computes with values no other subtask finds", subtask.key));
        }
    }
    let missing: Vec<&str> =
        wanted.iter().filter(|w| !said.iter().any(|terms| terms.contains(*w))).map(String::as_str).collect();
    let covered = 1.0 - missing.len() as f64 / wanted.len().max(1) as f64;
    if covered < COVERED {
        let percent = (covered * 100.0).round();
        return Err(format!("the plan covers {percent} % of the task's words, not: {}", missing.join(", ")));
    }
    Ok(())
}
