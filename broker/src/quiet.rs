//! A log line that a stranger can cause is written at most once a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Lets one event a second through and counts the others.
#[derive(Debug)]
pub(crate) struct Quiet {
    start: Instant,
    /// The second, counted from 1, in which an event was let through last.
    last: AtomicU64,
    held_back: AtomicU64,
}

impl Quiet {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, last: AtomicU64::new(0), held_back: AtomicU64::new(0) }
    }

    /// `Some` if the event may be logged: how many were held back since the last one.
    pub(crate) fn allows(&self, now: Instant) -> Option<u64> {
        let second = now.saturating_duration_since(self.start).as_secs() + 1;
        if self.last.swap(second, Ordering::Relaxed) == second {
            self.held_back.fetch_add(1, Ordering::Relaxed);
            None
        } else {
            Some(self.held_back.swap(0, Ordering::Relaxed))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_event_a_second_passes_and_says_how_many_did_not() {
        let start = Instant::now();
        let quiet = Quiet::new(start);
        assert_eq!(quiet.allows(start), Some(0));
        assert_eq!(quiet.allows(start), None);
        assert_eq!(quiet.allows(start), None);
        assert_eq!(quiet.allows(start + Duration::from_secs(1)), Some(2));
    }
}
