//! Whose turn it is among agents that fit a task about equally.
//!
//! Scores decide; but where they are as good as equal, always asking the first would starve the rest, newcomers above all,
//! and teach nobody anything about them. So a question may carry a **seed**, and each score then counts for a little less by a
//! draw from seed and agent: up to [`SPREAD`]. The same seed gives the same order anywhere; a question without a seed is
//! answered by the bare scores.

use foa_wire::AgentId;

use crate::score::grid;

/// The most a turn may cost, as part of the score: what is nearer than this is about equal. Sentence embeddings of two
/// wordings of one description differ by more.
pub const SPREAD: f64 = 0.02;

/// The seed of a question: of what it is part of, such as a job, and its text.
///
/// ```
/// use foa_capability::turn::seed;
/// assert_eq!(seed("job-1", "translate this"), seed("job-1", "translate this"));
/// assert_ne!(seed("job-1", "translate this"), seed("job-2", "translate this"));
/// ```
#[must_use]
pub fn seed(of: &str, text: &str) -> u64 {
    // 53 bits, which every reader of JSON gets back as they are.
    hash(&[of, "\n", text]) >> 11
}

/// What stands for an agent in all its draws.
#[must_use]
pub(crate) fn lot(agent: &AgentId) -> u64 {
    hash(&[agent.agent().as_str(), "@", agent.node().fingerprint()])
}

/// FNV-1a; [`draw`] mixes it.
fn hash(parts: &[&str]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The factor of an agent's score, as it counts: on the [`grid`].
#[must_use]
pub fn factor(seed: Option<u64>, agent: &AgentId) -> f64 {
    grid(turn(seed, lot(agent)))
}

/// The factor of a score before it is put on the grid: 1 without a seed, else between 1 − [`SPREAD`] and 1.
#[must_use]
pub(crate) fn turn(seed: Option<u64>, lot: u64) -> f64 {
    seed.map_or(1.0, |seed| 1.0 - SPREAD * draw(seed ^ lot))
}

/// A number from 0 to below 1 (the finaliser of SplitMix64).
fn draw(from: u64) -> f64 {
    let mut x = from.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^= x >> 31;
    (x >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::agent;

    #[test]
    fn equals_take_turns_evenly_and_nobody_does_without_a_seed() {
        let lots: Vec<u64> = (0..20).map(|n| lot(&agent(&format!("tax-{n}"), 1))).collect();
        let mut first = [0; 20];
        for seed in 0..4000 {
            let turns = lots.iter().map(|lot| turn(Some(seed), *lot));
            let best = turns.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert!((1.0 - SPREAD..=1.0).contains(&best.1), "{}", best.1);
            first[best.0] += 1;
        }
        assert!(first.iter().all(|n| (130..270).contains(n)), "wanted about 200 each: {first:?}");
        assert!(lots.iter().all(|lot| turn(None, *lot) >= 1.0));
    }
}
