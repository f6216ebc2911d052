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

/// How long something still is good, in its largest unit; `never`: it does not run out.
pub(crate) fn until(then_ms: Option<u64>, now_ms: u64) -> String {
    match then_ms {
        None => "never".to_owned(),
        Some(then) if then <= now_ms => "past".to_owned(),
        Some(then) => format!("in {}", since(Some(now_ms), then)),
    }
}

/// The date and the time in UTC, `2026-11-21 12:03:04Z`.
pub(crate) fn date(ms: u64) -> String {
    // Days since the first of March 0000, by eras of 400 years (Howard Hinnant's `civil_from_days`).
    let days = ms / 86_400_000 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{of_month:02} {}", time_of_day(ms))
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
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00Z");
        assert_eq!(date(951_782_399_000), "2000-02-28 23:59:59Z");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00:00Z");
        assert_eq!(date(1_795_238_110_002), "2026-11-21 05:15:10Z");
        assert_eq!(date(4_107_542_400_000), "2100-03-01 00:00:00Z");
    }

    #[test]
    fn what_runs_out_says_when() {
        assert_eq!(until(None, 5), "never");
        assert_eq!(until(Some(5), 5), "past");
        assert_eq!(until(Some(10_000_000), 0), "in 2h");
    }

    #[test]
    fn the_time_of_day_wraps_at_midnight() {
        assert_eq!(time_of_day(86_399_999), "23:59:59Z");
        assert_eq!(time_of_day(86_400_000), "00:00:00Z");
    }
}
