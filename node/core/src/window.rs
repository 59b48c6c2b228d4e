//! Which commands have been seen: a QoS 1 duplicate or a replay is dropped quietly until it expires by itself.

use std::collections::{BTreeMap, BTreeSet};

use foa_wire::{Boot, MessageId, NodeId, Time};

/// Ids remembered; beyond, the ones that expire first are forgotten, and journaled ids guard the effects.
const MOST: usize = 50_000;
/// Ids of one sender; beyond, its own go first, so a flood of one does not make us forget what others said.
const MOST_OF_ONE: usize = 10_000;

/// Ids per (sender, boot) until they expire.
#[derive(Clone, Debug, Default)]
pub struct Window {
    senders: BTreeMap<NodeId, Seen>,
    by_expiry: BTreeSet<(Time, NodeId, Boot, MessageId)>,
}

/// What one sender said.
#[derive(Clone, Debug, Default)]
struct Seen {
    ids: BTreeMap<(Boot, MessageId), Time>,
    by_expiry: BTreeSet<(Time, Boot, MessageId)>,
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
        while self.by_expiry.first().is_some_and(|(at, ..)| *at <= now || self.by_expiry.len() >= MOST)
            && let Some((at, from, boot, id)) = self.by_expiry.pop_first()
        {
            self.forget(&from, (at, boot, id));
        }
        let seen = self.senders.entry(from.clone()).or_default();
        if seen.ids.contains_key(&(boot, id.clone())) {
            return false;
        }
        seen.ids.insert((boot, id.clone()), expires);
        seen.by_expiry.insert((expires, boot, id.clone()));
        self.by_expiry.insert((expires, from.clone(), boot, id.clone()));
        if seen.ids.len() > MOST_OF_ONE
            && let Some(first) = seen.by_expiry.first().cloned()
        {
            self.forget(from, first);
        }
        true
    }

    fn forget(&mut self, from: &NodeId, (at, boot, id): (Time, Boot, MessageId)) {
        if let Some(seen) = self.senders.get_mut(from) {
            seen.ids.remove(&(boot, id.clone()));
            seen.by_expiry.remove(&(at, boot, id.clone()));
            if seen.ids.is_empty() {
                self.senders.remove(from);
            }
        }
        self.by_expiry.remove(&(at, from.clone(), boot, id));
    }
}

#[cfg(test)]
mod tests {
    use foa_wire::NodeKey;

    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::new("a".parse().unwrap(), &NodeKey::from_seed([n; 32]).public())
    }

    fn id(n: usize) -> MessageId {
        format!("message-{n}").parse().unwrap()
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_duplicate_is_known_until_it_expires() {
        let from = node(1);
        let mut window = Window::default();
        assert!(window.first_time(&from, Boot(1), &id(0), at(100), at(0)));
        assert!(!window.first_time(&from, Boot(1), &id(0), at(100), at(99)));
        assert!(window.first_time(&from, Boot(2), &id(0), at(100), at(99)));
        assert!(window.first_time(&from, Boot(1), &id(0), at(200), at(100)));
        assert_eq!(window.by_expiry.len(), 1, "what expired is forgotten");
    }

    #[test]
    fn a_flood_of_one_does_not_make_us_forget_what_another_said() {
        let mut window = Window::default();
        assert!(window.first_time(&node(1), Boot(1), &id(0), at(1000), at(0)));
        for n in 0..MOST + 10 {
            window.first_time(&node(2), Boot(1), &id(n), at(1_000_000), at(0));
        }
        assert!(!window.first_time(&node(1), Boot(1), &id(0), at(1000), at(0)));
        assert_eq!(window.by_expiry.len(), MOST_OF_ONE + 1);
    }

    #[test]
    fn memory_is_bounded_however_many_speak() {
        let mut window = Window::default();
        for n in 0..2 * MOST {
            window.first_time(&node(u8::try_from(n % 8).unwrap()), Boot(1), &id(n), at(1_000_000), at(0));
        }
        let kept: usize = window.senders.values().map(|seen| seen.ids.len()).sum();
        assert!(kept <= MOST && kept == window.by_expiry.len());
    }
}
