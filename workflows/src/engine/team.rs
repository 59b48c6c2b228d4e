//! Who does which subtask: routing each one, solving the assignment, finding others when a team fails (algorithms §5).

use std::collections::BTreeMap;

use foa_capability::parts;
use foa_capability::profile::Effects;
use foa_wire::{AgentId, Time};

use super::ask::scored;
use super::{Commands, JobMachine, RouteKey};
use crate::assign::{Demand, assign};
use crate::decision::{Candidate, Decision};
use crate::journal::{Scored, Step, SubtaskOutcome};
use crate::plan::{Plan, Subtask};

impl JobMachine {
    /// Routes every subtask, then gives each the best team that fits all of them together.
    pub(super) fn assign_teams(&mut self, now: Time, out: &mut Commands) -> bool {
        let Some((plan, _)) = self.state.plan.clone() else { return false };
        // All at once: each question to the embedder is a turn.
        let unasked =
            plan.subtasks().iter().filter(|s| !questions(s, 0).iter().any(|key| self.was_asked(key)));
        let texts: Vec<String> = unasked.flat_map(|s| parts::texts(&s.description)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        if self.meanings(&texts, out).is_none() {
            return false;
        }
        let mut found = BTreeMap::new();
        for subtask in plan.subtasks() {
            if let Some(decision) = self.route_subtask(subtask, 0, out) {
                found.insert(subtask.key.clone(), decision);
            }
        }
        if found.len() < plan.subtasks().len() {
            return false;
        }
        let (teams, unmet) = self.teams(&plan, &found);
        let keys: Vec<RouteKey> = plan.subtasks().iter().flat_map(|s| questions(s, 0)).collect();
        let chosen = teams.values().flatten().map(|s| &s.agent).collect();
        let grounds = self.grounds(&keys, &chosen);
        self.commit(Step::Assigned { teams, unmet, grounds }, now, out);
        true
    }

    /// The best teams for all subtasks together, and why some have none.
    fn teams(
        &self,
        plan: &Plan,
        found: &BTreeMap<String, Decision>,
    ) -> (BTreeMap<String, Vec<Scored>>, BTreeMap<String, String>) {
        let mut unmet = BTreeMap::new();
        let mut demands = Vec::new();
        let mut known: BTreeMap<&AgentId, &Candidate> = BTreeMap::new();
        for (key, decision) in found {
            let options = self.options(decision);
            if options.is_empty() {
                unmet.insert(key.clone(), decision.nobody());
                continue;
            }
            let writes = options.iter().any(|c| c.effects == Effects::Write);
            let most = if writes { 1 } else { u32::try_from(self.state.settings.team).unwrap_or(u32::MAX) };
            demands.push(Demand {
                subtask: key.clone(),
                min: 1,
                max: most,
                options: options.iter().map(|c| (c.agent.clone(), scored(c).alpha)).collect(),
            });
            known.extend(options.into_iter().map(|c| (&c.agent, c)));
        }
        // Subtasks that wait for each other never run at once, so an agent can serve one per level of the plan.
        let levels = u32::try_from(plan.depth()).unwrap_or(u32::MAX);
        let capacity = known
            .iter()
            .map(|(agent, c)| ((*agent).clone(), c.concurrency.max(1).saturating_mul(levels)))
            .collect();
        let teams = loop {
            match assign(&demands, &capacity, self.state.settings.team_margin) {
                Ok(teams) => break teams,
                Err(infeasible) => {
                    demands.retain(|d| d.subtask != infeasible.subtask);
                    let why = infeasible.to_string();
                    unmet.insert(infeasible.subtask, why);
                }
            }
        };
        let scores = |key: &str, agents: Vec<AgentId>| -> Vec<Scored> {
            let best = &found[key].candidates;
            let of = |agent: &AgentId| best.iter().find(|c| c.agent == *agent).map(scored);
            agents.iter().filter_map(of).collect()
        };
        let teams = teams.into_iter().map(|(key, agents)| (key.clone(), scores(&key, agents))).collect();
        (teams, unmet)
    }

    /// The directory's answer for a subtask, or `None` while it is being asked. The skills that the proposers named are a
    /// wish: when nobody has them, anybody will do.
    fn route_subtask(&mut self, subtask: &Subtask, attempt: u32, out: &mut Commands) -> Option<Decision> {
        let mut decision = None;
        for key in questions(subtask, attempt) {
            let found = self.routed(key, out)?;
            let enough = !found.candidates.is_empty();
            decision = Some(found);
            if enough {
                break;
            }
        }
        decision
    }

    /// Who is good enough for a team: everyone who meets the requirements and is not far weaker than the best. The
    /// threshold is for proposers; a subtask is better asked of somebody who may decline than of nobody.
    fn options<'a>(&self, decision: &'a Decision) -> Vec<&'a Candidate> {
        let mut options: Vec<&Candidate> = decision.candidates.iter().collect();
        let Some(best) = options.first().map(|c| c.alpha) else { return options };
        let margin = f64::from(self.state.settings.team_margin) / 1000.0;
        options.retain(|c| c.alpha >= best * margin);
        // An agent that changes something works alone: a team with one in it is that one.
        if options[0].effects == Effects::Write {
            options.truncate(1);
        } else {
            options.retain(|c| c.effects == Effects::Read);
        }
        options
    }

    /// Gives a subtask whose whole team failed to the next best; when there is nobody left or it was tried often enough, it
    /// has failed. `false` while they are being looked for.
    pub(super) fn reassign(&mut self, key: &str, now: Time, out: &mut Commands) -> bool {
        let Some(subtask) = self.state.plan.as_ref().and_then(|(plan, _)| plan.get(key)).cloned() else {
            return false;
        };
        let attempt = self.state.subtasks[key].reassigned + 1;
        let mut grounds = None;
        if attempt <= self.state.settings.reassignments {
            let Some(decision) = self.route_subtask(&subtask, attempt, out) else { return false };
            let most = self.state.settings.team;
            let team: Vec<Scored> = self.options(&decision).into_iter().take(most).map(scored).collect();
            let chosen = team.iter().map(|s| &s.agent).collect();
            grounds = self.grounds(&questions(&subtask, attempt), &chosen);
            if !team.is_empty() {
                self.commit(Step::Reassigned { subtask: key.to_owned(), team, grounds }, now, out);
                return true;
            }
        }
        let outcome = SubtaskOutcome::Failed { reason: self.why_nobody_answered(key) };
        self.commit(Step::Settled { subtask: key.to_owned(), outcome, grounds }, now, out);
        true
    }
}

/// The questions about a subtask, each asked when the one before found nobody.
fn questions(subtask: &Subtask, attempt: u32) -> Vec<RouteKey> {
    let mut keys = Vec::new();
    if !subtask.skills.is_empty() {
        keys.push(RouteKey::Subtask(subtask.key.clone(), attempt));
    }
    keys.push(RouteKey::SubtaskAnySkill(subtask.key.clone(), attempt));
    keys
}
