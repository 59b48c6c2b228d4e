//! The numbers a job runs with. Each default stands here once, with its reason.

use std::time::Duration;

use foa_capability::Money;
use serde::{Deserialize, Serialize};

use crate::job::JobSubmission;

/// A named set of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Ours: the paper's numbers, except where measuring says otherwise.
    #[default]
    Default,
    /// The paper's, to the letter (arXiv 2509.20175).
    Paper,
}

/// Every number that steers a job. Fixed at acceptance and journaled with it, so a successor runs the same job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The profile they came from.
    pub profile: Profile,
    /// The most the job may cost, where its coordinator allows less than anything its submission says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Money>,
    /// Agents asked for a proposal, at most.
    pub proposers: usize,
    /// Fewest subtasks asked for.
    pub min_subtasks: usize,
    /// Most subtasks of a proposal and of the merged plan.
    pub max_subtasks: usize,
    /// Two subtasks are one when their similarity reaches this (‰).
    pub merge_sim: u32,
    /// A subtask stays when this share of the proposers' weight wants it (‰).
    pub quorum: u32,
    /// Agents on one subtask, at most.
    pub team: usize,
    /// A further member of a team must score more than this share of the best (‰).
    pub team_margin: u32,
    /// Agents of one subtask share a cluster when their similarity reaches this (‰).
    pub cluster_sim: u32,
    /// Members of one cluster, at most.
    pub cluster_size: usize,
    /// Refinement rounds, at most.
    pub rounds: u32,
    /// A cluster has settled when no answer moved by more than 1 − this (‰) in a round.
    pub settled: u32,
    /// An answer dissents when its similarity to the one that represents its cluster is below this (‰).
    pub dissent: u32,
    /// Everyone reads everyone, instead of only those whose contribution counts for more.
    pub all_to_all: bool,
    /// How often a subtask whose whole team failed is given to others.
    pub reassignments: u32,
    /// The whole job.
    pub timeout_ms: u64,
    /// One proposal.
    pub propose_ms: u64,
    /// One vote.
    pub judge_ms: u64,
    /// One draft.
    pub draft_ms: u64,
    /// One refinement.
    pub refine_ms: u64,
    /// Synthesis by an agent.
    pub synthesise_ms: u64,
}

impl Settings {
    /// The numbers of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        let ours = Self {
            profile: Profile::Default,
            budget: None,
            // As the paper.
            proposers: 4,
            // A task that is one thing should stay one thing; the paper asks for at least two.
            min_subtasks: 1,
            // The paper says four; real enumerations have more, and the budget limits the rest.
            max_subtasks: 6,
            // With MiniLM, paraphrases of one step score above .6 and different steps of one task below it.
            merge_sim: 620,
            // Half of the weight: a subtask that only a minority sees is dropped unless others need it.
            quorum: 500,
            // Three heads give a majority; the paper allows four.
            team: 3,
            // A card only says roughly what an agent holds, so those not far behind are asked too; what is far weaker costs
            // messages and adds noise.
            team_margin: 400,
            cluster_sim: 200,
            cluster_size: 4,
            // Retrieval agents settle after one exchange; the second round confirms it. The paper runs three.
            rounds: 2,
            settled: 985,
            // Answers to one question share most of their words; what scores below is about something else.
            dissent: 450,
            all_to_all: false,
            reassignments: 2,
            // As the paper: 300 s.
            timeout_ms: 300_000,
            // A language model on a busy machine takes tens of seconds for a structured answer.
            propose_ms: 45_000,
            judge_ms: 30_000,
            draft_ms: 90_000,
            refine_ms: 60_000,
            synthesise_ms: 60_000,
        };
        match profile {
            Profile::Default => ours,
            Profile::Paper => Self {
                profile,
                min_subtasks: 2,
                max_subtasks: 4,
                merge_sim: 500,
                team: 4,
                team_margin: 0,
                rounds: 3,
                settled: 1001,
                all_to_all: true,
                ..ours
            },
        }
    }

    /// The numbers this submission runs with.
    #[must_use]
    pub fn for_submission(submission: &JobSubmission) -> Self {
        let mut settings = Self::of(submission.profile);
        settings.rounds = submission.rounds.unwrap_or(settings.rounds);
        settings.team = submission.team.unwrap_or(settings.team);
        settings.timeout_ms = submission.timeout_ms.unwrap_or(settings.timeout_ms);
        settings
    }

    /// The whole job's time.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}
