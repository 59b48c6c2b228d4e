//! Subtasks at work: drafts alone, clusters, rounds on the blackboard, an outcome (algorithms §6).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use foa_capability::{Effects, Money, Offer, Vector};
use foa_wire::{AgentId, ClusterId, Time};

use super::state::{ClusterState, WorkState, WorkStatus};
use super::{Command, Commands, JobMachine};
use crate::cluster::aggregate::{self, Member};
use crate::cluster::channel::{self, Entry, EntryHash};
use crate::cluster::form::{SimilarityWeights, Traits, form};
use crate::cluster::reading::{self, Mode};
use crate::journal::{Cluster, Purpose, Step, SubtaskOutcome};
use crate::plan::Plan;
use crate::request::Request;
use crate::work::Contribution;

impl JobMachine {
    /// Moves every subtask that can move by one step.
    pub(super) fn work(&mut self, now: Time, out: &mut Commands) -> bool {
        let Some((plan, _)) = self.state.plan.clone() else { return false };
        let mut moved = false;
        for subtask in plan.subtasks() {
            moved |= self.advance(&plan, &subtask.key, now, out);
        }
        moved
    }

    /// Moves one subtask by one step, if it can move.
    pub(super) fn advance(&mut self, plan: &Plan, key: &str, now: Time, out: &mut Commands) -> bool {
        if self.state.subtasks[key].outcome.is_some() {
            return false;
        }
        let before = plan.before(key);
        let outcomes: Vec<_> = before.iter().map(|b| self.state.subtasks[*b].outcome.as_ref()).collect();
        if outcomes.iter().any(Option::is_none) {
            return false;
        }
        let failed = |o: &Option<&SubtaskOutcome>| matches!(o, Some(SubtaskOutcome::Failed { .. }));
        if !before.is_empty() && outcomes.iter().all(failed) {
            let reason = format!("it builds on {}, which failed", before.join(", "));
            self.settle(key, SubtaskOutcome::Failed { reason }, now, out);
            return true;
        }
        match self.state.subtasks[key].clusters.clone() {
            None => self.draft(key, now, out),
            Some(clusters) => self.refine(key, &clusters, now, out),
        }
    }

    /// Orders the drafts of the present team; once they are in, seats their authors.
    fn draft(&mut self, key: &str, now: Time, out: &mut Commands) -> bool {
        let is_draft = |p: &Purpose| matches!(p, Purpose::Draft { subtask } if subtask == key);
        let ordered: BTreeSet<AgentId> =
            self.state.works_for(is_draft).map(|w| w.order.agent.clone()).collect();
        let team = self.state.subtasks[key].team.clone();
        let missing: Vec<(AgentId, Money, Purpose)> = team
            .iter()
            .filter(|member| !ordered.contains(&member.agent))
            .map(|m| (m.agent.clone(), m.worst_case, Purpose::Draft { subtask: key.to_owned() }))
            .collect();
        if missing.len() == team.len() {
            // Nobody of this team was asked yet.
            let cheapest = missing.iter().map(|(_, worst_case, _)| *worst_case).min().unwrap_or_default();
            let orders = self.orders(missing, self.state.settings.draft_ms, now);
            if orders.is_empty() {
                let left = self.state.budget.left().unwrap_or_default();
                let reason = format!("budget: {left} is left and the cheapest agent may cost {cheapest}");
                self.settle(key, SubtaskOutcome::Failed { reason }, now, out);
            } else {
                self.commit(Step::Dispatched { orders, grounds: None }, now, out);
            }
            return true;
        }
        if !self.state.settled(is_draft) {
            return false;
        }
        let drafts: Vec<Entry> = self.state.drafts(key).into_iter().cloned().collect();
        match drafts.as_slice() {
            [] if self.may_have_written(key) => {
                let reason = format!(
                    "whether it took effect is unknown, so nobody else was given it; {}",
                    self.why_nobody_answered(key)
                );
                self.settle(key, SubtaskOutcome::Failed { reason }, now, out);
                true
            }
            [] => self.reassign(key, now, out),
            [only] => {
                let outcome = SubtaskOutcome::Answered {
                    representative: only.hash().clone(),
                    agreement: 1000,
                    dissent: Vec::new(),
                    rounds: 0,
                };
                self.settle(key, outcome, now, out);
                true
            }
            several => self.seat(key, several, now, out),
        }
    }

    /// Puts the authors of the drafts into clusters and opens their channels.
    fn seat(&mut self, key: &str, drafts: &[Entry], now: Time, out: &mut Commands) -> bool {
        let texts: Vec<&str> = drafts.iter().map(text).collect();
        let Some(meanings) = self.meanings(&texts, out) else { return false };
        let team = &self.state.subtasks[key].team;
        let strength = |agent: &AgentId| team.iter().find(|m| m.agent == *agent).map_or(0, |m| m.alpha);
        let traits: Vec<Traits> = drafts
            .iter()
            .zip(meanings)
            .map(|(draft, meaning)| Traits {
                agent: draft.author().clone(),
                capability: None,
                offer: Offer::default(),
                draft: Some(meaning),
                spec: None,
            })
            .collect();
        let settings = &self.state.settings;
        let groups = form(&traits, SimilarityWeights::default(), settings.cluster_sim, settings.cluster_size);
        let mut clusters = Vec::new();
        for (number, mut members) in (1..).zip(groups) {
            members.sort_by_key(|agent| (Reverse(strength(agent)), agent.clone()));
            let id = ClusterId::new(&self.state.job, key, number);
            clusters.push(Cluster { id: id.expect("a plan's keys fit a topic"), members });
        }
        self.commit(Step::Clustered { subtask: key.to_owned(), clusters: clusters.clone() }, now, out);
        for cluster in clusters.iter().filter(|c| c.members.len() > 1) {
            let mine = |d: &&Entry| cluster.members.contains(d.author());
            let entries: Vec<Entry> = drafts.iter().filter(mine).cloned().collect();
            let strongest = entries.iter().find(|e| Some(e.author()) == cluster.members.first());
            let frame = strongest.map(|e| text(e).to_owned());
            self.moderate(&cluster.id, key, 0, channel::Body::Open { frame }, out);
            out.push(Command::Post { cluster: cluster.id.clone(), entries });
        }
        true
    }

    /// Plays the rounds of every cluster; once all are done, the subtask has an outcome.
    fn refine(&mut self, key: &str, clusters: &[ClusterState], now: Time, out: &mut Commands) -> bool {
        let mut done = true;
        for cluster in clusters {
            match self.play(key, cluster, now, out) {
                Play::Done => {}
                Play::Waiting => done = false,
                Play::Moved => return true,
            }
        }
        done && self.conclude(key, clusters, now, out)
    }

    /// Plays the next step of one cluster.
    fn play(&mut self, key: &str, cluster: &ClusterState, now: Time, out: &mut Commands) -> Play {
        let over = u32::try_from(cluster.closed.len()).unwrap_or(u32::MAX);
        if cluster.members.len() < 2 || over >= self.state.settings.rounds {
            return Play::Done;
        }
        if over > 0 {
            match self.has_settled(key, cluster, out) {
                None => return Play::Waiting,
                Some(true) => return Play::Done,
                Some(false) => {}
            }
        }
        let round = over + 1;
        let this = |p: &Purpose| *p == Purpose::Refine { cluster: cluster.id.clone(), round };
        if self.state.works_for(this).next().is_none() {
            let team = &self.state.subtasks[key].team;
            let price = |agent: &AgentId| team.iter().find(|m| m.agent == *agent).map(|m| m.worst_case);
            let wanted = cluster
                .members
                .iter()
                .map(|m| {
                    (
                        m.clone(),
                        price(m).unwrap_or_default(),
                        Purpose::Refine { cluster: cluster.id.clone(), round },
                    )
                })
                .collect();
            let orders = self.orders(wanted, self.state.settings.refine_ms, now);
            if orders.is_empty() {
                return Play::Done;
            }
            self.commit(Step::Dispatched { orders, grounds: None }, now, out);
            return Play::Moved;
        }
        if !self.state.settled(this) {
            return Play::Waiting;
        }
        let posted: Vec<(AgentId, Option<EntryHash>)> =
            self.state.works_for(this).map(|w| (w.order.agent.clone(), posted(w))).collect();
        let entries: Vec<EntryHash> = posted.iter().filter_map(|(_, hash)| hash.clone()).collect();
        let stragglers: Vec<AgentId> =
            posted.into_iter().filter(|(_, hash)| hash.is_none()).map(|(agent, _)| agent).collect();
        let close = channel::Body::Close { entries: entries.clone(), absent: stragglers.clone() };
        self.moderate(&cluster.id, key, round, close, out);
        self.commit(Step::RoundClosed { cluster: cluster.id.clone(), round, entries, stragglers }, now, out);
        Play::Moved
    }

    /// Whether another round would change nothing: nobody posted, everybody is done, or no answer moved.
    fn has_settled(&mut self, key: &str, cluster: &ClusterState, out: &mut Commands) -> Option<bool> {
        let Some(last) = cluster.closed.last() else { return Some(false) };
        let now: Vec<Entry> = last.iter().filter_map(|hash| self.state.entries.get(hash)).cloned().collect();
        if now.is_empty() {
            return Some(true);
        }
        let complete = |e: &Entry| e.body().contribution().is_some_and(|c| c.complete);
        if now.iter().all(complete) {
            return Some(true);
        }
        let mut earlier = cluster.clone();
        earlier.closed.pop();
        let before: Vec<Entry> =
            now.iter().filter_map(|e| self.state.latest(key, &earlier, e.author())).cloned().collect();
        let now = self.by_author(&now, out)?;
        let before = self.by_author(&before, out)?;
        let theta = f64::from(self.state.settings.settled) / 1000.0;
        Some(reading::converged(&before, &now, theta))
    }

    /// What each entry means, by author.
    fn by_author(&mut self, entries: &[Entry], out: &mut Commands) -> Option<BTreeMap<AgentId, Vector>> {
        let meanings = self.meanings(&entries.iter().map(text).collect::<Vec<_>>(), out)?;
        Some(entries.iter().map(|e| e.author().clone()).zip(meanings).collect())
    }

    /// The members of clusters with what they said last.
    fn members(&mut self, latest: &[Entry], out: &mut Commands) -> Option<Vec<Member>> {
        let meanings = self.meanings(&latest.iter().map(text).collect::<Vec<_>>(), out)?;
        let member = |(entry, meaning): (&Entry, Vector)| {
            Some(Member {
                agent: entry.author().clone(),
                weight: 1000,
                contribution: entry.body().contribution()?.clone(),
                vector: Some(meaning),
            })
        };
        Some(latest.iter().zip(meanings).filter_map(member).collect())
    }

    /// The outcome of a subtask whose clusters are done: the answer that represents them, and who said otherwise.
    fn conclude(&mut self, key: &str, clusters: &[ClusterState], now: Time, out: &mut Commands) -> bool {
        let latest: Vec<Entry> = clusters
            .iter()
            .flat_map(|c| c.members.iter().filter_map(|m| self.state.latest(key, c, m)))
            .cloned()
            .collect();
        let Some(members) = self.members(&latest, out) else { return false };
        let dissent_below = f64::from(self.state.settings.dissent) / 1000.0;
        let kind = aggregate::kind_of(&members);
        let Some(representative) = aggregate::represent(&members, kind, dissent_below) else {
            let reason = self.why_nobody_answered(key);
            self.settle(key, SubtaskOutcome::Failed { reason }, now, out);
            return true;
        };
        let hash = |agent: &AgentId| latest.iter().find(|e| e.author() == agent).map(|e| e.hash().clone());
        let rounds = clusters.iter().map(|c| c.closed.len()).max().unwrap_or(0);
        let outcome = match hash(&representative.agent) {
            Some(entry) => SubtaskOutcome::Answered {
                representative: entry,
                agreement: representative.agreement,
                dissent: representative.dissent.iter().filter_map(|d| hash(&d.author)).collect(),
                rounds: u32::try_from(rounds).unwrap_or(u32::MAX),
            },
            None => SubtaskOutcome::Failed { reason: "its representative has no entry".to_owned() },
        };
        self.settle(key, outcome, now, out);
        true
    }

    fn settle(&mut self, key: &str, outcome: SubtaskOutcome, now: Time, out: &mut Commands) {
        self.commit(Step::Settled { subtask: key.to_owned(), outcome, grounds: None }, now, out);
    }

    fn moderate(
        &self,
        cluster: &ClusterId,
        subtask: &str,
        round: u32,
        body: channel::Body,
        out: &mut Commands,
    ) {
        let (cluster, subtask) = (cluster.clone(), subtask.to_owned());
        out.push(Command::Moderate { cluster, subtask, round, body });
    }

    /// The request for one member's part in a round: its own last entry and those it should read.
    pub(super) fn refine_request(
        &mut self,
        cluster: &ClusterId,
        round: u32,
        agent: &AgentId,
        out: &mut Commands,
    ) -> Option<Request> {
        let key = self.subtask_of(cluster)?;
        let state = self.state.subtasks[&key].clusters.iter().flatten().find(|c| c.id == *cluster)?.clone();
        let latest: Vec<Entry> =
            state.members.iter().filter_map(|m| self.state.latest(&key, &state, m)).cloned().collect();
        let members = self.members(&latest, out)?;
        let mode = if self.state.settings.all_to_all { Mode::AllToAll } else { Mode::Upward };
        let order = reading::order(&members, mode);
        let hash = |who: &AgentId| latest.iter().find(|e| e.author() == who).map(|e| e.hash().clone());
        let read = order.get(agent).into_iter().flatten().filter_map(hash).collect();
        let own = hash(agent)?;
        // The strongest member's draft sets the frame of the first round.
        let frame = (round == 1).then(|| state.members.first()).flatten();
        let frame = frame.filter(|strongest| *strongest != agent).and_then(|strongest| {
            latest.iter().find(|e| e.author() == strongest).map(|e| text(e).to_owned())
        });
        let subtask = self.state.plan.as_ref()?.0.get(&key)?.clone();
        let inputs = self.findings(&key);
        let task = self.state.submission.task.clone();
        Some(Request::Refine { cluster: cluster.clone(), round, subtask, task, inputs, own, read, frame })
    }

    /// What a subtask was answered; `None` when it failed or is not done.
    pub(super) fn outcome(&self, key: &str) -> Option<&Contribution> {
        match self.state.subtasks.get(key)?.outcome.as_ref()? {
            SubtaskOutcome::Answered { representative, .. } => {
                self.state.entries.get(representative)?.body().contribution()
            }
            SubtaskOutcome::Failed { .. } => None,
        }
    }

    /// Whether an agent that changes something outside was asked and did not say that it changed nothing.
    fn may_have_written(&self, key: &str) -> bool {
        let is_draft = |p: &Purpose| matches!(p, Purpose::Draft { subtask } if subtask == key);
        let writes = |agent: &AgentId| {
            let team = &self.state.subtasks[key].team;
            team.iter().any(|m| m.agent == *agent && m.effects == Effects::Write)
        };
        self.state.works_for(is_draft).any(|w| match &w.status {
            WorkStatus::Failed(reason, _) => writes(&w.order.agent) && !REFUSALS.contains(&reason.as_str()),
            WorkStatus::Open | WorkStatus::Answered(_) | WorkStatus::Posted(_) => false,
        })
    }

    /// Names everyone who was asked for a draft and what they said instead.
    pub(super) fn why_nobody_answered(&self, key: &str) -> String {
        let is_draft = |p: &Purpose| matches!(p, Purpose::Draft { subtask } if subtask == key);
        let said: Vec<String> = self
            .state
            .works_for(is_draft)
            .filter_map(|w| match &w.status {
                WorkStatus::Failed(reason, detail) => {
                    Some(format!("{}: {reason} ({detail})", w.order.agent.short()))
                }
                WorkStatus::Open | WorkStatus::Answered(_) | WorkStatus::Posted(_) => None,
            })
            .collect();
        format!("nobody answered: {}", said.join("; "))
    }
}

/// Failures that say that the work was never begun.
const REFUSALS: [&str; 6] = ["declined", "overloaded", "draining", "unknown-agent", "cap-too-low", "expired"];

/// Where a cluster stands.
enum Play {
    Done,
    Waiting,
    Moved,
}

fn text(entry: &Entry) -> &str {
    entry.body().contribution().map_or("", |c| c.text.as_str())
}

fn posted(work: &WorkState) -> Option<EntryHash> {
    match &work.status {
        WorkStatus::Posted(hash) => Some(hash.clone()),
        WorkStatus::Open | WorkStatus::Answered(_) | WorkStatus::Failed(..) => None,
    }
}
