//! Strict JSON in, canonical JSON out.
//!
//! A signature covers the canonical form (RFC 8785) of the parsed JSON, so two parsers must never disagree about
//! what a text says: duplicate keys, numbers a double cannot hold and deep nesting are refused here, before
//! anything else looks at the value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::canonical;

/// The largest envelope, in bytes of its JSON text: 256 KiB.
pub const MAX_ENVELOPE: usize = 256 * 1024;
/// The largest agent card, in bytes of its JSON text: 224 KiB, which leaves room for the envelope around it.
pub const MAX_CARD: usize = 224 * 1024;
/// The packet limit to set in MQTT clients and brokers: 320 KiB, an envelope with its topic and properties.
pub const MAX_PACKET: usize = 320 * 1024;
/// How deep arrays and objects may nest.
pub const MAX_DEPTH: usize = 64;
/// The largest whole number either way, 2^53 − 1: what every JSON library reads exactly. Larger ones travel as text.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// A text that is not the JSON we exchange.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_ENVELOPE`]; it was not read.
    #[error("wanted at most {MAX_ENVELOPE} bytes, found {bytes}")]
    TooLarge {
        /// The length found.
        bytes: usize,
    },
    /// Not UTF-8.
    #[error("wanted UTF-8, found another byte at {at}")]
    NotUtf8 {
        /// The offset of the first byte that is not.
        at: usize,
    },
    /// Not exactly one JSON value.
    #[error("wanted one JSON value: {reason}")]
    NotJson {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// An object names a key twice.
    #[error("wanted each key once, found {key:?} twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A whole number beyond ±[`MAX_INTEGER`].
    #[error("wanted whole numbers within ±{MAX_INTEGER} (larger ones as text), found {found}")]
    NumberOutOfRange {
        /// The number, as it was read.
        found: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("wanted at most {MAX_DEPTH} levels of nesting, found more")]
    TooDeep,
    /// The JSON is well formed and not what belongs here.
    #[error("wanted {wanted}")]
    Unexpected {
        /// What belongs here.
        wanted: &'static str,
    },
}

/// Reads exactly one JSON value, strictly.
///
/// # Errors
/// When the bytes are too many, no UTF-8, no JSON, or JSON that two parsers could read differently.
pub fn parse(bytes: &[u8]) -> Result<Value, Malformed> {
    if bytes.len() > MAX_ENVELOPE {
        return Err(Malformed::TooLarge { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Malformed::NotUtf8 { at: e.valid_up_to() })?;
    let found = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let strict = Strict { left: MAX_DEPTH, found: &found };
    strict.deserialize(&mut json).and_then(|value| json.end().map(|()| value)).map_err(|e| {
        // A refusal of ours is kept aside: the parser's error type can only carry its text.
        found.take().unwrap_or_else(|| Malformed::NotJson { reason: e.to_string() })
    })
}

/// The canonical form of RFC 8785: sorted keys, shortest numbers, no space. Equal values give equal bytes.
#[must_use]
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1024);
    canonical::write(value, &mut bytes).expect("memory takes every byte");
    bytes
}

/// Whether `value`, built here and not parsed, would be accepted by every receiver's [`parse`].
///
/// # Errors
/// When it nests too deep or holds a whole number that is out of range. Its size is not looked at.
pub fn check(value: &Value) -> Result<(), Malformed> {
    fn within(value: &Value, left: usize) -> Result<(), Malformed> {
        match value {
            Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
            Value::Number(number) => in_range(number),
            Value::Array(_) | Value::Object(_) if left == 0 => Err(Malformed::TooDeep),
            Value::Array(items) => items.iter().try_for_each(|item| within(item, left - 1)),
            Value::Object(members) => members.values().try_for_each(|member| within(member, left - 1)),
        }
    }
    within(value, MAX_DEPTH)
}

fn in_range(number: &Number) -> Result<(), Malformed> {
    let fits = if let Some(whole) = number.as_i64() {
        whole.unsigned_abs() <= MAX_INTEGER.unsigned_abs()
    } else if number.is_u64() {
        false
    } else {
        // Canonical form prints a float without a fraction as a whole number, so it has to obey the same limit.
        number.as_f64().is_some_and(|float| {
            float.is_finite() && (float.fract() != 0.0 || float.abs() <= 9_007_199_254_740_991.0)
        })
    };
    if fits { Ok(()) } else { Err(Malformed::NumberOutOfRange { found: number.to_string() }) }
}

/// Builds a value while refusing what [`Malformed`] names.
#[derive(Clone, Copy)]
struct Strict<'a> {
    left: usize,
    found: &'a Cell<Option<Malformed>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(&self, why: Malformed) -> E {
        let error = E::custom(&why);
        self.found.set(Some(why));
        error
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<Self, E> {
        match self.left.checked_sub(1) {
            Some(left) => Ok(Self { left, found: self.found }),
            None => Err(self.refuse(Malformed::TooDeep)),
        }
    }

    fn number<E: serde::de::Error>(&self, number: Number) -> Result<Value, E> {
        in_range(&number).map_err(|why| self.refuse(why))?;
        Ok(Value::Number(number))
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Value, E> {
        self.number(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("a number that is not finite"))?;
        self.number(number)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let item = self.deeper()?;
        let mut items = Vec::new();
        while let Some(value) = seq.next_element_seed(item)? {
            items.push(value);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let member = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                return Err(self.refuse(Malformed::DuplicateKey { key: key.chars().take(100).collect() }));
            }
            members.insert(key, map.next_value_seed(member)?);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_one_value_and_prints_it_canonically() {
        let value =
            parse(r#" {"b":[1,-2.50,1e2,true,null],"a":"\u00e9\n","€":"\ud83d\ude00"} "#.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(canonical(&value)).unwrap(),
            r#"{"a":"é\n","b":[1,-2.5,100,true,null],"€":"😀"}"#
        );
    }

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        let whole = |found: &str| Malformed::NumberOutOfRange { found: found.to_owned() };
        let twice = Malformed::DuplicateKey { key: "a".to_owned() };
        let cases: [(&[u8], Malformed); 8] = [
            (br#"{"a":1,"a":1}"#, twice.clone()),
            (br#"[{"x":{"a":1,"\u0061":2}}]"#, twice),
            (b"9007199254740992", whole("9007199254740992")),
            (b"-9007199254740992", whole("-9007199254740992")),
            (b"18446744073709551616", whole("1.8446744073709552e+19")),
            (b"[1e300]", whole("1e+300")),
            (b"\"\xff\"", Malformed::NotUtf8 { at: 1 }),
            (&[b' '; MAX_ENVELOPE + 1], Malformed::TooLarge { bytes: MAX_ENVELOPE + 1 }),
        ];
        for (bytes, wanted) in cases {
            assert_eq!(
                parse(bytes),
                Err(wanted),
                "{}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(40)])
            );
        }
        for text in ["", "{} {}", "{", "nul", "01", "[1,]", "NaN", "\"\\ud800\"", "'a'", "1e999"] {
            assert!(matches!(parse(text.as_bytes()), Err(Malformed::NotJson { .. })), "{text:?} was read");
        }
    }

    #[test]
    fn accepts_the_largest_numbers_and_the_deepest_nesting() {
        for text in ["9007199254740991", "-9007199254740991", "0.1", "5e-324", "-0"] {
            assert!(parse(text.as_bytes()).is_ok(), "{text} was refused");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deepest = parse(nested(MAX_DEPTH).as_bytes()).unwrap();
        assert_eq!(check(&deepest), Ok(()));
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(Malformed::TooDeep));
        assert_eq!(check(&json!({ "deeper": deepest })), Err(Malformed::TooDeep));
        assert!(check(&json!({ "n": u64::MAX })).is_err());
    }
}
