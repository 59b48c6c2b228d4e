//! Deadlines, by clocks that do not agree.

use super::*;
use crate::effect::{Input, Output};
use crate::fixture::{NOW, coordinator, identity, says, work};

fn holder() -> NodeId {
    identity("somebody", 2).id().clone()
}

/// Work by a holder, whose clock shows that it ends at `deadline`, arrives.
fn asked(node: &mut NodeMachine, number: u32, deadline: Time) -> Vec<Output> {
    let agent = AgentId::new("agent".parse().unwrap(), node.id().clone());
    let body = Body::Work(Box::new(Work { deadline, ..work(&agent, &holder(), number) }));
    says(node, &holder(), &format!("message-{number}"), Topic::Tasks(agent), body)
}

/// How long the agent that is asked has.
fn time_left(outputs: &[Output]) -> Option<Duration> {
    outputs.iter().find_map(|output| match &output.effect {
        Effect::Ask { deadline, .. } => Some(deadline.since(NOW)),
        _ => None,
    })
}

/// The failure that the holder is told of.
fn failure(outputs: &[Output]) -> Option<(WorkId, &str)> {
    outputs.iter().find_map(|output| match &output.effect {
        Effect::Send(send) => match (&send.topic, &send.body) {
            (Topic::Inbox(to), Body::WorkReply(reply)) if *to == holder() => match &reply.outcome {
                WorkOutcome::Failed { reason, .. } => Some((reply.work.clone(), reason.as_str())),
                WorkOutcome::Answered { .. } | WorkOutcome::Posted { .. } => None,
            },
            _ => None,
        },
        _ => None,
    })
}

fn before_now(seconds: u64) -> Time {
    Time::from_millis(NOW.as_millis() - 1000 * seconds)
}

#[test]
fn work_of_a_holder_whose_clock_is_behind_is_done() {
    let mut node = coordinator();
    let out = asked(&mut node, 1, before_now(20));
    assert_eq!((time_left(&out), failure(&out)), (Some(Duration::from_secs(40)), None));
}

#[test]
fn work_that_is_past_its_deadline_by_any_clock_fails_by_name() {
    let mut node = coordinator();
    let out = asked(&mut node, 1, before_now(60));
    let work = WorkId::new(&"job-of-somebody".parse().unwrap(), 1);
    assert_eq!((time_left(&out), failure(&out)), (None, Some((work, "expired"))));
    assert!(node.idle());
}

#[test]
fn work_that_waited_until_it_was_too_late_fails_by_name() {
    let mut node = coordinator();
    asked(&mut node, 1, NOW + Duration::from_secs(600));
    assert_eq!(time_left(&asked(&mut node, 2, NOW)), None, "the agent does one thing at a time");
    let due = NOW + CLOCK_SKEW;
    assert!(node.wake().is_some_and(|at| at <= due));
    let out = node.handle(Input::Tick, due);
    let work = WorkId::new(&"job-of-somebody".parse().unwrap(), 2);
    assert_eq!(failure(&out), Some((work, "expired")));
}
