//! Numbers as people read them. Pure.

/// A number with as many digits as matter, thousands apart.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.len() - at;
        if at > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

/// A count.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn count(value: u64) -> String {
    if value < 10 { value.to_string() } else { number((value as f64).round()).replace(".0", "") }
}

/// Bytes with a unit.
#[expect(clippy::cast_precision_loss, reason = "for people")]
pub fn bytes(value: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let (mut value, mut at) = (value as f64, 0);
    while value >= 1_000.0 && at + 1 < UNITS.len() {
        value /= 1_000.0;
        at += 1;
    }
    let unit = UNITS.get(at).copied().unwrap_or_default();
    if at == 0 { format!("{value:.0} {unit}") } else { format!("{} {unit}", number(value)) }
}

/// A time in milliseconds with a unit.
pub fn millis(value: f64) -> String {
    if value < 1_000.0 { format!("{} ms", number(value)) } else { seconds(value / 1_000.0) }
}

/// A time in seconds with a unit.
pub fn seconds(value: f64) -> String {
    format!("{} s", number(value))
}

/// A date and a time of day, UTC.
pub fn date(unix_s: u64) -> String {
    let (days, rest) = (unix_s / 86_400, unix_s % 86_400);
    // Days to a date of the Gregorian calendar, by Howard Hinnant's `civil_from_days`.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_thousands_stand_apart() {
        let cases = [(0.123, "0.12"), (12.34, "12.3"), (999.4, "999"), (1_234_567.0, "1,234,567")];
        for (value, expected) in cases {
            assert_eq!(number(value), expected);
        }
        assert_eq!(
            (count(7), count(42), count(10_000)),
            ("7".into(), "42".into(), "10,000".into())
        );
        assert_eq!((bytes(999), bytes(1_500)), ("999 B".into(), "1.50 KB".into()));
        assert_eq!(bytes(600_000_000), "600 MB");
        assert_eq!((millis(3.25), millis(5_400.0)), ("3.25 ms".into(), "5.40 s".into()));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_279_200), "2026-11-21 16:40 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
    }
}
