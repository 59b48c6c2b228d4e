//! Chance from a seed: the same seed gives the same run on every machine.

use std::time::Duration;

/// A SplitMix64 generator (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator for this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator for a part of the world, independent of how often others are asked.
    #[must_use]
    pub fn of(seed: u64, part: &str) -> Self {
        Self(seed ^ fnv(part.as_bytes()))
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `most`, or 0 when that is 0.
    pub fn below(&mut self, most: usize) -> usize {
        if most == 0 {
            return 0;
        }
        usize::try_from(self.draw() % most as u64).unwrap_or(0)
    }

    /// True this often.
    pub fn chance(&mut self, probability: f64) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are enough for a probability")]
        let drawn = (self.draw() >> 11) as f64 / (1u64 << 53) as f64;
        drawn < probability
    }

    /// A time between two, in whole milliseconds.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.draw() % (to.saturating_sub(from) + 1))
    }
}

/// The FNV-1a hash, for fingerprints and seeds; nothing here resists an attacker.
#[must_use]
pub fn fnv(bytes: &[u8]) -> u64 {
    fold(0xcbf2_9ce4_8422_2325, bytes)
}

/// Goes on hashing where another hash ended.
#[must_use]
pub fn fold(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
