//! Who does which subtask: routing each one, solving the assignment, finding others when a team fails (algorithms §5).

use std::collections::{BTreeMap, BTreeSet};

use foa_capability::parts;
use foa_capability::profile::Effects;
use foa_capability::route::{Candidate, Routed};
use foa_wire::{AgentId, Time};

use super::{Commands, JobMachine, RouteKey, decompose, scored};
use crate::assign::{Demand, assign};
use crate::journal::{Scored, Step};
use crate::plan::Subtask;

impl JobMachine {
    /// Routes every subtask, then gives each the best team that fits all of them together.
    pub(super) fn assign_teams(&mut self, now: Time, out: &mut Commands) -> bool {
        let Some((plan, _)) = self.state.plan.clone() else { return false };
        // All at once: each question to the embedder is a turn.
        let texts: Vec<String> = plan.subtasks().iter().flat_map(|s| parts::texts(&s.description)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        if self.meanings(&texts, out).is_none() {
            return false;
        }
        let mut found = BTreeMap::new();
        for subtask in plan.subtasks() {
            if let Some(routed) = self.route_subtask(subtask, 0, &BTreeSet::new(), out) {
                found.insert(subtask.key.clone(), routed);
            }
        }
        if found.len() < plan.subtasks().len() {
            return false;
        }
        let mut unmet = BTreeMap::new();
        let mut demands = Vec::new();
        let mut known: BTreeMap<AgentId, Candidate> = BTreeMap::new();
        for (key, routed) in &found {
            let options = self.options(routed);
            if options.is_empty() {
                unmet.insert(key.clone(), decompose::nobody(routed));
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
            known.extend(options.into_iter().map(|c| (c.agent.clone(), c.clone())));
        }
        // Subtasks that wait for each other never run at once, so an agent can serve one per level of the plan.
        let levels = u32::try_from(plan.depth()).unwrap_or(u32::MAX);
        let capacity = known
            .iter()
            .map(|(agent, c)| (agent.clone(), c.concurrency.max(1).saturating_mul(levels)))
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
        self.commit(Step::Assigned { teams, unmet }, now, out);
        true
    }

    /// The directory's answer for a subtask, or `None` while it is being asked. The skills that the proposers named are a
    /// wish: when nobody has them, anybody will do.
    fn route_subtask(
        &mut self,
        subtask: &Subtask,
        attempt: u32,
        exclude: &BTreeSet<AgentId>,
        out: &mut Commands,
    ) -> Option<Routed> {
        let mut query = self.query(&subtask.description, out)?;
        query.policies.extend(subtask.policies.iter().cloned());
        query.needs = subtask.needs.clone();
        query.exclude.clone_from(exclude);
        query.allow_write = true;
        if !subtask.skills.is_empty() {
            let mut strict = query.clone();
            strict.skills.extend(subtask.skills.iter().cloned());
            let routed = self.routed(RouteKey::Subtask(subtask.key.clone(), attempt), strict, out)?;
            if !routed.candidates.is_empty() {
                return Some(routed);
            }
        }
        self.routed(RouteKey::SubtaskAnySkill(subtask.key.clone(), attempt), query, out)
    }

    /// Who is good enough for a team: everyone who meets the requirements and is not far weaker than the best. The
    /// threshold is for proposers; a subtask is better asked of somebody who may decline than of nobody.
    fn options<'a>(&self, routed: &'a Routed) -> Vec<&'a Candidate> {
        let mut options: Vec<&Candidate> = routed.candidates.iter().collect();
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

    /// Gives a subtask whose whole team failed to the next best; `None` while they are being looked for, `Some(false)` when
    /// there is nobody left or it was tried often enough.
    pub(super) fn reassign(&mut self, key: &str, now: Time, out: &mut Commands) -> Option<bool> {
        let subtask = self.state.plan.as_ref()?.0.get(key)?.clone();
        let state = &self.state.subtasks[key];
        if state.reassigned >= self.state.settings.reassignments {
            return Some(false);
        }
        let attempt = state.reassigned + 1;
        let tried = state.tried.clone();
        let routed = self.route_subtask(&subtask, attempt, &tried, out)?;
        let most = self.state.settings.team;
        let team: Vec<Scored> = self.options(&routed).into_iter().take(most).map(scored).collect();
        if team.is_empty() {
            return Some(false);
        }
        self.commit(Step::Reassigned { subtask: key.to_owned(), team }, now, out);
        Some(true)
    }
}
