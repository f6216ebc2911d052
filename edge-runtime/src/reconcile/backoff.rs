//! How long to wait before trying again: the only place with times in it.

use std::time::Duration;

/// A copy that has been up and healthy for so long has recovered: its back-off and its count of
/// retries begin anew. The same time as Docker's, so `on-failure` with a maximum means the same.
pub(super) const RECOVERED_AFTER: Duration = Duration::from_secs(10);
/// From so many ends in a row on, a service is reported as failing although it is still retried.
pub(super) const CRASH_LOOP: u32 = 3;

const FIRST: Duration = Duration::from_secs(1);
const FIRST_PERMANENT: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_mins(5);

/// The wait before a copy that ended, became unhealthy or was removed for the `streak`th time in a
/// row is started or made again: none, then 1 s, doubling, at most 5 minutes. Most of what dies once
/// does well when it is started again, and somebody waits for it.
pub(super) fn after_fall(streak: u32) -> Duration {
    if streak <= 1 { Duration::ZERO } else { doubled(FIRST, streak - 1) }
}

/// The wait before a step that failed `tries` times in a row is tried again: from 1 s on if it
/// may pass by itself, else from 30 s on, doubling, at most 5 minutes.
pub(super) fn after_failure(tries: u32, transient: bool) -> Duration {
    doubled(if transient { FIRST } else { FIRST_PERMANENT }, tries)
}

fn doubled(first: Duration, times: u32) -> Duration {
    let factor = 1_u32.checked_shl(times.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fall_is_repaired_at_once_and_then_waits_double_up_to_five_minutes() {
        let seconds: Vec<_> = (0..13).map(|n| after_fall(n).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(after_fall(u32::MAX).as_secs(), 300);
    }

    #[test]
    fn a_permanent_failure_is_retried_slowly() {
        assert_eq!(after_failure(1, true).as_secs(), 1);
        assert_eq!(after_failure(1, false).as_secs(), 30);
        assert_eq!(after_failure(9, false).as_secs(), 300);
    }
}
