//! Replaying a job: every decision in its log is made again, from what the log says before it and from its own grounds, by
//! the engine's own functions, and compared with what the log says, byte for byte.
//!
//! A decision that depends on what texts mean (who sits together, which answer represents them) needs the embedding model
//! and cannot be made again from the log alone; it is named as such.

use foa_wire::{Index, JobId, Time};
use serde::Serialize;
use serde_json::Value;

use crate::decision::Decision;
use crate::engine::{Again, BrokenLog, JobState, RouteKey, again, is_decision};
use crate::journal::{Record, Step};

/// A job's decisions, made again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    /// The job.
    pub job: JobId,
    /// How many records there are.
    pub records: usize,
    /// What was decided, in the order of the log.
    pub decisions: Vec<Replayed>,
}

/// A decision that was made again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replayed {
    /// The record that holds it.
    pub index: Index,
    /// When it was made.
    pub at: Time,
    /// The record's step, by name.
    pub step: &'static str,
    /// The answers of the directory that it chose from, scores and prices made again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routed: Vec<Answered>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A question to the directory, and the answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answered {
    /// What it was about: `task`, `synthesis`, or a subtask.
    pub about: String,
    /// The question and the answer.
    #[serde(flatten)]
    pub decision: Decision,
}

/// What came of making a decision again.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// It is what the log says, to the byte.
    Reproduced,
    /// It is something else.
    Differs {
        /// What the log says.
        logged: Value,
        /// What follows from the log; nothing when no decision was due.
        #[serde(skip_serializing_if = "Option::is_none")]
        recomputed: Option<Value>,
    },
    /// The log does not hold all that it depends on.
    CannotBeRecomputed {
        /// What is missing.
        reason: String,
    },
}

/// How many decisions came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// They are what the log says.
    pub reproduced: usize,
    /// They are something else.
    pub differ: usize,
    /// They cannot be made again from the log alone.
    pub cannot: usize,
}

impl Replay {
    /// Makes the decisions of a log again, as far as it goes.
    ///
    /// # Errors
    /// When the records are no log of a job.
    pub fn of(records: &[Record]) -> Result<Self, BrokenLog> {
        let (first, rest) = records.split_first().ok_or(BrokenLog::Empty)?;
        let mut state = JobState::accepted(first)?;
        let mut decisions = Vec::new();
        for record in rest {
            let wanted = state.last.next();
            if record.index != wanted {
                return Err(BrokenLog::Gap { wanted, found: record.index });
            }
            if is_decision(&record.step) {
                decisions.push(Replayed::of(&state, record));
            }
            state.apply(record);
        }
        Ok(Self { job: first.job.clone(), records: records.len(), decisions })
    }

    /// How many decisions came to what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for decision in &self.decisions {
            match decision.outcome {
                Outcome::Reproduced => counts.reproduced += 1,
                Outcome::Differs { .. } => counts.differ += 1,
                Outcome::CannotBeRecomputed { .. } => counts.cannot += 1,
            }
        }
        counts
    }

    /// The first decision that is not what the log says.
    #[must_use]
    pub fn difference(&self) -> Option<&Replayed> {
        self.decisions.iter().find(|d| matches!(d.outcome, Outcome::Differs { .. }))
    }
}

impl Replayed {
    fn of(before: &JobState, record: &Record) -> Self {
        let Again { step, lacks, decisions } = again(before, record);
        let json =
            |step: &Step| serde_json::to_string(step).expect("steps have string keys and finite numbers");
        let outcome = match (step, lacks) {
            (Some(step), _) if json(&step) == json(&record.step) => Outcome::Reproduced,
            (_, Some(reason)) => Outcome::CannotBeRecomputed { reason },
            (step, None) => {
                let value = |step: &Step| serde_json::to_value(step).unwrap_or_default();
                Outcome::Differs { logged: value(&record.step), recomputed: step.as_ref().map(value) }
            }
        };
        let answered = |(key, decision): (RouteKey, Decision)| {
            let about = match key {
                RouteKey::Task => "task".to_owned(),
                RouteKey::Synthesiser => "synthesis".to_owned(),
                RouteKey::Subtask(key, _) | RouteKey::SubtaskAnySkill(key, _) => key,
            };
            Answered { about, decision }
        };
        let routed = decisions.into_iter().map(answered).collect();
        Self { index: record.index, at: record.at, step: record.step.name(), routed, outcome }
    }
}

#[cfg(test)]
mod tests;
