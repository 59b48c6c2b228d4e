//! A card as it is kept on our own disk: what follows from it is written beside it, so that reading a hundred thousand
//! cards back checks no signature and deflates nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::derived::Derived;
use super::kept::Kept;
use super::{AgentCard, Capability, Content};
use crate::saved::{Rest, Section, Unreadable};
use crate::skills::Skill;

/// What of a card is written as JSON.
#[derive(Serialize)]
struct Writing<'a> {
    name: &'a str,
    description: &'a str,
    skills: &'a [Skill],
    capability: &'a Capability,
    size: usize,
    hash: &'a str,
}

/// The same, read back.
#[derive(Deserialize)]
struct Reading {
    name: Box<str>,
    description: Box<str>,
    skills: Box<[Skill]>,
    capability: Capability,
    size: usize,
    hash: Box<str>,
}

impl AgentCard {
    /// Adds a number and a card that was verified; nothing, when text does not keep the card to the last digit.
    pub(crate) fn write(&self, number: u32, out: &mut Section) {
        let card = &*self.0;
        let Kept::Packed(packed) = &card.kept else { return };
        let writing = Writing {
            name: &card.name,
            description: &card.description,
            skills: &card.skills,
            capability: &card.capability,
            size: card.size,
            hash: self.hash(),
        };
        let Ok(text) = serde_json::to_vec(&writing) else { return };
        let reading = serde_json::from_slice::<Reading>(&text);
        if !reading.is_ok_and(|read| read.capability == card.capability && read.skills == card.skills) {
            return;
        }
        out.number(number);
        out.bytes(&text);
        out.bytes(packed);
    }

    /// The card that was written. Its signature is not checked again: it was before, and nobody writes there but us.
    pub(crate) fn read(rest: &mut Rest<'_>) -> Result<Self, Unreadable> {
        let text = rest.bytes()?;
        let read: Reading = serde_json::from_slice(text).map_err(|_| Unreadable::Unsound("no card"))?;
        let kept = Kept::Packed(rest.bytes()?.into());
        let derived = Derived { hash: read.hash.into(), verified: Ok(()).into(), ..Derived::default() };
        let Reading { name, description, skills, capability, size, .. } = read;
        Ok(Self(Arc::new(Content { kept, size, name, description, skills, capability, derived })))
    }
}
