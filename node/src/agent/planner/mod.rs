//! The rule-based planner: breaks a task down by its grammar, judges plans, puts parts together. No language model.
//!
//! [`propose`] reads the task in three steps: `clauses` cuts it where one request ends and the next begins, `compare`
//! turns a comparison into a look at each side and a computation over both, and `depend` finds which clause refers
//! to which. Every agent without a model proposes and judges through here.

mod clauses;
mod compare;
mod depend;
mod judge;

use std::collections::BTreeSet;

use async_trait::async_trait;
use foa_capability::AgentProfile;
use foa_workflows::work::{Answer, Ask, ProposeLimits, ProposedSubtask, Usage};
use serde::{Deserialize, Serialize};

use super::text::capitalised;
use super::{Agent, Context, Failure, Reply};
pub use judge::judge;

/// The skill a subtask takes when it computes: the one word of the planner's vocabulary.
pub const CALCULATION: &str = "calculation";

/// How finely a planner cuts. Two agents of different grain honestly propose different plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// Sentences, enumerations, sequences and comparisons.
    Coarse,
    /// Also questions and objects joined by "and".
    #[default]
    Fine,
}

/// One subtask while the plan is made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// What is to be done, readable alone.
    text: String,
    /// Whether it computes.
    computes: bool,
    /// Positions of the steps it builds on.
    after: BTreeSet<usize>,
}

/// How this task would be broken down: subtasks `s1`, `s2`, … and the dependencies between them.
#[must_use]
pub fn propose(task: &str, limits: ProposeLimits, grain: Grain) -> (Vec<ProposedSubtask>, Vec<[String; 2]>) {
    let clauses = clauses::split(task, grain);
    let mut steps = depend::steps(&clauses);
    shrink(&mut steps, limits.max.max(1));
    if steps.is_empty() {
        steps.push(Step { text: task.trim().to_owned(), computes: false, after: BTreeSet::new() });
    }
    let key = |i: usize| format!("s{}", i + 1);
    let subtasks = steps.iter().enumerate().map(|(i, step)| ProposedSubtask {
        key: key(i),
        description: capitalised(&step.text),
        skills: step.computes.then(|| CALCULATION.to_owned()).into_iter().collect(),
        ..ProposedSubtask::default()
    });
    let edges = steps
        .iter()
        .enumerate()
        .flat_map(|(i, step)| step.after.iter().map(move |&before| [key(before), key(i)]))
        .collect();
    (subtasks.collect(), edges)
}

/// Joins steps until at most `max` are left: the last two neighbours that both only look things up, or else the last two.
fn shrink(steps: &mut Vec<Step>, max: usize) {
    while steps.len() > max {
        let alike =
            |i: &usize| !steps[*i].computes && !steps[i + 1].computes && !steps[i + 1].after.contains(i);
        let at = (0..steps.len() - 1).rev().find(alike).unwrap_or(steps.len() - 2);
        let gone = steps.remove(at + 1);
        let kept = &mut steps[at];
        kept.text = format!("{}; {}", kept.text.trim_end_matches(['.', ';', ' ']), gone.text);
        kept.computes |= gone.computes;
        kept.after.extend(gone.after);
        kept.after.remove(&at);
        for step in steps.iter_mut() {
            step.after = step.after.iter().map(|&b| if b > at { b - 1 } else { b }).collect();
        }
        for (i, step) in steps.iter_mut().enumerate() {
            step.after.retain(|&b| b < i);
        }
    }
}

/// What any agent without a language model answers to `propose` and `judge`; `None` for other asks.
pub(super) fn answer(ask: &Ask, grain: Grain) -> Option<Reply> {
    let answer = match ask {
        Ask::Propose { task, limits } => {
            let (subtasks, edges) = propose(task, *limits, grain);
            Answer::Proposal { subtasks, edges }
        }
        Ask::Judge { task, plan } => match judge(task, plan) {
            Ok(()) => Answer::Verdict { approve: true, reason: None },
            Err(reason) => Answer::Verdict { approve: false, reason: Some(reason) },
        },
        Ask::Draft { .. } | Ask::Refine { .. } | Ask::Synthesise { .. } => return None,
    };
    Some(Reply { answer, usage: Usage::default() })
}

/// An agent that plans and puts together, and answers nothing itself.
#[derive(Clone, Debug)]
pub struct Planner {
    profile: AgentProfile,
    grain: Grain,
}

impl Planner {
    /// A planner that states `profile`.
    #[must_use]
    pub fn new(profile: AgentProfile, grain: Grain) -> Self {
        Self { profile, grain }
    }
}

#[async_trait]
impl Agent for Planner {
    fn profile(&self) -> AgentProfile {
        self.profile.clone()
    }

    async fn answer(&self, ask: Ask, _: Context) -> Result<Reply, Failure> {
        if let Some(reply) = answer(&ask, self.grain) {
            return Ok(reply);
        }
        Ok(match ask {
            Ask::Synthesise { task, parts, mode, lead } => {
                super::synthesise(&task, &parts, mode, lead.as_deref())
            }
            _ => Reply::declined("a planner breaks tasks down and puts answers together, it holds none"),
        })
    }
}

#[cfg(test)]
mod tests;
