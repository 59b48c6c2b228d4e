//! Agents of one kind: those that routing cannot tell apart by their cards. A federation of many has few kinds of agents,
//! each many times over, so that what a question asks of a card is asked once of each kind.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::card::AgentCard;

/// What a requirement can be about, which agents of many kinds have in common.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The card of one of them.
    pub(crate) card: AgentCard,
    /// Whether their vectors can be compared with a task's.
    pub(crate) same_model: bool,
}

impl Terms {
    fn are(&self, card: &AgentCard, same_model: bool) -> bool {
        let (own, other) = (self.card.capability(), card.capability());
        self.same_model == same_model
            && own.model == other.model
            && own.effects == other.effects
            && own.policies == other.policies
            && own.offer.expected_price() == other.offer.expected_price()
            && own.skills == other.skills
            && self.card.skill_keys() == card.skill_keys()
    }
}

/// What agents have in common: their vectors and their terms.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// By number.
    pub(crate) terms: u32,
    /// Where their vectors are in the index, in the order of the card; none when they are not routed to.
    pub(crate) slots: Box<[u32]>,
}

/// Things that many share, by number, each with how many share it.
#[derive(Clone, Debug)]
struct Shared<T> {
    things: Vec<Option<(T, usize)>>,
    free: Vec<u32>,
    /// Numbers by a hash of what they are.
    by_content: BTreeSet<(u64, u32)>,
}

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self { things: Vec::new(), free: Vec::new(), by_content: BTreeSet::new() }
    }
}

impl<T> Shared<T> {
    /// The number of the thing with this hash that `is` the one meant, which is shared once more; or else of a new one.
    fn join(&mut self, content: u64, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> u32 {
        let same = self.by_content.range((content, 0)..=(content, u32::MAX));
        for (_, number) in same {
            if let Some((thing, sharing)) = &mut self.things[*number as usize]
                && is(thing)
            {
                *sharing += 1;
                return *number;
            }
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.things.push(None);
            u32::try_from(self.things.len() - 1).expect("fewer than fit in memory")
        });
        self.by_content.insert((content, number));
        self.things[number as usize] = Some((new(), 1));
        number
    }

    /// Shared once less; the thing, when that was the last time.
    fn leave(&mut self, number: u32, content: impl Fn(&T) -> u64) -> Option<T> {
        let place = &mut self.things[number as usize];
        let (thing, sharing) = place.as_mut()?;
        *sharing -= 1;
        if *sharing > 0 {
            return None;
        }
        self.by_content.remove(&(content(thing), number));
        self.free.push(number);
        place.take().map(|(thing, _)| thing)
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.things.get(number as usize)?.as_ref().map(|(thing, _)| thing)
    }

    fn each<U: Clone>(&self, none: &U, of: impl Fn(&T) -> U) -> Vec<U> {
        let of =
            |place: &Option<(T, usize)>| place.as_ref().map_or_else(|| none.clone(), |(thing, _)| of(thing));
        self.things.iter().map(of).collect()
    }
}

/// The kinds of agents there are, and their terms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    kinds: Shared<Kind>,
    terms: Shared<Terms>,
}

impl Kinds {
    /// The kind of an agent with this card and these vectors, which counts as one of it from now on.
    pub(crate) fn join(&mut self, card: &AgentCard, slots: Box<[u32]>, same_model: bool) -> u32 {
        let new = || Terms { card: card.clone(), same_model };
        let terms = self.terms.join(of_terms(card), |terms| terms.are(card, same_model), new);
        let kind = Kind { terms, slots };
        let content = of_kind(&kind);
        let is = |other: &Kind| other.terms == terms && other.slots == kind.slots;
        let number = self.kinds.join(content, is, || kind.clone());
        if self.kinds.things[number as usize].as_ref().is_some_and(|(_, sharing)| *sharing > 1) {
            // Terms count kinds, not agents.
            self.leave_terms(terms);
        }
        number
    }

    /// One agent of this kind less.
    pub(crate) fn leave(&mut self, number: u32) {
        if let Some(kind) = self.kinds.leave(number, of_kind) {
            self.leave_terms(kind.terms);
        }
    }

    fn leave_terms(&mut self, number: u32) {
        self.terms.leave(number, |terms| of_terms(&terms.card));
    }

    /// The kind with a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Kind> {
        self.kinds.get(number)
    }

    /// The terms with a number.
    pub(crate) fn terms(&self, number: u32) -> Option<&Terms> {
        self.terms.get(number)
    }

    /// Something of each kind, by number; `none` where there is none.
    pub(crate) fn each<T: Clone>(&self, none: &T, of: impl Fn(&Kind) -> T) -> Vec<T> {
        self.kinds.each(none, of)
    }

    /// Something of each terms, by number; `none` where there are none.
    pub(crate) fn each_terms<T: Clone>(&self, none: &T, of: impl Fn(&Terms) -> T) -> Vec<T> {
        self.terms.each(none, of)
    }
}

fn of_kind(kind: &Kind) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind.terms, &kind.slots).hash(&mut hasher);
    hasher.finish()
}

fn of_terms(card: &AgentCard) -> u64 {
    let mut hasher = DefaultHasher::new();
    card.capability().offer.expected_price().hash(&mut hasher);
    card.capability().policies.hash(&mut hasher);
    card.skill_keys().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::AgentProfile;
    use crate::resources::Money;
    use crate::testing::{card, profile};

    #[test]
    fn agents_share_a_kind_until_a_question_can_tell_them_apart() {
        let mut kinds = Kinds::default();
        let mut twin = profile("calc");
        twin.description = "another text".to_owned();
        let mut dear = profile("calc");
        dear.offer.price = Money(999_999);
        let mut free = profile("calc");
        free.policies.clear();
        let mut skilled = profile("calc");
        skilled.skills[0].tags.push("more".to_owned());
        let of = |p: &AgentProfile| card(p, 1, (1, 1), [1.0, 0.0, 0.0]);
        let calc = kinds.join(&of(&profile("calc")), Box::new([3]), true);
        assert_eq!(kinds.join(&of(&twin), Box::new([3]), true), calc);
        for other in [dear, free, skilled] {
            assert_ne!(kinds.join(&of(&other), Box::new([3]), true), calc);
        }
        assert_ne!(kinds.join(&of(&profile("calc")), Box::new([4]), true), calc);
        kinds.leave(calc);
        assert!(kinds.get(calc).is_some());
        kinds.leave(calc);
        assert!(kinds.get(calc).is_none());
        assert_eq!(kinds.terms.things.iter().flatten().count(), 4, "one kind with these terms is left");
        assert_eq!(kinds.join(&of(&profile("calc")), Box::new([5]), true), calc, "numbers are used again");
    }
}
