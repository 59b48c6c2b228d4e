use std::collections::BTreeSet;

use foa_capability::{Effects, Money};

use super::*;
use crate::decompose::merge::PlanHash;
use crate::engine::Input;
use crate::engine::tests::{Manner, Script, agent, chained};
use crate::grounds::Grounds;
use crate::job::JobSubmission;
use crate::journal::{Adoption, SubtaskOutcome};
use crate::work::SynthesisMode;

const TASK: &str = "find the numbers, then add them up";

fn log(mut script: Script, submission: JobSubmission) -> Vec<Record> {
    let mut machine = script.start(submission);
    while machine.wake().is_some() {
        script.tick(&mut machine);
    }
    script.log
}

/// The steps that are not what the log says, and those that cannot be made again.
fn found(log: &[Record]) -> (Vec<&'static str>, Vec<&'static str>) {
    let replay = Replay::of(log).unwrap();
    let mut found = (Vec::new(), Vec::new());
    for decision in &replay.decisions {
        match decision.outcome {
            Outcome::Reproduced => {}
            Outcome::Differs { .. } => found.0.push(decision.step),
            Outcome::CannotBeRecomputed { .. } => found.1.push(decision.step),
        }
    }
    found
}

fn nothing_differs(log: &[Record]) {
    let replay = Replay::of(log).unwrap();
    assert_eq!(replay.difference(), None);
    assert!(replay.counts().reproduced > 0);
    // As it comes from a disk or a message, it is the same.
    let text = serde_json::to_string(log).unwrap();
    let read: Vec<Record> = serde_json::from_str(&text).unwrap();
    assert_eq!(Replay::of(&read).unwrap(), replay);
}

#[test]
fn a_job_is_decided_again_as_it_was() {
    let mut script = Script::new(3);
    script.price = Money(10);
    let log = log(script, JobSubmission { budget: Some(Money(1000)), ..JobSubmission::of(TASK) });
    nothing_differs(&log);
    // Who sits together, and which of several answers represents them, depends on what they mean.
    let (_, cannot) = found(&log);
    let of_meaning = ["clustered", "dispatched", "settled"];
    assert!(!cannot.is_empty() && cannot.iter().all(|step| of_meaning.contains(step)), "{cannot:?}");
    let replay = Replay::of(&log).unwrap();
    let of = |step: &str| replay.decisions.iter().filter(|d| d.step == step).collect::<Vec<_>>();
    for step in ["routed", "merged", "adopted", "assigned", "round_closed", "ended"] {
        assert!(of(step).iter().all(|d| d.outcome == Outcome::Reproduced) && !of(step).is_empty(), "{step}");
    }
    let [assigned] = of("assigned")[..] else { panic!("assigned once") };
    assert_eq!(assigned.routed.iter().map(|a| a.about.as_str()).collect::<Vec<_>>(), ["s1", "s2"]);
    let best = &assigned.routed[0].decision.candidates[0];
    let factors = best.factors.as_ref().unwrap();
    assert!(factors.price < 1.0 && factors.turn < 1.0 && factors.load < 1.0, "{factors:?}");
    assert_eq!(assigned.routed[0].decision.asked.text, "find the numbers");
}

#[test]
fn a_given_plan_is_decided_again_completely() {
    let log = log(Script::new(2), chained(5));
    nothing_differs(&log);
    assert_eq!(found(&log), (vec![], vec![]));
}

#[test]
fn what_goes_wrong_is_decided_again() {
    let declines = |agents, who: &[u8]| {
        let mut script = Script::new(agents);
        script.manners.extend(who.iter().map(|n| (*n, Manner::Declines)));
        script
    };
    let replaced = log(declines(6, &[1, 2, 3]), JobSubmission::of(TASK));
    assert!(replaced.iter().any(|r| r.step.name() == "reassigned"));
    let nobody_left = log(declines(2, &[1, 2]), JobSubmission::of(TASK));
    let grounds = |r: &Record| matches!(&r.step, Step::Settled { grounds: Some(_), .. });
    assert!(nobody_left.iter().any(grounds), "why nobody else is given it is in the log");
    let nobody_fits = log(Script::new(0), JobSubmission::of(TASK));
    assert!(matches!(&nobody_fits[1].step, Step::Ended { grounds: Some(_), .. }));
    let mut rejected = Script::new(3);
    rejected.reject = BTreeSet::from([1, 2]);
    let rejected = log(rejected, JobSubmission::of(TASK));
    let mut silent = Script::new(2);
    silent.manners.extend([(1, Manner::Silent), (2, Manner::Silent)]);
    let silent = log(silent, JobSubmission::of(TASK));
    let mut poor = Script::new(3);
    poor.price = Money(10);
    let poor = log(poor, JobSubmission { budget: Some(Money(45)), ..JobSubmission::of(TASK) });
    let mut writes = Script::new(3);
    writes.effects = Effects::Write;
    let writes = log(writes, JobSubmission::of(TASK));
    let mut together = Script::new(2);
    together.synthesises = true;
    let mode = SynthesisMode::Merge;
    let together = log(together, JobSubmission { synthesis: mode, ..chained(2) });
    let synthesis = |r: &Record| matches!(&r.step, Step::Dispatched { grounds: Some(_), .. });
    assert!(together.iter().any(synthesis), "why the synthesis goes to whom is in the log");
    for log in [replaced, nobody_left, nobody_fits, rejected, silent, poor, writes, together] {
        nothing_differs(&log);
    }
}

#[test]
fn a_job_that_was_cancelled_or_never_began_ends_again_as_it_did() {
    let mut script = Script::new(2);
    script.manners.insert(2, Manner::Silent);
    let mut machine = script.start(JobSubmission::of(TASK));
    let commands = machine.handle(Input::Cancel { by: agent(9).node().clone() }, script.log[0].at);
    script.run(&mut machine, commands, None);
    assert_eq!(script.steps().last(), Some(&"ended"));
    nothing_differs(&script.log);
    let queued = crate::engine::tests::late_in_the_queue();
    nothing_differs(&queued);
}

#[test]
fn skills_that_nobody_has_are_not_insisted_on_and_the_log_says_so() {
    let mut submission = chained(2);
    submission.plan.as_mut().unwrap().subtasks[1].skills.insert("abacus".to_owned());
    let log = log(Script::new(2), submission);
    nothing_differs(&log);
    let Step::Assigned { grounds: Some(grounds), .. } = &log[1].step else { panic!("no assignment") };
    let asked: Vec<_> =
        grounds.questions.iter().map(|q| (q.skills.len(), q.any_skill, q.candidates.len())).collect();
    assert_eq!(asked, [(0, false, 2), (1, false, 0), (0, true, 2)]);
    assert_eq!(found(&log), (vec![], vec![]));
}

/// Changes the first record of a kind, and says what is noticed.
fn changed(log: &[Record], name: &str, change: impl Fn(&mut Step)) -> Vec<&'static str> {
    let mut log = log.to_vec();
    let record = log.iter_mut().find(|r| r.step.name() == name).expect("such a record");
    let before = record.step.clone();
    change(&mut record.step);
    assert_ne!(record.step, before, "nothing was changed");
    found(&log).0
}

fn grounds(step: &mut Step) -> &mut Grounds {
    match step {
        Step::Routed { grounds, .. } | Step::Assigned { grounds, .. } => grounds.as_mut().unwrap(),
        other => panic!("{} has no grounds", other.name()),
    }
}

#[test]
fn what_was_changed_in_a_log_is_noticed() {
    let mut script = Script::new(3);
    script.price = Money(10);
    let log = log(script, JobSubmission { budget: Some(Money(1000)), ..JobSubmission::of(TASK) });
    type Change = fn(&mut Step);
    let changes: [(&str, &str, Change); 14] = [
        ("a factor", "assigned", |s| grounds(s).questions[0].candidates[1].load = 0.9),
        ("a factor of the task", "routed", |s| grounds(s).questions[0].candidates[2].dense = Some(0.5)),
        ("a score", "assigned", |s| grounds(s).questions[1].candidates[2].alpha += 1e-6),
        ("a seed", "routed", |s| grounds(s).questions[0].seed += 1),
        ("a price", "assigned", |s| grounds(s).agents[0].price = Money(11)),
        ("a budget", "assigned", |s| grounds(s).questions[0].budget = Some(Money(40))),
        ("a requirement", "assigned", |s| grounds(s).questions[0].write = false),
        ("an order of candidates", "routed", |s| grounds(s).questions[0].candidates.swap(0, 1)),
        ("a team", "assigned", |s| {
            let Step::Assigned { teams, .. } = s else { panic!() };
            teams.get_mut("s2").unwrap().remove(0);
        }),
        ("a proposer", "routed", |s| {
            let Step::Routed { orders, .. } = s else { panic!() };
            orders.remove(0);
        }),
        ("a vote", "adopted", |s| {
            let Step::Adopted { how: Adoption::Consensus { ballots }, .. } = s else { panic!() };
            ballots[0].approve = Some(false);
        }),
        ("a weight", "merged", |s| {
            let Step::Merged { input, .. } = s else { panic!() };
            *input.weights.values_mut().next().unwrap() = 500;
        }),
        ("a plan's hash", "merged", |s| {
            let Step::Merged { hash, .. } = s else { panic!() };
            *hash = "0".repeat(64).parse::<PlanHash>().unwrap();
        }),
        ("a straggler", "round_closed", |s| {
            let Step::RoundClosed { entries, .. } = s else { panic!() };
            entries.pop();
        }),
    ];
    for (what, step, change) in changes {
        assert_eq!(changed(&log, step, change).first(), Some(&step), "{what} was changed");
    }
    let plan = changed(&log, "merged", |s| {
        let Step::Merged { plan, .. } = s else { panic!() };
        *plan = crate::plan::Plan::solo("something else");
    });
    assert_eq!(plan.first(), Some(&"merged"));
    let answer = changed(&log, "ended", |s| {
        let Step::Ended { result, .. } = s else { panic!() };
        result.answer.push('!');
    });
    assert_eq!(answer, ["ended"]);
    let alone = self::log(Script::new(1), chained(2));
    let settled = changed(&alone, "settled", |s| {
        let Step::Settled { outcome, .. } = s else { panic!() };
        *outcome = SubtaskOutcome::Failed { reason: "nobody answered".to_owned() };
    });
    assert_eq!(settled.first(), Some(&"settled"));
}

#[test]
fn a_vote_that_was_changed_where_it_was_cast_is_noticed_where_it_was_counted() {
    use crate::journal::Reply;
    use crate::work::Answer;
    let mut log = log(Script::new(3), JobSubmission::of(TASK));
    let verdict = log.iter_mut().find_map(|r| match &mut r.step {
        Step::Answered { reply: Reply::Private { content: Answer::Verdict { approve, .. } }, .. } => {
            Some(approve)
        }
        _ => None,
    });
    *verdict.unwrap() = false;
    assert_eq!(found(&log).0.first(), Some(&"adopted"));
}

#[test]
fn a_log_without_grounds_says_so() {
    let mut log = log(Script::new(2), chained(2));
    let Step::Assigned { grounds, .. } = &mut log[1].step else { panic!("no assignment") };
    *grounds = None;
    assert_eq!(found(&log), (vec![], vec!["assigned"]));
    let replay = Replay::of(&log).unwrap();
    let Outcome::CannotBeRecomputed { reason } = &replay.decisions[0].outcome else { panic!() };
    assert!(reason.contains("does not say what it rests on"), "{reason}");
}

#[test]
fn a_log_with_an_agent_that_has_no_card_says_so() {
    let mut log = log(Script::new(2), chained(2));
    grounds(&mut log[1].step).agents.pop();
    assert_eq!(found(&log), (vec![], vec!["assigned"]));
}

#[test]
fn no_log_is_no_replay() {
    let log = log(Script::new(1), chained(2));
    assert_eq!(Replay::of(&[]).unwrap_err(), BrokenLog::Empty);
    assert!(Replay::of(&log[1..]).is_err());
    let gap: Vec<Record> = log.iter().enumerate().filter(|(i, _)| *i != 2).map(|(_, r)| r.clone()).collect();
    assert!(matches!(Replay::of(&gap), Err(BrokenLog::Gap { .. })));
}

#[test]
fn a_plan_of_64_subtasks_with_16_candidates_each_fits_a_record() {
    let mut script = Script::new(20);
    script.price = Money(10);
    let mut submission = chained(64);
    submission.budget = Some(Money(1_000_000));
    let log = log(script, submission);
    let assigned = log.iter().find(|r| r.step.name() == "assigned").unwrap();
    assert!(assigned.bytes() < 128 * 1024, "{}", assigned.bytes());
    let Step::Assigned { grounds: Some(grounds), .. } = &assigned.step else { panic!("no grounds") };
    assert_eq!((grounds.left_out, grounds.questions.len()), (0, 64));
    let with_factors = grounds.questions[0].candidates.iter().filter(|c| c.dense.is_some()).count();
    assert!((2..=8).contains(&with_factors), "{with_factors}");
    nothing_differs(&log);
}

#[test]
fn the_grounds_of_a_chain_of_five_are_a_small_part_of_its_log() {
    for (agents, most) in [(1, 12), (8, 35)] {
        let log = log(Script::new(agents), chained(5));
        let all: usize = log.iter().map(Record::bytes).sum();
        let mut without = log.clone();
        for record in &mut without {
            if let Step::Assigned { grounds, .. } = &mut record.step {
                *grounds = None;
            }
        }
        let before: usize = without.iter().map(Record::bytes).sum();
        println!("{agents} agents: {before} bytes without grounds, {all} with");
        assert!((all - before) * 100 / before <= most, "{agents} agents: {before} became {all}");
    }
}
