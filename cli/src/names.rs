//! Names on the command line, checked before the cloud is asked.

use gnomon_schemas::id::{AppName, NodeName};
use gnomon_schemas::key::ShadowKey;

/// A node's name.
pub(crate) fn node(text: &str) -> Result<NodeName, String> {
    text.parse().map_err(|error: gnomon_schemas::id::ParseIdError| error.to_string())
}

/// An app's name.
pub(crate) fn app(text: &str) -> Result<AppName, String> {
    text.parse().map_err(|error: gnomon_schemas::id::ParseIdError| error.to_string())
}

/// A shadow's key.
pub(crate) fn key(text: &str) -> Result<ShadowKey, String> {
    text.parse().map_err(|error: gnomon_schemas::key::ParseKeyError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

/// A label, `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("a label has the form key=value".to_owned()),
    }
}

/// A span of time such as `90s`, `5m` or `2h`.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let (number, unit) = text.split_at(digits.len());
    let seconds = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("a time has the form 90s, 5m, 2h or 1d".to_owned()),
    };
    let number: u64 =
        number.parse().map_err(|_| "a time has the form 90s, 5m, 2h or 1d".to_owned())?;
    Ok(std::time::Duration::from_secs(number.saturating_mul(seconds)))
}
