//! What an embedding model makes of an agent's texts. A card has the vectors of one model, and those of a second while a
//! federation moves from one model to another: each directory compares the vectors of its own model and no others.

use serde::{Deserialize, Serialize};

use super::{CardVector, InvalidCard, MAX_VECTORS};
use crate::model::ModelId;
use crate::profile::AgentProfile;
use crate::skills::{self, MAX_SKILLS};
use crate::vector::{InvalidVector, Quantised, Vector};

/// Models of one card beside the first.
pub(super) const MAX_ALSO: usize = 1;

/// The texts of a profile as one model sees them, to make a card of.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// The model.
    pub model: ModelId,
    /// One vector per text of [`AgentProfile::texts`], in that order.
    pub vectors: Vec<Vector>,
}

/// The vectors of a card that one model made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfModel {
    /// The model.
    pub model: ModelId,
    /// One of the description, one of each skill, and the middle of the examples of each skill that has some.
    pub vectors: Vec<CardVector>,
    /// The vector of the Spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Quantised>,
}

/// The same, borrowed from a card.
#[derive(Clone, Copy, Debug)]
pub struct Comparable<'a> {
    /// Those of its texts.
    pub vectors: &'a [CardVector],
    /// That of its Spec.
    pub spec: Option<&'a Quantised>,
}

impl Embedding {
    /// The same for a card of this profile. Skills beyond a card's limit are cut.
    pub(super) fn on_card(&self, profile: &AgentProfile) -> Result<OfModel, InvalidCard> {
        let examples = skills::by_example(&profile.skills).map(|(_, examples)| examples.len()).sum::<usize>();
        let wanted = 1 + profile.skills.len() + examples + usize::from(profile.spec.is_some());
        if self.vectors.len() != wanted {
            return Err(InvalidCard::VectorCount { wanted, found: self.vectors.len() });
        }
        let skills = profile.skills.iter().take(MAX_SKILLS);
        let of = std::iter::once("description".to_owned()).chain(skills.map(|s| format!("skill:{}", s.id)));
        let mut vectors: Vec<CardVector> =
            of.zip(&self.vectors).map(|(of, v)| CardVector { of, vector: v.quantise() }).collect();
        let mut of_examples = &self.vectors[1 + profile.skills.len()..];
        for (skill, examples) in skills::by_example(&profile.skills) {
            let (own, rest) = of_examples.split_at(examples.len());
            of_examples = rest;
            // Examples that cancel each other out have no direction, and stand for nothing.
            if let Some(middle) = Vector::middle(own) {
                vectors.push(CardVector { of: format!("examples:{}", skill.id), vector: middle.quantise() });
            }
        }
        let spec = profile.spec.as_ref().and_then(|_| self.vectors.last()).map(Vector::quantise);
        Ok(OfModel { model: self.model.clone(), vectors, spec })
    }
}

impl Comparable<'_> {
    /// Checks each vector.
    pub(super) fn check(&self, model: &ModelId) -> Result<(), InvalidCard> {
        if self.vectors.len() > MAX_VECTORS {
            let problem = format!("wanted at most {MAX_VECTORS} vectors, found {}", self.vectors.len());
            return Err(InvalidCard::Field { field: "capability vector", problem });
        }
        let own = self.vectors.iter().map(|own| (own.of.as_str(), &own.vector));
        own.chain(self.spec.map(|spec| ("spec", spec))).try_for_each(|(of, vector)| {
            let invalid = |source| InvalidCard::Vector { of: of.to_owned(), model: model.clone(), source };
            if vector.dimension() != model.dimension() {
                let wanted = model.dimension().to_string();
                return Err(invalid(InvalidVector::Dimension { wanted, found: vector.dimension() }));
            }
            Vector::try_from(vector).map(drop).map_err(invalid)
        })
    }
}
