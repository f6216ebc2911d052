//! Waiting for a condition, with a deadline and the last thing seen.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(50);

/// Looks until `look` gives `Ok`; panics at the deadline with what was wanted and last seen.
pub fn eventually<T, E: Debug>(
    wanted: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() >= deadline => {
                panic!("waited {within:?} for {wanted}; last seen: {seen:?}")
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// Lets a stretch of time pass in which a fault may fall anywhere.
pub fn let_pass(duration: Duration) {
    thread::sleep(duration);
}
