use foa_wire::NodeName;
use proptest::prelude::*;

use super::*;

fn key(n: u8) -> NodeKey {
    NodeKey::from_seed([n; 32])
}

fn agent(n: u8) -> AgentId {
    let name: NodeName = format!("n{n}").parse().unwrap();
    AgentId::new("corpus".parse().unwrap(), NodeId::new(name, &key(n).public()))
}

fn cluster() -> ClusterId {
    "job-0001.s1.1".parse().unwrap()
}

fn content(author: AgentId, round: u32, body: Body) -> Content {
    let job = "job-0001".parse().unwrap();
    Content {
        job,
        subtask: "s1".to_owned(),
        cluster: cluster(),
        round,
        author,
        parents: BTreeSet::new(),
        body,
    }
}

fn answer(text: &str) -> Contribution {
    Contribution { text: text.to_owned(), confidence: 0.5, ..Contribution::default() }
}

fn draft(n: u8, text: &str) -> Entry {
    Entry::sign(content(agent(n), 0, Body::Draft(answer(text))), &key(n))
}

fn revision(n: u8, round: u32, text: &str) -> Entry {
    Entry::sign(content(agent(n), round, Body::Revision(answer(text))), &key(n))
}

fn channel() -> Channel {
    Channel::new(cluster(), [1, 2, 3].map(agent).into())
}

fn filled(entries: &[Entry]) -> Channel {
    let mut channel = channel();
    for entry in entries {
        channel.insert(entry.clone()).unwrap();
    }
    channel
}

#[test]
fn an_entry_is_let_in_once() {
    let mut channel = channel();
    assert_eq!(channel.insert(draft(1, "a")), Ok(Inserted::New));
    assert_eq!(channel.insert(draft(1, "a")), Ok(Inserted::Known));
    assert_eq!(channel.len(), 1);
    assert_eq!(channel.get(draft(1, "a").hash()), Some(&draft(1, "a")));
}

#[test]
fn what_is_not_what_it_claims_to_be_is_named() {
    let changed = |change: fn(&mut Value)| {
        let mut json = serde_json::to_value(draft(1, "a")).unwrap();
        change(&mut json);
        let entry = Entry::parse(json)?;
        channel().insert(entry)
    };
    let name = |found: Result<Inserted, RejectedEntry>| found.unwrap_err().name();
    assert_eq!(name(changed(|j| j["body"]["text"] = "b".into())), "bad-entry-signature");
    assert_eq!(name(changed(|j| j["extra"] = 1.into())), "bad-entry-signature");
    assert_eq!(name(changed(|j| j["kind"] = "revision".into())), "bad-entry-signature");
    assert_eq!(name(changed(|j| j["key"] = key(2).public().to_string().into())), "wrong-entry-key");
    assert_eq!(name(changed(|j| drop(j.as_object_mut().unwrap().remove("key")))), "wrong-entry-key");
    assert_eq!(name(changed(|j| j["author"] = agent(2).to_string().into())), "wrong-entry-key");
    assert_eq!(name(changed(|j| j["author"] = agent(9).to_string().into())), "wrong-entry-author");
    assert_eq!(name(changed(|j| j["kind"] = "shout".into())), "unknown-entry-kind");
    assert_eq!(name(changed(|j| drop(j.as_object_mut().unwrap().remove("sig")))), "malformed-entry");
    assert_eq!(name(changed(|j| j["round"] = (-1).into())), "malformed-entry");
    assert_eq!(name(changed(|j| *j = Value::Null)), "malformed-entry");
    assert_eq!(name(changed(|j| j["cluster"] = "job-0001.s2.1".into())), "wrong-channel");
    assert_eq!(name(changed(|j| j["round"] = 65.into())), "entry-too-large");

    let forged = Entry::sign(content(agent(1), 0, Body::Draft(answer("a"))), &key(2));
    assert_eq!(name(channel().insert(forged)), "wrong-entry-key");
    assert_eq!(name(channel().insert(draft(1, &"x".repeat(MAX_ENTRY)))), "entry-too-large");
    // A member may not open or close, a holder may not draft.
    let close = Body::Close { entries: vec![], absent: vec![] };
    assert_eq!(
        name(channel().insert(Entry::sign(content(agent(1), 1, close), &key(1)))),
        "wrong-entry-author"
    );
    let by_holder = content(holder(agent(1).node()), 0, Body::Draft(answer("a")));
    assert_eq!(name(channel().insert(Entry::sign(by_holder, &key(1)))), "wrong-entry-author");
}

#[test]
fn unknown_fields_survive_and_stay_signed() {
    let mut json = serde_json::to_value(draft(1, "a")).unwrap();
    let fields = json.as_object_mut().unwrap();
    fields.remove("sig");
    fields.insert("mood".to_owned(), "bright".into());
    let bytes = codec::canonical(&json);
    json["sig"] = key(1).sign(&[SIGNED, &bytes].concat()).to_string().into();
    let entry = Entry::parse(json.clone()).unwrap();
    assert_eq!(channel().insert(entry.clone()), Ok(Inserted::New));
    assert_eq!(serde_json::to_value(&entry).unwrap(), json);
}

#[test]
fn who_says_two_things_is_not_counted() {
    let channel = filled(&[draft(1, "a"), draft(2, "b"), draft(2, "c"), revision(1, 1, "d")]);
    let counted: Vec<_> = channel.counted(0).into_iter().map(|e| e.author().clone()).collect();
    assert_eq!(counted, [agent(1)]);
    assert_eq!(channel.equivocations(0), [(agent(2), EntryKind::Draft)]);
    assert_eq!(channel.equivocations(1), []);
    assert_eq!(channel.latest(0)[&agent(1)], &draft(1, "a"));
    assert_eq!(channel.latest(1)[&agent(1)], &revision(1, 1, "d"));
    assert!(!channel.latest(1).contains_key(&agent(2)));
}

#[test]
fn a_flood_is_bounded_and_still_an_equivocation() {
    let mut channel = channel();
    let said: Vec<Inserted> = (0..40).map(|i| channel.insert(draft(1, &i.to_string())).unwrap()).collect();
    assert!(said.contains(&Inserted::Crowded));
    assert_eq!(channel.len(), MAX_VARIANTS);
    assert!(channel.counted(0).is_empty());
    assert_eq!(channel.equivocations(0), [(agent(1), EntryKind::Draft)]);
}

#[test]
fn a_closed_round_names_what_counts_and_what_came_late() {
    let node = agent(3).node().clone();
    let (first, second) = (revision(1, 1, "a"), revision(2, 1, "b"));
    let close = Body::Close { entries: vec![first.hash().clone()], absent: vec![agent(2)] };
    let close = Entry::sign(content(holder(&node), 1, close), &key(3));
    let channel = filled(&[first.clone(), second.clone(), close]);
    assert_eq!(channel.closed(1, &node), Some(&[first.hash().clone()][..]));
    assert_eq!(channel.late(1, &node), [&second]);
    // Another node's word closes nothing, nor does it close another round.
    assert_eq!(channel.closed(1, agent(1).node()), None);
    assert_eq!(channel.closed(2, &node), None);
}

#[test]
fn what_others_build_on_is_asked_for() {
    let first = draft(1, "a");
    let mut reply = content(agent(2), 1, Body::Revision(answer("b")));
    reply.parents = [first.hash().clone()].into();
    let mut channel = filled(&[Entry::sign(reply, &key(2))]);
    assert_eq!(channel.missing(), [first.hash().clone()].into());
    channel.insert(first.clone()).unwrap();
    assert!(channel.missing().is_empty());
    assert_eq!(channel.since(&[first.hash().clone()].into()).len(), 1);
    assert_eq!(channel.entries()[0], &first);
}

#[test]
fn the_golden_samples_read_verify_and_write_as_ever() {
    let golden: Vec<Value> = serde_json::from_str(include_str!("../../../golden/entries.json")).unwrap();
    let kinds: Vec<EntryKind> = golden
        .into_iter()
        .map(|json| {
            let entry = Entry::parse(json.clone()).unwrap();
            entry.verify().unwrap();
            assert_eq!(serde_json::to_value(&entry).unwrap(), json);
            // Written anew from its parts it is the same entry: names of fields and the hash are part of the protocol.
            assert_eq!(Entry::sign(entry.content().clone(), &key(7)), entry);
            entry.kind()
        })
        .collect();
    use EntryKind::{Close, Critique, Draft, Evidence, Note, Open, Revision, Vote};
    assert_eq!(kinds, [Open, Draft, Critique, Evidence, Revision, Vote, Note, Close]);
}

/// Entries by two authors, with conflicts, repeats and enough of them to crowd.
fn any_entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (1u8..3, 0u32..2, 0u8..7, any::<bool>());
    let make = |(n, round, text, note): (u8, u32, u8, bool)| {
        let text = text.to_string();
        let body = if note { Body::Note { text } } else { Body::Revision(answer(&text)) };
        Entry::sign(content(agent(n), round, body), &key(n))
    };
    prop::collection::vec(one.prop_map(make), 0..10)
}

fn joined(a: &Channel, b: &Channel) -> Channel {
    let mut all = a.clone();
    assert!(all.join(b).is_empty());
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_arrival_does_not_matter(entries in any_entries(), shuffled in any::<prop::sample::Index>()) {
        let mut other = entries.clone();
        other.reverse();
        if !other.is_empty() {
            let by = shuffled.index(other.len());
            other.rotate_left(by);
        }
        other.extend(entries.first().cloned());
        prop_assert_eq!(filled(&entries), filled(&other));
    }

    #[test]
    fn joining_is_commutative_associative_and_idempotent(
        a in any_entries(), b in any_entries(), c in any_entries(),
    ) {
        let (a, b, c) = (filled(&a), filled(&b), filled(&c));
        prop_assert_eq!(joined(&a, &b), joined(&b, &a));
        prop_assert_eq!(joined(&joined(&a, &b), &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(joined(&a, &a), a);
    }
}
