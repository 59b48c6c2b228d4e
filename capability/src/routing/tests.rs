use std::collections::BTreeMap;

use foa_wire::{Boot, Connection, Sequence};
use proptest::prelude::*;

use super::*;
use crate::card::{CARD_TTL, Embedding};
use crate::model::ModelId;
use crate::presence::{Load, Presence};
use crate::profile::AgentProfile;
use crate::reputation::Outcome;
use crate::resources::{Money, Needs, Offer};
use crate::testing::{NOW, agent, card, directory, model, node, online, profile, skill, vector};

fn with(profiles: &[(AgentProfile, u8, [f32; 3])]) -> Directory {
    let mut directory = directory();
    for (profile, number, raw) in profiles {
        directory.apply(card(profile, *number, (1, 1), *raw), NOW).unwrap();
    }
    directory
}

fn order(routed: &Routed) -> Vec<String> {
    routed.candidates.iter().map(|c| c.agent.short()).collect()
}

#[test]
fn the_nearest_meaning_comes_first_and_ties_go_by_id() {
    let directory = with(&[
        (profile("far"), 1, [0.0, 1.0, 0.2]),
        (profile("twin"), 3, [1.0, 0.0, 0.0]),
        (profile("twin"), 2, [1.0, 0.0, 0.0]),
    ]);
    let mut query = Query::new("", vector([1.0, 0.0, 0.0]));
    let routed = directory.route(&query, NOW);
    let mut twins = [agent("twin", 2), agent("twin", 3)];
    twins.sort();
    assert_eq!(routed.candidates[..2].iter().map(|c| c.agent.clone()).collect::<Vec<_>>(), twins);
    assert!(routed.candidates[0].passes && !routed.candidates[2].passes);
    assert_eq!((routed.considered, routed.engine, routed.unmet.as_ref()), (3, Engine::Exact, None));
    query.limit = 1;
    let one = directory.route(&query, NOW);
    assert_eq!(one.candidates, routed.candidates[..1]);
    assert!(one.losers.iter().all(|l| l.reason.name() == "rank") && one.losers.len() == 2);
}

#[test]
fn ties_go_by_id_whoever_came_between_two_questions() {
    let mut directory = with(&[(profile("twin"), 5, [1.0, 0.0, 0.0])]);
    let query = Query::new("", vector([1.0, 0.0, 0.0]));
    for number in [7, 2, 9, 1] {
        directory.apply(card(&profile("twin"), number, (1, 1), [1.0, 0.0, 0.0]), NOW).unwrap();
        let routed = directory.route(&query, NOW);
        let found: Vec<AgentId> = routed.candidates.into_iter().map(|c| c.agent).collect();
        let mut sorted: Vec<AgentId> = directory.iter().map(|(id, _)| id.clone()).collect();
        sorted.sort();
        assert_eq!(found, sorted);
    }
}

#[test]
fn the_best_of_an_agents_vectors_counts_and_is_named() {
    let mut directory = directory();
    let mut profile = profile("both");
    profile.skills = vec![skill("first", ""), skill("second", "")];
    let (id, key) = node(1);
    let vectors = [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]].map(vector).to_vec();
    let (id, ttl) = (AgentId::new(profile.name.clone(), id), crate::card::CARD_TTL);
    let order = (Boot(1), foa_wire::Version(1));
    let own = [crate::Embedding { model: model(), vectors }];
    let card = crate::AgentCard::issue(&profile, &own, id, order.0, order.1, NOW, ttl, &key).unwrap();
    directory.apply(card, NOW).unwrap();
    let routed = directory.route(&Query::new("", vector([1.0, 0.1, 0.0])), NOW);
    assert_eq!(routed.candidates[0].factors.best_vector, "skill:second");
    assert!(routed.candidates[0].alpha > 0.9);
}

#[test]
fn a_rare_word_lifts_a_near_tie() {
    let mut named = profile("keeper");
    named.skills = vec![skill("quarantine", "puts retained messages into quarantine")];
    let directory = with(&[(profile("a-near"), 1, [0.80, 0.60, 0.0]), (named, 2, [0.795, 0.607, 0.0])]);
    let query = |text: &str| Query::new(text, vector([1.0, 0.0, 0.0]));
    assert_eq!(order(&directory.route(&query("anything"), NOW))[0], "a-near@node-1");
    let routed = directory.route(&query("quarantine messages"), NOW);
    assert_eq!(order(&routed)[0], "keeper@node-2");
    let factors = &routed.candidates[0].factors;
    assert!(factors.lexical > 0.02 && factors.similarity < 1.0, "{factors:?}");
    assert_eq!(factors.similarity, grid(1.0 - (1.0 - factors.dense) * (1.0 - factors.lexical)));
}

#[test]
fn who_fits_the_parts_comes_before_who_is_a_little_near_to_the_whole() {
    let directory = with(&[(profile("part"), 1, [1.0, 0.0, 0.0]), (profile("vague"), 2, [0.5, 0.0, 0.85])]);
    let whole = vector([0.5, 0.5, 0.5]);
    let alone = directory.route(&Query::new("", whole.clone()), NOW);
    assert_eq!(order(&alone)[0], "vague@node-2");
    let vectors = vec![whole, vector([1.0, 0.0, 0.0]), vector([0.0, 1.0, 0.0])];
    let in_parts = Query::in_parts("", vectors).unwrap();
    assert_eq!(order(&directory.route(&in_parts, NOW))[0], "part@node-1");
    assert_eq!(Query::in_parts("", Vec::new()).map(|q| q.limit), None);
}

#[test]
fn what_an_agent_served_well_finds_it_again() {
    let mut directory = with(&[(profile("new"), 1, [1.0, 0.2, 0.0]), (profile("old"), 2, [0.6, 0.1, 0.8])]);
    let query = Query::new("", vector([0.9, 0.4, 0.1]));
    let before = directory.route(&query, NOW);
    assert_eq!(order(&before)[0], "new@node-1");
    assert!(before.candidates.iter().all(|c| c.factors.experience.is_none()));
    for _ in 0..20 {
        directory.report(&agent("old", 2), &query.vector, Outcome::Success { weight: 1.0 }, NOW);
    }
    let after = directory.route(&query, NOW);
    assert_eq!(order(&after)[0], "old@node-2");
    let factors = &after.candidates[0].factors;
    assert!(factors.experience.unwrap() > factors.dense, "{factors:?}");
    // Its words stay what they were, and elsewhere nothing changed.
    let elsewhere = Query::new("", vector([0.0, 0.1, 1.0]));
    assert!(directory.route(&elsewhere, NOW).candidates[0].alpha < 0.9);
    directory.expire(NOW + 2 * crate::card::CARD_TTL);
    assert_eq!(directory.experience.iter().count(), 0, "a number may become another agent's");
}

#[test]
fn who_lost_and_why() {
    let mut bare = profile("bare");
    bare.policies.clear();
    let mut writer = profile("writer");
    writer.effects = Effects::Write;
    let mut dear = profile("dear");
    dear.offer.price = Money(40_000);
    let directory = with(&[
        (bare, 1, [1.0, 0.0, 0.0]),
        (writer, 1, [0.9, 0.1, 0.0]),
        (dear, 1, [0.8, 0.2, 0.0]),
        (profile("gone"), 20, [0.7, 0.3, 0.0]),
        (profile("out"), 1, [0.6, 0.4, 0.0]),
        (profile("calc"), 1, [0.5, 0.5, 0.0]),
        (profile("other"), 1, [0.4, 0.6, 0.0]),
    ]);
    let mut query = Query::new("", vector([1.0, 0.0, 0.0]));
    query.policies = BTreeSet::from(["gdpr".parse().unwrap()]);
    query.budget = Some(Money(10_000));
    query.exclude = BTreeSet::from([agent("out", 1)]);
    query.skills = BTreeSet::from(["CALC".to_owned()]);
    let routed = directory.route(&query, NOW);
    assert_eq!(order(&routed), ["calc@node-1"]);
    let why = |name: &str| {
        let loser = routed.losers.iter().find(|l| l.agent.agent().as_str() == name).unwrap();
        loser.reason.to_string()
    };
    assert_eq!(why("bare"), "policy: lacks gdpr");
    assert_eq!(why("writer"), "effects: writes, and the request allows reading only");
    assert_eq!(why("gone"), "offline");
    assert_eq!(why("out"), "excluded by the request");
    assert_eq!(why("other"), "skill: lacks CALC");
    query.skills.clear();
    let routed = directory.route(&query, NOW);
    let dear = routed.losers.iter().find(|l| l.agent.agent().as_str() == "dear").unwrap();
    assert_eq!(dear.reason.to_string(), "price 0.04 > budget 0.01");
    let json = serde_json::to_string(&routed).unwrap();
    assert_eq!(serde_json::from_str::<Routed>(&json).unwrap(), routed);
}

#[test]
fn nobody_suitable_names_the_requirement_and_the_nearest() {
    let empty = directory().route(&Query::new("", vector([1.0, 0.0, 0.0])), NOW).unmet.unwrap();
    assert_eq!((empty.requirement.as_str(), empty.nearest), ("an agent", None));

    let directory = with(&[(profile("calc"), 1, [1.0, 0.0, 0.0]), (profile("gone"), 20, [1.0, 0.0, 0.0])]);
    let mut query = Query::new("", vector([1.0, 0.0, 0.0]));
    query.policies = BTreeSet::from(["hipaa".parse().unwrap()]);
    let routed = directory.route(&query, NOW);
    let unmet = routed.unmet.unwrap();
    assert!(routed.candidates.is_empty());
    assert_eq!((unmet.requirement.as_str(), unmet.lacked_by), ("policy hipaa", 1));
    assert_eq!(unmet.nearest.unwrap().agent, agent("calc", 1));

    query.policies.clear();
    query.vector = vector([0.05, 1.0, 0.0]);
    let unmet = directory.route(&query, NOW).unmet.unwrap();
    assert_eq!(unmet.requirement, "a score above 0.2");
    assert!(unmet.nearest.unwrap().reason.to_string().contains("least for its similarity"));
}

#[test]
fn vectors_of_another_model_are_listed_and_never_compared() {
    let mut directory = Directory::new("test/3@ffff0000".parse().unwrap(), None);
    directory.presence(node(1).0, crate::testing::online(), NOW);
    assert_eq!(
        directory.apply(card(&profile("calc"), 1, (1, 1), [1.0, 0.0, 0.0]), NOW),
        Ok(crate::Applied::New)
    );
    assert_eq!(directory.rejections()["other-model"], 1);
    let routed = directory.route(&Query::new("calc", vector([1.0, 0.0, 0.0])), NOW);
    assert!(routed.candidates.is_empty());
    assert_eq!(routed.losers[0].reason, LostBy::OtherModel { model: model() });
    assert!(routed.losers[0].similarity.abs() < f64::EPSILON);
}

#[test]
fn a_card_with_vectors_of_two_models_is_compared_by_each_directorys_own() {
    let other: ModelId = "other/2@ffff0000".parse().unwrap();
    let mut profile = profile("calc");
    profile.spec = Some("exact".to_owned());
    let (id, key) = node(1);
    let of = |model: &ModelId, raw: &[f32]| Embedding {
        model: model.clone(),
        vectors: vec![Vector::new(raw.to_vec()).unwrap(); profile.texts().len()],
    };
    let both = [of(&model(), &[1.0, 0.0, 0.0]), of(&other, &[0.0, 1.0])];
    let id = AgentId::new(profile.name.clone(), id);
    let order = (Boot(1), foa_wire::Version(1));
    let card = crate::AgentCard::issue(&profile, &both, id, order.0, order.1, NOW, CARD_TTL, &key).unwrap();
    let ours = Vector::new(vec![1.0, 0.0, 0.0]).unwrap();
    for (model, near, far) in
        [(model(), ours, vector([0.0, 1.0, 0.0])), (other, pair(0.0, 1.0), pair(1.0, 0.0))]
    {
        let mut directory = Directory::new(model.clone(), None);
        directory.presence(node(1).0, crate::testing::online(), NOW);
        assert_eq!(directory.apply(card.clone(), NOW), Ok(crate::Applied::New));
        assert!(directory.rejections().is_empty());
        let saved = directory.image().to_bytes();
        let mut again = Directory::new(model.clone(), None);
        again.presence(node(1).0, crate::testing::online(), NOW);
        assert_eq!(again.restore(&saved, NOW), Ok(1));
        for directory in [&mut directory, &mut again] {
            let found = |directory: &Directory, task: &Vector| {
                let mut query = Query::new("", task.clone());
                query.spec = Some(task.clone());
                let routed = directory.route(&query, NOW);
                let best = &routed.candidates[0];
                assert_eq!(best.model, model);
                (best.factors.dense, best.factors.spec)
            };
            let (dense, spec) = found(directory, &near);
            assert!(dense > 0.99 && spec > 0.99, "{dense} {spec}");
            let (dense, spec) = found(directory, &far);
            assert!(dense < 0.01 && spec < 0.51, "{dense} {spec}");
            let agent = card.agent();
            directory.report(agent, &far, Outcome::of(true), NOW);
            assert_eq!(
                directory.route(&Query::new("", far.clone()), NOW).candidates[0].factors.best_vector,
                "description"
            );
        }
    }
}

#[test]
fn an_agent_with_many_skills_alike_does_not_crowd_out_the_others() {
    let mut directory = directory();
    let mut many = profile("many");
    many.skills = (0..200).map(|n| skill(&format!("skill-{n}"), "the same")).collect();
    directory.apply(card(&many, 1, (1, 1), [1.0, 0.0, 0.0]), NOW).unwrap();
    for n in 0..20 {
        let near = [1.0, 0.05 + 0.001 * n as f32, 0.0];
        directory.apply(card(&profile(&format!("near-{n}")), 2, (1, 1), near), NOW).unwrap();
    }
    for n in 0..crate::index::CROSSING {
        let (sin, cos) = (n as f32).sin_cos();
        let far = [-0.05 - (n % 61) as f32 / 61.0, sin, cos];
        directory.apply(card(&profile(&format!("far-{n}")), 3, (1, 1), far), NOW).unwrap();
    }
    while directory.maintain(1000) > 0 {}
    let routed = directory.route(&Query { limit: 10, ..Query::new("", vector([1.0, 0.0, 0.0])) }, NOW);
    assert_eq!(routed.engine, Engine::Hnsw);
    let found = order(&routed);
    assert!(found.len() == 10 && found[0].starts_with("many"), "{found:?}");
    assert!(found[1..].iter().all(|agent| agent.starts_with("near")), "{found:?}");
}

fn pair(x: f32, y: f32) -> Vector {
    Vector::new(vec![x, y]).unwrap()
}

#[test]
fn a_queue_and_failures_move_work_to_an_equal() {
    let mut directory = with(&[(profile("calc"), 1, [1.0, 0.0, 0.0]), (profile("calc"), 2, [1.0, 0.0, 0.0])]);
    let query = Query::new("", vector([1.0, 0.0, 0.0]));
    let first = directory.route(&query, NOW).candidates[0].agent.clone();
    let busy = Presence {
        online: true,
        boot: Boot(1),
        connection: Connection(1),
        seq: Sequence(2),
        load: BTreeMap::from([(first.agent().clone(), Load { queue: 3, running: 2 })]),
    };
    assert!(directory.presence(first.node().clone(), busy, NOW));
    let routed = directory.route(&query, NOW);
    let second = routed.candidates[0].agent.clone();
    assert!(second != first && routed.candidates[1].factors.load < 1.0);

    for _ in 0..20 {
        directory.report(&second, &query.vector, Outcome::Failure { weight: 1.0 }, NOW);
    }
    assert_eq!(directory.route(&query, NOW).candidates[0].agent, first);
    // Failures at one kind of task say little of another.
    let elsewhere = Query::new("", vector([0.2, 1.0, 0.0]));
    assert!(directory.route(&elsewhere, NOW).candidates.iter().all(|c| c.factors.reputation > 0.8));
}

#[test]
fn above_the_crossing_the_walk_gives_the_same_best() {
    let (mut walking, mut scanning) = (directory(), directory());
    walking.vectors = crate::index::Vectors::with_crossing(100);
    for i in 0..120_u8 {
        let angle = f32::from(i) / 120.0;
        let card = card(&profile(&format!("a-{i}")), 1 + i % 9, (1, 1), [angle.cos(), angle.sin(), 0.1]);
        walking.apply(card.clone(), NOW).unwrap();
        scanning.apply(card, NOW).unwrap();
    }
    while walking.maintain(100) > 0 {}
    let query = Query { limit: 3, ..Query::new("a-77", vector([0.8, 0.6, 0.1])) };
    let walked = walking.route(&query, NOW);
    assert_eq!((walked.engine, walked.considered), (Engine::Hnsw, 120));
    let scanned = scanning.route(&query, NOW);
    assert_eq!((scanned.engine, &scanned.candidates), (Engine::Exact, &walked.candidates));
}

/// Queues, prices and failures turn the order of similarities; who is left out unscored must not have mattered.
#[test]
fn the_best_are_those_that_scoring_everybody_finds() {
    let mut directory = directory();
    let mut numbers = (1_u64..).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40);
    let mut draw = move |most: u64| numbers.next().unwrap() % most;
    let kinds = [[1.0, 0.0, 0.0], [0.9, 0.1, 0.0], [0.5, 0.5, 0.1], [0.0, 1.0, 0.0]];
    for i in 0..240 {
        let mut profile = profile(&format!("agent-{i}"));
        profile.offer.price = Money(i64::try_from(draw(50)).unwrap() * 1_000);
        let raw = kinds[usize::try_from(draw(4)).unwrap()];
        directory.apply(card(&profile, u8::try_from(1 + i % 9).unwrap(), (1, 1), raw), NOW).unwrap();
    }
    let ids: Vec<_> = directory.agents.keys().cloned().collect();
    for number in 1..10_u8 {
        let here = ids.iter().filter(|id| *id.node() == node(number).0);
        let queue = |draw: &mut dyn FnMut(u64) -> u64| u32::try_from(draw(15).saturating_sub(9)).unwrap();
        let load = here.map(|id| (id.agent().clone(), Load { queue: queue(&mut draw), running: 1 }));
        let presence = Presence { seq: Sequence(2), load: load.collect(), ..online() };
        assert!(directory.presence(node(number).0, presence, NOW));
    }
    for id in ids.iter().step_by(11) {
        directory.report(id, &vector([0.9, 0.4, 0.0]), Outcome::Success { weight: 1.0 }, NOW);
    }
    for id in ids.iter().step_by(7) {
        directory.report(id, &vector([1.0, 0.0, 0.0]), Outcome::Failure { weight: 2.0 }, NOW);
    }
    for (text, budget, limit) in
        [("agent-17 adds", None, 5), ("", Some(Money(40_000)), 3), ("adds", None, 400)]
    {
        let parts = vec![vector([0.0, 1.0, 0.0]), vector([0.6, 0.1, 0.3])];
        let query = Query { budget, limit, parts, ..Query::new(text, vector([0.95, 0.05, 0.0])) };
        let words = directory.lexical.scores(&query.text);
        let passing = directory.agents.iter().filter(|(id, e)| directory.refusals(&query, id, e).is_empty());
        let near = Nearness::new(&directory, &query, directory.experience(&query), 0);
        let factors = |id, e: &Entry| directory.factors(&query, id, e, &near, words.of(e.number), NOW);
        let mut all: Vec<_> = passing.map(|(id, e)| (factors(id, e).alpha(), id.clone())).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        all.truncate(limit);
        let routed = directory.route(&query, NOW);
        let found: Vec<_> = routed.candidates.into_iter().map(|c| (c.alpha, c.agent)).collect();
        assert_eq!(found, all, "{text:?}");
    }
}

fn profiles() -> impl Strategy<Value = (u64, u64, Option<u64>, u32)> {
    (0..100_000_u64, 0..5_000_u64, prop::option::of(1..100_000_u64), 1..9_u32)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn scores_are_within_bounds_and_follow_the_factors(
        (price, latency, context, concurrency) in profiles(),
        raw in prop::array::uniform3(-1.0_f32..1.0),
        budget in prop::option::of(1..200_000_i64),
        need in 1..50_000_u64,
    ) {
        prop_assume!(raw.iter().any(|x| x.abs() > 0.1));
        let mut agent_profile = profile("calc");
        agent_profile.offer = Offer {
            price: Money(i64::try_from(price).unwrap()),
            latency_ms: Some(latency),
            context_tokens: context,
            concurrency,
            ..Offer::default()
        };
        let mut query = Query::new("adds", vector([1.0, 0.0, 0.0]));
        query.needs = Needs { latency_ms: Some(1000), context_tokens: Some(need), ..Needs::default() };
        query.budget = budget.map(Money);
        let alpha = |p: &AgentProfile, query: &Query| {
            let routed = with(&[(p.clone(), 1, raw)]).route(query, NOW);
            routed.candidates.first().map_or(0.0, |c| c.alpha)
        };
        let base = alpha(&agent_profile, &query);
        prop_assert!((0.0..=1.0).contains(&base));
        let mut better = agent_profile.clone();
        better.offer.latency_ms = Some(latency / 2);
        better.offer.context_tokens = Some(context.unwrap_or(0) * 2);
        prop_assert!(alpha(&better, &query) >= base, "a better offer scored less");
        let mut dearer = agent_profile.clone();
        dearer.offer.price = dearer.offer.price + Money(1000);
        prop_assert!(alpha(&dearer, &query) <= base, "a higher price scored more");
        query.policies = BTreeSet::from(["hipaa".parse().unwrap()]);
        prop_assert_eq!(alpha(&agent_profile, &query), 0.0);
    }
}
