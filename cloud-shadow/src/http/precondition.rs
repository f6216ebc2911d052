//! The conditions of a write, from the headers If-Match and If-None-Match.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use gnomon_schemas::version::Version;

use super::{ApiError, error};
use crate::domain::Precondition;

/// Reads the condition under which a write is meant.
pub(super) fn of(headers: &HeaderMap) -> Result<Precondition, ApiError> {
    let only_match = single(headers, &header::IF_MATCH)?;
    let none_match = single(headers, &header::IF_NONE_MATCH)?;
    match (only_match, none_match) {
        (None, None) => Ok(Precondition::Any),
        (Some("*"), None) => Ok(Precondition::Present),
        (Some(tag), None) => version(tag).map(Precondition::Version),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(ApiError::bad_precondition("If-None-Match can only be `*`")),
        (Some(_), Some(_)) => {
            let message = "If-Match and If-None-Match exclude each other; send one of them";
            Err(ApiError::bad_precondition(message))
        }
    }
}

/// The tag of a version.
pub(super) fn etag(version: Version) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("digits in quotes fit into a header")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match (value.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        (Ok(_), Some(_)) | (Err(_), _) => {
            Err(ApiError::bad_precondition(format!("{name} must be there once, with one tag")))
        }
    }
}

fn version(tag: &str) -> Result<Version, ApiError> {
    let digits = tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).ok_or_else(|| {
        let tag = error::brief(tag);
        let message = format!("{tag:?} is not the version of a desired half; it looks like \"7\"");
        ApiError::bad_precondition(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(HeaderName, &'static str)]) -> Result<Precondition, ApiError> {
        let pair = |(name, value): &(HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        of(&pairs.iter().map(pair).collect())
    }

    #[test]
    fn every_condition_is_understood() {
        let (im, inm) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(read(&[]).unwrap(), Precondition::Any);
        assert_eq!(read(&[(im.clone(), "\"7\"")]).unwrap(), Precondition::Version(Version(7)));
        assert_eq!(read(&[(im, "*")]).unwrap(), Precondition::Present);
        assert_eq!(read(&[(inm, "*")]).unwrap(), Precondition::Absent);
    }

    #[test]
    fn what_is_not_a_condition_is_refused_and_never_ignored() {
        let (im, inm) = (header::IF_MATCH, header::IF_NONE_MATCH);
        for bad in ["7", "W/\"7\"", "\"7\", \"8\"", "\"\"", "\"-1\"", "\"+1\"", "\"x\"", ""] {
            assert!(read(&[(im.clone(), bad)]).is_err(), "{bad} was accepted");
        }
        assert!(read(&[(inm.clone(), "\"7\"")]).is_err());
        assert!(read(&[(im, "*"), (inm, "*")]).is_err());
    }
}
