//! Agents of one kind: those that routing cannot tell apart by their cards. A federation of many has few kinds of agents,
//! each many times over, so that what a question asks of a card is asked once of each kind.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::card::AgentCard;

/// What agents have in common: their vectors and all that a requirement can be about.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    /// The card of one of them.
    pub(crate) card: AgentCard,
    /// Where their vectors are in the index, in the order of the card; none when they are not routed to.
    pub(crate) slots: Box<[u32]>,
    /// Whether their vectors can be compared with a task's.
    pub(crate) same_model: bool,
    agents: usize,
}

impl Kind {
    fn is(&self, card: &AgentCard, slots: &[u32], same_model: bool) -> bool {
        let (own, other) = (self.card.capability(), card.capability());
        *self.slots == *slots
            && self.same_model == same_model
            && own.model == other.model
            && own.effects == other.effects
            && own.policies == other.policies
            && own.offer.expected_price() == other.offer.expected_price()
            && own.skills == other.skills
            && self.card.skill_keys() == card.skill_keys()
    }
}

/// The kinds of agents there are, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kinds {
    kinds: Vec<Option<Kind>>,
    free: Vec<u32>,
    /// Numbers by a hash of what makes a kind.
    by_content: BTreeMap<u64, Vec<u32>>,
}

impl Kinds {
    /// The kind of an agent with this card and these vectors, which counts as one of it from now on.
    pub(crate) fn join(&mut self, card: &AgentCard, slots: Box<[u32]>, same_model: bool) -> u32 {
        let numbers = self.by_content.entry(content(card, &slots)).or_default();
        for number in numbers.iter() {
            if let Some(kind) = &mut self.kinds[*number as usize]
                && kind.is(card, &slots, same_model)
            {
                kind.agents += 1;
                return *number;
            }
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.kinds.push(None);
            u32::try_from(self.kinds.len() - 1).expect("fewer kinds than fit in memory")
        });
        numbers.push(number);
        self.kinds[number as usize] = Some(Kind { card: card.clone(), slots, same_model, agents: 1 });
        number
    }

    /// One agent of this kind less.
    pub(crate) fn leave(&mut self, number: u32) {
        let Some(kind) = &mut self.kinds[number as usize] else { return };
        kind.agents -= 1;
        if kind.agents > 0 {
            return;
        }
        let content = content(&kind.card, &kind.slots);
        if let Some(numbers) = self.by_content.get_mut(&content) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_content.remove(&content);
            }
        }
        self.kinds[number as usize] = None;
        self.free.push(number);
    }

    /// The kind with a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Kind> {
        self.kinds.get(number as usize)?.as_ref()
    }

    /// Something of each kind, by number; `none` where there is none.
    pub(crate) fn each<T: Clone>(&self, none: &T, of: impl Fn(&Kind) -> T) -> Vec<T> {
        self.kinds.iter().map(|kind| kind.as_ref().map_or_else(|| none.clone(), &of)).collect()
    }
}

fn content(card: &AgentCard, slots: &[u32]) -> u64 {
    let mut hasher = DefaultHasher::new();
    slots.hash(&mut hasher);
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
        assert_eq!(kinds.join(&of(&profile("calc")), Box::new([5]), true), calc, "numbers are used again");
    }
}
