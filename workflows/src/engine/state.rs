//! What is true of a job, as a fold of its records. Nothing else changes it, so replaying the log after a crash gives
//! the same state.

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Money;
use foa_wire::{AgentId, ClusterId, Index, JobId, NodeId, Term, Time};

use crate::budget::Budget;
use crate::cluster::channel::{Entry, EntryHash};
use crate::decompose::merge::{Dropped, MergeInput, PlanHash};
use crate::given::{GivenPlan, InvalidGivenPlan};
use crate::job::JobSubmission;
use crate::journal::{Adoption, Order, Purpose, Record, Reply, Scored, Step, SubtaskOutcome};
use crate::plan::Plan;
use crate::result::{Failure, JobResult, PhaseTime};
use crate::settings::Settings;
use crate::work::{Answer, Contribution, Usage};

/// Why a log is no log of a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenLog {
    /// The first record must be the acceptance.
    #[error("wanted a log that starts with \"accepted\", found {found:?}")]
    NoAcceptance {
        /// The first record's step.
        found: String,
    },
    /// Indices must be gap-free.
    #[error("wanted record {wanted}, found {found}")]
    Gap {
        /// The index that should follow.
        wanted: Index,
        /// The index found.
        found: Index,
    },
    /// There is nothing.
    #[error("wanted at least one record, found none")]
    Empty,
    /// The acceptance is of a job that nobody would have accepted.
    #[error("wanted a plan that can run: {why}")]
    BadPlan {
        /// What is wrong with it.
        why: InvalidGivenPlan,
    },
}

/// The state of one job.
#[derive(Clone, Debug)]
pub struct JobState {
    /// Its id.
    pub job: JobId,
    /// The coordinator that holds it.
    pub term: Term,
    /// The last record.
    pub last: Index,
    /// When it was written.
    pub latest: Time,
    /// What was asked.
    pub submission: JobSubmission,
    /// Who may control it.
    pub owner: Option<NodeId>,
    /// The coordinators that keep its log.
    pub replicas: Vec<NodeId>,
    /// The numbers it runs with.
    pub settings: Settings,
    /// When it was accepted.
    pub accepted: Time,
    /// Its money.
    pub budget: Budget,
    /// All work ever ordered, by number.
    pub works: BTreeMap<u32, WorkState>,
    /// The task's candidates, best first; `None` until routed.
    pub candidates: Option<Vec<Scored>>,
    /// The merge that is or was voted on.
    pub merged: Option<MergedState>,
    /// The plan that runs.
    pub plan: Option<(Plan, Adoption)>,
    /// Whether teams were found.
    pub assigned: bool,
    /// The subtasks of the plan.
    pub subtasks: BTreeMap<String, SubtaskState>,
    /// Every blackboard entry an agent posted.
    pub entries: BTreeMap<EntryHash, Entry>,
    /// Agents that charged more than they were allowed, and by how much.
    pub overcharged: BTreeMap<AgentId, Money>,
    /// Who stopped it.
    pub cancelled: Option<NodeId>,
    /// How it ended.
    pub result: Option<JobResult>,
    marks: Vec<(Phase, Time)>,
}

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Looking for agents that fit the task.
    Routing,
    /// Waiting for proposals.
    Proposing,
    /// Waiting for votes on the merged plan.
    Voting,
    /// Finding teams.
    Assigning,
    /// Drafting and refining.
    Working,
    /// Putting the parts together.
    Synthesising,
    /// Over.
    Ended,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Routing => "routing",
            Self::Proposing => "proposing",
            Self::Voting => "voting",
            Self::Assigning => "assigning",
            Self::Working => "working",
            Self::Synthesising => "synthesising",
            Self::Ended => "ended",
        }
    }
}

/// One piece of work.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkState {
    /// As ordered.
    pub order: Order,
    /// When.
    pub ordered: Time,
    /// What came of it.
    pub status: WorkStatus,
    /// What it cost.
    pub usage: Usage,
}

/// What came of a piece of work.
#[derive(Clone, Debug, PartialEq)]
pub enum WorkStatus {
    /// Nothing yet.
    Open,
    /// A private answer.
    Answered(Answer),
    /// A blackboard entry.
    Posted(EntryHash),
    /// Nothing, by name and in words.
    Failed(String, String),
}

/// The merge that is voted on.
#[derive(Clone, Debug, PartialEq)]
pub struct MergedState {
    /// All it depends on.
    pub input: MergeInput,
    /// The plan.
    pub plan: Plan,
    /// The hash of both.
    pub hash: PlanHash,
    /// What did not make it.
    pub dropped: Vec<Dropped>,
}

/// One subtask.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubtaskState {
    /// The present team, best first.
    pub team: Vec<Scored>,
    /// Everyone who was ever on its team.
    pub tried: BTreeSet<AgentId>,
    /// How often it was given to others.
    pub reassigned: u32,
    /// Who sits together; `None` until the drafts are in.
    pub clusters: Option<Vec<ClusterState>>,
    /// What came of it.
    pub outcome: Option<SubtaskOutcome>,
}

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterState {
    /// Its id.
    pub id: ClusterId,
    /// Its members, strongest first.
    pub members: Vec<AgentId>,
    /// For each round that is over, the entries that count.
    pub closed: Vec<Vec<EntryHash>>,
}

impl JobState {
    /// The state after `records`.
    ///
    /// # Errors
    /// When they are no log of a job.
    pub fn replay(records: &[Record]) -> Result<Self, BrokenLog> {
        let (first, rest) = records.split_first().ok_or(BrokenLog::Empty)?;
        let mut state = Self::accepted(first)?;
        for record in rest {
            let wanted = state.last.next();
            if record.index != wanted {
                return Err(BrokenLog::Gap { wanted, found: record.index });
            }
            state.apply(record);
        }
        Ok(state)
    }

    /// The state after the acceptance.
    pub(crate) fn accepted(record: &Record) -> Result<Self, BrokenLog> {
        let Step::Accepted { submission, owner, replicas, settings } = &record.step else {
            return Err(BrokenLog::NoAcceptance { found: record.step.name().to_owned() });
        };
        if record.index != Index(1) {
            return Err(BrokenLog::Gap { wanted: Index(1), found: record.index });
        }
        let given = submission.plan.as_ref().map(GivenPlan::to_plan).transpose();
        let given = given.map_err(|why| BrokenLog::BadPlan { why })?;
        let mut state = Self {
            job: record.job.clone(),
            term: record.term.clone(),
            last: record.index,
            latest: record.at,
            submission: submission.clone(),
            owner: owner.clone(),
            replicas: replicas.clone(),
            settings: settings.clone(),
            accepted: record.at,
            budget: Budget::new(settings.budget.or(submission.budget)),
            works: BTreeMap::new(),
            candidates: None,
            merged: None,
            plan: None,
            assigned: false,
            subtasks: BTreeMap::new(),
            entries: BTreeMap::new(),
            overcharged: BTreeMap::new(),
            cancelled: None,
            result: None,
            marks: Vec::new(),
        };
        if let Some(plan) = given {
            let plan = plan.requiring(&submission.policies);
            state.adopt(&plan, &Adoption::Given { by: owner.clone() });
        }
        state.marks.push((state.phase(), record.at));
        Ok(state)
    }

    fn adopt(&mut self, plan: &Plan, how: &Adoption) {
        let keys = plan.subtasks().iter().map(|s| s.key.clone());
        self.subtasks = keys.map(|key| (key, SubtaskState::default())).collect();
        self.plan = Some((plan.clone(), how.clone()));
    }

    /// Folds one more record in.
    pub(crate) fn apply(&mut self, record: &Record) {
        self.last = record.index;
        self.latest = record.at;
        self.term.clone_from(&record.term);
        match &record.step {
            Step::Accepted { .. } | Step::TookOver { .. } => {}
            Step::Routed { candidates, orders, grounds: _ } => {
                self.candidates = Some(candidates.clone());
                self.order(orders, record.at);
            }
            Step::Answered { work, reply, usage } => self.answered(*work, reply, usage),
            Step::Failed { work, reason, detail, usage } => {
                if let Some(state) = self.works.get_mut(work) {
                    state.status = WorkStatus::Failed(reason.clone(), detail.clone());
                }
                if let Some(usage) = usage {
                    self.charge(*work, usage);
                }
            }
            Step::Merged { input, plan, hash, provenance: _, dropped, orders } => {
                self.merged = Some(MergedState {
                    input: input.clone(),
                    plan: plan.clone(),
                    hash: hash.clone(),
                    dropped: dropped.clone(),
                });
                self.order(orders, record.at);
            }
            Step::Adopted { plan, how } => self.adopt(plan, how),
            Step::Assigned { teams, unmet, grounds: _ } => {
                self.assigned = true;
                for (key, team) in teams {
                    self.give(key, team);
                }
                for (key, reason) in unmet {
                    if let Some(subtask) = self.subtasks.get_mut(key) {
                        subtask.outcome = Some(SubtaskOutcome::Failed { reason: reason.clone() });
                    }
                }
            }
            Step::Reassigned { subtask, team, grounds: _ } => {
                self.give(subtask, team);
                if let Some(subtask) = self.subtasks.get_mut(subtask) {
                    subtask.reassigned += 1;
                }
            }
            Step::Dispatched { orders, grounds: _ } => self.order(orders, record.at),
            Step::Clustered { subtask, clusters } => {
                if let Some(subtask) = self.subtasks.get_mut(subtask) {
                    let state = |c: &crate::journal::Cluster| ClusterState {
                        id: c.id.clone(),
                        members: c.members.clone(),
                        closed: Vec::new(),
                    };
                    subtask.clusters = Some(clusters.iter().map(state).collect());
                }
            }
            Step::RoundClosed { cluster, round: _, entries, stragglers: _ } => {
                if let Some(cluster) = self.cluster_mut(cluster) {
                    cluster.closed.push(entries.clone());
                }
            }
            Step::Settled { subtask, outcome, grounds: _ } => {
                if let Some(subtask) = self.subtasks.get_mut(subtask) {
                    subtask.outcome = Some(outcome.clone());
                }
            }
            Step::Cancelled { by } => self.cancelled = Some(by.clone()),
            Step::Ended { result, grounds: _ } => self.result = Some((**result).clone()),
        }
        let phase = self.phase();
        if self.marks.last().is_none_or(|(last, _)| *last != phase) {
            self.marks.push((phase, record.at));
        }
    }

    fn order(&mut self, orders: &[Order], at: Time) {
        for order in orders {
            self.budget.reserve(order.work, order.reserved);
            let state = WorkState {
                order: order.clone(),
                ordered: at,
                status: WorkStatus::Open,
                usage: Usage::default(),
            };
            self.works.insert(order.work, state);
        }
    }

    fn answered(&mut self, work: u32, reply: &Reply, usage: &Usage) {
        let Some(state) = self.works.get_mut(&work) else { return };
        state.status = match reply {
            Reply::Private { content } => WorkStatus::Answered(content.clone()),
            Reply::Posted { entry } => {
                let hash = entry.hash().clone();
                self.entries.insert(hash.clone(), (**entry).clone());
                WorkStatus::Posted(hash)
            }
        };
        self.charge(work, usage);
    }

    fn charge(&mut self, work: u32, usage: &Usage) {
        let Some(state) = self.works.get_mut(&work) else { return };
        state.usage = usage.clone();
        let agent = state.order.agent.clone();
        if let Some(excess) = self.budget.charge(work, usage.cost) {
            let total = self.overcharged.entry(agent).or_default();
            *total = *total + excess;
        }
    }

    fn give(&mut self, key: &str, team: &[Scored]) {
        if let Some(subtask) = self.subtasks.get_mut(key) {
            subtask.tried.extend(team.iter().map(|s| s.agent.clone()));
            subtask.team = team.to_vec();
        }
    }

    fn cluster_mut(&mut self, id: &ClusterId) -> Option<&mut ClusterState> {
        self.subtasks.values_mut().flat_map(|s| s.clusters.iter_mut().flatten()).find(|c| c.id == *id)
    }

    /// Where the job is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.result.is_some() {
            Phase::Ended
        } else if self.plan.is_none() {
            match (&self.candidates, &self.merged) {
                (None, _) => Phase::Routing,
                (Some(_), None) => Phase::Proposing,
                (Some(_), Some(_)) => Phase::Voting,
            }
        } else if !self.assigned {
            Phase::Assigning
        } else if self.subtasks.values().any(|s| s.outcome.is_none()) {
            Phase::Working
        } else {
            Phase::Synthesising
        }
    }

    /// When the whole job must be over.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.accepted + self.settings.timeout()
    }

    /// Work for this purpose, by number.
    pub fn works_for(&self, wanted: impl Fn(&Purpose) -> bool) -> impl Iterator<Item = &WorkState> {
        self.works.values().filter(move |w| wanted(&w.order.purpose))
    }

    /// Whether all work for this purpose has come to something or nothing.
    #[must_use]
    pub fn settled(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.works_for(wanted).all(|w| w.status != WorkStatus::Open)
    }

    /// The drafts of a subtask that hold an answer, in order of work.
    #[must_use]
    pub fn drafts(&self, key: &str) -> Vec<&Entry> {
        let wanted = |p: &Purpose| matches!(p, Purpose::Draft { subtask } if subtask == key);
        self.works_for(wanted)
            .filter_map(|w| match &w.status {
                WorkStatus::Posted(hash) => self.entries.get(hash),
                WorkStatus::Open | WorkStatus::Answered(_) | WorkStatus::Failed(..) => None,
            })
            .collect()
    }

    /// The latest entry of a member of a cluster that counts, or its draft.
    #[must_use]
    pub fn latest<'a>(&'a self, key: &str, cluster: &ClusterState, member: &AgentId) -> Option<&'a Entry> {
        let closed = cluster.closed.iter().rev().flatten().filter_map(|hash| self.entries.get(hash));
        let draft = self.drafts(key).into_iter().rev();
        closed.chain(draft).find(|entry| entry.author() == member)
    }

    /// The answer that one agent gave to the whole task, if it did.
    #[must_use]
    pub fn solo(&self) -> Option<(&AgentId, &Contribution)> {
        self.works_for(|p| *p == Purpose::Solo).find_map(|w| match &w.status {
            WorkStatus::Posted(hash) => {
                let contribution = self.entries.get(hash)?.body().contribution()?;
                Some((&w.order.agent, contribution))
            }
            WorkStatus::Answered(_) | WorkStatus::Failed(..) | WorkStatus::Open => None,
        })
    }

    /// Work that came to nothing, in order.
    #[must_use]
    pub fn failures(&self) -> Vec<Failure> {
        let failure = |w: &WorkState| match &w.status {
            WorkStatus::Failed(reason, detail) => Some(Failure {
                agent: w.order.agent.clone(),
                purpose: w.order.purpose.describe(),
                reason: reason.clone(),
                detail: detail.clone(),
            }),
            WorkStatus::Open | WorkStatus::Answered(_) | WorkStatus::Posted(_) => None,
        };
        self.works.values().filter_map(failure).collect()
    }

    /// Cost and tokens of everything so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.works.values().fold(Usage::default(), |sum, w| sum.plus(&w.usage))
    }

    /// Milliseconds in each phase, up to `now`.
    #[must_use]
    pub fn phase_times(&self, now: Time) -> Vec<PhaseTime> {
        let ends = self.marks.iter().skip(1).map(|(_, at)| *at).chain([now]);
        let time = |((phase, from), to): (&(Phase, Time), Time)| PhaseTime {
            phase: phase.name().to_owned(),
            ms: u64::try_from(to.since(*from).as_millis()).unwrap_or(u64::MAX),
        };
        self.marks.iter().zip(ends).filter(|((phase, _), _)| *phase != Phase::Ended).map(time).collect()
    }
}
