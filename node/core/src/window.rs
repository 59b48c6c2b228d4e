//! Which commands have been seen: a QoS 1 duplicate or a replay is dropped quietly until it expires by itself.

use std::collections::BTreeMap;

use foa_wire::{Boot, MessageId, NodeId, Time};

/// Ids remembered; beyond, the ones that expire first are forgotten, and journaled ids guard the effects.
const MOST: usize = 50_000;

/// Ids per (sender, boot) until they expire.
#[derive(Clone, Debug, Default)]
pub struct Window {
    seen: BTreeMap<(NodeId, Boot, MessageId), Time>,
    by_expiry: BTreeMap<(Time, NodeId, Boot, MessageId), ()>,
}

impl Window {
    /// Whether this is the first time; remembers it until `expires`.
    pub fn first_time(
        &mut self,
        from: &NodeId,
        boot: Boot,
        id: &MessageId,
        expires: Time,
        now: Time,
    ) -> bool {
        while let Some((oldest, ())) = self.by_expiry.first_key_value() {
            if oldest.0 > now && self.by_expiry.len() < MOST {
                break;
            }
            if let Some(((_, from, boot, id), ())) = self.by_expiry.pop_first() {
                self.seen.remove(&(from, boot, id));
            }
        }
        let key = (from.clone(), boot, id.clone());
        if self.seen.contains_key(&key) {
            return false;
        }
        self.by_expiry.insert((expires, key.0.clone(), key.1, key.2.clone()), ());
        self.seen.insert(key, expires);
        true
    }
}

#[cfg(test)]
mod tests {
    use foa_wire::NodeKey;

    use super::*;

    #[test]
    fn a_duplicate_is_known_until_it_expires_and_memory_is_bounded() {
        let from = NodeId::new("a".parse().unwrap(), &NodeKey::from_seed([1; 32]).public());
        let id = |n: usize| format!("message-{n}").parse::<MessageId>().unwrap();
        let at = Time::from_millis;
        let mut window = Window::default();
        assert!(window.first_time(&from, Boot(1), &id(0), at(100), at(0)));
        assert!(!window.first_time(&from, Boot(1), &id(0), at(100), at(99)));
        assert!(window.first_time(&from, Boot(2), &id(0), at(100), at(99)));
        assert!(window.first_time(&from, Boot(1), &id(0), at(200), at(100)));
        for n in 0..2 * MOST {
            window.first_time(&from, Boot(3), &id(n), at(1_000_000), at(100));
        }
        assert!(window.seen.len() <= MOST && window.by_expiry.len() == window.seen.len());
    }
}
