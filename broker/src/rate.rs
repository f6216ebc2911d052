//! How often something may happen: so many a second, and so many at once after a pause. Pure.

use std::time::{Duration, Instant};

/// The allowance of one client or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowance {
    /// When all that was used will have been earned back.
    settled: Instant,
}

/// How much an allowance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    per_second: u64,
    burst: Duration,
}

impl Rate {
    /// So many a second, and `burst` at once; `None` is without a limit.
    pub(crate) fn new(per_second: u64, burst: u64) -> Option<Self> {
        let whole = |count: u64| Duration::from_nanos(nanos(count, per_second));
        (per_second > 0).then(|| Self { per_second, burst: whole(burst.max(1)) })
    }
}

fn nanos(count: u64, per_second: u64) -> u64 {
    let nanos = u128::from(count) * 1_000_000_000 / u128::from(per_second.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

impl Allowance {
    /// An allowance of which nothing was used.
    pub(crate) fn new(now: Instant) -> Self {
        Self { settled: now }
    }

    /// Uses so much, even if it is more than there is. Returns when there will be something
    /// again, if there is nothing left.
    pub(crate) fn charge(&mut self, rate: Rate, count: u64, now: Instant) -> Option<Instant> {
        let cost = Duration::from_nanos(nanos(count, rate.per_second));
        self.settled = self.settled.max(now) + cost;
        self.settled.checked_sub(rate.burst).filter(|ready| *ready > now)
    }

    /// Uses one, if there is one.
    pub(crate) fn take(&mut self, rate: Rate, now: Instant) -> bool {
        let mut charged = *self;
        let taken = charged.charge(rate, 1, now).is_none();
        if taken {
            *self = charged;
        }
        taken
    }

    /// Whether nothing of it is used.
    pub(crate) fn is_whole(&self, now: Instant) -> bool {
        self.settled <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let rate = Rate::new(10, 3).unwrap();
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        let mut taken = |millis| allowance.take(rate, start + Duration::from_millis(millis));
        assert_eq!([taken(0), taken(0), taken(0), taken(0)], [true, true, true, false]);
        assert_eq!([taken(99), taken(100), taken(100)], [false, true, false]);
        assert!(!allowance.is_whole(start + Duration::from_millis(399)));
        assert!(allowance.is_whole(start + Duration::from_millis(400)));
    }

    #[test]
    fn who_uses_more_than_there_is_waits_for_it() {
        let rate = Rate::new(1_000, 1_000).unwrap();
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert_eq!(allowance.charge(rate, 1_000, start), None);
        let ready = allowance.charge(rate, 500, start).unwrap();
        assert_eq!(ready - start, Duration::from_millis(500));
        assert_eq!(Rate::new(0, 5), None);
    }
}
