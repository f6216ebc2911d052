//! Times for people: how long ago, and the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How long ago something was, in its largest unit (`3m`); `-`: never.
pub(crate) fn since(then_ms: Option<u64>, now_ms: u64) -> String {
    let Some(then) = then_ms else { return "-".to_owned() };
    let seconds = now_ms.saturating_sub(then) / 1000;
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time of day in UTC, `12:03:04Z`.
pub(crate) fn time_of_day(ms: u64) -> String {
    let seconds = ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_use_the_largest_unit_that_says_something() {
        let ago = |seconds: u64| since(Some(1_000_000_000 - seconds * 1000), 1_000_000_000);
        assert_eq!([ago(0), ago(119), ago(120), ago(7_200)], ["0s", "119s", "2m", "2h"]);
        assert_eq!(ago(900_000), "10d");
        assert_eq!(since(None, 0), "-");
        assert_eq!(since(Some(5), 0), "0s");
    }

    #[test]
    fn the_time_of_day_wraps_at_midnight() {
        assert_eq!(time_of_day(86_399_999), "23:59:59Z");
        assert_eq!(time_of_day(86_400_000), "00:00:00Z");
    }
}
