//! Jobs driven by hand: a scripted federation answers at once, and the log is the witness.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use foa_capability::profile::Effects;
use foa_capability::route::{Candidate, Engine, Factors};
use foa_capability::score::grid;
use foa_capability::{Money, Query, Routed, Vector, Weights, turn};
use foa_wire::{AgentId, Boot, JobId, NodeId, NodeKey, Term, Time, Version};

use super::{Command, Input, JobMachine, Phase, RouteKey};
use crate::cluster::channel::{Body, Content, Entry};
use crate::decompose::merge;
use crate::given::GivenPlan;
use crate::job::{JobSubmission, Refused};
use crate::journal::{Adoption, Record, Step};
use crate::request::{Request, Work, WorkOutcome, WorkReply};
use crate::result::{JobResult, Status};
use crate::work::{Answer, Contribution, PartOutcome, ProposedSubtask, Usage};

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

fn node(n: u8) -> NodeId {
    NodeId::new(format!("node{n}").parse().unwrap(), &key(n).public())
}

pub(crate) fn agent(n: u8) -> AgentId {
    AgentId::new("worker".parse().unwrap(), node(n))
}

/// What an agent of the script does with a draft or refinement.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    Answers,
    Declines,
    Silent,
}

/// Agents 1..=n; agent 1 proposes two steps, all others propose the same two.
pub(crate) struct Script {
    pub(crate) manners: BTreeMap<u8, Manner>,
    pub(crate) price: Money,
    pub(crate) reject: BTreeSet<u8>,
    pub(crate) effects: Effects,
    /// Repeats of each answer's text, to make it long.
    long: usize,
    pub(crate) log: Vec<Record>,
    sent: Vec<Work>,
    withdrawn: usize,
    asked_synthesiser: bool,
    /// Whether the agents put parts together as well.
    pub(crate) synthesises: bool,
    now: Time,
}

impl Script {
    pub(crate) fn new(agents: u8) -> Self {
        Self {
            manners: (1..=agents).map(|n| (n, Manner::Answers)).collect(),
            price: Money::ZERO,
            reject: BTreeSet::new(),
            effects: Effects::Read,
            long: 1,
            log: Vec::new(),
            sent: Vec::new(),
            withdrawn: 0,
            asked_synthesiser: false,
            synthesises: false,
            now: Time::from_millis(1_000_000),
        }
    }

    pub(crate) fn start(&mut self, submission: JobSubmission) -> JobMachine {
        let job: JobId = "job-under-test".parse().unwrap();
        let (mut machine, commands) = JobMachine::accept(
            job,
            submission,
            Some(node(9)),
            Term::first(node(1)),
            vec![node(1)],
            None,
            self.now,
        );
        self.run(&mut machine, commands, Some(Input::Resume));
        machine
    }

    /// Performs commands and what comes of them until nothing is left to do but wait.
    pub(crate) fn run(&mut self, machine: &mut JobMachine, commands: Vec<Command>, then: Option<Input>) {
        let mut inputs: VecDeque<Input> = then.into_iter().collect();
        let mut commands = commands;
        loop {
            for command in std::mem::take(&mut commands) {
                match command {
                    Command::Commit(record) => self.log.push(*record),
                    Command::Embed(texts) => {
                        inputs.push_back(Input::Embedded(
                            texts.into_iter().map(|t| (t.clone(), meaning(&t))).collect(),
                        ));
                    }
                    Command::Route { key, query } => {
                        let routed = self.route(&key, &query);
                        self.asked_synthesiser |= key == RouteKey::Synthesiser;
                        inputs.push_back(Input::Routed { key, routed });
                    }
                    Command::Send(work) => {
                        if let Some(reply) = self.reply(&work) {
                            inputs.push_back(Input::Reply(reply));
                        }
                        self.sent.push(*work);
                    }
                    Command::Withdraw { .. } => self.withdrawn += 1,
                    Command::Post { .. } | Command::Moderate { .. } | Command::Grade { .. } => {}
                }
            }
            let Some(input) = inputs.pop_front() else { return };
            commands = machine.handle(input, self.now);
        }
    }

    pub(crate) fn tick(&mut self, machine: &mut JobMachine) {
        self.now = machine.wake().expect("an open job wants to wake up").max(self.now);
        let commands = machine.handle(Input::Tick, self.now);
        self.run(machine, commands, None);
    }

    fn route(&self, key: &RouteKey, query: &Query) -> Routed {
        let fits = |n: &&u8| {
            let has_skills = query.skills.is_empty() || (*key == RouteKey::Synthesiser && self.synthesises);
            !query.exclude.contains(&agent(**n)) && has_skills
        };
        let mut candidates: Vec<Candidate> =
            self.manners.keys().filter(fits).map(|n| self.candidate(*n, query)).collect();
        candidates.sort_by(|a, b| b.alpha.total_cmp(&a.alpha).then_with(|| a.agent.cmp(&b.agent)));
        candidates.truncate(query.limit);
        Routed {
            candidates,
            losers: Vec::new(),
            threshold: 0.1,
            considered: self.manners.len(),
            engine: Engine::Exact,
            model: Some("toy/3@000000000000".parse().unwrap()),
            seed: query.seed,
            price_weight: Some(0.5),
            spread: None,
            unmet: None,
        }
    }

    fn candidate(&self, n: u8, query: &Query) -> Candidate {
        let weights = Weights::default();
        let dense = 0.9 - f64::from(n) / 100.0;
        let factors = Factors {
            similarity: weights.similar(dense, None, 0.1),
            dense,
            best_vector: "description".to_owned(),
            lexical: 0.1,
            experience: None,
            policy: 1.0,
            resources: 1.0,
            price: grid(weights.price(self.price, query.budget)),
            load: grid(weights.load(u32::from(n), 4)),
            spec: 1.0,
            reputation: 1.0,
            turn: turn::factor(query.seed, &agent(n)),
        };
        Candidate {
            agent: agent(n),
            alpha: factors.alpha(),
            passes: factors.alpha() > 0.1,
            factors,
            version: (Boot(1), Version(1)),
            model: "toy/3@000000000000".parse().unwrap(),
            price: self.price,
            worst_case: self.price,
            concurrency: 4,
            effects: self.effects,
            skills: BTreeSet::new(),
            base_model: None,
        }
    }

    fn reply(&self, work: &Work) -> Option<WorkReply> {
        let n = *self.manners.keys().find(|n| agent(**n) == work.agent).unwrap();
        let outcome = match (&work.request, self.manners[&n]) {
            (_, Manner::Silent) => return None,
            (Request::Propose { .. }, _) => WorkOutcome::Answered { content: proposal() },
            (Request::Judge { input, plan, hash, .. }, _) => {
                let own = input.proposals.iter().find(|p| p.by == work.agent).unwrap();
                merge::verify(input, plan, hash, own).unwrap();
                let approve = !self.reject.contains(&n);
                let reason = (!approve).then(|| "not like this".to_owned());
                WorkOutcome::Answered { content: Answer::Verdict { approve, reason } }
            }
            (Request::Draft { .. } | Request::Refine { .. }, Manner::Declines) => {
                WorkOutcome::Answered { content: Answer::Declined { reason: "not mine".to_owned() } }
            }
            (Request::Draft { subtask, .. }, Manner::Answers) => {
                let text = format!("{} answers {}", work.agent.short(), subtask.description);
                posted(n, work, &subtask.key, 0, Body::Draft(contribution(&text)))
            }
            (Request::Refine { subtask, round, .. }, Manner::Answers) => {
                let text = format!("all answer {} ", subtask.description).repeat(self.long).trim().to_owned();
                posted(n, work, &subtask.key, *round, Body::Revision(contribution(&text)))
            }
            (Request::Synthesise { .. }, _) => WorkOutcome::Answered {
                content: Answer::Synthesis { text: "together".to_owned(), whole: None },
            },
        };
        let usage = Usage { cost: self.price, ..Usage::default() };
        Some(WorkReply { work: work.work.clone(), agent: work.agent.clone(), outcome, usage })
    }

    fn result(&self) -> &JobResult {
        match &self.log.last().expect("a log").step {
            Step::Ended { result, .. } => result,
            other => panic!("the job has not ended; it last {}", other.name()),
        }
    }

    pub(crate) fn steps(&self) -> Vec<&'static str> {
        self.log.iter().map(|r| r.step.name()).collect()
    }
}

fn posted(n: u8, work: &Work, subtask: &str, round: u32, body: Body) -> WorkOutcome {
    let job = work.work.job();
    let cluster = match &work.request {
        Request::Refine { cluster, .. } => cluster.clone(),
        _ => foa_wire::ClusterId::new(&job, subtask, 0).unwrap(),
    };
    let content = Content {
        job,
        subtask: subtask.to_owned(),
        cluster,
        round,
        author: work.agent.clone(),
        parents: BTreeSet::new(),
        body,
    };
    WorkOutcome::Posted { entry: Box::new(Entry::sign(content, &key(n))) }
}

fn contribution(text: &str) -> Contribution {
    Contribution { text: text.to_owned(), evidence: Vec::new(), confidence: 0.9, complete: false }
}

fn proposal() -> Answer {
    let subtask = |key: &str, description: &str| ProposedSubtask {
        key: key.to_owned(),
        description: description.to_owned(),
        ..ProposedSubtask::default()
    };
    Answer::Proposal {
        subtasks: vec![subtask("find", "find the numbers"), subtask("add", "add them up")],
        edges: vec![["find".to_owned(), "add".to_owned()]],
    }
}

/// Texts that start alike mean the same.
fn meaning(text: &str) -> Vector {
    let first = text.bytes().next().unwrap_or(b'x');
    Vector::new(vec![f32::from(first), 40.0, f32::from(first % 7)]).unwrap()
}

#[test]
fn a_job_goes_through_all_phases_and_names_everyone() {
    let mut script = Script::new(3);
    let machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    assert_eq!(machine.state().phase(), Phase::Ended);
    let result = script.result();
    assert_eq!(result.status, Status::Completed);
    assert!(matches!(&result.adoption, Some(Adoption::Consensus { ballots }) if ballots.len() == 3));
    let described: Vec<&str> = result.parts.iter().map(|p| p.description.as_str()).collect();
    assert_eq!(described, ["find the numbers", "add them up"]);
    assert_eq!(result.contributors.len(), 3);
    assert!(result.contributors.iter().all(|c| c.did.contains(&"proposal".to_owned())));
    assert!(result.rounds.iter().all(|r| r.rounds >= 1 && r.members.len() == 3));
    assert!(result.answer.contains("all answer add them up"), "{}", result.answer);
}

#[test]
fn the_second_step_gets_the_outcome_of_the_first() {
    let mut script = Script::new(2);
    script.start(JobSubmission::of("find the numbers, then add them up"));
    let inputs: Vec<usize> = script
        .sent
        .iter()
        .filter_map(|w| match &w.request {
            Request::Draft { subtask, inputs, .. } if subtask.description == "add them up" => {
                Some(inputs.len())
            }
            _ => None,
        })
        .collect();
    assert!(!inputs.is_empty() && inputs.iter().all(|n| *n == 1), "{inputs:?}");
}

#[test]
fn a_log_cut_anywhere_ends_in_the_same_answer() {
    let mut whole = Script::new(3);
    whole.start(JobSubmission::of("find the numbers, then add them up"));
    let answer = whole.result().answer.clone();
    for cut in 1..whole.log.len() {
        let mut again = Script::new(3);
        again.log = whole.log[..cut].to_vec();
        again.now = whole.now;
        let term = Term { number: 2, holder: node(1) };
        let (mut machine, commands) = JobMachine::take_over(&again.log.clone(), term, again.now).unwrap();
        again.run(&mut machine, commands, Some(Input::Resume));
        assert_eq!(machine.state().phase(), Phase::Ended, "cut after {:?}", again.steps());
        assert_eq!(again.result().answer, answer, "cut after record {cut}");
    }
}

#[test]
fn a_broken_log_is_refused() {
    let mut script = Script::new(1);
    script.start(JobSubmission::of("find the numbers, then add them up"));
    let take_over = |log: &[Record]| JobMachine::take_over(log, Term::first(node(1)), script.now).map(drop);
    assert!(take_over(&[]).is_err());
    assert!(take_over(&script.log[1..]).is_err());
    let mut gap = script.log.clone();
    gap.remove(2);
    assert!(take_over(&gap).is_err());
}

#[test]
fn without_a_quorum_the_medoid_runs_and_the_record_says_so() {
    let mut script = Script::new(3);
    script.reject = BTreeSet::from([1, 2]);
    script.start(JobSubmission::of("find the numbers, then add them up"));
    let Some(Adoption::Medoid { ballots, .. }) = &script.result().adoption else { panic!("not a medoid") };
    assert_eq!(ballots.iter().filter(|b| b.approve == Some(false)).count(), 2);
    assert_eq!(ballots[0].reason.as_deref(), Some("not like this"));
}

#[test]
fn a_team_that_declines_is_replaced_and_everyone_who_was_asked_is_named() {
    let mut script = Script::new(6);
    for n in 1..=3 {
        script.manners.insert(n, Manner::Declines);
    }
    script.start(JobSubmission::of("find the numbers, then add them up"));
    assert!(script.steps().contains(&"reassigned"), "{:?}", script.steps());
    let result = script.result();
    assert_eq!(result.status, Status::Completed);
    let declined: BTreeSet<&AgentId> =
        result.failures.iter().filter(|f| f.reason == "declined").map(|f| &f.agent).collect();
    assert!(declined.contains(&agent(1)) && declined.contains(&agent(2)), "{declined:?}");
}

#[test]
fn when_nobody_answers_the_job_fails_by_name() {
    let mut script = Script::new(2);
    for n in 1..=2 {
        script.manners.insert(n, Manner::Declines);
    }
    script.start(JobSubmission::of("find the numbers, then add them up"));
    let Status::Failed { reason } = &script.result().status else { panic!("not failed") };
    assert!(reason.contains("declined") && reason.contains("not mine"), "{reason}");
}

#[test]
fn silence_is_waited_for_no_longer_than_the_deadline_and_work_is_repeated_meanwhile() {
    let mut script = Script::new(2);
    for n in 1..=2 {
        script.manners.insert(n, Manner::Silent);
    }
    let mut machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    let first = script.sent.len();
    while machine.state().phase() != Phase::Ended {
        script.tick(&mut machine);
    }
    assert!(script.sent.len() > first, "nothing was repeated");
    assert!(matches!(script.result().status, Status::Failed { .. }));
    let failures = &script.result().failures;
    assert!(!failures.is_empty() && failures.iter().all(|f| f.reason == "timeout"), "{failures:?}");
}

#[test]
fn an_offline_node_is_not_waited_for() {
    let mut script = Script::new(2);
    script.manners.insert(2, Manner::Silent);
    let mut machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    assert_ne!(machine.state().phase(), Phase::Ended);
    while machine.state().phase() != Phase::Ended {
        let commands = machine.handle(Input::Offline(node(2)), script.now);
        script.run(&mut machine, commands, None);
    }
    assert_eq!(script.result().status, Status::Completed);
    assert!(script.result().failures.iter().any(|f| f.reason == "offline" && f.agent == agent(2)));
}

#[test]
fn the_budget_is_never_exceeded() {
    for budget in [0, 5, 10, 25, 45, 70, 95, 200] {
        let mut script = Script::new(3);
        script.price = Money(10);
        let mut submission = JobSubmission::of("find the numbers, then add them up");
        submission.budget = Some(Money(budget));
        script.start(submission);
        let result = script.result();
        assert!(result.usage.cost <= Money(budget), "{} > {budget}", result.usage.cost);
        if budget < 10 {
            let Status::Failed { reason } = &result.status else { panic!("paid {budget}") };
            assert!(reason.contains("budget"), "{reason}");
        }
    }
}

#[test]
fn cancelling_withdraws_what_is_open_and_keeps_what_there_is() {
    let mut script = Script::new(3);
    script.manners.insert(3, Manner::Silent);
    let mut machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    let commands = machine.handle(Input::Cancel { by: node(9) }, script.now);
    script.run(&mut machine, commands, None);
    assert_eq!(script.result().status, Status::Cancelled);
    assert!(script.withdrawn > 0);
    assert!(machine.handle(Input::Tick, script.now).is_empty());
}

#[test]
fn a_reply_by_another_agent_or_about_something_else_changes_nothing() {
    let mut script = Script::new(2);
    script.manners.insert(2, Manner::Silent);
    let mut machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    let open = script.sent.iter().find(|w| w.agent == agent(2)).unwrap().clone();
    let before = script.log.len();
    let outcome = WorkOutcome::Answered { content: proposal() };
    let stolen = WorkReply { work: open.work.clone(), agent: agent(1), outcome, usage: Usage::default() };
    let commands = machine.handle(Input::Reply(stolen), script.now);
    script.run(&mut machine, commands, None);
    assert_eq!(script.log.len(), before);
    let outcome = WorkOutcome::Answered { content: Answer::Synthesis { text: "?".to_owned(), whole: None } };
    let wrong = WorkReply { work: open.work, agent: agent(2), outcome, usage: Usage::default() };
    let commands = machine.handle(Input::Reply(wrong), script.now);
    script.run(&mut machine, commands, None);
    let failed = |r: &Record| matches!(&r.step, Step::Failed { reason, .. } if reason == "invalid-reply");
    assert!(script.log.iter().any(failed));
}

#[test]
fn every_plan_requires_the_policies_of_the_job() {
    let mut script = Script::new(2);
    let mut submission = JobSubmission::of("find the numbers, then add them up");
    submission.policies.insert("gdpr".parse().unwrap());
    script.start(submission);
    let plan = script.result().plan.clone().unwrap();
    assert!(plan.subtasks().iter().all(|s| s.policies.contains(&"gdpr".parse().unwrap())));
    assert!(script.result().parts.iter().all(|p| matches!(p.outcome, PartOutcome::Answered { .. })));
}

#[test]
fn a_result_fits_one_message_however_long_the_answers_are() {
    let mut script = Script::new(3);
    script.long = 6000;
    script.start(JobSubmission::of("find the numbers, then add them up"));
    let result = script.result();
    assert!(serde_json::to_vec(result).unwrap().len() <= 200 * 1024);
    assert!(result.answer.contains("all answer add them up"));
    assert!(result.warnings.iter().any(|w| w.contains("cut to fit")), "{:?}", result.warnings);
}

#[test]
fn an_agent_cannot_report_figures_that_nobody_can_read() {
    let mut script = Script::new(1);
    script.price = Money(i64::MAX);
    script.start(JobSubmission::of("find the numbers, then add them up"));
    assert!(script.result().usage.cost.0 < 1 << 53, "{}", script.result().usage.cost);
}

#[test]
fn what_may_have_taken_effect_is_never_given_to_another() {
    let mut script = Script::new(3);
    script.effects = Effects::Write;
    script.manners.insert(1, Manner::Silent);
    let mut machine = script.start(JobSubmission::of("find the numbers, then add them up"));
    while machine.state().phase() != Phase::Ended {
        script.tick(&mut machine);
    }
    let drafted: BTreeSet<&AgentId> = script
        .sent
        .iter()
        .filter(|w| matches!(&w.request, Request::Draft { subtask, .. } if subtask.description == "find the numbers"))
        .map(|w| &w.agent)
        .collect();
    assert_eq!(drafted, BTreeSet::from([&agent(1)]), "{:?}", script.steps());
    let Status::Failed { reason } = &script.result().status else { panic!("not failed") };
    assert!(reason.contains("unknown"), "{reason}");
}

/// A plan of `n` steps, each building on the one before.
fn chain(n: usize) -> GivenPlan {
    let step = |i: usize| ProposedSubtask {
        key: format!("k{i}"),
        description: format!("{} step {i}", char::from(b'a' + u8::try_from(i % 26).unwrap())),
        ..ProposedSubtask::default()
    };
    let edges = (1..n).map(|i| [format!("k{}", i - 1), format!("k{i}")]).collect();
    GivenPlan { subtasks: (0..n).map(step).collect(), edges }
}

pub(crate) fn chained(n: usize) -> JobSubmission {
    let plan = Some(chain(n));
    JobSubmission { plan, team: Some(1), rounds: Some(0), ..JobSubmission::of("five steps") }
}

#[test]
fn a_given_plan_is_neither_proposed_nor_voted_on() {
    let mut script = Script::new(3);
    let mut submission = chained(5);
    submission.policies.insert("gdpr".parse().unwrap());
    submission.check().unwrap();
    script.start(submission);
    let result = script.result();
    assert_eq!(result.status, Status::Completed);
    assert_eq!(result.adoption, Some(Adoption::Given { by: Some(node(9)) }));
    let plan = result.plan.as_ref().unwrap();
    assert!(plan.subtasks().iter().all(|s| s.policies.contains(&"gdpr".parse().unwrap())));
    assert_eq!(result.parts.len(), 5);
    assert!(script.sent.iter().all(|w| matches!(w.request, Request::Draft { .. })), "{:?}", script.sent);
    assert_eq!(script.sent.len(), 5, "one draft a step");
    assert_eq!(result.phases[0].phase, "assigning");
    let steps = script.steps();
    assert_eq!(steps[..3], ["accepted", "assigned", "dispatched"]);
    let step = ["answered", "settled", "dispatched"];
    assert_eq!(steps[3..15], step.repeat(4));
    assert_eq!(steps[15..], ["answered", "settled", "ended"]);
}

#[test]
fn a_chain_of_five_whose_meanings_are_known_commits_in_six_turns() {
    let mut script = Script::new(1);
    let job: JobId = "job-under-test".parse().unwrap();
    let submission = chained(5);
    let meanings: Vec<_> = submission.first_texts().into_iter().map(|t| (t.clone(), meaning(&t))).collect();
    let (term, replicas) = (Term::first(node(1)), vec![node(1)]);
    let (mut machine, first) = JobMachine::accept(job, submission, None, term, replicas, None, script.now);
    machine.learn(meanings);
    // The node answers a route within the turn that asks for it; a reply begins a new one.
    let mut turns = Vec::new();
    let mut next = Some(Input::Resume);
    let mut commands = first;
    while let Some(input) = next.take() {
        commands.extend(machine.handle(input, script.now));
        let mut records = 0;
        while !commands.is_empty() {
            for command in std::mem::take(&mut commands) {
                match command {
                    Command::Commit(record) => {
                        records += 1;
                        script.log.push(*record);
                    }
                    Command::Route { key, query } => {
                        let routed = script.route(&key, &query);
                        commands.extend(machine.handle(Input::Routed { key, routed }, script.now));
                    }
                    Command::Send(work) => next = script.reply(&work).map(Input::Reply),
                    Command::Embed(texts) => panic!("asked for what it knew: {texts:?}"),
                    Command::Withdraw { .. }
                    | Command::Post { .. }
                    | Command::Moderate { .. }
                    | Command::Grade { .. } => {}
                }
            }
        }
        turns.push(records);
    }
    assert_eq!(script.result().status, Status::Completed);
    assert_eq!(turns, [3, 3, 3, 3, 3, 3], "{:?}", script.steps());
}

#[test]
fn a_log_with_a_given_plan_cut_anywhere_ends_in_the_same_answer() {
    let mut whole = Script::new(2);
    whole.start(chained(3));
    let answer = whole.result().answer.clone();
    for cut in 1..whole.log.len() {
        let mut again = Script::new(2);
        again.log = whole.log[..cut].to_vec();
        let term = Term { number: 2, holder: node(1) };
        let (mut machine, commands) = JobMachine::take_over(&again.log.clone(), term, again.now).unwrap();
        again.run(&mut machine, commands, Some(Input::Resume));
        assert_eq!(again.result().answer, answer, "cut after record {cut}");
    }
}

#[test]
fn a_given_plan_that_cannot_run_is_refused_at_the_door_and_in_a_log() {
    let mut submission = chained(2);
    submission.plan.as_mut().unwrap().edges.push(["k1".to_owned(), "k0".to_owned()]);
    let Err(Refused::Invalid { detail }) = submission.check() else { panic!("a cycle passed") };
    assert!(detail.starts_with("the plan: ") && detail.contains("cycle"), "{detail}");
    let mut script = Script::new(1);
    script.start(chained(2));
    let Step::Accepted { submission: logged, .. } = &mut script.log[0].step else { panic!("no acceptance") };
    *logged = submission;
    assert!(JobMachine::take_over(&script.log, Term::first(node(1)), script.now).is_err());
}

#[test]
fn a_given_plan_without_a_last_step_or_with_another_synthesis_still_has_its_parts_put_together() {
    let routes_synthesis = |mut submission: JobSubmission, loose: bool, mode| {
        if loose {
            submission.plan.as_mut().unwrap().edges.clear();
        }
        submission.synthesis = mode;
        let mut script = Script::new(1);
        script.start(submission);
        script.asked_synthesiser
    };
    use crate::work::SynthesisMode::{Concatenate, Merge};
    assert!(!routes_synthesis(chained(2), false, Concatenate));
    assert!(routes_synthesis(chained(2), true, Concatenate));
    assert!(routes_synthesis(chained(2), false, Merge));
}

/// The log of a job whose time was up before it could begin.
pub(crate) fn late_in_the_queue() -> Vec<Record> {
    let mut script = Script::new(1);
    let job: JobId = "job-under-test".parse().unwrap();
    let (term, replicas) = (Term::first(node(1)), vec![node(1)]);
    let (mut machine, commands) = JobMachine::accept(job, chained(2), None, term, replicas, None, script.now);
    machine.queue();
    script.run(&mut machine, commands, Some(Input::Resume));
    script.tick(&mut machine);
    script.log
}

#[test]
fn a_queued_job_waits_for_its_start_and_still_ends_when_cancelled_or_late() {
    let begin = || {
        let job: JobId = "job-under-test".parse().unwrap();
        let script = Script::new(1);
        let (mut machine, _) = JobMachine::accept(
            job,
            chained(2),
            Some(node(9)),
            Term::first(node(1)),
            vec![node(1)],
            None,
            script.now,
        );
        machine.queue();
        assert!(machine.handle(Input::Resume, script.now).is_empty());
        assert_eq!(machine.wake(), Some(machine.state().deadline()));
        (script, machine)
    };
    let (mut script, mut machine) = begin();
    assert!(!machine.begun());
    let commands = machine.handle(Input::Start, script.now);
    script.run(&mut machine, commands, None);
    assert_eq!(script.result().status, Status::Completed);
    assert!(machine.begun());
    let (mut script, mut machine) = begin();
    let commands = machine.handle(Input::Cancel { by: node(9) }, script.now);
    script.run(&mut machine, commands, None);
    assert_eq!(script.result().status, Status::Cancelled);
    let (mut script, mut machine) = begin();
    script.tick(&mut machine);
    let Status::Failed { reason } = &script.result().status else { panic!("not failed") };
    assert!(reason.contains("deadline") && reason.contains("waiting for others"), "{reason}");
}

#[test]
fn a_coordinators_cap_holds_whatever_the_submission_says() {
    for (asked, wanted) in
        [(None, Some(Money(30))), (Some(Money(50)), Some(Money(30))), (Some(Money(7)), Some(Money(7)))]
    {
        let submission = JobSubmission { budget: asked, ..chained(2) };
        let (term, replicas) = (Term::first(node(1)), vec![node(1)]);
        let now = Time::from_millis(1_000_000);
        let job = "job-under-test".parse().unwrap();
        let (machine, _) = JobMachine::accept(job, submission, None, term, replicas, Some(Money(30)), now);
        assert_eq!(machine.state().budget.limit(), wanted);
    }
}
