//! Asking the directory: the questions of a job, each a pure function of what is true of the job, and their answers.

use std::collections::BTreeSet;

use foa_capability::parts;
use foa_capability::route::Routed;
use foa_wire::AgentId;

use super::state::JobState;
use super::{Command, Commands, JobMachine, SYNTHESIS_SKILL};
use crate::decision::{Asked, Candidate, Decision};
use crate::grounds::{About, Grounds};
use crate::journal::Scored;

/// A routing question of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKey {
    /// Who fits the whole task?
    Task,
    /// Who fits a subtask? The second part counts reassignments.
    Subtask(String, u32),
    /// The same, without insisting on the skills the proposers named.
    SubtaskAnySkill(String, u32),
    /// Who synthesises best?
    Synthesiser,
}

/// How far a routing question is.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// It is being asked.
    Asked(Asked),
    /// It was answered.
    Answered(Box<Decision>),
}

impl JobState {
    /// A routing question, as it follows from what is true of the job; `None` when it is about a subtask that is not in
    /// the plan.
    pub(super) fn asked(&self, key: &RouteKey) -> Option<Asked> {
        let task = &self.submission.task;
        let about = |text: &str| {
            let mut asked = Asked::new(&self.job, text);
            asked.policies.clone_from(&self.submission.policies);
            asked.skills.clone_from(&self.submission.skills);
            asked.budget = self.budget.left();
            asked
        };
        match key {
            RouteKey::Task => Some(about(task)),
            RouteKey::Synthesiser => {
                let mut asked = about(&format!("put the parts of an answer together: {task}"));
                asked.skills.insert(SYNTHESIS_SKILL.to_owned());
                Some(asked)
            }
            RouteKey::Subtask(of, attempt) | RouteKey::SubtaskAnySkill(of, attempt) => {
                let subtask = self.plan.as_ref()?.0.get(of)?;
                let mut asked = about(&subtask.description);
                asked.policies.extend(subtask.policies.iter().cloned());
                asked.needs = subtask.needs.clone();
                asked.allow_write = true;
                if *attempt > 0 {
                    asked.exclude.clone_from(&self.subtasks.get(of)?.tried);
                }
                if let RouteKey::Subtask(..) = key {
                    asked.skills.extend(subtask.skills.iter().cloned());
                }
                Some(asked)
            }
        }
    }
}

impl JobMachine {
    /// The answer to a routing question, or `None` while it is being found out what it means, or being asked.
    pub(super) fn routed(&mut self, key: RouteKey, out: &mut Commands) -> Option<Decision> {
        match self.routes.get(&key) {
            Some(Route::Answered(decision)) => return Some(Decision::clone(decision)),
            Some(Route::Asked(_)) => return None,
            None => {}
        }
        let asked = self.state.asked(&key)?;
        let texts = parts::texts(&asked.text);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let query = asked.query(self.meanings(&texts, out)?)?;
        self.routes.insert(key.clone(), Route::Asked(asked));
        out.push(Command::Route { key, query: Box::new(query) });
        None
    }

    /// Takes the directory's answer to a question that was asked.
    pub(super) fn answered(&mut self, key: &RouteKey, routed: Routed) {
        if let Some(route) = self.routes.get_mut(key)
            && let Route::Asked(asked) = route
        {
            *route = Route::Answered(Box::new(Decision::of(asked.clone(), routed)));
        }
    }

    /// The same, as a log keeps it.
    pub(super) fn known(&mut self, key: RouteKey, decision: Decision) {
        self.routes.insert(key, Route::Answered(Box::new(decision)));
    }

    /// Whether a question was asked already.
    pub(super) fn was_asked(&self, key: &RouteKey) -> bool {
        self.routes.contains_key(key)
    }

    /// Whether the plan wishes skills for a subtask.
    pub(super) fn wishes_skills(&self, key: &str) -> bool {
        let subtask = self.state.plan.as_ref().and_then(|(plan, _)| plan.get(key));
        subtask.is_some_and(|subtask| !subtask.skills.is_empty())
    }

    /// What the log keeps of the answers to these questions, and of whom they chose.
    pub(super) fn grounds(&self, keys: &[RouteKey], chosen: &BTreeSet<&AgentId>) -> Option<Box<Grounds>> {
        let mut decisions = Vec::new();
        for key in keys {
            let (of, any_skill) = match key {
                RouteKey::Task | RouteKey::Synthesiser => (None, false),
                RouteKey::Subtask(of, _) => (Some(of.as_str()), false),
                RouteKey::SubtaskAnySkill(of, _) => (Some(of.as_str()), self.wishes_skills(of)),
            };
            if let Some(Route::Answered(decision)) = self.routes.get(key) {
                decisions.push(About { of, any_skill, decision });
            }
        }
        Grounds::of(&decisions, chosen).map(Box::new)
    }
}

/// A candidate, as the log keeps it.
pub(super) fn scored(candidate: &Candidate) -> Scored {
    #[expect(clippy::cast_possible_truncation, reason = "a score is within 0 and 1")]
    let alpha = (candidate.alpha * 1e6).round() as i64;
    Scored {
        agent: candidate.agent.clone(),
        alpha,
        worst_case: candidate.worst_case,
        effects: candidate.effects,
        base_model: candidate.base_model.clone(),
    }
}
