//! What a node's clock shows: it may be off, run fast or slow, and be set while the node runs.

use foa_wire::Time;

/// Parts per million.
const MILLION: i64 = 1_000_000;

/// A clock that need not agree with the simulated time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Milliseconds it is ahead.
    pub ahead_ms: i64,
    /// Millionths it gains.
    pub gains_ppm: i64,
    /// When it was right, but for `ahead_ms`.
    pub since: Time,
}

impl Clock {
    /// What it shows at a moment of simulated time.
    #[must_use]
    pub fn shows(&self, at: Time) -> Time {
        let gained = signed(at.since(self.since).as_millis()) * self.gains_ppm / MILLION;
        Time::from_millis(at.as_millis().saturating_add_signed(self.ahead_ms + gained))
    }

    /// The first moment at which it shows at least this.
    #[must_use]
    pub fn when(&self, shown: Time) -> Time {
        let mut at = Time::from_millis(shown.as_millis().saturating_add_signed(-self.ahead_ms));
        if self.gains_ppm == 0 {
            return at;
        }
        let lasted = signed(at.since(self.since).as_millis());
        let early = lasted * self.gains_ppm / (MILLION + self.gains_ppm);
        at = Time::from_millis(at.as_millis().saturating_add_signed(-early - 2));
        while self.shows(at) < shown {
            at = at + std::time::Duration::from_millis(1);
        }
        at
    }

    /// Someone sets it.
    pub fn step(&mut self, by_ms: i64) {
        self.ahead_ms += by_ms;
    }
}

fn signed(millis: u128) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_up_is_due_when_the_clock_says_so() {
        let since = Time::from_millis(1_000_000);
        for (ahead_ms, gains_ppm) in [(0, 0), (-30_000, 0), (30_000, 500), (-7, -500), (0, 20_000)] {
            let clock = Clock { ahead_ms, gains_ppm, since };
            for ms in [1_000_000_u64, 1_000_001, 1_123_456, 9_999_999] {
                let at = Time::from_millis(ms);
                let due = clock.when(clock.shows(at));
                assert!(clock.shows(due) >= clock.shows(at) && due <= at, "{clock:?} at {at}: {due}");
            }
        }
    }
}
