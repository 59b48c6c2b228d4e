//! What agents have served well: the middle of the requests each one delivered on, as a further vector of the agent.
//!
//! A card says what an agent is for; requests say how people ask for it. The middle of many requests is a better guide
//! than the nearest of them, and stays one vector however many there were. It begins at the agent's own description, so
//! that one lucky outcome does not move it far.

use std::collections::BTreeMap;

use foa_wire::Time;

use crate::reputation::HALF_LIFE;
use crate::vector::Vector;

/// Most agents whose experience is kept; beyond, the one with the least goes. 1.5 KB each twice, and one comparison a
/// question.
pub const MAX_AGENTS: usize = 4_096;
/// How many served requests an agent's own description is worth.
pub const PRIOR: f32 = 2.0;

#[derive(Clone, Debug)]
struct Served {
    /// The sum of the requests' vectors, by weight, faded until `updated`.
    sum: Vec<f32>,
    weight: f64,
    updated: Time,
    /// The direction of the sum and the description.
    middle: Vector,
}

/// The experience of agents, by their number in the directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Experience {
    served: BTreeMap<u32, Served>,
}

impl Experience {
    /// An agent that describes itself as `own` served `request` well. Older requests fade by half in 30 days, which
    /// counts only against newer ones.
    pub(crate) fn add(&mut self, agent: u32, own: &Vector, request: &Vector, weight: f64, now: Time) {
        let right = own.dimension() == request.dimension() && weight.is_finite() && weight > 0.0;
        if !right {
            return;
        }
        let weight = weight.min(10.0);
        let (mut sum, mut before) = (vec![0.0; request.dimension()], 0.0);
        match self.served.remove(&agent) {
            Some(old) if old.sum.len() == sum.len() => {
                let left = (-now.since(old.updated).as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2();
                sum = old.sum.into_iter().map(|x| x * left as f32).collect();
                before = old.weight * left;
            }
            Some(_) | None => {}
        }
        for (x, y) in sum.iter_mut().zip(request.as_slice()) {
            *x += weight as f32 * y;
        }
        let both = sum.iter().zip(own.as_slice()).map(|(x, y)| x + PRIOR * y).collect();
        // Requests that are the very opposite of the description leave no direction.
        let Ok(middle) = Vector::new(both) else { return };
        if self.served.len() >= MAX_AGENTS {
            let least = self.served.iter().min_by(|a, b| a.1.weight.total_cmp(&b.1.weight));
            let least = least.map(|(agent, _)| *agent).expect("there are MAX_AGENTS of them");
            self.served.remove(&least);
        }
        self.served.insert(agent, Served { sum, weight: before + weight, updated: now, middle });
    }

    /// Forgets an agent; its number may become another's.
    pub(crate) fn forget(&mut self, agent: u32) {
        self.served.remove(&agent);
    }

    /// The middle of what each agent served, in rising order of number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Vector)> {
        self.served.iter().map(|(agent, served)| (*agent, &served.middle))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{NOW, vector};

    fn middle(experience: &Experience, agent: u32) -> &Vector {
        experience.iter().find(|(number, _)| *number == agent).unwrap().1
    }

    #[test]
    fn it_moves_from_the_description_to_the_middle_of_the_requests() {
        let (own, left, right) = (vector([0.0, 0.0, 1.0]), vector([1.0, 0.0, 0.0]), vector([0.0, 1.0, 0.0]));
        let mut experience = Experience::default();
        experience.add(7, &own, &left, 1.0, NOW);
        let once = middle(&experience, 7).cosine(&left);
        assert!(once > 0.4 && once < 0.5, "one outcome against a prior of two gave {once}");
        for _ in 0..50 {
            experience.add(7, &own, &left, 1.0, NOW);
            experience.add(7, &own, &right, 1.0, NOW);
        }
        let between = middle(&experience, 7).cosine(&vector([1.0, 1.0, 0.0]));
        assert!(between > 0.999, "{between}");
    }

    #[test]
    fn what_is_long_ago_weighs_less() {
        let (own, left, right) = (vector([0.0, 0.0, 1.0]), vector([1.0, 0.0, 0.0]), vector([0.0, 1.0, 0.0]));
        let mut experience = Experience::default();
        experience.add(1, &own, &left, 1.0, NOW);
        experience.add(1, &own, &right, 1.0, NOW + HALF_LIFE);
        let found = middle(&experience, 1);
        assert!((found.cosine(&left) / found.cosine(&right) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn what_cannot_count_does_not_and_the_number_kept_is_bounded() {
        let (own, request) = (vector([0.0, 0.0, 1.0]), vector([1.0, 0.0, 0.0]));
        let mut experience = Experience::default();
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            experience.add(1, &own, &request, weight, NOW);
        }
        experience.add(1, &own, &Vector::new(vec![1.0, 0.0]).unwrap(), 1.0, NOW);
        experience.add(1, &own, &vector([0.0, 0.0, -1.0]), 2.0, NOW);
        assert_eq!(experience.iter().count(), 0);
        let most = u32::try_from(MAX_AGENTS).unwrap();
        experience.add(0, &own, &request, 2.0, NOW);
        for agent in 1..most + 10 {
            experience.add(agent, &own, &request, 1.0, NOW + Duration::from_secs(1));
        }
        assert_eq!(experience.iter().count(), MAX_AGENTS);
        assert!(experience.iter().any(|(agent, _)| agent == 0), "the most experienced stays");
        experience.forget(0);
        assert!(experience.iter().all(|(agent, _)| agent != 0));
    }
}
