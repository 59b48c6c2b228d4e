//! Routing the task, asking for proposals, merging them, counting votes (algorithms §4).

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::Money;
use foa_capability::profile::Effects;
use foa_wire::{AgentId, Time, WorkId};

use super::ask::scored;
use super::state::{WorkState, WorkStatus};
use super::{Commands, JobMachine, Phase, RouteKey, finish};
use crate::decision::{Candidate, Decision};
use crate::decompose::merge::{self, MERGE_VERSION, MergeInput};
use crate::decompose::proposal::Proposal;
use crate::decompose::vote;
use crate::journal::{Adoption, Ballot, Order, Purpose, Step};
use crate::plan::Plan;
use crate::settings::Profile;
use crate::work::Answer;

impl JobMachine {
    /// Finds who fits the task and asks the best for a breakdown, and one of them for an answer of its own.
    pub(super) fn route_task(&mut self, now: Time, out: &mut Commands) -> bool {
        let Some(decision) = self.routed(RouteKey::Task, out) else { return false };
        if decision.candidates.is_empty() {
            let grounds = self.grounds(&[RouteKey::Task], &BTreeSet::new());
            self.finish(finish::Why::Unable(decision.nobody()), None, grounds, now, out);
            return true;
        }
        let proposers = self.proposers(&decision);
        let mut wanted: Vec<(AgentId, Money, Purpose)> =
            proposers.iter().map(|c| (c.agent.clone(), c.worst_case, Purpose::Propose)).collect();
        let reader = decision.candidates.iter().find(|c| c.effects == Effects::Read);
        if let Some(best) = reader.filter(|_| self.state.settings.profile == Profile::Default) {
            wanted.push((best.agent.clone(), best.worst_case, Purpose::Solo));
        }
        let orders = self.orders(wanted, self.state.settings.propose_ms, now);
        if orders.is_empty() {
            let cheapest = decision.candidates.iter().map(|c| c.worst_case).min().unwrap_or_default();
            let left = self.state.budget.left().unwrap_or_default();
            let why =
                format!("the budget of {left} does not pay for one proposal; the cheapest is {cheapest}");
            let grounds = self.grounds(&[RouteKey::Task], &BTreeSet::new());
            self.finish(finish::Why::Unable(why), None, grounds, now, out);
            return true;
        }
        // The log names them all, and who comes first by similarity needs the factors of all.
        let grounds =
            self.grounds(&[RouteKey::Task], &decision.candidates.iter().map(|c| &c.agent).collect());
        let candidates = decision.candidates.iter().map(scored).collect();
        self.commit(Step::Routed { candidates, orders, grounds }, now, out);
        true
    }

    /// The best that pass the threshold; if none does, the best by similarity alone.
    fn proposers<'a>(&self, decision: &'a Decision) -> Vec<&'a Candidate> {
        let most = self.state.settings.proposers;
        let passing: Vec<&Candidate> = decision.passing().take(most).collect();
        if !passing.is_empty() {
            return passing;
        }
        let similarity = |c: &Candidate| c.factors.as_ref().map_or(0.0, |f| f.similarity);
        let mut all: Vec<&Candidate> = decision.candidates.iter().collect();
        all.sort_by(|a, b| similarity(b).total_cmp(&similarity(a)).then_with(|| a.agent.cmp(&b.agent)));
        all.truncate(most);
        all
    }

    /// Once the proposals are in: one plan of them all, and a vote on it.
    pub(super) fn merge_proposals(&mut self, now: Time, out: &mut Commands) -> bool {
        if !self.proposals_are_in() {
            return false;
        }
        let proposals = self.proposals();
        if proposals.is_empty() {
            let reason = "nobody proposed a breakdown".to_owned();
            let plan = self.required(Plan::solo(&self.state.submission.task));
            self.commit(Step::Adopted { plan, how: Adoption::Solo { reason } }, now, out);
            return true;
        }
        let texts: Vec<&str> =
            proposals.iter().flat_map(|p| p.subtasks.iter().map(|s| s.description.as_str())).collect();
        let Some(meanings) = self.meanings(&texts, out) else { return false };
        let nodes = proposals.iter().flat_map(|p| p.subtasks.iter().map(|s| p.node(&s.key)));
        let vectors = nodes.zip(meanings.iter().map(foa_capability::Vector::quantise)).collect();
        let step = self.merged(proposals, vectors, now);
        self.commit(step, now, out);
        true
    }

    /// One plan of these proposals, by what their subtasks mean.
    pub(super) fn merged(
        &self,
        proposals: Vec<Proposal>,
        vectors: BTreeMap<String, foa_capability::vector::Quantised>,
        now: Time,
    ) -> Step {
        let input = self.merge_input(proposals, vectors);
        let merged = match merge::merge(&input) {
            Ok(merged) => merged,
            Err(e) => {
                let plan = self.required(Plan::solo(&self.state.submission.task));
                return Step::Adopted { plan, how: Adoption::Solo { reason: e.to_string() } };
            }
        };
        let hash = merge::hash(&input, &merged.plan);
        let orders = if input.proposals.len() > 1 { self.ballot_orders(&input, now) } else { Vec::new() };
        Step::Merged {
            plan: merged.plan,
            hash,
            provenance: merged.provenance,
            dropped: merged.dropped,
            orders,
            input,
        }
    }

    /// Whether everybody who was asked for a proposal has answered or failed to, and no plan came of it yet.
    pub(super) fn proposals_are_in(&self) -> bool {
        self.state.phase() == Phase::Proposing && self.state.settled(|p| *p == Purpose::Propose)
    }

    /// The valid proposals, in order of work.
    pub(super) fn proposals(&self) -> Vec<Proposal> {
        let proposal = |w: &WorkState| match &w.status {
            WorkStatus::Answered(Answer::Proposal { subtasks, edges }) => {
                let id = WorkId::new(&self.state.job, w.order.work);
                let by = w.order.agent.clone();
                Proposal::new(id, by, subtasks.clone(), edges.clone(), self.limits()).ok()
            }
            WorkStatus::Answered(_) | WorkStatus::Open | WorkStatus::Posted(_) | WorkStatus::Failed(..) => {
                None
            }
        };
        self.state.works_for(|p| *p == Purpose::Propose).filter_map(proposal).collect()
    }

    fn merge_input(
        &self,
        proposals: Vec<Proposal>,
        vectors: BTreeMap<String, foa_capability::vector::Quantised>,
    ) -> MergeInput {
        let settings = &self.state.settings;
        MergeInput {
            version: MERGE_VERSION,
            proposals,
            vectors,
            weights: BTreeMap::new(),
            merge_sim: settings.merge_sim,
            quorum: settings.quorum,
            max_subtasks: settings.max_subtasks,
            prices: BTreeMap::new(),
            budget: None,
            deadline_ms: None,
        }
        .normalised()
    }

    /// A vote for every proposer.
    fn ballot_orders(&self, input: &MergeInput, now: Time) -> Vec<Order> {
        let candidates = self.state.candidates.iter().flatten();
        let price: BTreeMap<&AgentId, Money> = candidates.map(|c| (&c.agent, c.worst_case)).collect();
        let wanted = input
            .proposals
            .iter()
            .map(|p| (p.by.clone(), price.get(&p.by).copied().unwrap_or_default(), Purpose::Judge))
            .collect();
        self.orders(wanted, self.state.settings.judge_ms, now)
    }

    /// Once the votes are in: the merged plan runs, or the proposal nearest to all others.
    pub(super) fn count_votes(&mut self, now: Time, out: &mut Commands) -> bool {
        if !self.state.settled(|p| *p == Purpose::Judge) {
            return false;
        }
        let Some(merged) = self.state.merged.clone() else { return false };
        if let [only] = merged.input.proposals.as_slice() {
            let by = only.by.clone();
            let plan = self.required(merged.plan);
            self.commit(Step::Adopted { plan, how: Adoption::Unopposed { by } }, now, out);
            return true;
        }
        let cast: Vec<vote::Ballot> =
            self.state.works_for(|p| *p == Purpose::Judge).filter_map(|w| ballot(&merged.input, w)).collect();
        let ballots = shown(&merged.input, &cast);
        let (plan, how) = if vote::tally(&merged.input.weights, &cast).is_adopted() {
            (merged.plan, Adoption::Consensus { ballots })
        } else {
            match (merge::fallback(&merged.input), merge::medoid(&merged.input)) {
                (Ok(nearest), Ok(position)) => {
                    let by = merged.input.proposals[position].by.clone();
                    (nearest.plan, Adoption::Medoid { by, ballots })
                }
                (Err(e), _) | (_, Err(e)) => {
                    let solo = Plan::solo(&self.state.submission.task);
                    (solo, Adoption::Solo { reason: e.to_string() })
                }
            }
        };
        let plan = self.required(plan);
        self.commit(Step::Adopted { plan, how }, now, out);
        true
    }

    /// A plan whose subtasks all require what the whole job requires: no proposal can drop a policy.
    fn required(&self, plan: Plan) -> Plan {
        plan.requiring(&self.state.submission.policies)
    }
}

/// The vote that a judge's reply stands for. Silence and abstention are no ballots, which counts against the plan.
fn ballot(input: &MergeInput, work: &WorkState) -> Option<vote::Ballot> {
    let agent = work.order.agent.clone();
    let weight = input.weights.get(&agent).copied().unwrap_or(0);
    let (approve, reason) = match &work.status {
        WorkStatus::Answered(Answer::Verdict { approve, reason }) => (*approve, reason.clone()),
        WorkStatus::Failed(reason, detail) if OBJECTIONS.contains(&reason.as_str()) => {
            (false, Some(detail.clone()))
        }
        WorkStatus::Answered(_) | WorkStatus::Open | WorkStatus::Posted(_) | WorkStatus::Failed(..) => {
            return None;
        }
    };
    Some(vote::Ballot { agent, weight, approve, reason })
}

/// What a proposer's node says when the merge it recomputed is not the one it was shown.
const OBJECTIONS: [&str; 5] =
    ["invalid-merge-input", "my-proposal-missing", "my-proposal-changed", "other-plan", "other-hash"];

/// All ballots for the record, silence included.
fn shown(input: &MergeInput, cast: &[vote::Ballot]) -> Vec<Ballot> {
    let all: BTreeSet<&AgentId> = input.weights.keys().collect();
    all.into_iter()
        .map(|agent| {
            let own = cast.iter().find(|b| b.agent == *agent);
            Ballot {
                agent: agent.clone(),
                weight: input.weights[agent],
                approve: own.map(|b| b.approve),
                reason: own.and_then(|b| b.reason.clone()),
            }
        })
        .collect()
}
