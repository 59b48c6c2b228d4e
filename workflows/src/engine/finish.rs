//! Synthesis and the result: one answer that says who contributed what, what it cost, who disagreed, what failed
//! (algorithms §7).

use std::collections::BTreeMap;

use foa_wire::{AgentId, Time};

use super::state::{WorkState, WorkStatus};
use super::{Commands, JobMachine, RouteKey};
use crate::grounds::Grounds;
use crate::journal::{Adoption, Order, Purpose, Scored, Step, SubtaskOutcome};
use crate::plan::Plan;
use crate::result::{Contributor, JobResult, Rounds, Status};
use crate::synthesis;
use crate::work::{Answer, Part, PartOutcome, PeerContribution, SynthesisMode, Usage};

/// The skill of an agent that puts parts together.
pub const SYNTHESIS_SKILL: &str = "synthesis";

/// What a job does that has not begun.
pub(super) const WAITING: &str = "waiting for others to end";

/// Why a job ends.
pub(super) enum Why {
    /// Everything that could be done is.
    Done,
    /// Somebody stopped it.
    Cancelled,
    /// Its time is up.
    Deadline,
    /// It cannot be done, for this reason.
    Unable(String),
}

impl JobMachine {
    /// Has the parts put together by the agent best at it, or by the rules when there is none, then ends the job.
    pub(super) fn synthesise(&mut self, now: Time, out: &mut Commands) -> bool {
        let parts = self.parts();
        let answered = parts.iter().filter(|p| matches!(p.outcome, PartOutcome::Answered { .. })).count();
        if answered < 2 || self.last_step_is_the_answer() {
            self.finish(Why::Done, None, None, now, out);
            return true;
        }
        let ordered = self.state.works_for(|p| *p == Purpose::Synthesise).next().map(|w| w.status.clone());
        match ordered {
            Some(WorkStatus::Open) => false,
            Some(WorkStatus::Answered(Answer::Synthesis { text, .. })) => {
                self.finish(Why::Done, Some(text), None, now, out);
                true
            }
            Some(WorkStatus::Answered(_) | WorkStatus::Posted(_) | WorkStatus::Failed(..)) => {
                self.finish(Why::Done, None, None, now, out);
                true
            }
            None => self.ask_synthesiser(now, out),
        }
    }

    /// Whoever gave a plan whose last step builds on all others, and wants its parts one after the other, has said what the
    /// answer is: nobody needs to write it again.
    fn last_step_is_the_answer(&self) -> bool {
        let given = |(plan, how): &(Plan, Adoption)| {
            matches!(how, Adoption::Given { .. })
                && plan.sink().is_some_and(|last| self.outcome(last).is_some())
        };
        self.state.submission.synthesis == SynthesisMode::Concatenate
            && self.state.plan.as_ref().is_some_and(given)
    }

    fn ask_synthesiser(&mut self, now: Time, out: &mut Commands) -> bool {
        let Some(decision) = self.routed(RouteKey::Synthesiser, out) else { return false };
        let wanted = decision
            .candidates
            .first()
            .map(|best| (best.agent.clone(), best.worst_case, Purpose::Synthesise))
            .into_iter()
            .collect();
        let orders = self.orders(wanted, self.state.settings.synthesise_ms, now);
        let grounds = self.grounds(&[RouteKey::Synthesiser], &orders.iter().map(|o| &o.agent).collect());
        if orders.is_empty() {
            self.finish(Why::Done, None, grounds, now, out);
        } else {
            self.commit(Step::Dispatched { orders, grounds }, now, out);
        }
        true
    }

    /// The outcome of every subtask, in plan order; what is not done by now has failed.
    pub(super) fn parts(&self) -> Vec<Part> {
        let Some((plan, _)) = &self.state.plan else { return Vec::new() };
        let part = |subtask: &crate::plan::Subtask| Part {
            key: subtask.key.clone(),
            description: subtask.description.clone(),
            outcome: self.part_outcome(&subtask.key),
        };
        plan.subtasks().iter().map(part).collect()
    }

    fn part_outcome(&self, key: &str) -> PartOutcome {
        let state = &self.state.subtasks[key];
        match &state.outcome {
            None => PartOutcome::Failed { reason: "not done when the job ended".to_owned() },
            Some(SubtaskOutcome::Failed { reason }) => PartOutcome::Failed { reason: reason.clone() },
            Some(SubtaskOutcome::Answered { representative, dissent, .. }) => {
                let Some(entry) = self.state.entries.get(representative) else {
                    return PartOutcome::Failed { reason: "its answer was lost".to_owned() };
                };
                let contribution = entry.body().contribution().cloned().unwrap_or_default();
                let mut authors = vec![entry.author().clone()];
                for draft in self.state.drafts(key) {
                    if !authors.contains(draft.author()) {
                        authors.push(draft.author().clone());
                    }
                }
                let minority = dissent.iter().filter_map(|hash| {
                    let entry = self.state.entries.get(hash)?;
                    let (author, contribution) =
                        (entry.author().clone(), entry.body().contribution()?.clone());
                    Some(PeerContribution { author, contribution })
                });
                PartOutcome::Answered {
                    text: contribution.text,
                    evidence: contribution.evidence,
                    authors,
                    confidence: contribution.confidence,
                    dissent: minority.collect(),
                }
            }
        }
    }

    /// Ends the job: withdraws what is open and commits the result, and on which grounds nobody was asked.
    pub(super) fn finish(
        &mut self,
        why: Why,
        synthesis: Option<String>,
        grounds: Option<Box<Grounds>>,
        now: Time,
        out: &mut Commands,
    ) {
        let open = self.state.works.values().filter(|w| w.status == WorkStatus::Open);
        let open: Vec<Order> = open.map(|w| w.order.clone()).collect();
        for order in &open {
            self.withdraw(order, out);
        }
        self.sent.clear();
        let result = fitting(self.result(why, synthesis, now));
        self.commit(Step::Ended { result: Box::new(result), grounds }, now, out);
    }

    fn result(&self, why: Why, synthesis: Option<String>, now: Time) -> JobResult {
        let state = &self.state;
        let parts = self.parts();
        let total = parts.len();
        let answered = parts.iter().filter(|p| matches!(p.outcome, PartOutcome::Answered { .. })).count();
        let mut warnings = self.warnings();
        let task = state.submission.task.clone();
        let lead = state.plan.as_ref().and_then(|(plan, _)| plan.sink());
        let mechanical = || synthesis::synthesise(&task, &parts, state.submission.synthesis, lead);
        let mut answer = match (answered, synthesis) {
            (0, _) => String::new(),
            (_, Some(text)) => text,
            (_, None) => mechanical(),
        };
        let mut solo = None;
        if answered == 0
            && !matches!(why, Why::Cancelled)
            && let Some((agent, contribution)) = state.solo()
        {
            warnings.push(format!(
                "no part of the plan was answered; this is what {} answered alone",
                agent.short()
            ));
            let part = Part {
                key: "solo".to_owned(),
                description: task.clone(),
                outcome: PartOutcome::Answered {
                    text: contribution.text.clone(),
                    evidence: contribution.evidence.clone(),
                    authors: vec![agent.clone()],
                    confidence: contribution.confidence,
                    dissent: Vec::new(),
                },
            };
            let only = std::slice::from_ref(&part);
            answer = synthesis::synthesise(&task, only, SynthesisMode::Concatenate, None);
            solo = Some(part);
        }
        let status = match why {
            Why::Cancelled => Status::Cancelled,
            Why::Done if total > 0 && answered == total => Status::Completed,
            Why::Done if answered > 0 || solo.is_some() => Status::Partial,
            Why::Done => Status::Failed { reason: first_failure(&parts) },
            Why::Deadline if answered > 0 || solo.is_some() => {
                warnings.push(format!("the time of {} ms was up", state.settings.timeout_ms));
                Status::Partial
            }
            Why::Deadline => Status::Failed {
                reason: format!(
                    "deadline: nothing was answered within {} ms; it was {}",
                    state.settings.timeout_ms,
                    if self.queued { WAITING } else { state.phase().name() }
                ),
            },
            Why::Unable(reason) => Status::Failed { reason },
        };
        JobResult {
            job: state.job.clone(),
            term: state.term.clone(),
            status,
            task,
            answer,
            parts: solo.map_or(parts.clone(), |solo| parts.iter().cloned().chain([solo]).collect()),
            plan: state.plan.as_ref().map(|(plan, _)| plan.clone()),
            adoption: state.plan.as_ref().map(|(_, how)| how.clone()),
            rounds: self.rounds(),
            contributors: self.contributors(),
            failures: state.failures(),
            warnings,
            usage: state.usage(),
            budget: state.budget.limit(),
            accepted: state.accepted,
            ended: now,
            phases: state.phase_times(now),
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .state
            .overcharged
            .iter()
            .map(|(agent, excess)| format!("{} charged {excess} more than its cap", agent.short()))
            .collect();
        for (key, subtask) in &self.state.subtasks {
            let models: Vec<Option<&String>> =
                subtask.team.iter().map(|m: &Scored| m.base_model.as_ref()).collect();
            if let [Some(first), rest @ ..] = models.as_slice()
                && !rest.is_empty()
                && rest.iter().all(|m| *m == Some(*first))
            {
                warnings
                    .push(format!("everyone on {key} thinks with {first}; their agreement proves little"));
            }
        }
        warnings
    }

    fn rounds(&self) -> Vec<Rounds> {
        let Some((plan, _)) = &self.state.plan else { return Vec::new() };
        let rounds = |subtask: &crate::plan::Subtask| {
            let state = &self.state.subtasks[&subtask.key];
            let clusters = state.clusters.as_ref()?;
            let members = clusters.iter().flat_map(|c| c.members.clone()).collect();
            let (rounds, agreement) = match &state.outcome {
                Some(SubtaskOutcome::Answered { rounds, agreement, .. }) => (*rounds, *agreement),
                Some(SubtaskOutcome::Failed { .. }) | None => (0, 0),
            };
            Some(Rounds { subtask: subtask.key.clone(), members, rounds, agreement })
        };
        plan.subtasks().iter().filter_map(rounds).collect()
    }

    fn contributors(&self) -> Vec<Contributor> {
        let mut by_agent: BTreeMap<AgentId, Contributor> = BTreeMap::new();
        let delivered = |w: &&WorkState| matches!(w.status, WorkStatus::Answered(_) | WorkStatus::Posted(_));
        for work in self.state.works.values().filter(delivered) {
            let agent = work.order.agent.clone();
            let entry = by_agent.entry(agent.clone()).or_insert_with(|| Contributor {
                agent,
                did: Vec::new(),
                usage: Usage::default(),
            });
            entry.did.push(work.order.purpose.describe());
            entry.usage = entry.usage.plus(&work.usage);
        }
        by_agent.into_values().collect()
    }
}

/// Most bytes of a result: it must fit one envelope, and a record of the log, with room for both.
const MOST_BYTES: usize = 200 * 1024;

/// The same result, cut to what fits one message: what supports the answer goes before the answer does, and a warning
/// says so.
fn fitting(mut result: JobResult) -> JobResult {
    let fits = |r: &JobResult| serde_json::to_vec(r).is_ok_and(|bytes| bytes.len() <= MOST_BYTES);
    if fits(&result) {
        return result;
    }
    result.warnings.truncate(20);
    result.warnings.push("the result was cut to fit one message; the log has all of it".to_owned());
    for (quote, text, answer) in [(300, 20_000, 100_000), (120, 4_000, 60_000), (0, 500, 20_000)] {
        result.failures.truncate(50);
        for part in &mut result.parts {
            shorten(part, quote, text);
        }
        cut(&mut result.answer, answer);
        if fits(&result) {
            break;
        }
    }
    result
}

fn shorten(part: &mut Part, quote: usize, most: usize) {
    match &mut part.outcome {
        PartOutcome::Failed { reason } => cut(reason, most),
        PartOutcome::Answered { text, evidence, dissent, .. } => {
            cut(text, most);
            evidence.truncate(if quote == 0 { 0 } else { 5 });
            for e in evidence {
                cut(&mut e.quote, quote);
                cut(&mut e.source, 200);
            }
            dissent.truncate(3);
            for other in dissent {
                cut(&mut other.contribution.text, quote);
                other.contribution.evidence.clear();
            }
        }
    }
}

/// The first `most` bytes of a text, at a character's end.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
}

fn first_failure(parts: &[Part]) -> String {
    let reason = |part: &Part| match &part.outcome {
        PartOutcome::Failed { reason } => Some(format!("{}: {reason}", part.key)),
        PartOutcome::Answered { .. } => None,
    };
    parts.iter().find_map(reason).unwrap_or_else(|| "there was nothing to do".to_owned())
}
