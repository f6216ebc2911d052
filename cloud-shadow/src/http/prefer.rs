//! The header Prefer (RFC 7240): whether a write is answered with the shadow or with its version
//! alone. What is not understood is ignored, as the RFC wants it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::version::Version;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::{ObjectBuilder, Required};

use super::precondition;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const MINIMAL: HeaderValue = HeaderValue::from_static("return=minimal");

/// How a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answering {
    /// With the shadow.
    Whole,
    /// With the version of `desired`.
    Minimal,
}

impl Answering {
    /// As the headers want it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        let is_minimal = |preference: &str| {
            let pair = preference.split(';').next().unwrap_or_default().split_once('=');
            pair.is_some_and(|(name, value)| {
                name.trim().eq_ignore_ascii_case("return")
                    && value.trim().trim_matches('"').eq_ignore_ascii_case("minimal")
            })
        };
        if values.flat_map(|value| value.split(',')).any(is_minimal) {
            Self::Minimal
        } else {
            Self::Whole
        }
    }
}

/// The answer that says the version and nothing else.
pub(super) fn minimal(version: Version) -> Response {
    let tag = precondition::etag(version);
    (StatusCode::NO_CONTENT, [(header::ETAG, tag), (APPLIED, MINIMAL)]).into_response()
}

impl IntoParams for Answering {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let text = "`return=minimal`: the answer is 204 without a body; ETag says the version";
        let header = ParameterBuilder::new()
            .name("Prefer")
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(text))
            .schema(Some(schema))
            .build();
        vec![header]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Answering {
        let header = |value: &&'static str| (PREFER, HeaderValue::from_static(value));
        Answering::of(&values.iter().map(header).collect())
    }

    #[test]
    fn only_who_asks_for_little_gets_little() {
        for values in [
            &["return=minimal"][..],
            &["Return = \"Minimal\"; foo"],
            &["respond-async, return=minimal"],
            &["wait=10", "return=minimal"],
        ] {
            assert_eq!(of(values), Answering::Minimal, "{values:?}");
        }
        for values in [&[][..], &["return=representation"], &["return"], &["minimal"], &["", ",;="]]
        {
            assert_eq!(of(values), Answering::Whole, "{values:?}");
        }
    }
}
