//! The canonical form of RFC 8785, written straight from the value. Every message is brought into it once when it is signed
//! and once when it is checked, so it is made by hand: the library we compare it with takes ten times as long.

use std::cmp::Ordering;
use std::io::{self, Write as _};

use serde_json::{Map, Number, Value};

use crate::codec::MAX_INTEGER;

/// Appends a value in canonical form.
pub(crate) fn write(value: &Value, out: &mut Vec<u8>) -> io::Result<()> {
    match value {
        Value::Null => out.write_all(b"null"),
        Value::Bool(true) => out.write_all(b"true"),
        Value::Bool(false) => out.write_all(b"false"),
        Value::Number(value) => number(value, out),
        // The escapes of serde_json are those of the RFC.
        Value::String(text) => Ok(serde_json::to_writer(out, text)?),
        Value::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Value::Object(members) => object(members, out),
    }
}

/// All numbers are doubles, written as ECMAScript does; whole ones that a double holds exactly are their own digits.
fn number(value: &Number, out: &mut Vec<u8>) -> io::Result<()> {
    match value.as_i64() {
        Some(whole) if whole.unsigned_abs() <= MAX_INTEGER.unsigned_abs() => write!(out, "{whole}"),
        _ => {
            let double = value.as_f64().expect("a JSON number is a double");
            out.write_all(ryu_js::Buffer::new().format(double).as_bytes())
        }
    }
}

fn object(members: &Map<String, Value>, out: &mut Vec<u8>) -> io::Result<()> {
    if members.keys().is_sorted_by(|a, b| by_utf16(a, b).is_lt()) {
        return sorted(members.iter(), out);
    }
    let mut pairs: Vec<(&String, &Value)> = members.iter().collect();
    pairs.sort_by(|a, b| by_utf16(a.0, b.0));
    sorted(pairs.into_iter(), out)
}

fn sorted<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) -> io::Result<()> {
    out.push(b'{');
    for (n, (key, value)) in members.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut *out, key)?;
        out.push(b':');
        write(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// The order of UTF-16 code units, which is that of the bytes as long as they are ASCII.
fn by_utf16(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() { a.cmp(b) } else { a.encode_utf16().cmp(b.encode_utf16()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn ours(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn theirs(value: &Value) -> String {
        serde_json_canonicalizer::to_string(value).unwrap()
    }

    #[test]
    fn keys_sort_by_utf16_and_numbers_read_as_in_ecmascript() {
        // From the RFC, 3.2.3: U+1F600 is two units of D83D and DE00, before U+FB33.
        let keys = json!({ "\u{fb33}": 1, "\u{1f600}": 2, "\u{20ac}": 3, "\r": 4, "1": 5, "\u{80}": 6, "\u{f6}": 7 });
        let wanted =
            "{\"\\r\":4,\"1\":5,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}";
        assert_eq!(ours(&keys), wanted);
        let numbers =
            json!([333_333_333.333_333_3, 1e30, 4.50, 2e-3, 1e-27, -0.0, 1e21, 123e-7, u64::MAX, i64::MIN]);
        let wanted = "[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,0.0000123,18446744073709552000,-9223372036854776000]";
        assert_eq!(ours(&numbers), wanted);
        let controls: String = (0..=0x7f_u8).map(char::from).collect();
        assert_eq!(ours(&json!(controls)), theirs(&json!(controls)));
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1_000_000_i64..1_000_000).prop_map(Value::from),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_is_what_a_library_makes_of_it(value in any_value()) {
            prop_assert_eq!(ours(&value), theirs(&value));
        }
    }
}
