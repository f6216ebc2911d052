//! What a label may look like.

use std::collections::BTreeMap;

use super::rejection::{BadLabel, Rejection};

const LABELS: usize = 64;
const KEY_BYTES: usize = 63;
const VALUE_BYTES: usize = 256;

/// Refuses labels that no selector could name, and too many of them.
pub fn check(labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if labels.len() > LABELS {
        let bad = BadLabel::TooMany { limit: LABELS, found: labels.len() };
        return Err(Rejection::BadLabel(bad));
    }
    labels.iter().try_for_each(|(key, value)| check_one(key, value)).map_err(Rejection::BadLabel)
}

fn check_one(key: &str, value: &str) -> Result<(), BadLabel> {
    let nameable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    if key.is_empty() || key.len() > KEY_BYTES || !key.chars().all(nameable) {
        return Err(BadLabel::Key(key.chars().take(KEY_BYTES).collect()));
    }
    if value.len() > VALUE_BYTES {
        let (key, found) = (key.to_owned(), value.len());
        return Err(BadLabel::Value { key, found, limit: VALUE_BYTES });
    }
    Ok(())
}
