//! Whatever a stranger may send: no panic, and nothing changed is ever believed.

use foa_wire::codec;
use foa_wire::envelope::{open, open_bare};
use proptest::prelude::*;

use super::*;

/// Any JSON we can send, three levels deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-codec::MAX_INTEGER..=codec::MAX_INTEGER).prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(".{0,6}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let (topic, _) = command();
        prop_assert!(open(&fed(), &topic, &bytes, SENT).is_err());
        let _ = open_bare(&bytes);
    }

    #[test]
    fn any_json_is_refused(value in json_value()) {
        let (topic, _) = command();
        prop_assert!(open(&fed(), &topic, &codec::canonical(&value), SENT).is_err());
    }

    #[test]
    fn any_body_survives_the_journey(body in json_value()) {
        let (topic, mut envelope) = command();
        envelope.body = body;
        let bytes = envelope.clone().seal(&fed(), &key()).unwrap();
        let opened = open(&fed(), &topic, &bytes, SENT).unwrap();
        // A float without a fraction arrives as a whole number: equal in canonical form, which is what is signed.
        prop_assert_eq!(codec::canonical(&opened.body), codec::canonical(&envelope.body));
        prop_assert_eq!(opened.header, envelope.header);
        prop_assert_eq!(codec::canonical(&codec::parse(&bytes).unwrap()), bytes);
    }

    #[test]
    fn a_changed_byte_is_never_believed(at in any::<prop::sample::Index>(), to in any::<u8>(), cut in any::<bool>()) {
        let (topic, envelope) = command();
        let sealed = envelope.clone().seal(&fed(), &key()).unwrap();
        let mut bytes = sealed.clone();
        let at = at.index(bytes.len());
        if cut { let _ = bytes.remove(at); } else { bytes[at] = to; }
        if let Ok(opened) = open(&fed(), &topic, &bytes, SENT) {
            // Only a spelling of the very same JSON may pass.
            prop_assert_eq!(codec::canonical(&codec::parse(&bytes).unwrap()), sealed);
            prop_assert_eq!(opened, envelope);
        }
    }

    #[test]
    fn a_changed_member_is_never_believed(member in 0usize..13, value in json_value()) {
        let (topic, envelope) = command();
        let sealed = envelope.clone().seal(&fed(), &key()).unwrap();
        let mut changed = codec::parse(&sealed).unwrap();
        let name = changed.as_object().unwrap().keys().nth(member).unwrap().clone();
        changed[&name] = value;
        let bytes = codec::canonical(&changed);
        prop_assert!(bytes == sealed || open(&fed(), &topic, &bytes, SENT).is_err(), "changed {}", name);
    }
}
