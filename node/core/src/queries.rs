//! Answers to the questions clients ask a coordinator.

use std::collections::BTreeSet;

use foa_capability::directory::Entry;
use foa_capability::route::{Query as RouteQuery, Routed};
use foa_capability::{Money, Policy, Vector, parts};
use foa_wire::{AgentId, JobId, NodeId, Time, Topic};
use foa_workflows::Record;
use foa_workflows::engine::JobState;

use crate::afar::Asker;
use crate::body::Body;
use crate::coordinator::Held;
use crate::machine::NodeMachine;
use crate::query::{AgentSummary, JobSummary, Query, QueryAnswer, QueryReply, Question};
use crate::status::Role;

/// Agents in one answer.
const PAGE: usize = 200;
/// Records in one answer, by size.
const RECORDS_BYTES: usize = 140 * 1024;
/// Jobs in one answer.
const JOBS: usize = 250;
/// Nodes in one answer.
const NODES: usize = 300;
/// Refusals in one answer.
const RECENT: usize = 100;
/// Candidates of one route, at most.
const CANDIDATES: usize = 50;
/// Questions to the embedder that may be open when a client asks for another.
const QUESTIONS: usize = 1000;
/// Characters of a task or description in a summary.
const SHORT: usize = 120;

/// Who waits for an embedding.
#[derive(Debug)]
pub enum Asked {
    /// A job.
    Job {
        /// Which.
        job: JobId,
        /// The texts, in order.
        texts: Vec<String>,
    },
    /// A submission on its way in.
    Arrival {
        /// Which.
        job: JobId,
        /// The texts, in order.
        texts: Vec<String>,
    },
    /// A client's routing question.
    Route {
        /// The question's id.
        id: String,
        /// Who asked.
        asker: NodeId,
        /// The question.
        question: RouteQuestion,
    },
}

/// What a client's routing question requires.
#[derive(Debug)]
pub struct RouteQuestion {
    text: String,
    policies: BTreeSet<Policy>,
    skills: BTreeSet<String>,
    budget: Option<Money>,
    limit: usize,
}

impl NodeMachine {
    /// Answers a question, or begins to.
    pub(crate) fn query(&mut self, query: Query, asker: NodeId, now: Time) {
        let Query { id, question } = query;
        let answer = match question {
            Question::Jobs => self.newest_jobs(),
            Question::Job { job } => self.job(&job),
            Question::Agents { after } => self.agents(after.as_ref()),
            Question::Agent { agent } => self.agent(&agent),
            Question::Nodes => {
                let nodes =
                    self.membership.nodes.values().take(NODES).map(|known| known.status.clone()).collect();
                QueryAnswer::Nodes { nodes }
            }
            Question::Rejected => QueryAnswer::Rejected {
                counts: self.refusals.counts().clone(),
                recent: self.refusals.recent().take(RECENT).cloned().collect(),
            },
            Question::Route { text, policies, skills, budget, limit } => {
                if !self.is(Role::Coordinator) {
                    unknown("this node keeps no directory")
                } else if text.trim().is_empty() || text.len() > foa_workflows::job::MAX_TASK {
                    unknown("wanted a task in words, at most 32 KiB")
                } else if self.embeds.len() >= QUESTIONS {
                    unknown("too many questions are waiting, try again later")
                } else {
                    let texts = parts::texts(&text);
                    let question = RouteQuestion { text, policies, skills, budget, limit };
                    self.embed(Asked::Route { id, asker, question }, texts);
                    return;
                }
            }
        };
        self.answer(id, asker, answer, now);
    }

    fn answer(&mut self, id: String, asker: NodeId, answer: QueryAnswer, now: Time) {
        let reply = QueryReply { id, answer };
        self.command(Topic::Inbox(asker), Body::QueryReply(Box::new(reply)), now);
    }

    pub(crate) fn route_embedded(
        &mut self,
        id: String,
        asker: NodeId,
        question: &RouteQuestion,
        result: Result<Vec<Vector>, String>,
        now: Time,
    ) {
        let query = result.map(|vectors| RouteQuery::in_parts(question.text.as_str(), vectors));
        let answer = match query {
            Ok(Some(mut query)) if self.membership.directory.is_some() => {
                query.policies.clone_from(&question.policies);
                query.skills.clone_from(&question.skills);
                query.budget = question.budget;
                query.allow_write = true;
                query.limit = question.limit.clamp(1, CANDIDATES);
                return match self.route_here(&query, now) {
                    Some(routed) => self.route_answered(id, asker, routed, now),
                    None => self.route_afar(Asker::Client { id, asker }, query, now),
                };
            }
            Ok(_) => unknown("this node keeps no directory"),
            Err(error) => unknown(&format!("the embedding model failed: {error}")),
        };
        self.answer(id, asker, answer, now);
    }

    pub(crate) fn route_answered(&mut self, id: String, asker: NodeId, routed: Routed, now: Time) {
        self.answer(id, asker, QueryAnswer::Route { routed: Box::new(routed) }, now);
    }

    fn newest_jobs(&self) -> QueryAnswer {
        let accepted = |held: &Held| held.committed().first().map(|record| record.at);
        let known = self.coordinator.jobs.iter().filter_map(|(job, held)| Some((accepted(held)?, job, held)));
        let mut newest: Vec<(Time, &JobId, &Held)> = known.collect();
        newest.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let jobs = newest.into_iter().take(JOBS).filter_map(|(.., held)| summary(held)).collect();
        QueryAnswer::Jobs { jobs }
    }

    fn job(&self, job: &JobId) -> QueryAnswer {
        let held = self.coordinator.jobs.get(job);
        let Some((held, summary)) = held.and_then(|held| Some((held, summary(held)?))) else {
            return unknown("this coordinator does not know that job");
        };
        let mut bytes = 0;
        let fits = |record: &&Record| {
            bytes += record.bytes();
            bytes <= RECORDS_BYTES
        };
        // The result has an answer of its own; its record would say everything twice.
        let without_result = held.committed().iter().filter(|r| r.step.name() != "ended");
        let mut records: Vec<Record> = without_result.rev().take_while(fits).cloned().collect();
        records.reverse();
        let result = held.result().cloned().map(Box::new);
        QueryAnswer::Job { summary, records, result }
    }

    fn agents(&self, after: Option<&AgentId>) -> QueryAnswer {
        let Some(directory) = &self.membership.directory else {
            return unknown("this node keeps no directory");
        };
        let mut all =
            directory.iter().filter(|(id, e)| !e.retired() && after.is_none_or(|after| *id > after));
        let agents = all.by_ref().take(PAGE).map(|(id, entry)| self.agent_summary(id, entry)).collect();
        let elsewhere = directory.known() - directory.len();
        QueryAnswer::Agents { agents, more: all.next().is_some(), elsewhere }
    }

    fn agent(&self, name: &str) -> QueryAnswer {
        let Some(directory) = &self.membership.directory else {
            return unknown("this node keeps no directory");
        };
        let named =
            |id: &AgentId| id.to_string() == name || id.short() == name || id.agent().as_str() == name;
        let found: Vec<(&AgentId, &Entry)> =
            directory.iter().filter(|(id, e)| !e.retired() && named(id)).collect();
        match found.as_slice() {
            [] => unknown(&format!("no agent is called {name}")),
            [(id, entry)] => QueryAnswer::Agent {
                card: Box::new(entry.card().clone()),
                summary: self.agent_summary(id, entry),
            },
            several => {
                let ids: Vec<String> = several.iter().map(|(id, _)| id.to_string()).collect();
                unknown(&format!("{} agents are called {name}: {}", ids.len(), ids.join(", ")))
            }
        }
    }

    fn agent_summary(&self, id: &AgentId, entry: &Entry) -> AgentSummary {
        let card = entry.card();
        let capability = card.capability();
        let online = id.node() == self.id()
            || self.membership.nodes.get(id.node()).is_some_and(|known| known.status.online);
        AgentSummary {
            agent: id.clone(),
            kind: capability.kind.clone(),
            description: short(card.description()),
            version: card.order().1,
            online,
            load: self.load_of(id),
            skills: card.skills().len(),
            price: capability.offer.price,
            policies: capability.policies.clone().into(),
        }
    }
}

/// What is committed of a job; the state of one we only keep a copy of is worked out from the copy.
fn summary(held: &Held) -> Option<JobSummary> {
    let state = JobState::replay(held.committed()).ok()?;
    let phase = state.result.as_ref().map_or(state.phase().name(), |result| result.status.name());
    Some(JobSummary {
        job: state.job.clone(),
        term: state.term.clone(),
        owner: state.owner.clone(),
        phase: phase.to_owned(),
        task: short(&state.submission.task),
        accepted: state.accepted,
        ended: state.result.as_ref().map(|r| r.ended),
        spent: state.budget.spent(),
        records: state.last.0,
    })
}

fn short(text: &str) -> String {
    let mut shortened: String = text.chars().take(SHORT).collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened
}

fn unknown(detail: &str) -> QueryAnswer {
    QueryAnswer::Unknown { detail: detail.to_owned() }
}
