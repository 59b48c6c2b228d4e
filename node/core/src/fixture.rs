//! What tests of a node have in common: who it is, what it is told at its start, its one agent.

use std::collections::BTreeSet;

use foa_capability::{AgentProfile, Effects, Offer, Vector};
use foa_wire::NodeKey;

use crate::admission::Limits;
use crate::effect::Advertised;
use crate::machine::{Config, Identity};
use crate::status::Role;

pub(crate) fn identity(name: &str, seed: u8) -> Identity {
    Identity::new(name.parse().unwrap(), NodeKey::from_seed([seed; 32]))
}

pub(crate) fn config(roles: &[Role]) -> Config {
    Config {
        roles: roles.iter().copied().collect(),
        operators: BTreeSet::new(),
        coordinators: BTreeSet::new(),
        accept_unsigned: false,
        model: "test/2@0123456789ab".parse().unwrap(),
        version: String::new(),
        limits: Limits::default(),
        max_queue: 10,
    }
}

/// An agent called `agent` that does one thing at a time.
pub(crate) fn agent() -> Advertised {
    let profile = AgentProfile {
        name: "agent".parse().unwrap(),
        description: "answers".to_owned(),
        skills: Vec::new(),
        policies: BTreeSet::new(),
        offer: Offer { concurrency: 1, ..Offer::default() },
        spec: None,
        effects: Effects::Read,
        kind: "test".to_owned(),
        base_model: None,
    };
    Advertised { profile, vectors: vec![Vector::new(vec![1.0, 0.0]).unwrap()] }
}
