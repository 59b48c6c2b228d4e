//! A node's time: it always moves on, and stays near the wall clock.
//!
//! Timers, deadlines and everything a node decides hang on it, so a step of the wall clock must not stop it: it counts the
//! system's monotonic clock. A wall clock that is ahead is followed at once (the machine slept, or its clock was set right);
//! from one that is behind the node's time draws nearer by running at half speed. Its envelopes bear this time too:
//! receivers allow for a minute.

use std::time::Duration;

use foa_wire::Time;

/// The clock of one node.
#[derive(Debug)]
pub(super) struct Clock {
    read: Duration,
    now: Time,
    /// The half of an odd millisecond, and what is less than one.
    rest: Duration,
}

impl Clock {
    /// A clock that shows this wall time when the monotonic clock shows `monotonic`.
    pub(super) fn new(wall: Time, monotonic: Duration) -> Self {
        Self { read: monotonic, now: wall, rest: Duration::ZERO }
    }

    /// The time, as the monotonic clock shows `monotonic` and the wall clock `wall`.
    pub(super) fn read(&mut self, wall: Time, monotonic: Duration) -> Time {
        let passed = monotonic.saturating_sub(self.read) + self.rest;
        self.read = self.read.max(monotonic);
        let straight = self.now + whole(passed);
        if straight <= wall {
            (self.now, self.rest) = (wall, Duration::ZERO);
        } else {
            // Half as fast while ahead, but not to before the wall clock.
            let half = passed / 2;
            let slow = self.now + whole(half);
            (self.now, self.rest) =
                if slow >= wall { (slow, (half - whole(half)) * 2) } else { (wall, Duration::ZERO) };
        }
        self.now
    }
}

fn whole(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const START: Time = Time::from_millis(1_000_000);

    #[test]
    fn it_follows_a_wall_clock_that_runs_with_it_or_ahead_of_it() {
        let mut clock = Clock::new(START, ms(5));
        assert_eq!(clock.read(START + ms(10), ms(15)), START + ms(10));
        assert_eq!(clock.read(START + ms(3_600_010), ms(16)), START + ms(3_600_010), "an hour asleep");
    }

    #[test]
    fn a_wall_clock_set_back_by_an_hour_slows_it_down_and_never_stops_it() {
        let mut clock = Clock::new(START + ms(3_600_000), ms(0));
        let mut last = START + ms(3_600_000);
        for second in 1..=3600 {
            let now = clock.read(START + ms(1000 * second), ms(1000 * second));
            assert_eq!(now, last + ms(500), "second {second}");
            last = now;
        }
        // It has caught up half of the hour; another one, and it runs with the wall clock.
        for second in 3601..=7300 {
            last = clock.read(START + ms(1000 * second), ms(1000 * second));
        }
        assert_eq!(last, START + ms(7_300_000));
    }

    #[test]
    fn reading_often_loses_nothing() {
        let mut clock = Clock::new(START + ms(60_000), ms(0));
        for n in 1..=10_000 {
            clock.read(START, Duration::from_micros(100 * n));
        }
        assert_eq!(clock.read(START, ms(1000)), START + ms(60_500));
    }
}
