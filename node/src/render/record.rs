//! One durable step of a job, as one line.

use std::collections::BTreeMap;

use foa_wire::{AgentId, ClusterId, Term, Time};
use foa_workflows::cluster::channel::{Body, Content};
use foa_workflows::journal::{
    Adoption, Ballot, Cluster, Order, Purpose, Record, Reply, Scored, Step, SubtaskOutcome,
};
use foa_workflows::work::Answer;

use super::{Style, count, one_line};

/// The phase of a job a step belongs to.
#[must_use]
pub fn phase(step: &Step) -> &'static str {
    match step {
        Step::Accepted { .. } => "accept",
        Step::TookOver { .. } => "take over",
        Step::Routed { .. } | Step::Assigned { .. } | Step::Reassigned { .. } => "route",
        Step::Merged { .. } => "decompose",
        Step::Adopted { .. } => "vote",
        Step::Answered { reply, .. } => match reply {
            Reply::Private { content: Answer::Proposal { .. } } => "decompose",
            Reply::Private { content: Answer::Verdict { .. } } => "vote",
            Reply::Private { content: Answer::Contribution(_) } => "draft",
            Reply::Private { content: Answer::Synthesis { .. } } => "synthesise",
            Reply::Private { content: Answer::Declined { .. } } => "decline",
            Reply::Posted { entry } if entry.content().round == 0 => "draft",
            Reply::Posted { .. } => "refine",
        },
        Step::Failed { reason, .. } if reason == "declined" => "decline",
        Step::Failed { .. } => "fail",
        Step::Dispatched { orders, .. } => match orders.first().map(|o| &o.purpose) {
            Some(Purpose::Refine { .. }) => "refine",
            Some(Purpose::Synthesise) => "synthesise",
            Some(Purpose::Judge) => "vote",
            Some(Purpose::Propose | Purpose::Solo) => "decompose",
            Some(Purpose::Draft { .. }) | None => "draft",
        },
        Step::Clustered { .. } => "draft",
        Step::RoundClosed { .. } | Step::Settled { .. } => "refine",
        Step::Cancelled { .. } => "cancel",
        Step::Ended { .. } => "done",
    }
}

/// Tells a job's log step by step. It remembers who was asked for what, since a reply names the work alone.
#[derive(Clone, Debug, Default)]
pub struct Telling {
    asked: BTreeMap<u32, String>,
}

impl Telling {
    /// The step on one line: `12:00:01.2 decompose   merged 3 proposals into 4 subtasks: …`.
    #[must_use]
    pub fn line(&mut self, record: &Record, style: Style) -> String {
        self.heed(record);
        let said = match &record.step {
            Step::TookOver { from } => took_over(record, from),
            step => said(step),
        };
        line(record, &self.named(said), style)
    }

    /// Learns from a step that is not shown.
    pub fn heed(&mut self, record: &Record) {
        if let Step::Routed { orders, .. } | Step::Merged { orders, .. } | Step::Dispatched { orders, .. } =
            &record.step
        {
            self.asked.extend(orders.iter().map(|o| (o.work, o.agent.short())));
        }
    }

    /// `#5 voted` as `calc@abacus voted`; a line that names the agent already loses its number.
    fn named(&self, said: String) -> String {
        let Some((number, rest)) = said.strip_prefix('#').and_then(|s| s.split_once(' ')) else {
            return said;
        };
        match number.parse().ok().and_then(|work: u32| self.asked.get(&work)) {
            Some(agent) if rest.starts_with(agent.as_str()) => rest.to_owned(),
            Some(agent) => format!("{agent} {rest}"),
            None => said,
        }
    }
}

fn line(record: &Record, said: &str, style: Style) -> String {
    let clock = clock(record.at);
    let phase = format!("{:<11}", phase(&record.step));
    let room = style.width.saturating_sub(clock.len() + phase.len() + 1);
    let said = one_line(said, room);
    let said = match &record.step {
        Step::Failed { .. } | Step::Cancelled { .. } | Step::TookOver { .. } => style.yellow(&said),
        Step::Accepted { .. }
        | Step::Routed { .. }
        | Step::Answered { .. }
        | Step::Merged { .. }
        | Step::Adopted { .. }
        | Step::Assigned { .. }
        | Step::Reassigned { .. }
        | Step::Dispatched { .. }
        | Step::Clustered { .. }
        | Step::RoundClosed { .. }
        | Step::Settled { .. }
        | Step::Ended { .. } => said,
    };
    format!("{} {}{said}", style.dim(&clock), style.bold(&phase))
}

fn took_over(record: &Record, from: &Term) -> String {
    let by = &record.term.holder;
    if *by == from.holder {
        format!("{} is back and goes on in term {}", by.name(), record.term.number)
    } else {
        format!("{} took over from {} in term {}", by.name(), from.holder.name(), record.term.number)
    }
}

/// `12:00:01.2` of a time, UTC.
fn clock(at: Time) -> String {
    at.to_string().get(11..21).unwrap_or_default().to_owned()
}

fn said(step: &Step) -> String {
    match step {
        Step::Accepted { submission, .. } => match &submission.plan {
            Some(plan) => {
                let subtasks = plan.subtasks.iter().map(|s| format!("{} {}", s.key, s.description));
                let subtasks: Vec<String> = subtasks.collect();
                let number = count(subtasks.len(), "subtask");
                format!("accepted with {number}: {}; {}", submission.task, subtasks.join("; "))
            }
            None => format!("accepted: {}", submission.task),
        },
        Step::Routed { candidates, orders, .. } => routed(candidates, orders),
        Step::Answered { work, reply, .. } => format!("#{work} {}", replied(reply)),
        Step::Failed { work, reason, detail, usage: _ } => format!("#{work} failed, {reason}: {detail}"),
        Step::Merged { input, plan, dropped, orders, .. } => {
            let subtasks = plan.subtasks().iter().map(|s| format!("{} {}", s.key, s.description));
            let mut said = format!(
                "merged {} into {}: {}",
                count(input.proposals.len(), "proposal"),
                count(plan.subtasks().len(), "subtask"),
                subtasks.collect::<Vec<_>>().join("; ")
            );
            if !dropped.is_empty() {
                said.push_str(&format!("; dropped {}", dropped.len()));
            }
            if !orders.is_empty() {
                said.push_str(&format!("; {} vote", names(orders.iter().map(|o| &o.agent))));
            }
            said
        }
        Step::Adopted { plan, how } => {
            format!("{}: {}", adopted(how), count(plan.subtasks().len(), "subtask"))
        }
        Step::Assigned { teams, unmet, .. } => {
            let teams =
                teams.iter().map(|(key, team)| format!("{key} → {}", names(team.iter().map(|s| &s.agent))));
            let unmet = unmet.iter().map(|(key, why)| format!("{key} → nobody ({why})"));
            format!("assigned {}", teams.chain(unmet).collect::<Vec<_>>().join("; "))
        }
        Step::Reassigned { subtask, team, .. } => {
            format!("reassigned {subtask} → {}", names(team.iter().map(|s| &s.agent)))
        }
        Step::Dispatched { orders, .. } => format!("sent {}", listed(orders)),
        Step::Clustered { subtask, clusters } => {
            let members = |c: &Cluster| names(c.members.iter());
            let together: Vec<String> = clusters.iter().map(members).collect();
            format!("drafts of {subtask} are in: {}", together.join(" | "))
        }
        Step::RoundClosed { cluster, round, entries, stragglers } => {
            let mut said = format!(
                "round {round} of {} closed with {}",
                seat(cluster),
                if entries.len() == 1 { "1 entry".to_owned() } else { format!("{} entries", entries.len()) }
            );
            if !stragglers.is_empty() {
                said.push_str(&format!(", without {}", names(stragglers.iter())));
            }
            said
        }
        Step::Settled { subtask, outcome, .. } => match outcome {
            SubtaskOutcome::Answered { agreement, dissent, rounds, .. } => format!(
                "{subtask} settled after {}: {} % agree{}",
                count(*rounds as usize, "round"),
                agreement / 10,
                if dissent.is_empty() { String::new() } else { format!(", {} dissent", dissent.len()) }
            ),
            SubtaskOutcome::Failed { reason } => format!("{subtask} failed: {reason}"),
        },
        Step::TookOver { from } => format!("taken over from {}", from.holder.name()),
        Step::Cancelled { by } => format!("cancelled by {}", by.name()),
        Step::Ended { result, .. } => format!(
            "{} after {}: {}",
            result.status.name(),
            super::duration(
                u64::try_from(result.ended.since(result.accepted).as_millis()).unwrap_or(u64::MAX)
            ),
            result.answer
        ),
    }
}

/// A cluster without the job in front: `s2.1`.
fn seat(cluster: &ClusterId) -> &str {
    cluster.as_str().split_once('.').map_or(cluster.as_str(), |(_, seat)| seat)
}

fn routed(candidates: &[Scored], orders: &[Order]) -> String {
    let best = candidates.first().map_or_else(
        || "nobody fits".to_owned(),
        |c| format!("{} fit, best {} ({:.3})", candidates.len(), c.agent.short(), c.alpha as f64 / 1e6),
    );
    if orders.is_empty() { best } else { format!("{best}; asked for {}", listed(orders)) }
}

/// `2 proposals (planner@atlas, calc@abacus), 1 solo answer (…)`.
fn listed(orders: &[Order]) -> String {
    let mut kinds: Vec<(String, Vec<&AgentId>)> = Vec::new();
    for order in orders {
        let purpose = match &order.purpose {
            Purpose::Refine { cluster, round } => format!("round {round} of {}", seat(cluster)),
            Purpose::Propose
            | Purpose::Solo
            | Purpose::Judge
            | Purpose::Draft { .. }
            | Purpose::Synthesise => order.purpose.describe(),
        };
        match kinds.iter_mut().find(|(kind, _)| *kind == purpose) {
            Some((_, agents)) => agents.push(&order.agent),
            None => kinds.push((purpose, vec![&order.agent])),
        }
    }
    let said = kinds.into_iter().map(|(kind, agents)| format!("{kind} → {}", names(agents.into_iter())));
    said.collect::<Vec<_>>().join("; ")
}

fn replied(reply: &Reply) -> String {
    match reply {
        Reply::Private { content } => answered(content),
        Reply::Posted { entry } => posted(entry.content()),
    }
}

fn posted(content: &Content) -> String {
    let author = content.author.short();
    match &content.body {
        Body::Draft(said) | Body::Revision(said) => {
            format!("{author} ({:.2}): {}", said.confidence, said.text)
        }
        Body::Open { .. }
        | Body::Critique { .. }
        | Body::Evidence { .. }
        | Body::Vote { .. }
        | Body::Note { .. }
        | Body::Close { .. } => format!("{author} posted in round {}", content.round),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Proposal { subtasks, .. } => {
            let said: Vec<&str> = subtasks.iter().map(|s| s.description.as_str()).collect();
            format!("proposed {}: {}", count(said.len(), "subtask"), said.join("; "))
        }
        Answer::Verdict { approve: true, .. } => "voted for the plan".to_owned(),
        Answer::Verdict { approve: false, reason } => {
            format!("voted against the plan: {}", reason.as_deref().unwrap_or("no reason given"))
        }
        Answer::Contribution(contribution) => {
            format!("answered ({:.2}): {}", contribution.confidence, contribution.text)
        }
        Answer::Synthesis { text, .. } => format!("synthesised: {text}"),
        Answer::Declined { reason } => format!("declined: {reason}"),
    }
}

/// How a plan came to be, on one line.
pub(super) fn adopted(how: &Adoption) -> String {
    match how {
        Adoption::Consensus { ballots } => format!("adopted by vote ({})", tally(ballots)),
        Adoption::Unopposed { by } => format!("adopted unopposed, the only proposal, by {}", by.short()),
        Adoption::Medoid { by, ballots } => {
            format!(
                "no quorum ({}), so the proposal nearest to all others runs, by {}",
                tally(ballots),
                by.short()
            )
        }
        Adoption::Given { by: Some(owner) } => format!("given with the submission, by {}", owner.name()),
        Adoption::Given { by: None } => "given with the submission".to_owned(),
        Adoption::Solo { reason } => format!("one subtask: {reason}"),
    }
}

/// `planner@atlas yes, calc@abacus no: too coarse, x@y silent`.
fn tally(ballots: &[Ballot]) -> String {
    let vote = |ballot: &Ballot| {
        let vote = match (ballot.approve, &ballot.reason) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), Some(reason)) => format!("no: {reason}"),
            (Some(false), None) => "no".to_owned(),
            (None, _) => "silent".to_owned(),
        };
        format!("{} {vote}", ballot.agent.short())
    };
    ballots.iter().map(vote).collect::<Vec<_>>().join(", ")
}

pub(super) fn names<'a>(agents: impl Iterator<Item = &'a AgentId>) -> String {
    let names: Vec<String> = agents.map(AgentId::short).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_told_by_who_was_asked() {
        let telling = Telling { asked: BTreeMap::from([(5, "calc@abacus".to_owned())]) };
        let cases = [
            ("#5 voted for the plan", "calc@abacus voted for the plan"),
            ("#5 calc@abacus (0.80): 42", "calc@abacus (0.80): 42"),
            ("#6 voted for the plan", "#6 voted for the plan"),
            ("merged 3 proposals", "merged 3 proposals"),
        ];
        for (said, told) in cases {
            assert_eq!(telling.named(said.to_owned()), told);
        }
    }
}
