//! Routing questions where the directory is cut into shards: they go to nodes that hold the shards near the task, and the
//! answers become one.
//!
//! Of each shard the first holder that is there is asked; when it does not answer in time, is gone, or says that it has not
//! all the cards yet, the next. What is here is part of the answer in any case. How an agent did is told to those who keep its
//! card, and an agent that failed us counts for less, whatever they think of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foa_capability::route::{Candidate, Query, Routed, Spread};
use foa_capability::shards::{Reach, merged};
use foa_capability::{ModelId, Outcome, Vector};
use foa_wire::{AgentId, JobId, NodeId, Time, Topic};
use foa_workflows::engine::{Input as JobInput, RouteKey};
use serde::{Deserialize, Serialize};

use crate::body::Body;
use crate::machine::NodeMachine;

/// How long a holder may take to answer before the next is asked.
const PATIENCE: Duration = Duration::from_millis(700);
/// Questions open at once; what comes beyond is answered from what is here.
const OPEN: usize = 1000;
/// Candidates another node may ask for.
const CANDIDATES: usize = 50;
/// Parts of a task another node may ask about.
const PARTS: usize = 16;
/// Most bytes of the candidates in an answer, as JSON.
const ANSWER_BYTES: usize = 120 * 1024;
/// Losers in an answer.
const LOSERS: usize = 20;

/// `route.ask`: who of your agents fits?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteAsk {
    /// To recognise the answer.
    pub id: u64,
    /// The model of the question's vectors.
    pub model: ModelId,
    /// The question.
    pub query: Query,
}

/// `route.answer`: these do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteAnswer {
    /// That of the question.
    pub id: u64,
    /// Whether the node has all cards of its shards, as far as it knows.
    pub whole: bool,
    /// The answer.
    pub routed: Routed,
}

/// `route.grade`: your agent delivered, or did not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteGrade {
    /// The agent.
    pub agent: AgentId,
    /// What it was asked, as a meaning.
    pub task: Vector,
    /// The model of it.
    pub model: ModelId,
    /// Whether it delivered.
    pub delivered: bool,
}

/// Who waits for an answer.
#[derive(Clone, Debug)]
pub(crate) enum Asker {
    Job { job: JobId, key: RouteKey },
    Client { id: String, asker: NodeId },
}

/// A question that other nodes are asked.
#[derive(Debug)]
struct Asking {
    asker: Asker,
    query: Query,
    /// Shards nobody has answered for yet, and whom we asked.
    open: BTreeMap<u32, BTreeSet<NodeId>>,
    /// Whose answer is awaited, for which shards, and for how long.
    awaited: BTreeMap<NodeId, (BTreeSet<u32>, Time)>,
    answers: Vec<Routed>,
    spread: Spread,
}

/// Questions that other nodes are asked.
#[derive(Debug, Default)]
pub struct Afar {
    asking: BTreeMap<u64, Asking>,
    next: u64,
}

impl Afar {
    pub(crate) fn len(&self) -> usize {
        self.asking.len()
    }

    pub(crate) fn wake(&self) -> Option<Time> {
        let awaited = self.asking.values().flat_map(|asking| asking.awaited.values());
        awaited.map(|(_, until)| *until).min()
    }
}

impl NodeMachine {
    /// The answer, if it can be given here: all cards are here, or all shards near the task.
    pub(crate) fn route_here(&self, query: &Query, now: Time) -> Option<Routed> {
        let directory = self.membership.directory.as_ref()?;
        let here = match self.shards_asked(query, now) {
            None => true,
            Some(shards) => {
                let mine = directory.shards().map(|(_, mine)| mine);
                self.shards_whole() && mine.is_some_and(|mine| shards.is_subset(mine))
            }
        };
        here.then(|| directory.route(query, now))
    }

    /// The shards a question has to ask; `None` when everything is here.
    fn shards_asked(&self, query: &Query, now: Time) -> Option<BTreeSet<u32>> {
        let (map, _) = self.membership.directory.as_ref()?.shards()?;
        let map = self.membership.shards.followed(map, now)?;
        Some(map.asked_for(&query.vector, &query.parts, Reach::default()))
    }

    /// Asks those who hold the shards near the task. The asker gets the answer as soon as it is there, maybe at once.
    pub(crate) fn route_afar(&mut self, asker: Asker, query: Query, now: Time) {
        let Some(directory) = &self.membership.directory else { return };
        let shards = self.shards_asked(&query, now).unwrap_or_default();
        let here = directory.route(&query, now);
        let (all, mine) = directory.shards().map(|(map, mine)| (map.len(), mine.clone())).unwrap_or_default();
        let whole = self.shards_whole();
        let answered = |shard: &u32| whole && mine.contains(shard);
        let spread = Spread { shards: all, asked: shards.len(), nodes: 0, silent: BTreeSet::new() };
        let open = if self.afar.len() < OPEN {
            shards.into_iter().filter(|shard| !answered(shard)).map(|s| (s, BTreeSet::new())).collect()
        } else {
            tracing::warn!("too many routing questions are open; one is answered from what is here");
            BTreeMap::new()
        };
        let id = self.afar.next;
        self.afar.next += 1;
        let answers = vec![here];
        let awaited = BTreeMap::new();
        self.afar.asking.insert(id, Asking { asker, query, open, awaited, answers, spread });
        self.ask_on(id, now);
    }

    /// Asks the next holder of every shard that is open and that nobody is being asked about; gives the answer when there
    /// is nobody left to wait for.
    fn ask_on(&mut self, id: u64, now: Time) {
        let nodes = self.shard_nodes();
        let me = self.id().clone();
        let Some(asking) = self.afar.asking.get_mut(&id) else { return };
        let Some((map, _)) = self.membership.directory.as_ref().and_then(|d| d.shards()) else { return };
        let map = self.membership.shards.followed(map, now).unwrap_or(map);
        let mut next: BTreeMap<NodeId, BTreeSet<u32>> = BTreeMap::new();
        let mut silent = Vec::new();
        for (shard, tried) in &asking.open {
            if asking.awaited.values().any(|(shards, _)| shards.contains(shard)) {
                continue;
            }
            let holders = map.holders(*shard, nodes.iter());
            match holders.into_iter().find(|node| **node != me && !tried.contains(node)) {
                Some(node) => _ = next.entry(node.clone()).or_default().insert(*shard),
                None => silent.push(*shard),
            }
        }
        for shard in silent {
            asking.open.remove(&shard);
            asking.spread.silent.insert(shard);
        }
        let query = asking.query.clone();
        for (node, shards) in &next {
            // One that is being asked about other shards answers for all it has.
            let (awaited, until) = asking.awaited.entry(node.clone()).or_insert((BTreeSet::new(), now));
            awaited.extend(shards.iter().copied());
            *until = now + PATIENCE;
            asking.spread.nodes += 1;
        }
        let over = asking.awaited.is_empty();
        for node in next.into_keys() {
            let ask = RouteAsk { id, model: self.config.model.clone(), query: query.clone() };
            self.command(Topic::Inbox(node), Body::RouteAsk(Box::new(ask)), now);
        }
        if over {
            self.answered_from_afar(id, now);
        }
    }

    fn answered_from_afar(&mut self, id: u64, now: Time) {
        let Some(asking) = self.afar.asking.remove(&id) else { return };
        let Some(directory) = &self.membership.directory else { return };
        let Asking { asker, query, mut answers, spread, .. } = asking;
        for answer in answers.iter_mut().skip(1) {
            directory.temper(answer, &query, now);
        }
        let Some(mut routed) = merged(answers, query.limit) else { return };
        if !spread.silent.is_empty() {
            tracing::warn!(shards = ?spread.silent, "nobody answered for some shards near a task");
        }
        routed.spread = Some(spread);
        match asker {
            Asker::Job { job, key } => self.job_input(&job, JobInput::Routed { key, routed }, now),
            Asker::Client { id, asker } => self.route_answered(id, asker, routed, now),
        }
    }

    /// Another coordinator asks about the agents whose cards are here.
    pub(crate) fn route_ask(&mut self, ask: RouteAsk, from: &NodeId, now: Time) {
        let whole = self.shards_whole();
        let Some(directory) = &self.membership.directory else { return };
        let own = directory.model();
        let RouteAsk { id, model, mut query } = ask;
        let problem = if !self.membership.is_enrolled(from) {
            "wanted a question by a coordinator".to_owned()
        } else if model != *own || query.vector.dimension() != own.dimension() || query.parts.len() > PARTS {
            format!("wanted vectors of {own}, of {PARTS} parts at most")
        } else {
            query.limit = query.limit.min(CANDIDATES);
            let mut routed = directory.route(&query, now);
            routed.losers.truncate(LOSERS);
            fit(&mut routed);
            let answer = Box::new(RouteAnswer { id, whole, routed });
            return self.command(Topic::Inbox(from.clone()), Body::RouteAnswer(answer), now);
        };
        self.refuse("bad-question", from.to_string(), "route.ask".to_owned(), problem, now);
    }

    pub(crate) fn route_answer(&mut self, answer: RouteAnswer, from: &NodeId, now: Time) {
        let RouteAnswer { id, whole, mut routed } = answer;
        let Some(asking) = self.afar.asking.get_mut(&id) else { return };
        let Some((shards, _)) = asking.awaited.remove(from) else { return };
        routed.candidates.truncate(CANDIDATES);
        routed.candidates.retain(|candidate| (0.0..=1.0).contains(&candidate.alpha));
        asking.answers.push(routed);
        asking.done(from, &shards, whole);
        self.ask_on(id, now);
    }

    /// Tells those who keep an agent's card how it did; they know it by what it served, and by what it failed at.
    pub(crate) fn grade_afar(&mut self, agent: &AgentId, task: &Vector, delivered: bool, now: Time) {
        let nodes = self.shard_nodes();
        let Some(directory) = &self.membership.directory else { return };
        let (Some((map, _)), Some(shards)) = (directory.shards(), directory.shards_elsewhere(agent)) else {
            return;
        };
        let model = directory.model().clone();
        let holders: BTreeSet<NodeId> =
            shards.iter().flat_map(|shard| map.holders(*shard, nodes.iter())).cloned().collect();
        for holder in holders {
            let grade =
                RouteGrade { agent: agent.clone(), task: task.clone(), model: model.clone(), delivered };
            self.command(Topic::Inbox(holder), Body::RouteGrade(Box::new(grade)), now);
        }
    }

    /// Another coordinator says how an agent did whose card is here.
    pub(crate) fn route_grade(&mut self, grade: &RouteGrade, from: &NodeId, now: Time) {
        if !self.membership.is_enrolled(from) {
            let (sender, subject) = (from.to_string(), "route.grade".to_owned());
            return self.refuse("bad-grade", sender, subject, "wanted a coordinator's word".to_owned(), now);
        }
        if let Some(directory) = &mut self.membership.directory
            && directory.get(&grade.agent).is_some()
            && grade.model == *directory.model()
            && grade.task.dimension() == grade.model.dimension()
        {
            directory.report(&grade.agent, &grade.task, Outcome::of(grade.delivered), now);
        }
    }

    /// A node is gone: whoever waits for its answer asks the next.
    pub(crate) fn afar_lost(&mut self, node: &NodeId, now: Time) {
        let waiting = self.afar.asking.iter().filter(|(_, asking)| asking.awaited.contains_key(node));
        let waiting: Vec<u64> = waiting.map(|(id, _)| *id).collect();
        for id in waiting {
            let Some(asking) = self.afar.asking.get_mut(&id) else { continue };
            if let Some((shards, _)) = asking.awaited.remove(node) {
                asking.done(node, &shards, false);
            }
            self.ask_on(id, now);
        }
    }

    pub(crate) fn afar_tick(&mut self, now: Time) {
        let mut late: Vec<(u64, NodeId)> = Vec::new();
        for (id, asking) in &mut self.afar.asking {
            for (node, (_, until)) in &mut asking.awaited {
                if *until > now {
                    continue;
                }
                if self.connected {
                    late.push((*id, node.clone()));
                } else {
                    // Nobody can answer; that is no reason to do without them.
                    *until = now + PATIENCE;
                }
            }
        }
        for (id, node) in late {
            if let Some(asking) = self.afar.asking.get_mut(&id)
                && let Some((shards, _)) = asking.awaited.remove(&node)
            {
                asking.done(&node, &shards, false);
            }
            self.ask_on(id, now);
        }
    }
}

impl Asking {
    /// A node has said all it will about these shards; whether that was all there is.
    fn done(&mut self, node: &NodeId, shards: &BTreeSet<u32>, whole: bool) {
        for shard in shards {
            if whole {
                self.open.remove(shard);
            } else if let Some(tried) = self.open.get_mut(shard) {
                tried.insert(node.clone());
            }
        }
    }
}

/// Leaves out the last candidates, until the rest fits a message.
fn fit(routed: &mut Routed) {
    let mut bytes = 0;
    let fits = |candidate: &&Candidate| {
        bytes += serde_json::to_vec(candidate).map_or(ANSWER_BYTES, |json| json.len());
        bytes <= ANSWER_BYTES
    };
    let count = routed.candidates.iter().take_while(fits).count();
    routed.candidates.truncate(count);
}

#[cfg(test)]
mod tests;
