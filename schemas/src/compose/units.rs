//! Durations, sizes and processor shares as Compose writes them.

use std::str::FromStr;

/// A duration such as `1m30s`, `1.5s` or `500ms`, in whole milliseconds.
pub(super) fn duration_ms(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut micros = 0_u128;
    let mut rest = text;
    loop {
        let (number, after) = split_number(rest)?;
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(end)?;
        micros += scaled(number, unit_micros(unit)?)?;
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    if micros.is_multiple_of(1000) { u64::try_from(micros / 1000).ok() } else { None }
}

fn unit_micros(unit: &str) -> Option<u128> {
    Some(match unit {
        "us" => 1,
        "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        _ => return None,
    })
}

/// A size such as `64m` or `1gb`, in bytes; the units are powers of 1024 and a rest of
/// less than a byte is dropped.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_number(text)?;
    let factor = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return None,
    };
    let ((whole, fraction), tens) = (number, power_of_ten(number)?);
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    u64::try_from(digits.checked_mul(factor)? / tens).ok()
}

/// A number of processors such as `0.5`, in thousandths.
pub(super) fn cpu_millis(text: &str) -> Option<u64> {
    let (number, "") = split_number(text)? else { return None };
    scaled(number, 1000).and_then(|millis| u64::try_from(millis).ok())
}

/// A whole number in decimal digits.
pub(super) fn whole<T: FromStr>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Digits before and after a decimal point.
type Number<'a> = (&'a str, &'a str);

fn split_number(text: &str) -> Option<(Number<'_>, &str)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (whole, rest) = text.split_at_checked(digits(text))?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at_checked(digits(rest)).filter(|(part, _)| !part.is_empty())?,
        None => ("", rest),
    };
    let fits = !whole.is_empty() && whole.len() <= 15 && fraction.len() <= 9;
    fits.then_some(((whole, fraction), rest))
}

/// The number times the factor, if that is whole.
fn scaled((whole, fraction): Number<'_>, factor: u128) -> Option<u128> {
    let tens = power_of_ten((whole, fraction))?;
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let product = digits.checked_mul(factor)?;
    product.is_multiple_of(tens).then_some(product / tens)
}

/// What the digits of a number, read as one whole number, have to be divided by.
fn power_of_ten((_, fraction): Number<'_>) -> Option<u128> {
    u32::try_from(fraction.len()).ok().map(|places| 10_u128.pow(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_summed_over_their_units() {
        for (text, ms) in [
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5s", 1500),
            ("2h", 7_200_000),
            ("0", 0),
            ("0s", 0),
            ("3000us", 3),
            ("1h1m1s1ms", 3_661_001),
        ] {
            assert_eq!(duration_ms(text), Some(ms), "{text}");
        }
        for bad in
            ["", "10", "s", "1d", "-1s", "1s ", " 1s", "1.s", "1us", "1s2", "9999999999999999s"]
        {
            assert_eq!(duration_ms(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in [
            ("64m", 64 << 20),
            ("1gb", 1 << 30),
            ("1.5k", 1536),
            ("2048", 2048),
            ("10b", 10),
            ("1 MiB", 1 << 20),
        ] {
            assert_eq!(bytes(text), Some(size), "{text}");
        }
        for bad in ["", "m", "-1m", "1x", "0.", "1mm", "999999999999999t"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn processors_are_counted_in_thousandths() {
        assert_eq!(cpu_millis("0.5"), Some(500));
        assert_eq!(cpu_millis("2"), Some(2000));
        assert_eq!(cpu_millis("0.250"), Some(250));
        for bad in ["", "0.0005", "1m", ".5", "-1", "1e3"] {
            assert_eq!(cpu_millis(bad), None, "{bad}");
        }
    }
}
