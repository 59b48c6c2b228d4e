//! Embedding vectors: checked, unit length, with a small integer form for the wire and for decisions that must be the
//! same on every machine.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

mod exact;

/// How far the norm of a received vector may be from 1.
const NORM_TOLERANCE: f64 = 0.01;

/// The most components a vector may have.
pub const MAX_DIMENSION: usize = 8192;

/// Lanes of the dot product: independent sums the compiler can keep in one wide register.
const LANES: usize = 16;

/// A meaning as a direction: unit length, finite, 1 to [`MAX_DIMENSION`] components. Cheap to clone.
#[derive(Clone, PartialEq)]
pub struct Vector(Arc<[f32]>);

/// Numbers that are no [`Vector`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum InvalidVector {
    /// The number of components is not the one wanted.
    #[error("wanted a vector of {wanted} components, found {found}")]
    Dimension {
        /// What was wanted.
        wanted: String,
        /// What was found.
        found: usize,
    },
    /// A component is infinite or not a number.
    #[error("wanted finite components, found one that is not, at position {position}")]
    NotFinite {
        /// Where, from 0.
        position: usize,
    },
    /// The length is zero, or a received vector is not of unit length.
    #[error("wanted a vector of length 1, found length {found}")]
    Norm {
        /// The Euclidean length that was found.
        found: f64,
    },
}

impl Vector {
    /// The direction of `raw`, scaled to unit length.
    ///
    /// # Errors
    /// When there are no or too many components, one is not finite, or all are zero.
    pub fn new(mut raw: Vec<f32>) -> Result<Self, InvalidVector> {
        if raw.is_empty() || raw.len() > MAX_DIMENSION {
            return Err(InvalidVector::Dimension {
                wanted: format!("1 to {MAX_DIMENSION}"),
                found: raw.len(),
            });
        }
        if let Some(position) = raw.iter().position(|x| !x.is_finite()) {
            return Err(InvalidVector::NotFinite { position });
        }
        let norm = norm(&raw);
        if norm < 1e-12 {
            return Err(InvalidVector::Norm { found: norm });
        }
        for x in &mut raw {
            *x = (f64::from(*x) / norm) as f32;
        }
        Ok(Self(raw.into()))
    }

    /// The direction of the sum; `None` of no vectors, of vectors of different dimensions, or when they cancel out.
    #[must_use]
    pub fn middle(vectors: &[Self]) -> Option<Self> {
        let dimension = vectors.first()?.dimension();
        let mut sum = vec![0.0_f32; dimension];
        for vector in vectors {
            if vector.dimension() != dimension {
                return None;
            }
            for (x, y) in sum.iter_mut().zip(vector.as_slice()) {
                *x += y;
            }
        }
        Self::new(sum).ok()
    }

    /// How many components.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The components.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Cosine of the angle between two vectors, −1 to 1; 0 when they have different dimensions, which callers keep
    /// apart by [`crate::ModelId`].
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f64 {
        if self.dimension() != other.dimension() {
            return 0.0;
        }
        f64::from(dot(&self.0, &other.0)).clamp(-1.0, 1.0)
    }

    /// The form that crosses the wire: one byte a component.
    #[must_use]
    pub fn quantise(&self) -> Quantised {
        let largest = self.0.iter().fold(0.0_f64, |m, x| m.max(f64::from(x.abs())));
        // Seven decimals: short enough that every JSON reader gets the same number back.
        let scale = (largest / 127.0 * 1e7).ceil().max(1.0) / 1e7;
        let values =
            self.0.iter().map(|x| (f64::from(*x) / scale).round().clamp(-127.0, 127.0) as i8).collect();
        Quantised { values, scale }
    }
}

impl fmt::Debug for Vector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vector({} components)", self.dimension())
    }
}

/// The dot product of two slices of one length, in lanes, so that it vectorises.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = a_lanes.remainder().iter().zip(b_lanes.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_lanes.zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += x[lane] * y[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn norm(raw: &[f32]) -> f64 {
    raw.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt()
}

/// A vector in one byte a component: `component = value × scale`. On the wire
/// `{"q": "<base64 of the bytes>", "scale": 0.0015748}`, 512 characters at 384 components.
#[derive(Clone, PartialEq)]
pub struct Quantised {
    values: Vec<i8>,
    scale: f64,
}

impl Quantised {
    /// How many components.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.values.len()
    }

    /// The integer components.
    #[must_use]
    pub fn values(&self) -> &[i8] {
        &self.values
    }

    /// What one step of a component is worth.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// Cosine in thousandths, −1000 to 1000, rounded toward zero; 0 for different dimensions or a zero vector.
    /// Integer arithmetic throughout, so that every machine gets the same number: consensus merges decide by it.
    #[must_use]
    pub fn cosine_permille(&self, other: &Self) -> i32 {
        if self.dimension() != other.dimension() {
            return 0;
        }
        // At most 8192 × 127²: far inside i64. The product of the two squared norms needs 128 bits.
        let (mut dot, mut own, mut their) = (0_i64, 0_i64, 0_i64);
        for (a, b) in self.values.iter().zip(&other.values) {
            let (a, b) = (i64::from(*a), i64::from(*b));
            dot += a * b;
            own += a * a;
            their += b * b;
        }
        let lengths = i128::from(own) * i128::from(their);
        if lengths == 0 {
            return 0;
        }
        // floor(1000·|dot| / sqrt(lengths)) is the integer square root of 10⁶·dot² / lengths: no rounding in between.
        let dot_squared = i128::from(dot) * i128::from(dot);
        let square = u64::try_from(1_000_000 * dot_squared / lengths).expect("a squared cosine is at most 1");
        let permille = i32::try_from(square.isqrt()).expect("at most 1000");
        if dot < 0 { -permille } else { permille }
    }
}

impl TryFrom<&Quantised> for Vector {
    type Error = InvalidVector;

    /// Renormalises; refuses a norm off by more than 1 %.
    fn try_from(quantised: &Quantised) -> Result<Self, InvalidVector> {
        if !quantised.scale.is_finite() {
            return Err(InvalidVector::NotFinite { position: 0 });
        }
        let raw: Vec<f32> =
            quantised.values.iter().map(|v| (f64::from(*v) * quantised.scale) as f32).collect();
        let found = norm(&raw);
        let is_unit = (1.0 - NORM_TOLERANCE..=1.0 + NORM_TOLERANCE).contains(&found);
        if !raw.is_empty() && !is_unit {
            return Err(InvalidVector::Norm { found });
        }
        Self::new(raw)
    }
}

impl fmt::Debug for Quantised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quantised({} components, scale {})", self.values.len(), self.scale)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    q: String,
    scale: f64,
}

impl Serialize for Quantised {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = self.values.iter().map(|v| v.cast_unsigned()).collect();
        Wire { q: STANDARD.encode(bytes), scale: self.scale }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantised {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.q.len() > MAX_DIMENSION.div_ceil(3) * 4 {
            return Err(de::Error::custom(format!("wanted at most {MAX_DIMENSION} components, found more")));
        }
        let bytes = STANDARD.decode(&wire.q).map_err(|_| de::Error::custom("wanted components as base64"))?;
        Ok(Self { values: bytes.into_iter().map(u8::cast_signed).collect(), scale: wire.scale })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(length: usize) -> impl Strategy<Value = Vec<f32>> {
        prop::collection::vec(-1.0_f32..1.0, length).prop_filter("not zero", |v| norm(v) > 0.01)
    }

    #[test]
    fn refuses_what_is_no_direction() {
        for wrong in
            [vec![], vec![0.0; 4], vec![1.0, f32::NAN], vec![f32::INFINITY], vec![1.0; MAX_DIMENSION + 1]]
        {
            assert!(Vector::new(wrong.clone()).is_err(), "{} components were accepted", wrong.len());
        }
        assert_eq!(Vector::new(vec![1.0, f32::NAN]), Err(InvalidVector::NotFinite { position: 1 }));
    }

    #[test]
    fn refuses_a_received_norm_off_by_more_than_a_hundredth() {
        let quantised = Vector::new(vec![3.0, 4.0]).unwrap().quantise();
        let stretched = |by: f64| Quantised { scale: quantised.scale * by, ..quantised.clone() };
        assert!(Vector::try_from(&stretched(1.004)).is_ok());
        for by in [1.02, 0.98, 0.0, f64::INFINITY, f64::NAN] {
            assert!(Vector::try_from(&stretched(by)).is_err(), "a norm of {by} was accepted");
        }
    }

    #[test]
    fn the_middle_is_between() {
        let v = |raw: &[f32]| Vector::new(raw.to_vec()).unwrap();
        let middle = Vector::middle(&[v(&[1.0, 0.0]), v(&[0.0, 1.0])]).unwrap();
        assert!((middle.cosine(&v(&[1.0, 1.0])) - 1.0).abs() < 1e-6);
        for none in [&[][..], &[v(&[1.0, 0.0]), v(&[-1.0, 0.0])], &[v(&[1.0]), v(&[1.0, 0.0])]] {
            assert_eq!(Vector::middle(none), None);
        }
    }

    #[test]
    fn permille_is_the_floor_of_the_exact_cosine() {
        let q = |values: &[i8]| Quantised { values: values.to_vec(), scale: 1.0 };
        // 1/sqrt(2) = 0.70710…, 4/5 exactly, and a hair under 1: never rounded up.
        for (a, b, wanted) in [
            (&[1_i8, 0][..], &[1_i8, 1][..], 707),
            (&[1, 0], &[-1, -1], -707),
            (&[1, 0], &[4, 3], 800),
            (&[127, 127], &[127, 126], 999),
            (&[127, 1], &[127, 1], 1000),
            (&[1, 0], &[0, 1], 0),
            (&[0, 0], &[1, 1], 0),
            (&[1, 0], &[1], 0),
        ] {
            assert_eq!(q(a).cosine_permille(&q(b)), wanted, "{a:?} {b:?}");
        }
    }

    #[test]
    fn golden_wire_form() {
        let quantised = Vector::new(vec![3.0, -4.0, 0.0]).unwrap().quantise();
        assert_eq!(serde_json::to_string(&quantised).unwrap(), r#"{"q":"X4EA","scale":0.0062993}"#);
    }

    proptest! {
        #[test]
        fn survives_the_wire(raw in raw(48)) {
            let vector = Vector::new(raw).unwrap();
            let json = serde_json::to_string(&vector.quantise()).unwrap();
            let quantised: Quantised = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&quantised, &vector.quantise());
            let back = Vector::try_from(&quantised).unwrap();
            prop_assert!(back.cosine(&vector) > 0.999);
            prop_assert_eq!(serde_json::to_string(&quantised).unwrap(), json);
        }

        #[test]
        fn integer_cosine_is_symmetric_and_near_the_real_one(a in raw(40), b in raw(40)) {
            let (a, b) = (Vector::new(a).unwrap(), Vector::new(b).unwrap());
            let (qa, qb) = (a.quantise(), b.quantise());
            prop_assert_eq!(qa.cosine_permille(&qb), qb.cosine_permille(&qa));
            prop_assert!((f64::from(qa.cosine_permille(&qb)) - 1000.0 * a.cosine(&b)).abs() < 12.0);
            // Another way to the same number: compare squares instead of taking a root.
            let sum = |x: &Quantised, y: &Quantised| -> i128 {
                x.values.iter().rev().zip(y.values.iter().rev()).map(|(p, q)| i128::from(*p) * i128::from(*q)).sum()
            };
            let (dot, lengths) = (sum(&qa, &qb), sum(&qa, &qa) * sum(&qb, &qb));
            let fits = |p: i128| p * p * lengths <= 1_000_000 * dot * dot;
            let found = i128::from(qa.cosine_permille(&qb).abs());
            prop_assert!(fits(found) && !fits(found + 1));
        }

        #[test]
        fn lanes_add_up_to_the_plain_sum(a in raw(37), b in raw(37)) {
            let plain: f64 = a.iter().zip(&b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum();
            prop_assert!((f64::from(dot(&a, &b)) - plain).abs() < 1e-4);
        }
    }
}
