//! What a node's operator states about an agent. The card is this, plus vectors, order and signature.

use std::collections::BTreeSet;

use foa_wire::AgentName;
use serde::{Deserialize, Serialize};

use crate::card::Base;
use crate::policy::Policy;
use crate::resources::Offer;
use crate::skills::{self, Skill};
use crate::words::{called, slug};

/// Whether an agent only reads and answers, or changes something outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effects {
    /// Repeating its work does no harm.
    #[default]
    Read,
    /// Its work must run at most once.
    Write,
}

/// An agent as its operator describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentProfile {
    /// Its name within its node.
    pub name: AgentName,
    /// What it is for, in a sentence or two.
    pub description: String,
    /// What it can do.
    pub skills: Vec<Skill>,
    /// What it is authorised for.
    pub policies: BTreeSet<Policy>,
    /// What it offers and charges.
    pub offer: Offer,
    /// Goals, rules and principles it works by.
    pub spec: Option<String>,
    /// Whether its work changes anything.
    pub effects: Effects,
    /// What kind of agent it is: `corpus`, `calc`, `openai`.
    pub kind: String,
    /// The language model it thinks with, if any.
    pub base_model: Option<String>,
    /// What its card says besides, when it was written elsewhere.
    pub base: Base,
}

impl AgentProfile {
    /// The name of an agent that people call `title`: `recipe-agent` for `Recipe Agent`; `None` when no letter of it can stand
    /// in a name.
    #[must_use]
    pub fn name_for(title: &str) -> Option<AgentName> {
        slug(title)
    }

    /// The name as people write it.
    pub(crate) fn title(&self) -> &str {
        self.base.title(&self.name).unwrap_or(self.name.as_str())
    }

    /// The texts to embed, in order: name and description, one per skill (name and description), each example of the skills
    /// that have some (within the card's limits), and last the Spec if there is one. Names stand there as one would say
    /// them.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let mut texts = vec![format!("{}: {}", called(self.title()), self.description)];
        texts.extend(self.skills.iter().map(Skill::text));
        texts.extend(skills::by_example(&self.skills).flat_map(|(_, examples)| examples).cloned());
        texts.extend(self.spec.clone());
        texts
    }
}
