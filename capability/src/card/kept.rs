//! How a card's JSON is kept: most of it is the same on every card, and its vectors are known as bytes anyway.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::Value;

use super::{Capability, params_mut};
use crate::vector::Quantised;

/// A card's JSON, in little room.
pub(super) enum Kept {
    /// Deflated text, in which vectors are `null`.
    Packed(Box<[u8]>),
    /// As it came: JSON that text does not keep to the last digit.
    Whole(Box<Value>),
}

impl Kept {
    /// Keeps the JSON of a card with this capability vector.
    pub(super) fn new(json: Value, capability: &Capability) -> Self {
        match pack(json.clone(), capability) {
            Some(packed) if unpack(&packed, capability).as_ref() == Some(&json) => Self::Packed(packed),
            Some(_) | None => Self::Whole(Box::new(json)),
        }
    }

    /// The JSON as it came.
    pub(super) fn json(&self, capability: &Capability) -> Value {
        match self {
            Self::Packed(packed) => unpack(packed, capability).expect("it was tried when it was packed"),
            Self::Whole(json) => (**json).clone(),
        }
    }
}

fn pack(mut json: Value, capability: &Capability) -> Option<Box<[u8]>> {
    for (place, vector) in places(&mut json, capability)? {
        *place = if place.as_str()? == text(vector) { Value::Null } else { return None };
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&serde_json::to_vec(&json).ok()?).ok()?;
    encoder.finish().ok().map(Vec::into_boxed_slice)
}

fn unpack(packed: &[u8], capability: &Capability) -> Option<Value> {
    let mut plain = Vec::new();
    DeflateDecoder::new(packed).read_to_end(&mut plain).ok()?;
    let mut json = serde_json::from_slice(&plain).ok()?;
    for (place, vector) in places(&mut json, capability)? {
        *place = Value::String(text(vector));
    }
    Some(json)
}

/// Where the components of each vector of a card stand.
fn places<'a>(
    json: &'a mut Value,
    capability: &'a Capability,
) -> Option<Vec<(&'a mut Value, &'a Quantised)>> {
    let params = params_mut(json)?.as_object_mut()?;
    let mut found = Vec::with_capacity(capability.vectors.len() + 1);
    for (key, value) in params {
        match (key.as_str(), &capability.spec) {
            ("vectors", _) => {
                for (value, own) in value.as_array_mut()?.iter_mut().zip(&capability.vectors) {
                    found.push((value.get_mut("q")?, &own.vector));
                }
            }
            ("spec", Some(spec)) => found.push((value.get_mut("q")?, spec)),
            _ => {}
        }
    }
    Some(found)
}

fn text(vector: &Quantised) -> String {
    let bytes: Vec<u8> = vector.values().iter().map(|value| value.cast_unsigned()).collect();
    STANDARD.encode(bytes)
}
