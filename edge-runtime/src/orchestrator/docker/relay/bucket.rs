//! Keeps what is fetched below so many bytes in a second. Pure: time is an argument.

use std::time::{Duration, Instant};

/// When the next bytes may come; shared by all that is fetched at the same time.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    free_at: Option<Instant>,
}

impl Bucket {
    /// Takes the bytes of a piece that has come; gives back how long to wait before the next one.
    pub(super) fn take(&mut self, now: Instant, bytes: usize, rate: u64) -> Duration {
        let nanos = u128::try_from(bytes).unwrap_or(u128::MAX).saturating_mul(1_000_000_000)
            / u128::from(rate.max(1));
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let free_at = self.free_at.map_or(now, |at| at.max(now));
        let free_at = free_at.checked_add(cost).unwrap_or(free_at);
        self.free_at = Some(free_at);
        free_at.duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_that_come_together_wait_for_each_other_and_silence_saves_nothing_up() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(now, 100, 1000), Duration::from_millis(100));
        assert_eq!(bucket.take(now, 100, 1000), Duration::from_millis(200));
        assert_eq!(bucket.take(after(150), 100, 1000), Duration::from_millis(150));
        assert_eq!(bucket.take(after(10_000), 100, 1000), Duration::from_millis(100));
        assert_eq!(bucket.take(after(10_100), 100, 100), Duration::from_secs(1), "another rate");
    }
}
