//! The directory as bytes, so that a node that starts again knows at once whom it knew.
//!
//! Cards and vectors are kept. What nodes say of themselves is not: they are taken for offline until they speak again.

use foa_wire::{AgentId, NodeId, Time};

use super::{Directory, Entry, Row};
use crate::card::AgentCard;
use crate::experience::Experience;
use crate::index::{Index as _, Key, Snapshot, Vectors};
use crate::lexical::Lexical;
use crate::model::ModelId;
use crate::saved::{self, Section, Unreadable};
use crate::turn;

/// Another number, another layout. Another version of foa may take words apart otherwise, and does not read it either.
const MARK: &[u8] = b"foa-directory-2\n";
const VERSION: &[u8] = env!("CARGO_PKG_VERSION").as_bytes();

/// The agents of a directory at one moment, to be written elsewhere while the directory changes.
#[derive(Clone, Debug)]
pub struct Image {
    model: ModelId,
    /// By id, with their numbers in the index.
    cards: Vec<(u32, AgentCard)>,
    /// The words they are found by, as bytes.
    words: Vec<u8>,
    vectors: Snapshot,
}

impl Image {
    /// The bytes [`Directory::restore`] reads, about 3 KB for each agent with one vector of 384 components.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Section::new(MARK);
        out.bytes(VERSION);
        out.bytes(self.model.to_string().as_bytes());
        out.bytes(&self.words);
        for (number, card) in &self.cards {
            card.write(*number, &mut out);
        }
        let mut bytes = out.finish();
        bytes.extend(self.vectors.save());
        bytes
    }
}

impl Directory {
    /// The agents as they are now; costs a pointer for each card and vector, and a copy of the words.
    #[must_use]
    pub fn image(&self) -> Image {
        let cards = self.agents.values().map(|entry| (entry.number, entry.card.clone())).collect();
        let (words, vectors) = (self.lexical.save(), self.vectors.snapshot());
        Image { model: self.model.clone(), cards, words, vectors }
    }

    /// Knows the agents of an image again, in place of those it knew; says how many. Those of the local node are left
    /// out, because it says anew which it has, and so are cards whose time is over.
    ///
    /// # Errors
    /// When the bytes are no image of a directory for this model; nothing has changed then.
    pub fn restore(&mut self, bytes: &[u8], now: Time) -> Result<usize, Unreadable> {
        let (mut rest, vectors) = saved::open(MARK, bytes)?;
        if rest.bytes()? != VERSION {
            return Err(Unreadable::Mark);
        }
        if rest.bytes()? != self.model.to_string().as_bytes() {
            return Err(Unreadable::Unsound("vectors of another model"));
        }
        let words = rest.bytes()?;
        let mut new = Self::new(self.model.clone(), self.local.clone());
        new.vectors = Vectors::load(vectors)?;
        let (mut agents, mut found) = (Vec::new(), 0);
        while !rest.is_empty() {
            let number = rest.number()?;
            let card = AgentCard::read(&mut rest)?;
            found += new.know_again(number, &card, self)?;
            agents.push((card.agent().clone(), Entry { card, number }));
        }
        let count = agents.len();
        new.agents = agents.into_iter().collect();
        if new.agents.len() < count {
            return Err(Unreadable::Unsound("an agent twice"));
        }
        let rows = &new.numbers.rows;
        let has = |agent: u32, part: u32| rows.get(agent as usize).is_some_and(|row| part < row.vectors);
        new.lexical = Lexical::load(words, |agent| has(agent, 0))?;
        if found < new.vectors.len() {
            new.vectors.retain(|key| has(key.agent, key.part));
        }
        new.numbers.count_free();
        self.agents = new.agents;
        self.vectors = new.vectors;
        self.lexical = new.lexical;
        self.kinds = new.kinds;
        self.numbers = new.numbers;
        self.of_node = new.of_node;
        self.buckets = new.buckets;
        self.elsewhere.clear();
        self.experience = Experience::default();
        if let Some(local) = self.local.clone() {
            self.forget_node(&local);
        }
        self.expire(now);
        Ok(self.len())
    }

    /// Knows a card by the number it had; says how many vectors it has in the index.
    fn know_again(&mut self, number: u32, card: &AgentCard, before: &Self) -> Result<usize, Unreadable> {
        let agent = card.agent().clone();
        let capability = card.capability();
        let (comparable, retired) = (capability.comparable(&self.model), capability.retired);
        let mut slots = Vec::new();
        if let Some(comparable) = comparable.filter(|_| !retired) {
            for (part, _) in (0..).zip(comparable.vectors) {
                let slot = self.vectors.slot(Key { agent: number, part });
                slots.push(slot.ok_or(Unreadable::Unsound("a card whose vectors are not there"))?);
            }
        }
        let vectors = u32::try_from(slots.len()).expect("a card has some hundred vectors at most");
        let kind = self.kinds.join(card, slots.into(), comparable.is_some());
        let terms = self.kinds.get(kind).map_or(0, |kind| kind.terms);
        let (online, lot) = (before.is_online(agent.node()), turn::lot(&agent));
        let row = Row { kind, terms, vectors, lot, online, living: !retired };
        let entry = Entry { card: card.clone(), number };
        if !self.numbers.give_again(&agent, &entry, row) {
            return Err(Unreadable::Unsound("two agents of one number"));
        }
        *self.of_node.entry(agent.node().clone()).or_default() += 1;
        self.buckets.put(agent, card.clone());
        Ok(vectors as usize)
    }

    /// Forgets the agents of a node.
    fn forget_node(&mut self, node: &NodeId) {
        let of_node = self.agents.keys().filter(|agent| agent.node() == node);
        let gone: Vec<AgentId> = of_node.cloned().collect();
        for agent in gone {
            self.forget(&agent);
        }
    }
}
