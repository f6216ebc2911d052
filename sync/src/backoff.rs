//! How long a writer waits for an answer before it sends again.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// The generator that a machine keeps: small, and a machine with it can be cloned.
pub(crate) type Dice = Xoshiro256PlusPlus;

/// The retry rule: the base, plus the time that the bytes need on a slow link, plus full jitter
/// over a window that doubles with every attempt.
///
/// The first two parts keep a retry from racing an answer that is still on its way: on a link of
/// `slowest_rate` a batch that is being transmitted is never sent twice.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The shortest wait, and the first jitter window.
    pub base: Duration,
    /// The widest jitter window.
    pub cap: Duration,
    /// The slowest link that is not treated as lossy, in bytes per second.
    pub slowest_rate: u64,
}

impl Default for Backoff {
    /// 1 s, doubling to 60 s, on links of 2 kB/s (16 kbit/s) and more.
    fn default() -> Self {
        Self { base: Duration::from_secs(1), cap: Duration::from_mins(1), slowest_rate: 2_000 }
    }
}

impl Backoff {
    /// The wait before attempt `attempt` + 1 is judged lost, with `bytes` under way.
    pub(crate) fn delay(&self, attempt: u32, bytes: usize, rng: &mut Dice) -> Duration {
        let window = self.base.saturating_mul(1_u32 << attempt.min(16)).min(self.cap);
        let jitter = rng.random_range(0..=millis(window));
        let transmission = (bytes as u64).saturating_mul(1_000) / self.slowest_rate.max(1);
        Duration::from_millis(millis(self.base).saturating_add(transmission).saturating_add(jitter))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_lies_between_base_and_base_plus_window(attempt in 0..40_u32, seed: u64) {
            let backoff = Backoff::default();
            let delay = backoff.delay(attempt, 0, &mut Dice::seed_from_u64(seed));
            prop_assert!(delay >= backoff.base);
            prop_assert!(delay <= backoff.base + backoff.cap);
        }

        #[test]
        fn a_batch_has_time_to_cross_the_slowest_link(bytes in 0..1_000_000_usize, seed: u64) {
            let backoff = Backoff::default();
            let delay = backoff.delay(0, bytes, &mut Dice::seed_from_u64(seed));
            prop_assert!(delay >= Duration::from_millis(bytes as u64 / 2));
        }
    }

    #[test]
    fn waits_spread_over_the_window() {
        let mut rng = Dice::seed_from_u64(7);
        let backoff = Backoff::default();
        let waits: Vec<_> = (0..100).map(|_| backoff.delay(5, 0, &mut rng)).collect();
        let short = waits.iter().filter(|wait| **wait < Duration::from_secs(17)).count();
        assert!((25..75).contains(&short), "{short} of 100 waits are in the lower half");
    }
}
