//! Making a step again, by the functions that made it first: from the state before it and the grounds in its record.
//!
//! Nothing is asked here. Where the machine would ask what a text means, the step cannot be made again.

use super::ask::RouteKey;
use super::finish::WAITING;
use super::{Command, Commands, JobMachine, JobState, Phase};
use crate::decision::Decision;
use crate::grounds::{Grounds, Unusable};
use crate::journal::{Purpose, Record, Step};
use crate::result::Status;

/// What came of making a step again.
#[derive(Debug)]
pub(crate) struct Again {
    /// What the machine writes, if anything.
    pub(crate) step: Option<Step>,
    /// What it would need to know.
    pub(crate) lacks: Option<String>,
    /// The answers of the directory it chose from.
    pub(crate) decisions: Vec<(RouteKey, Decision)>,
}

/// Whether a step follows from the log before it. The others say what came from outside: a submission, a reply, a failure,
/// a takeover, a cancellation.
pub(crate) fn is_decision(step: &Step) -> bool {
    match step {
        Step::Accepted { .. }
        | Step::TookOver { .. }
        | Step::Answered { .. }
        | Step::Failed { .. }
        | Step::Cancelled { .. } => false,
        Step::Routed { .. }
        | Step::Merged { .. }
        | Step::Adopted { .. }
        | Step::Assigned { .. }
        | Step::Reassigned { .. }
        | Step::Dispatched { .. }
        | Step::Clustered { .. }
        | Step::RoundClosed { .. }
        | Step::Settled { .. }
        | Step::Ended { .. } => true,
    }
}

/// Makes the step of `record` again, from the state before it.
pub(crate) fn again(before: &JobState, record: &Record) -> Again {
    let mut machine = JobMachine::at(before.clone());
    let mut made = Again { step: None, lacks: None, decisions: Vec::new() };
    match machine.recalled(&record.step) {
        Ok(decisions) => made.decisions = decisions,
        Err(unusable) => {
            made.lacks = Some(unusable.to_string());
            return made;
        }
    }
    for (key, decision) in &made.decisions {
        machine.known(key.clone(), decision.clone());
    }
    // Whether a job that never began was still waiting for others is not in its log.
    machine.queued = match &record.step {
        Step::Ended { result, .. } => !machine.begun() && waited(&result.status),
        _ => false,
    };
    let mut out = Commands::new();
    if let Step::Merged { input, .. } = &record.step
        && machine.stop(record.at).is_none()
        && machine.proposals_are_in()
    {
        let step = machine.merged(machine.proposals(), input.vectors.clone(), record.at);
        machine.commit(step, record.at, &mut out);
    } else {
        machine.step_about(&record.step, record.at, &mut out);
    }
    for command in out {
        match command {
            Command::Commit(record) => made.step = made.step.or(Some(record.step)),
            Command::Embed(texts) => made.lacks = Some(lacking(before, &record.step, texts.len())),
            Command::Route { .. }
            | Command::Send(_)
            | Command::Withdraw { .. }
            | Command::Post { .. }
            | Command::Moderate { .. }
            | Command::Grade { .. } => {}
        }
    }
    made
}

/// Whether a job's end says that it never began.
fn waited(status: &Status) -> bool {
    matches!(status, Status::Failed { reason } if reason.ends_with(WAITING))
}

/// Why the machine would ask for meanings.
fn lacking(before: &JobState, step: &Step, texts: usize) -> String {
    let routes = match before.phase() {
        Phase::Routing | Phase::Assigning | Phase::Synthesising => true,
        Phase::Working => matches!(step, Step::Reassigned { .. }),
        Phase::Proposing | Phase::Voting | Phase::Ended => false,
    };
    if routes {
        "the log does not say what it rests on; version 0.1.0 wrote none".to_owned()
    } else {
        format!("it depends on what {texts} texts mean, which the log does not keep")
    }
}

impl JobMachine {
    /// The answers of the directory that a record keeps, as the machine had them.
    fn recalled(&self, step: &Step) -> Result<Vec<(RouteKey, Decision)>, Unusable> {
        let Some(grounds) = grounds(step) else { return Ok(Vec::new()) };
        let mut decisions = Vec::new();
        for question in &grounds.questions {
            let key = match &question.of {
                None if self.state.phase() == Phase::Routing => RouteKey::Task,
                None => RouteKey::Synthesiser,
                Some(of) => {
                    let again = self.state.subtasks.get(of).filter(|_| self.state.assigned);
                    let attempt = again.map_or(0, |subtask| subtask.reassigned + 1);
                    if question.any_skill || !self.wishes_skills(of) {
                        RouteKey::SubtaskAnySkill(of.clone(), attempt)
                    } else {
                        RouteKey::Subtask(of.clone(), attempt)
                    }
                }
            };
            if let Some(asked) = self.state.asked(&key) {
                decisions.push((key, grounds.decision(question, asked)?));
            }
        }
        Ok(decisions)
    }

    /// Does what comes next about what a step is about: of several subtasks that can move, the log has them in turn.
    fn step_about(&mut self, step: &Step, at: foa_wire::Time, out: &mut Commands) {
        let plan = self.state.plan.as_ref().map(|(plan, _)| plan.clone());
        match (self.subtask_about(step), plan) {
            (Some(key), Some(plan)) if self.stop(at).is_none() && self.state.phase() == Phase::Working => {
                if plan.get(&key).is_some() {
                    self.advance(&plan, &key, at, out);
                }
            }
            (Some(_) | None, _) => {
                self.step(at, out);
            }
        }
    }

    fn subtask_about(&self, step: &Step) -> Option<String> {
        match step {
            Step::Reassigned { subtask, .. }
            | Step::Clustered { subtask, .. }
            | Step::Settled { subtask, .. } => Some(subtask.clone()),
            Step::RoundClosed { cluster, .. } => self.subtask_of(cluster),
            Step::Dispatched { orders, .. } => match &orders.first()?.purpose {
                Purpose::Draft { subtask } => Some(subtask.clone()),
                Purpose::Refine { cluster, .. } => self.subtask_of(cluster),
                Purpose::Propose | Purpose::Solo | Purpose::Judge | Purpose::Synthesise => None,
            },
            Step::Accepted { .. }
            | Step::TookOver { .. }
            | Step::Routed { .. }
            | Step::Answered { .. }
            | Step::Failed { .. }
            | Step::Merged { .. }
            | Step::Adopted { .. }
            | Step::Assigned { .. }
            | Step::Cancelled { .. }
            | Step::Ended { .. } => None,
        }
    }
}

/// The grounds that a step keeps.
fn grounds(step: &Step) -> Option<&Grounds> {
    match step {
        Step::Routed { grounds, .. }
        | Step::Assigned { grounds, .. }
        | Step::Reassigned { grounds, .. }
        | Step::Dispatched { grounds, .. }
        | Step::Settled { grounds, .. }
        | Step::Ended { grounds, .. } => grounds.as_deref(),
        Step::Accepted { .. }
        | Step::TookOver { .. }
        | Step::Answered { .. }
        | Step::Failed { .. }
        | Step::Merged { .. }
        | Step::Adopted { .. }
        | Step::Clustered { .. }
        | Step::RoundClosed { .. }
        | Step::Cancelled { .. } => None,
    }
}
