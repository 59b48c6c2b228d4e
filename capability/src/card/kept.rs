//! How a card's JSON is kept: most of it is the same on every card, and its vectors are known as bytes anyway.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde_json::Value;

use super::{Capability, params_mut};
use crate::vector::Quantised;

/// What the text of most cards has in common, so that a deflated card need not repeat it. Another text, another layout of what
/// is saved.
const COMMON: &[u8] = include_bytes!("common.json");
/// Bytes a card's text grows by at a time while it is inflated.
const PIECE: usize = 4096;

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
    deflated(&serde_json::to_vec(&json).ok()?)
}

fn unpack(packed: &[u8], capability: &Capability) -> Option<Value> {
    let mut json = serde_json::from_slice(&inflated(packed)?).ok()?;
    for (place, vector) in places(&mut json, capability)? {
        *place = Value::String(text(vector));
    }
    Some(json)
}

fn deflated(plain: &[u8]) -> Option<Box<[u8]>> {
    let mut deflate = Compress::new(Compression::default(), false);
    deflate.set_dictionary(COMMON).ok()?;
    let mut out = Vec::with_capacity(plain.len() + PIECE);
    let status = deflate.compress_vec(plain, &mut out, FlushCompress::Finish).ok()?;
    (status == Status::StreamEnd).then(|| out.into_boxed_slice())
}

fn inflated(packed: &[u8]) -> Option<Vec<u8>> {
    let mut inflate = Decompress::new(false);
    inflate.set_dictionary(COMMON).ok()?;
    let mut out = Vec::new();
    loop {
        out.reserve(PIECE);
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let rest = packed.get(usize::try_from(read).ok()?..)?;
        match inflate.decompress_vec(rest, &mut out, FlushDecompress::None).ok()? {
            Status::StreamEnd => return Some(out),
            // It ends too early.
            _ if (inflate.total_in(), inflate.total_out()) == (read, written) => return None,
            Status::Ok | Status::BufError => {}
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{card, profile};

    #[test]
    fn a_card_takes_little_more_than_what_is_its_own() {
        let card = card(&profile("calc"), 1, (1, 1), [1.0, 0.0, 0.0]);
        let Kept::Packed(packed) = &card.0.kept else { panic!("a plain card is packed") };
        assert!(3 * packed.len() < card.size(), "{} of {} bytes", packed.len(), card.size());
        assert_eq!(card.0.kept.json(card.capability()), card.json());
        for cut in [0, 1, packed.len() / 2, packed.len() - 1] {
            assert!(inflated(&packed[..cut]).is_none(), "cut after {cut} bytes");
        }
    }
}
