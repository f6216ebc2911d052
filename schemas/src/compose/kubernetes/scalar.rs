//! What a text without quotes stands for, as kubectl understands it: YAML 1.1 in most, 1.2 in the
//! rest. Where the two differ it is refused, but for octal numbers, which file modes are written in.

use serde_json::{Number, Value};

use crate::compose::ComposeErrorKind as Kind;

pub(super) fn read(text: &str, plain: bool) -> Result<Value, Kind> {
    if !plain {
        return Ok(Value::from(text));
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let lower = text.to_ascii_lowercase();
    if matches!(lower.as_str(), "y" | "n" | "yes" | "no" | "on" | "off") {
        return Err(Kind::Ambiguous { found: text.to_owned() });
    }
    if matches!(lower.trim_start_matches(['+', '-']), ".inf" | ".nan") {
        return Err(Kind::NotFinite);
    }
    number(text)
}

fn number(text: &str) -> Result<Value, Kind> {
    let (sign, digits) = match text.as_bytes() {
        [b'-', ..] => (-1, text.get(1..).unwrap_or_default()),
        [b'+', ..] => (1, text.get(1..).unwrap_or_default()),
        _ => (1, text),
    };
    let ambiguous = || Kind::Ambiguous { found: text.to_owned() };
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    let of = |digits: &str, radix| {
        let number = i128::from_str_radix(digits, radix).map_err(|_| ambiguous())? * sign;
        let number = u64::try_from(number)
            .map(Number::from)
            .or_else(|_| i64::try_from(number).map(Number::from).map_err(|_| ambiguous()))?;
        Ok(Value::Number(number))
    };
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    for (prefix, radix) in radix {
        if let Some(rest) = digits.strip_prefix(prefix).filter(|rest| all(rest, radix)) {
            return of(rest, radix);
        }
    }
    if all(digits, 10) {
        return match digits.strip_prefix('0') {
            Some(rest) if all(rest, 8) => of(rest, 8),
            Some("") | None => of(digits, 10),
            Some(_) => Err(ambiguous()),
        };
    }
    if !is_float(digits) {
        return Ok(Value::from(text));
    }
    let float: f64 = text.parse().map_err(|_| ambiguous())?;
    // A whole number is written without a fraction, as kubectl sends it.
    if float.fract() == 0.0 && float.abs() < 9e15 {
        return of(&format!("{:.0}", float.abs()), 10);
    }
    Number::from_f64(float).map(Value::Number).ok_or(Kind::NotFinite)
}

fn is_float(digits: &str) -> bool {
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let are = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent = exponent.is_none_or(|it| {
        let it = it.trim_start_matches(['+', '-']);
        !it.is_empty() && are(it)
    });
    are(whole) && are(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}
