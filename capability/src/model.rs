//! Which embedding model made a vector. Vectors of different models are never compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::vector::MAX_DIMENSION;

/// An embedding model: `{name}/{dimension}@{weight hash}`, as `all-MiniLM-L6-v2/384@8199be6f699a`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(String);

/// A text that names no embedding model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted an embedding model like all-MiniLM-L6-v2/384@8199be6f699a, found {0:?}")]
pub struct InvalidModel(String);

impl ModelId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The model's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.split().0
    }

    /// How many components its vectors have.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.split().1
    }

    fn split(&self) -> (&str, usize) {
        split(&self.0).expect("the constructor checked the shape")
    }
}

fn split(text: &str) -> Option<(&str, usize)> {
    let (front, hash) = text.rsplit_once('@')?;
    let (name, digits) = front.rsplit_once('/')?;
    let dimension: usize = digits.parse().ok().filter(|d: &usize| d.to_string() == digits)?;
    let named = (1..=100).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'));
    let hashed =
        (4..=64).contains(&hash.len()) && hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (named && hashed && (1..=MAX_DIMENSION).contains(&dimension)).then_some((name, dimension))
}

impl FromStr for ModelId {
    type Err = InvalidModel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match split(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(InvalidModel(text.chars().take(120).collect())),
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ModelId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ModelId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_has_name_dimension_and_hash() {
        let model: ModelId = "all-MiniLM-L6-v2/384@8199be6f699a".parse().unwrap();
        assert_eq!((model.name(), model.dimension()), ("all-MiniLM-L6-v2", 384));
        for text in
            ["", "a/384", "a@8199be6f", "a/0384@8199be6f", "a/0@8199be6f", "a/384@XYZZ", "/384@8199be6f"]
        {
            assert!(text.parse::<ModelId>().is_err(), "{text:?} was accepted");
        }
    }
}
