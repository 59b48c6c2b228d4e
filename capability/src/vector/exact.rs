//! A vector as text, to the last bit: base64 of its components, four bytes each, little endian. For questions, which every
//! node that answers should understand alike; cards carry [`Quantised`](super::Quantised) ones.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{InvalidVector, MAX_DIMENSION, NORM_TOLERANCE, Vector, norm};

impl Serialize for Vector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.0.iter().flat_map(|x| x.to_le_bytes()).collect();
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Vector {
    /// Keeps the components as they are; refuses a norm off by more than 1 %.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let most = (4 * MAX_DIMENSION).div_ceil(3) * 4;
        let bytes = (text.len() <= most).then(|| STANDARD.decode(&text).ok()).flatten();
        let (components, rest) = bytes.as_deref().unwrap_or_default().as_chunks::<4>();
        if components.is_empty() || !rest.is_empty() {
            let wanted = format!("wanted 1 to {MAX_DIMENSION} components of four bytes as base64");
            return Err(de::Error::custom(wanted));
        }
        let raw: Vec<f32> = components.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        if let Some(position) = raw.iter().position(|x| !x.is_finite()) {
            return Err(de::Error::custom(InvalidVector::NotFinite { position }));
        }
        let found = norm(&raw);
        if !(1.0 - NORM_TOLERANCE..=1.0 + NORM_TOLERANCE).contains(&found) {
            return Err(de::Error::custom(InvalidVector::Norm { found }));
        }
        Ok(Self(raw.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_vector_survives_to_the_last_bit(raw in proptest::collection::vec(-1.0_f32..1.0, 1..400)) {
            let Ok(vector) = Vector::new(raw) else { return Ok(()) };
            let text = serde_json::to_string(&vector).unwrap();
            prop_assert_eq!(serde_json::from_str::<Vector>(&text).unwrap(), vector);
        }
    }

    #[test]
    fn what_is_no_vector_is_refused() {
        let text = |raw: &[f32]| {
            let bytes: Vec<u8> = raw.iter().flat_map(|x| x.to_le_bytes()).collect();
            format!("{:?}", STANDARD.encode(bytes))
        };
        for (bad, why) in [
            (text(&[]), "components"),
            (text(&[0.5, 0.5]), "length 1"),
            (text(&[f32::NAN, 1.0]), "finite"),
            (text(&vec![0.01; MAX_DIMENSION + 1]), "components"),
            ("\"AAA=\"".to_owned(), "components"),
            ("\"?\"".to_owned(), "components"),
        ] {
            let error = serde_json::from_str::<Vector>(&bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(serde_json::from_str::<Vector>(&text(&[0.6, 0.8])).is_ok());
    }
}
