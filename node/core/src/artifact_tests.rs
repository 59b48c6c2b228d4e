//! Tests of what waits for artifacts: work for its inputs, answers for a second holder.

use std::collections::BTreeSet;
use std::time::Duration;

use foa_wire::envelope::CLOCK_SKEW;
use foa_wire::{AgentId, ArtifactId, Boot, Connection, NodeId, PeerAddress, Term, Time, Topic, WorkId};
use foa_workflows::plan::Plan;
use foa_workflows::request::{Request, Work, WorkOutcome};
use foa_workflows::work::{Answer, Artifact, Contribution, Evidence, Finding, Usage};

use crate::artifact::{ArtifactAsk, ArtifactKeep, ArtifactOffer, Offered, Source};
use crate::body::Body;
use crate::effect::{Effect, Input, Output, Received};
use crate::fixture::{agent, config, coordinator, identity, submits_with};
use crate::machine::NodeMachine;
use crate::status::Role;

const NOW: Time = Time::from_millis(1_000_000);
/// How long work may take.
const LASTS: Duration = Duration::from_secs(45);
const ID: ArtifactId = ArtifactId::from_bytes([7; 32]);

fn holder() -> NodeId {
    identity("holder", 1).id().clone()
}

fn author() -> NodeId {
    identity("author", 2).id().clone()
}

/// When work is over by any clock.
fn too_late() -> Time {
    NOW + LASTS + CLOCK_SKEW
}

fn address() -> PeerAddress {
    "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW".parse().unwrap()
}

/// A connected node with one agent.
fn node(roles: &[Role]) -> NodeMachine {
    let mut node = NodeMachine::new(identity("worker", 3), config(roles), Boot(1), Vec::new());
    node.handle(Input::Advertise(vec![agent()]), NOW);
    node.handle(Input::Reachable(vec![address()]), NOW);
    node.handle(Input::Connected { connection: Connection(1) }, NOW);
    node
}

fn says(node: &mut NodeMachine, from: &NodeId, number: u32, topic: Topic, body: Body) -> Vec<Effect> {
    let received = Received {
        topic,
        from: Some(from.clone()),
        boot: Boot(1),
        id: Some(format!("message-{number:04}").parse().unwrap()),
        expires: Some(NOW + Duration::from_secs(60)),
        body,
        job: None,
    };
    effects(node.handle(Input::Received(Box::new(received)), NOW))
}

fn effects(outputs: Vec<Output>) -> Vec<Effect> {
    outputs.into_iter().map(|output| output.effect).collect()
}

fn inbox(node: &NodeMachine) -> Topic {
    Topic::Inbox(node.id().clone())
}

/// What is sent, with to whom.
fn sent(effects: &[Effect]) -> Vec<(&Topic, &Body)> {
    let send = |effect: &'_ Effect| matches!(effect, Effect::Send(_));
    let all = effects.iter().filter(|effect| send(effect));
    all.map(|effect| match effect {
        Effect::Send(send) => (&send.topic, &send.body),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn asks_agent(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Ask { .. }))
}

/// Whom the shell is to fetch from; `None` when it is not to fetch.
fn fetches(effects: &[Effect]) -> Option<Vec<NodeId>> {
    effects.iter().find_map(|effect| match effect {
        Effect::Fetch { artifact: ID, from, .. } => {
            Some(from.iter().map(|s: &Source| s.node.clone()).collect())
        }
        _ => None,
    })
}

fn artifact(holders: Vec<NodeId>) -> Artifact {
    Artifact { artifact: ID, bytes: 5_000_000, media_type: "text/plain".to_owned(), name: None, holders }
}

fn evidence(artifact: Artifact) -> Evidence {
    let (quote, source) = ("q".to_owned(), "s".to_owned());
    Evidence { quote, source, held_by: None, score: 1.0, artifact: Some(artifact) }
}

fn draft(node: &NodeMachine, inputs: Vec<Finding>) -> Body {
    let request = Request::Draft {
        subtask: Plan::solo("do it").subtasks()[0].clone(),
        task: "do it".to_owned(),
        inputs,
    };
    Body::Work(Box::new(Work {
        work: WorkId::new(&"job-00001".parse().unwrap(), 4),
        agent: AgentId::new("agent".parse().unwrap(), node.id().clone()),
        term: Term::first(holder()),
        replicas: vec![holder()],
        deadline: NOW + LASTS,
        cap: None,
        request,
    }))
}

fn tasks(node: &NodeMachine) -> Topic {
    Topic::Tasks(AgentId::new("agent".parse().unwrap(), node.id().clone()))
}

fn give_work(node: &mut NodeMachine, number: u32, inputs: Vec<Finding>) -> Vec<Effect> {
    let (topic, body) = (tasks(node), draft(node, inputs));
    says(node, &holder(), number, topic, body)
}

fn attached() -> Vec<Finding> {
    vec![Finding {
        subtask: "attachment".to_owned(),
        question: "report".to_owned(),
        text: String::new(),
        evidence: vec![evidence(artifact(vec![author()]))],
    }]
}

fn offer() -> Body {
    let artifacts = vec![Offered { artifact: ID, bytes: 5_000_000 }];
    Body::ArtifactOffer(ArtifactOffer { artifacts, addresses: vec![address()] })
}

fn fetched(node: &mut NodeMachine, result: Result<(), String>) -> Vec<Effect> {
    effects(node.handle(Input::Fetched { artifact: ID, result }, NOW))
}

#[test]
fn work_begins_at_once_when_its_inputs_are_here() {
    let mut node = node(&[Role::Worker]);
    let out = give_work(&mut node, 1, attached());
    assert_eq!(fetches(&out), Some(vec![]), "first it is looked up");
    assert!(!asks_agent(&out));
    assert!(asks_agent(&fetched(&mut node, Ok(()))));
}

#[test]
fn work_waits_for_its_inputs_and_one_lost_holder_costs_nothing() {
    let mut node = node(&[Role::Worker]);
    give_work(&mut node, 1, attached());
    let out = fetched(&mut node, Err("not here".to_owned()));
    let asked: Vec<Topic> = sent(&out)
        .into_iter()
        .filter(|(_, body)| matches!(body, Body::ArtifactAsk(ask) if ask.artifacts == [ID]))
        .map(|(topic, _)| topic.clone())
        .collect();
    let wanted = BTreeSet::from([author().to_string(), holder().to_string()]);
    let found: BTreeSet<String> = asked
        .iter()
        .map(|topic| match topic {
            Topic::Inbox(node) => node.to_string(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(found, wanted, "its author and the holder of the job are asked");
    let topic = inbox(&node);
    let stranger = identity("stranger", 9).id().clone();
    assert_eq!(fetches(&says(&mut node, &stranger, 2, topic.clone(), offer())), None, "nobody asked it");
    assert_eq!(fetches(&says(&mut node, &author(), 3, topic.clone(), offer())), Some(vec![author()]));
    assert_eq!(fetches(&says(&mut node, &holder(), 4, topic, offer())), None, "one fetch at a time");
    let out = fetched(&mut node, Err("it died".to_owned()));
    assert_eq!(fetches(&out), Some(vec![holder()]), "the next holder is tried at once");
    assert!(asks_agent(&fetched(&mut node, Ok(()))));
}

#[test]
fn inputs_that_nobody_has_fail_the_work_by_name_at_its_deadline() {
    let mut node = node(&[Role::Worker]);
    give_work(&mut node, 1, attached());
    fetched(&mut node, Err("not here".to_owned()));
    let again = NOW + Duration::from_secs(5);
    assert!(node.wake().is_some_and(|at| at <= again));
    let out = effects(node.handle(Input::Tick, again));
    assert!(sent(&out).iter().any(|(_, body)| matches!(body, Body::ArtifactAsk(_))), "they are asked again");
    let out = effects(node.handle(Input::Tick, too_late()));
    let reason = sent(&out).into_iter().find_map(|(_, body)| match body {
        Body::WorkReply(reply) => match &reply.outcome {
            WorkOutcome::Failed { reason, .. } => Some(reason.clone()),
            WorkOutcome::Answered { .. } | WorkOutcome::Posted { .. } => None,
        },
        _ => None,
    });
    assert_eq!(reason.as_deref(), Some("artifact-missing"));
    assert!(node.idle());
}

/// The evidence of the entry that is sent as a reply.
fn replied(effects: &[Effect]) -> Option<Vec<Evidence>> {
    sent(effects).into_iter().find_map(|(_, body)| match body {
        Body::WorkReply(reply) => match &reply.outcome {
            WorkOutcome::Posted { entry } => entry.body().contribution().map(|c| c.evidence.clone()),
            other => panic!("{other:?}"),
        },
        _ => None,
    })
}

fn answer(node: &mut NodeMachine) -> Vec<Effect> {
    let contribution = Contribution {
        text: "long".to_owned(),
        evidence: vec![evidence(artifact(vec![]))],
        ..Contribution::default()
    };
    let work = WorkId::new(&"job-00001".parse().unwrap(), 4);
    let outcome = Ok(Answer::Contribution(contribution));
    effects(node.handle(Input::Answered { work, outcome, usage: Usage::default() }, NOW))
}

#[test]
fn an_answer_with_an_artifact_counts_once_the_holder_of_the_job_keeps_it() {
    let mut node = node(&[Role::Worker]);
    assert!(asks_agent(&give_work(&mut node, 1, vec![])));
    let out = answer(&mut node);
    assert_eq!(replied(&out), None, "only its author has it");
    assert!(out.iter().any(|e| matches!(e, Effect::Admit { node, .. } if *node == holder())));
    let keep = sent(&out).into_iter().find_map(|(topic, body)| match body {
        Body::ArtifactKeep(keep) => Some((topic.clone(), keep.clone())),
        _ => None,
    });
    let job = Some("job-00001".parse().unwrap());
    let wanted = ArtifactKeep { artifact: ID, bytes: 5_000_000, addresses: vec![address()], job };
    assert_eq!(keep, Some((Topic::Inbox(holder()), wanted)));
    let topic = inbox(&node);
    assert_eq!(
        replied(&says(&mut node, &author(), 2, topic.clone(), offer())),
        None,
        "another's word is no help"
    );
    let out = says(&mut node, &holder(), 3, topic, offer());
    let evidence = replied(&out).expect("the holder keeps it now");
    assert_eq!(evidence[0].artifact.as_ref().unwrap().holders, [node.id().clone(), holder()]);
}

#[test]
fn an_answer_nobody_keeps_is_asked_for_again_until_its_deadline() {
    let mut node = node(&[Role::Worker]);
    give_work(&mut node, 1, vec![]);
    answer(&mut node);
    let out = effects(node.handle(Input::Tick, NOW + Duration::from_secs(5)));
    assert!(sent(&out).iter().any(|(_, body)| matches!(body, Body::ArtifactKeep(_))));
    node.handle(Input::Tick, too_late());
    node.handle(Input::Tick, too_late() + Duration::from_secs(1));
    assert!(node.idle(), "the work has timed out and the answer is dropped with it");
}

#[test]
fn a_coordinator_keeps_what_it_is_asked_to_and_says_so_and_a_worker_does_not() {
    let keep =
        || Body::ArtifactKeep(ArtifactKeep { artifact: ID, bytes: 5, addresses: vec![address()], job: None });
    let mut keeper = node(&[Role::Coordinator]);
    let topic = inbox(&keeper);
    assert_eq!(fetches(&says(&mut keeper, &author(), 1, topic, keep())), Some(vec![]));
    assert_eq!(fetches(&fetched(&mut keeper, Err("not here".to_owned()))), Some(vec![author()]));
    let out = fetched(&mut keeper, Ok(()));
    let looked = out.iter().any(
        |e| matches!(e, Effect::LookUp { asker, artifacts } if *asker == author() && *artifacts == [ID]),
    );
    assert!(looked, "{out:?}");
    let held = vec![Offered { artifact: ID, bytes: 5 }];
    let out = effects(keeper.handle(Input::LookedUp { asker: author(), held }, NOW));
    assert!(
        sent(&out)
            .iter()
            .any(|(_, body)| matches!(body, Body::ArtifactOffer(o) if o.addresses == [address()]))
    );

    let mut worker = node(&[Role::Worker]);
    let topic = inbox(&worker);
    assert_eq!(fetches(&says(&mut worker, &author(), 1, topic, keep())), None);
    assert_eq!(worker.refused().get("not-a-keeper"), Some(&1));
}

#[test]
fn whoever_asks_by_a_signed_message_is_served_for_a_while() {
    let mut node = node(&[Role::Worker]);
    let topic = inbox(&node);
    let ask = Body::ArtifactAsk(ArtifactAsk { artifacts: vec![ID; 100] });
    let out = says(&mut node, &author(), 1, topic, ask);
    let until = NOW + crate::artifact::SERVED_FOR;
    assert!(
        out.iter().any(|e| matches!(e, Effect::Admit { node, until: u } if *node == author() && *u == until))
    );
    let listed = out.iter().find_map(|e| match e {
        Effect::LookUp { artifacts, .. } => Some(artifacts.len()),
        _ => None,
    });
    assert_eq!(listed, Some(64), "a longer list is cut");
}

/// The jobs for which the shell is to have an artifact here.
fn kept_for(effects: &[Effect]) -> Vec<String> {
    let job = |effect: &Effect| match effect {
        Effect::Fetch { artifact: ID, job: Some(job), .. } => Some(job.to_string()),
        _ => None,
    };
    effects.iter().filter_map(job).collect()
}

#[test]
fn what_a_log_names_is_kept_beside_it_and_looked_for_again_on_the_next_connection() {
    let mut node = coordinator();
    let owner = identity("owner", 5).id().clone();
    let attachments = vec![artifact(vec![author()])];
    let out = effects(submits_with(&mut node, &owner, "job-first", attachments.clone()));
    assert_eq!(kept_for(&out), ["job-first"]);
    let out = fetched(&mut node, Err("not here".to_owned()));
    let asked: Vec<&Topic> = sent(&out)
        .iter()
        .filter(|(_, body)| matches!(body, Body::ArtifactAsk(_)))
        .map(|(to, _)| *to)
        .collect();
    assert_eq!(asked, [&Topic::Inbox(author())]);

    let out = effects(submits_with(&mut node, &owner, "job-second", attachments));
    assert_eq!(kept_for(&out), [""; 0], "it is on its way");
    assert_eq!(kept_for(&fetched(&mut node, Ok(()))), ["job-second"], "both need it");

    node.handle(Input::Disconnected, NOW);
    let out = effects(node.handle(Input::Connected { connection: Connection(2) }, NOW));
    assert_eq!(kept_for(&out), ["job-first"]);
    assert_eq!(kept_for(&fetched(&mut node, Ok(()))), ["job-second"]);
}
