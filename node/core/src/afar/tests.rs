use foa_capability::{ModelId, ShardMap};
use foa_wire::{Boot, Connection};

use super::*;
use crate::effect::{Effect, Input, Output};
use crate::fixture::{NOW, coordinator, identity, model, says};
use crate::query::{Query as Ask, QueryAnswer, Question};
use crate::shards::DirectoryMap;
use crate::status::{NodeStatus, Role};

fn id(name: &str, seed: u8) -> NodeId {
    identity(name, seed).id().clone()
}

fn vector(raw: &[f32]) -> Vector {
    Vector::new(raw.to_vec()).unwrap()
}

/// A map whose shards everybody holds.
fn map(vectors: &[&[f32]]) -> Body {
    map_of(vectors, model())
}

fn map_of(vectors: &[&[f32]], model: ModelId) -> Body {
    let sample: Vec<Vector> = vectors.iter().map(|raw| vector(raw)).collect();
    let map = ShardMap::learn(1, &sample, sample.len(), 3).unwrap();
    Body::DirectoryMap(Box::new(DirectoryMap { map, model, made: Time::ZERO }))
}

fn inbox(node: &NodeMachine) -> Topic {
    Topic::Inbox(node.id().clone())
}

/// A coordinator that knows two others.
fn among_three() -> (NodeMachine, NodeId, NodeId) {
    let mut node = coordinator();
    let (second, third) = (id("second", 2), id("third", 3));
    for other in [&second, &third] {
        let mut status = NodeStatus::will(other.clone(), Boot(1), Connection(1), NOW);
        (status.online, status.roles) = (true, vec![Role::Coordinator]);
        says(&mut node, other, "status-message", Topic::Status(other.clone()), Body::Status(status));
    }
    (node, second, third)
}

/// Whom it asks, and under which number.
fn asked(out: &[Output]) -> Vec<(NodeId, u64)> {
    let sent = out.iter().filter_map(|output| match &output.effect {
        Effect::Send(send) => Some(send),
        _ => None,
    });
    let asks = sent.filter_map(|send| match (&send.topic, &send.body) {
        (Topic::Inbox(to), Body::RouteAsk(ask)) => Some((to.clone(), ask.id)),
        _ => None,
    });
    asks.collect()
}

fn answered(out: &[Output]) -> Option<Routed> {
    out.iter().find_map(|output| match &output.effect {
        Effect::Send(send) => match &send.body {
            Body::QueryReply(reply) => match &reply.answer {
                QueryAnswer::Route { routed } => Some((**routed).clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    })
}

/// A client asks who fits.
fn question(node: &mut NodeMachine) -> Vec<Output> {
    let (text, policies, skills) = ("answers".to_owned(), BTreeSet::new(), BTreeSet::new());
    let question = Question::Route { text, policies, skills, budget: None, limit: 3 };
    let to = inbox(node);
    let query = Body::Query(Ask { id: "question".to_owned(), question });
    let out = says(node, &id("client", 9), "question-message", to, query);
    let embed = out.iter().find_map(|output| match &output.effect {
        Effect::Embed { id, texts } => Some((*id, texts.len())),
        _ => None,
    });
    let (id, texts) = embed.expect("a text to embed");
    node.handle(Input::Embedded { id, result: Ok(vec![vector(&[1.0, 0.1]); texts]) }, NOW)
}

#[test]
fn maps_questions_and_grades_of_strangers_are_refused_and_so_is_a_map_of_another_model() {
    let (mut node, second, _) = among_three();
    let stranger = id("stranger", 7);
    let (to, query) = (inbox(&node), Query::new("answers", vector(&[1.0, 0.0])));
    let agent = AgentId::new("agent".parse().unwrap(), node.id().clone());
    let grade = RouteGrade { agent, task: query.vector.clone(), model: model(), delivered: false };
    let other: ModelId = "other/2@0123456789ab".parse().unwrap();
    let other_grade = RouteGrade { model: other.clone(), ..grade.clone() };
    let ask = RouteAsk { id: 1, model: model(), query };
    let other_ask = RouteAsk { model: other.clone(), ..ask.clone() };
    says(&mut node, &stranger, "stranger-map", to.clone(), map(&[&[1.0, 0.0]]));
    says(&mut node, &second, "other-dimension", to.clone(), map(&[&[1.0, 0.0, 0.0]]));
    says(&mut node, &second, "other-model", to.clone(), map_of(&[&[1.0, 0.0]], other));
    for (from, id, ask) in [(&stranger, "stranger-ask", ask), (&second, "other-ask", other_ask)] {
        let out = says(&mut node, from, id, to.clone(), Body::RouteAsk(Box::new(ask)));
        let answers =
            |o: &Output| matches!(&o.effect, Effect::Send(s) if matches!(s.body, Body::RouteAnswer(_)));
        assert!(!out.iter().any(answers));
    }
    says(&mut node, &stranger, "stranger-grade", to.clone(), Body::RouteGrade(Box::new(grade.clone())));
    let counts = |node: &NodeMachine| ["bad-map", "bad-question", "bad-grade"].map(|r| node.refused()[r]);
    assert_eq!(counts(&node), [3, 2, 1]);
    assert!(node.directory().unwrap().shards().is_none());
    let mean =
        |node: &NodeMachine| node.directory().unwrap().reputation().mean(&grade.agent, &grade.task, NOW);
    says(&mut node, &second, "grade-of-other-model", to.clone(), Body::RouteGrade(Box::new(other_grade)));
    assert!(mean(&node) >= 0.5, "the word of a stranger, or of another model, counts nothing");
    says(&mut node, &second, "coordinators-grade", to, Body::RouteGrade(Box::new(grade.clone())));
    assert!(mean(&node) < 0.5);
}

#[test]
fn who_stays_silent_is_passed_over_and_what_is_here_is_answered_in_the_end() {
    let (mut node, second, third) = among_three();
    let to = inbox(&node);
    says(&mut node, &second, "shard-map", to, map(&[&[1.0, 0.0], &[0.0, 1.0]]));
    // Nobody has confirmed that all its cards are here, so it asks one of the others first.
    let out = question(&mut node);
    let mut seen: BTreeSet<NodeId> = asked(&out).into_iter().map(|(to, _)| to).collect();
    assert!(!seen.is_empty() && answered(&out).is_none());
    let mut now = NOW;
    let routed = loop {
        now = node.wake().expect("it waits for somebody").max(now);
        assert!(now <= NOW + 3 * PATIENCE, "it waits too long");
        let out = node.handle(Input::Tick, now);
        seen.extend(asked(&out).into_iter().map(|(to, _)| to));
        if let Some(routed) = answered(&out) {
            break routed;
        }
    };
    assert_eq!(seen, BTreeSet::from([second, third]), "the next is asked when one is silent");
    let spread = routed.spread.unwrap();
    assert_eq!((spread.shards, spread.silent.len()), (2, spread.asked));
    assert_eq!(routed.candidates.len(), 1, "its own agent");
}

#[test]
fn an_answer_counts_once_and_from_whom_was_asked() {
    let (mut node, second, third) = among_three();
    let to = inbox(&node);
    says(&mut node, &second, "shard-map", to.clone(), map(&[&[1.0, 0.0]]));
    let out = question(&mut node);
    let asked_first = asked(&out);
    let [(first, number)] = asked_first.as_slice() else { panic!("wanted one holder of one shard") };
    let (first, number) = (first.clone(), *number);
    let other = if first == second { third } else { second };
    let mut routed = node.directory().unwrap().route(&Query::new("answers", vector(&[1.0, 0.1])), NOW);
    routed.candidates[0].agent = AgentId::new("elsewhere".parse().unwrap(), other.clone());
    let answer = |whole| {
        let (id, routed) = (number, routed.clone());
        Body::RouteAnswer(Box::new(RouteAnswer { id, whole, routed }))
    };
    let out = says(&mut node, &other, "not-asked", to.clone(), answer(true));
    assert!(answered(&out).is_none(), "nobody asked it");
    // It has not all its cards: what it says is part of the answer, and the next is asked.
    let out = says(&mut node, &first, "not-whole", to.clone(), answer(false));
    assert!(answered(&out).is_none());
    assert_eq!(asked(&out), [(other.clone(), number)]);
    let out = says(&mut node, &other, "whole-answer", to.clone(), answer(true));
    let found = answered(&out).unwrap();
    assert_eq!(found.candidates.len(), 2, "its own agent, and the other once");
    assert!(found.spread.unwrap().silent.is_empty());
    assert!(answered(&says(&mut node, &other, "same-again", to, answer(true))).is_none());
}
