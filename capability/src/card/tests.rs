use foa_wire::{Boot, Time, Version};
use serde_json::json;

use super::*;
use crate::delta::CardDelta;
use crate::testing::{NOW, card, model, node, profile, skill, vector};

#[test]
fn golden_card() {
    let card = card(&profile("calc"), 1, (7, 3), [3.0, 4.0, 0.0]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&card).unwrap());
}

#[test]
fn a_card_survives_the_wire_with_what_others_wrote_in_it() {
    let original = card(&profile("calc"), 1, (7, 3), [3.0, 4.0, 0.0]);
    let mut json = original.json();
    json["iconUrl"] = "https://example.org/icon.svg".into();
    json["capabilities"]["extensions"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({"uri": "urn:other", "params": null}));
    let (id, key) = node(1);
    json["signatures"] = json!([foa_wire::jws::sign_detached(&json, &id, &key)]);
    let text = serde_json::to_string(&json).unwrap();
    let read: AgentCard = serde_json::from_str(&text).unwrap();
    assert_eq!(read.verify(), Ok(()));
    assert_eq!(serde_json::to_value(&read).unwrap(), json);
    assert_eq!(read.capability(), original.capability());
    assert_ne!(read.hash(), original.hash());
}

#[test]
fn every_change_breaks_the_signature() {
    let card = card(&profile("calc"), 1, (7, 3), [3.0, 4.0, 0.0]);
    for pointer in ["/description", "/capabilities/extensions/0/params/version", "/skills/0/name"] {
        let mut json = card.json();
        let place = json.pointer_mut(pointer).unwrap();
        *place = if place.is_number() { 9.into() } else { "changed".into() };
        let changed = AgentCard::try_from(json).unwrap();
        assert!(matches!(changed.verify(), Err(InvalidCard::Signature { .. })), "{pointer} can be changed");
    }
    let mut json = card.json();
    json.as_object_mut().unwrap().remove("signatures");
    assert_eq!(AgentCard::try_from(json.clone()).unwrap().verify(), Err(InvalidCard::Unsigned));

    // Rightly signed, by somebody else.
    let (other, key) = node(2);
    json["signatures"] = json!([foa_wire::jws::sign_detached(&json, &other, &key)]);
    let stolen = AgentCard::try_from(json).unwrap();
    assert_eq!(stolen.verify(), Err(InvalidCard::WrongKey { agent: card.agent().clone() }));
}

#[test]
fn refuses_json_that_is_no_card() {
    let good = card(&profile("calc"), 1, (7, 3), [3.0, 4.0, 0.0]).json();
    let mut many = good.clone();
    many["skills"] = json!(vec![skill("s", "d"); MAX_SKILLS + 1]);
    let mut bad_model = good.clone();
    bad_model["capabilities"]["extensions"][0]["params"]["model"] = "minilm".into();
    for json in [json!({}), json!([]), json!({"name": "a", "description": "b"}), many, bad_model] {
        let text: String = json.to_string().chars().take(60).collect();
        assert!(AgentCard::try_from(json).is_err(), "{text} was accepted");
    }
}

#[test]
fn a_card_needs_its_vectors_and_its_key() {
    let profile = profile("calc");
    let (id, _) = node(1);
    let agent = AgentId::new(profile.name.clone(), id);
    let issue = |vectors: Vec<Vector>, seed: u8| {
        let (key, ttl) = (node(seed).1, CARD_TTL);
        let own = [Embedding { model: model(), vectors }];
        AgentCard::issue(&profile, &own, agent.clone(), Boot(1), Version(1), NOW, ttl, &key)
    };
    let v = vector([1.0, 0.0, 0.0]);
    assert_eq!(issue(vec![v.clone()], 1), Err(InvalidCard::VectorCount { wanted: 2, found: 1 }));
    assert!(matches!(
        issue(vec![v.clone(); 2], 2),
        Err(InvalidCard::Signature { .. } | InvalidCard::WrongKey { .. })
    ));
    let short = issue(vec![v.clone(), Vector::new(vec![1.0]).unwrap()], 1);
    assert!(matches!(short, Err(InvalidCard::Vector { .. })), "{short:?}");
    assert!(issue(vec![v; 2], 1).is_ok());
}

#[test]
fn a_second_model_is_checked_like_the_first_and_a_third_is_refused() {
    let profile = profile("calc");
    let (id, key) = node(1);
    let agent = AgentId::new(profile.name.clone(), id);
    let of = |name: &str, dimension: usize| Embedding {
        model: format!("{name}/3@abcdef01").parse().unwrap(),
        vectors: vec![Vector::new(vec![1.0; dimension]).unwrap(); 2],
    };
    let issue = |own: &[Embedding]| {
        AgentCard::issue(&profile, own, agent.clone(), Boot(1), Version(1), NOW, CARD_TTL, &key)
    };
    let both = issue(&[of("first", 3), of("second", 3)]).unwrap();
    assert_eq!(AgentCard::try_from(both.json()).unwrap().verify(), Ok(()));
    assert!(both.capability().comparable(&of("third", 3).model).is_none());
    assert_eq!(issue(&[]), Err(InvalidCard::VectorCount { wanted: 2, found: 0 }));
    let few = Embedding { vectors: Vec::new(), ..of("second", 3) };
    assert_eq!(issue(&[of("first", 3), few]), Err(InvalidCard::VectorCount { wanted: 2, found: 0 }));
    let short = issue(&[of("first", 3), of("second", 2)]);
    assert!(matches!(short, Err(InvalidCard::Vector { .. })), "{short:?}");
    let many = issue(&[of("first", 3), of("second", 3), of("third", 3)]);
    assert!(matches!(many, Err(InvalidCard::Field { field: "capability vector", .. })), "{many:?}");
    let retired = both.retire(Version(2), NOW, NOW + CARD_TTL, &key).unwrap();
    assert!(retired.capability().also.is_empty());
}

#[test]
fn a_large_card_is_refused() {
    let mut profile = profile("calc");
    profile.skills = vec![skill("s", &"x".repeat(1000)); MAX_SKILLS];
    let (id, key) = node(1);
    let agent = AgentId::new(profile.name.clone(), id);
    let own = [Embedding { model: model(), vectors: vec![vector([1.0, 0.0, 0.0]); MAX_SKILLS + 1] }];
    let card = AgentCard::issue(&profile, &own, agent, Boot(1), Version(1), NOW, CARD_TTL, &key);
    assert!(matches!(card, Err(InvalidCard::TooLarge { .. })));
}

#[test]
fn a_delta_carries_the_change_and_nothing_else() {
    let mut profile = profile("calc");
    let old = card(&profile, 1, (7, 3), [3.0, 4.0, 0.0]);
    profile.offer.price = crate::Money(20_000);
    profile.offer.token_budget = None;
    let new = card(&profile, 1, (7, 4), [3.0, 4.0, 0.0]);
    let delta = CardDelta::between(&old, &new).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&delta).unwrap());
    let delta: CardDelta = serde_json::from_str(&serde_json::to_string(&delta).unwrap()).unwrap();
    assert_eq!(delta.apply(&old).unwrap(), new);

    assert!(CardDelta::between(&new, &old).is_none(), "back in time");
    assert!(
        CardDelta::between(&old, &card(&profile, 1, (8, 4), [3.0, 4.0, 0.0])).is_none(),
        "over a restart"
    );
    assert!(CardDelta::between(&old, &card(&profile, 2, (7, 4), [3.0, 4.0, 0.0])).is_none(), "another agent");
    assert!(delta.apply(&new).is_err(), "applied to another base");
    let mut forged = delta.clone();
    forged.changed["vector"]["offer"]["price"] = 1.into();
    assert!(forged.apply(&old).is_err(), "a change nobody signed");
}

#[test]
fn a_retirement_is_newer_and_holds_until_its_end() {
    let old = card(&profile("calc"), 1, (7, 3), [3.0, 4.0, 0.0]);
    let until = NOW + 2 * CARD_TTL;
    let retired = old.retire(Version(4), NOW, until, &node(1).1).unwrap();
    assert_eq!((retired.order(), retired.verify()), ((Boot(7), Version(4)), Ok(())));
    assert!(retired.capability().retired && retired.skills().is_empty());
    assert_eq!(retired.capability().expires(), until);
    assert_eq!(old.capability().expires(), Time::from_millis(NOW.as_millis() + 86_400_000));
    let delta = CardDelta::between(&old, &retired).unwrap();
    assert_eq!(delta.apply(&old).unwrap(), retired);
}

#[test]
fn a_card_keeps_its_json_to_the_letter() {
    let mut spec = profile("calc");
    spec.spec = Some("never guesses".to_owned());
    let own = card(&spec, 1, (7, 3), [3.0, 4.0, 0.0]);
    let mut foreign = own.json();
    // Fields of other ecosystems, and numbers that text need not keep.
    foreign["provider"] =
        serde_json::json!({ "weight": 0.1 + 0.2, "tiny": 5e-324, "deep": [[null, {}], "ü"] });
    for json in [own.json(), foreign] {
        let read = AgentCard::try_from(json.clone()).unwrap();
        assert_eq!(read.json(), json);
        assert_eq!(read.size(), serde_json::to_vec(&json).unwrap().len());
        assert!(matches!(read.0.kept, kept::Kept::Packed(_)));
    }
    // A vector that is not written the way we write it stays as it was written.
    let mut odd = own.json();
    params_mut(&mut odd).unwrap()["vectors"][0]["unknown"] = 1.into();
    assert_eq!(AgentCard::try_from(odd.clone()).unwrap().json(), odd);
}
