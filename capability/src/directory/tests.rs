use std::collections::BTreeMap;
use std::sync::LazyLock;

use foa_wire::{Boot, Connection, Sequence, Version};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::card::AgentCard;
use crate::testing::{NOW, SECOND, agent, card, directory, model, node, online, profile};

fn resigned(card: &AgentCard, seed: u8, change: impl FnOnce(&mut serde_json::Value)) -> AgentCard {
    let mut json = card.json();
    change(&mut json);
    let (id, key) = node(seed);
    json["signatures"] = json!([foa_wire::jws::sign_detached(&json, &id, &key)]);
    AgentCard::try_from(json).unwrap()
}

fn params(json: &mut serde_json::Value) -> &mut serde_json::Value {
    &mut json["capabilities"]["extensions"][0]["params"]
}

#[test]
fn the_newest_card_stays_and_every_refusal_is_counted_by_name() {
    let mut directory = directory();
    let first = card(&profile("calc"), 1, (5, 2), [1.0, 0.0, 0.0]);
    assert_eq!(directory.apply(first.clone(), NOW), Ok(Applied::New));
    assert_eq!(directory.apply(first.clone(), NOW), Ok(Applied::Same));
    assert_eq!(
        directory.apply(card(&profile("calc"), 1, (5, 1), [1.0, 0.0, 0.0]), NOW),
        Err(Rejected::Stale)
    );
    // A restarted agent begins at version 1 again and is not shadowed by its past.
    assert_eq!(directory.apply(card(&profile("calc"), 1, (6, 1), [0.0, 1.0, 0.0]), NOW), Ok(Applied::Newer));

    let other = card(&profile("other"), 1, (5, 1), [1.0, 0.0, 0.0]);
    let zeros = |json: &mut serde_json::Value| params(json)["vectors"][0]["q"] = "AAAA".into();
    let short = |json: &mut serde_json::Value| params(json)["vectors"][0]["q"] = "fw==".into();
    let none = |json: &mut serde_json::Value| params(json)["vectors"] = json!([]);
    let late = |json: &mut serde_json::Value| params(json)["issued"] = json!(NOW + 2 * CLOCK_SKEW);
    let mut forged = other.json();
    forged["description"] = "does everything".into();
    let expired = directory.apply(other.clone(), NOW + CARD_TTL);
    assert_eq!(expired, Err(Rejected::Expired));
    for (card, wanted) in [
        (AgentCard::try_from(forged).unwrap(), Rejected::BadSignature),
        (resigned(&other, 2, |_| ()), Rejected::WrongKey),
        (resigned(&other, 1, zeros), Rejected::WrongNorm),
        (resigned(&other, 1, short), Rejected::WrongDimension),
        (resigned(&other, 1, none), Rejected::WrongDimension),
        (resigned(&other, 1, late), Rejected::Future),
    ] {
        assert_eq!(directory.apply(card, NOW), Err(wanted));
    }
    assert_eq!(directory.len(), 1);
    let counted: Vec<(&str, u64)> = directory.rejections().iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(
        counted,
        [
            ("bad-signature", 1),
            ("expired", 1),
            ("future", 1),
            ("stale", 1),
            ("wrong-dimension", 2),
            ("wrong-key", 1),
            ("wrong-norm", 1)
        ]
    );
    assert_eq!(directory.rejected().next().unwrap().agent, agent("calc", 1));
    for _ in 0..2 * MAX_REJECTIONS {
        directory.reject("malformed", agent("calc", 1), NOW);
    }
    assert_eq!(directory.rejected().count(), MAX_REJECTIONS);
}

#[test]
fn of_two_cards_for_one_version_the_lower_hash_is_kept_whatever_came_first() {
    let a = card(&profile("calc"), 1, (5, 1), [1.0, 0.0, 0.0]);
    let b = card(&profile("calc"), 1, (5, 1), [0.0, 1.0, 0.0]);
    let lower = a.hash().min(b.hash());
    for (first, second) in [(&a, &b), (&b, &a)] {
        let mut directory = directory();
        assert_eq!(directory.apply(first.clone(), NOW), Ok(Applied::New));
        assert_eq!(directory.apply(second.clone(), NOW), Err(Rejected::Equivocation));
        assert_eq!(directory.get(a.agent()).unwrap().hash(), lower);
        assert_eq!(directory.rejections()["equivocation"], 1);
    }
}

#[test]
fn a_retirement_keeps_older_cards_dead_until_its_end() {
    let mut directory = directory();
    let old = card(&profile("calc"), 1, (5, 1), [1.0, 0.0, 0.0]);
    let retired = old.retire(Version(2), NOW, NOW + 2 * SECOND, &node(1).1).unwrap();
    assert_eq!(directory.apply(retired.clone(), NOW), Ok(Applied::Retired));
    assert_eq!(directory.apply(old, NOW), Err(Rejected::Stale));
    assert_eq!((directory.len(), directory.online()), (1, 0));
    directory.expire(NOW + SECOND);
    assert_eq!(directory.len(), 1);
    directory.expire(NOW + 2 * SECOND);
    assert!(directory.is_empty());
    assert_eq!(directory.apply(retired, NOW + 2 * SECOND), Err(Rejected::Expired));
}

#[test]
fn a_will_ends_its_own_connection_and_no_other() {
    let mut directory = Directory::new(model(), Some(node(9).0));
    let (id, _) = node(1);
    let at = |online, connection, seq| Presence {
        online,
        boot: Boot(1),
        connection: Connection(connection),
        seq: Sequence(seq),
        load: BTreeMap::new(),
    };
    assert!(!directory.is_online(&id) && directory.is_online(&node(9).0));
    for (presence, taken, is_online) in [
        (at(true, 1, 1), true, true),
        (at(true, 1, 1), false, true),
        (at(true, 1, 5), true, true),
        (at(true, 2, 1), true, true),
        // The will of the connection before, late.
        (at(false, 1, 0), false, true),
        // The will of this one, written when it began.
        (at(false, 2, 0), true, false),
        (at(true, 2, 9), false, false),
        (at(true, 3, 1), true, true),
    ] {
        assert_eq!(directory.presence(id.clone(), presence.clone(), NOW), taken, "{presence:?}");
        assert_eq!(directory.is_online(&id), is_online, "after {presence:?}");
    }
}

#[test]
fn presence_reads_without_load() {
    let json = r#"{"online":true,"boot":1,"connection":1,"seq":1}"#;
    assert_eq!(serde_json::from_str::<Presence>(json).unwrap(), online());
}

#[test]
fn golden_digest() {
    let mut directory = directory();
    directory.apply(card(&profile("calc"), 1, (5, 1), [1.0, 0.0, 0.0]), NOW).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&directory.digest()).unwrap());
    let empty = serde_json::to_string(&Directory::new(model(), None).digest_of(&[0, 99])).unwrap();
    assert_eq!(empty, r#"{"digest":"part","buckets":[0],"agents":{}}"#);
}

/// A directory of many agents without the cost of signing: entries copied under other ids.
fn crowd(count: usize) -> Directory {
    let mut directory = directory();
    let card = card(&profile("calc"), 1, (1_769_851_800, 1), [1.0, 0.0, 0.0]);
    for i in 0..count {
        let agent = agent(&format!("an-agent-with-a-long-name-{i}"), u8::try_from(i % 200).unwrap());
        directory.buckets.put(agent.clone(), card.clone());
        directory.agents.insert(agent, Entry { card: card.clone(), number: 0 });
    }
    directory
}

#[test]
fn digests_of_ten_thousand_agents_fit_an_envelope() {
    const ENVELOPE: usize = 250 * 1024;
    let directory = crowd(10_000);
    let all: Vec<u8> = (0..BUCKETS).collect();
    let bytes = |digest: &Digest| serde_json::to_vec(digest).unwrap().len();
    assert!(bytes(&directory.digest()) < 2048, "{} bytes of buckets", bytes(&directory.digest()));
    let part = directory.digest_of(&all);
    assert!(bytes(&part) < ENVELOPE, "{} bytes of agents", bytes(&part));
    let Digest::Part { buckets, .. } = part else { panic!("no part") };
    assert!((5..64).contains(&buckets.len()), "{} buckets", buckets.len());
    assert!(bytes(&crowd(MAX_LISTED).digest()) < ENVELOPE);
}

/// One beat of anti-entropy: `a` sends its digest to `b`, `b` answers, cards cross. Says whether they differed.
fn beat(a: &mut Directory, b: &mut Directory) -> bool {
    let send = |from: &Directory, to: &mut Directory, agents: &[AgentId]| {
        for agent in agents {
            let _ = to.apply(from.get(agent).unwrap().card().clone(), NOW);
        }
    };
    let mut difference = b.compare(&a.digest());
    if !difference.ask_buckets.is_empty() {
        // `b` sends its part of what differs; now `a` is the one that compares.
        let part = b.digest_of(&difference.ask_buckets);
        let seen_by_a = a.compare(&part);
        difference.they_lack = seen_by_a.we_lack;
        difference.we_lack = seen_by_a.they_lack;
    }
    send(b, a, &difference.they_lack);
    send(a, b, &difference.we_lack);
    !difference.is_empty()
}

fn state(directory: &Directory) -> Vec<(AgentId, Mark)> {
    directory.iter().map(|(id, e)| (id.clone(), Mark::of(&e.card().clone().into()))).collect()
}

#[test]
fn two_large_directories_become_equal() {
    let cards: Vec<AgentCard> = (0..300)
        .map(|i| card(&profile(&format!("a-{i}")), u8::try_from(1 + i % 9).unwrap(), (1, 1), [1.0, 0.0, 0.0]))
        .collect();
    let (mut a, mut b) = (directory(), directory());
    for (i, card) in cards.iter().enumerate() {
        if i % 10 != 0 {
            a.apply(card.clone(), NOW).unwrap();
        }
        if i % 11 != 0 {
            b.apply(card.clone(), NOW).unwrap();
        }
    }
    assert!(matches!(a.digest(), Digest::Buckets { .. }));
    let beats = (1..10).find(|_| !beat(&mut a, &mut b)).unwrap();
    assert_eq!(state(&a), state(&b));
    assert_eq!(a.len(), 297, "all but the three that neither knew");
    assert!(beats <= 3, "{beats} beats");
}

/// Cards that conflict in every way: versions, boots, two cards of one version, a retirement.
fn cards() -> &'static [AgentCard] {
    static CARDS: LazyLock<Vec<AgentCard>> = LazyLock::new(conflicting);
    &CARDS
}

fn conflicting() -> Vec<AgentCard> {
    let mut cards = Vec::new();
    for (number, name) in [(1, "calc"), (1, "other"), (2, "calc")] {
        for order in [(1, 1), (1, 2), (2, 1)] {
            for raw in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]] {
                cards.push(card(&profile(name), number, order, raw));
            }
        }
    }
    cards.push(cards[0].retire(Version(9), NOW, NOW + CARD_TTL, &node(1).1).unwrap());
    cards
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_state_does_not_depend_on_order_or_repeats(
        order in Just((0..19_usize).chain(0..19).collect::<Vec<_>>()).prop_shuffle(),
        query in prop::array::uniform3(0.1_f32..1.0),
    ) {
        let cards = cards();
        let (mut straight, mut shuffled) = (directory(), directory());
        for card in cards {
            let _ = straight.apply(card.clone(), NOW);
        }
        for at in order {
            let _ = shuffled.apply(cards[at].clone(), NOW);
        }
        prop_assert_eq!(state(&straight), state(&shuffled));
        prop_assert_eq!(straight.digest(), shuffled.digest());
        let query = crate::Query::new("calc", crate::testing::vector(query));
        prop_assert_eq!(straight.route(&query, NOW), shuffled.route(&query, NOW));
    }

    #[test]
    fn one_exchange_of_digests_makes_directories_equal(
        left in prop::collection::vec(0..19_usize, 0..19),
        right in prop::collection::vec(0..19_usize, 0..19),
    ) {
        let cards = cards();
        let (mut a, mut b) = (directory(), directory());
        for at in left {
            let _ = a.apply(cards[at].clone(), NOW);
        }
        for at in right {
            let _ = b.apply(cards[at].clone(), NOW);
        }
        beat(&mut a, &mut b);
        prop_assert_eq!(state(&a), state(&b));
        prop_assert!(!beat(&mut a, &mut b));
    }
}

#[test]
fn what_was_saved_answers_as_before_and_goes_on() {
    use crate::route::Query;
    use crate::saved::Unreadable;
    use crate::testing::vector;

    let mut directory = directory();
    let names = ["calc", "corpus", "planner", "gone", "mine"];
    for (at, name) in (1_u8..).zip(names) {
        let x = f32::from(at) / 5.0;
        directory.apply(card(&profile(name), at, (1, 1), [x, 1.0, 0.0]), NOW).unwrap();
        directory.presence(node(at).0, online(), NOW);
    }
    // Numbers with a gap, and a card that is gone for good.
    let (gone, key) = node(4);
    let retired = directory.get(&agent("gone", 4)).unwrap().card().clone();
    let retired = retired.retire(Version(2), NOW, NOW + 2 * CARD_TTL, &key).unwrap();
    directory.apply(retired, NOW).unwrap();
    let query = Query::new("adds numbers", vector([1.0, 0.4, 0.0]));
    let before = directory.route(&query, NOW);
    let saved = directory.image().to_bytes();

    let mut loaded = Directory::new(model(), Some(node(5).0));
    assert_eq!(loaded.restore(&saved, NOW), Ok(4), "the local node's agents are left out");
    assert!(loaded.route(&query, NOW).candidates.is_empty(), "nobody was heard of yet");
    for at in 1..=4 {
        loaded.presence(node(at).0, online(), NOW);
    }
    loaded.apply(directory.get(&agent("mine", 5)).unwrap().card().clone(), NOW).unwrap();
    assert_eq!(loaded.route(&query, NOW).candidates, before.candidates);
    assert_eq!(loaded.digest(), directory.digest());
    for (id, entry) in directory.iter() {
        assert_eq!(loaded.get(id).unwrap().card().json(), entry.card().json());
        loaded.get(id).unwrap().card().verify().unwrap();
    }

    // What is newer wins as ever, and what is gone stays gone.
    assert!(loaded.get(&AgentId::new("gone".parse().unwrap(), gone)).unwrap().retired());
    let stale = loaded.apply(card(&profile("gone"), 4, (1, 1), [1.0, 0.0, 0.0]), NOW);
    assert_eq!(stale, Err(Rejected::Stale));
    let newer = loaded.apply(card(&profile("calc"), 1, (1, 2), [1.0, 0.0, 0.0]), NOW);
    assert_eq!(newer, Ok(Applied::Newer));
    assert_eq!(loaded.apply(card(&profile("new"), 1, (1, 3), [1.0, 0.4, 0.0]), NOW), Ok(Applied::New));
    assert_eq!(loaded.route(&query, NOW).candidates.len(), before.candidates.len() + 1);

    // Another time, another model, other bytes.
    let late = NOW + CARD_TTL;
    assert_eq!(
        Directory::new(model(), None).restore(&saved, late),
        Ok(1),
        "only the retirement still counts"
    );
    let mut changed = saved.clone();
    changed[saved.len() / 3] ^= 1;
    let known = loaded.len();
    assert_eq!(loaded.restore(&changed, NOW), Err(Unreadable::Checksum));
    assert_eq!(loaded.restore(&saved[..saved.len() - 1], NOW), Err(Unreadable::Checksum));
    let mut other = Directory::new("other/3@0123456789ab".parse().unwrap(), None);
    assert_eq!(other.restore(&saved, NOW), Err(Unreadable::Unsound("vectors of another model")));
    assert_eq!((loaded.len(), other.len()), (known, 0));
}
