//! How long to wait before trying again: exponential with full jitter, reset by success. Pure; the
//! randomness is handed in.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;

/// Waits that grow from one failure to the next. Full jitter: a wait is anything up to the
/// window, so that a thousand sites that lost one server do not come back as one.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    rng: StdRng,
}

impl Backoff {
    /// Waits of up to `first`, then twice that, and so on up to `longest`.
    pub const fn new(first: Duration, longest: Duration, rng: StdRng) -> Self {
        Self { first, longest, failures: 0, rng }
    }

    /// The wait after one more failure.
    pub fn next_delay(&mut self) -> Duration {
        self.next_delay_within(self.longest)
    }

    /// The wait after one more failure, over a window of at most `cap`.
    pub fn next_delay_within(&mut self, cap: Duration) -> Duration {
        let window = self.window().min(cap);
        self.failures = self.failures.saturating_add(1);
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.random_range(0..=millis)).max(SHORTEST.min(window))
    }

    /// It works again: the next failure is the first.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    fn window(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// No wait is shorter, lest luck makes a busy loop.
const SHORTEST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_mins(1);

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(FIRST, LONGEST, StdRng::seed_from_u64(seed))
    }

    proptest! {
        #[test]
        fn a_wait_is_never_longer_than_its_window(seed: u64, failures in 0..80u32) {
            let mut backoff = backoff(seed);
            for count in 0..failures {
                let window = FIRST.saturating_mul(1 << count.min(6)).min(LONGEST);
                let delay = backoff.next_delay();
                prop_assert!(delay <= window, "{delay:?} after {count} failures");
                prop_assert!(delay >= SHORTEST);
            }
        }

        #[test]
        fn success_makes_the_next_failure_the_first(seed: u64, failures in 0..80u32) {
            let mut backoff = backoff(seed);
            for _ in 0..failures {
                backoff.next_delay();
            }
            backoff.reset();
            prop_assert!(backoff.next_delay() <= FIRST);
        }

        #[test]
        fn equal_seeds_wait_equally(seed: u64) {
            let (mut a, mut b) = (backoff(seed), backoff(seed));
            for _ in 0..10 {
                prop_assert_eq!(a.next_delay(), b.next_delay());
            }
        }
    }

    #[test]
    fn a_thousand_sites_spread_over_the_whole_window() {
        let late = |backoff: &mut Backoff| (0..7).map(|_| backoff.next_delay()).last().unwrap();
        let mut quarters = [0; 4];
        for seed in 0..1000 {
            let millis = late(&mut backoff(seed)).as_millis();
            quarters[usize::try_from(millis * 4 / 60_001).unwrap()] += 1;
        }
        assert!(quarters.iter().all(|count| (180..320).contains(count)), "{quarters:?}");
    }
}
