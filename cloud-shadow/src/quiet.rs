//! Keeps a flood of the same complaint out of the log.

use std::time::{Duration, Instant};

/// Lets one complaint per second through and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    last: Option<Instant>,
    unsaid: u64,
}

const PAUSE: Duration = Duration::from_secs(1);

impl Quiet {
    /// Whether to speak, and how many complaints were left unsaid since the last one.
    pub(crate) fn speak(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.unsaid))
    }
}
