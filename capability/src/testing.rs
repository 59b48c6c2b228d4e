//! What the tests of this crate share: keys, ids, profiles and cards.

use std::collections::BTreeSet;
use std::time::Duration;

use foa_wire::{AgentId, Boot, Connection, NodeId, NodeKey, Sequence, Time, Version};

use crate::card::{AgentCard, CARD_TTL, Embedding};
use crate::directory::Directory;
use crate::model::ModelId;
use crate::presence::Presence;
use crate::profile::{AgentProfile, Effects};
use crate::resources::{Money, Offer};
use crate::skills::Skill;
use crate::vector::Vector;

pub(crate) const NOW: Time = Time::from_millis(1_769_851_800_250);

pub(crate) fn model() -> ModelId {
    "test/3@0123abcd".parse().unwrap()
}

pub(crate) fn vector(raw: [f32; 3]) -> Vector {
    Vector::new(raw.to_vec()).unwrap()
}

/// A node by number: the same number, the same key.
pub(crate) fn node(number: u8) -> (NodeId, NodeKey) {
    let key = NodeKey::from_seed([number; 32]);
    (NodeId::new(format!("node-{number}").parse().unwrap(), &key.public()), key)
}

pub(crate) fn agent(name: &str, number: u8) -> AgentId {
    AgentId::new(name.parse().unwrap(), node(number).0)
}

pub(crate) fn skill(id: &str, description: &str) -> Skill {
    Skill { id: id.to_owned(), name: id.to_owned(), description: description.to_owned(), ..Skill::default() }
}

pub(crate) fn profile(name: &str) -> AgentProfile {
    AgentProfile {
        name: name.parse().unwrap(),
        description: format!("does {name}"),
        skills: vec![skill(name, "adds and multiplies")],
        policies: BTreeSet::from(["gdpr".parse().unwrap()]),
        offer: Offer { price: Money(10_000), concurrency: 2, token_budget: Some(4000), ..Offer::default() },
        spec: None,
        effects: Effects::Read,
        kind: "calc".to_owned(),
        base_model: None,
        base: crate::card::Base::default(),
    }
}

/// The card of a profile whose every vector is `raw`.
pub(crate) fn card(profile: &AgentProfile, number: u8, order: (u64, u64), raw: [f32; 3]) -> AgentCard {
    let (id, key) = node(number);
    let own = [Embedding { model: model(), vectors: vec![vector(raw); profile.texts().len()] }];
    let id = AgentId::new(profile.name.clone(), id);
    AgentCard::issue(profile, &own, id, Boot(order.0), Version(order.1), NOW, CARD_TTL, &key).unwrap()
}

pub(crate) fn online() -> Presence {
    Presence {
        online: true,
        boot: Boot(1),
        connection: Connection(1),
        seq: Sequence(1),
        load: std::collections::BTreeMap::new(),
    }
}

/// A directory in which the nodes 1 to 9 are online.
pub(crate) fn directory() -> Directory {
    let mut directory = Directory::new(model(), None);
    for number in 1..10 {
        directory.presence(node(number).0, online(), NOW);
    }
    directory
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A small generator, so that tests need no crate for it (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Roughly normal, from the sum of four uniforms.
    fn normal(&mut self) -> f32 {
        (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32 - 0.5).sum::<f32>() * 1.7
    }

    pub(crate) fn raw(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.normal()).collect()
    }

    /// A vector around a centre.
    pub(crate) fn near(&mut self, centre: &[f32], spread: f32) -> Vector {
        Vector::new(centre.iter().map(|c| c + spread * self.normal()).collect()).unwrap()
    }
}
