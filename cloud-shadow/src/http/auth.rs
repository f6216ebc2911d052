//! Every call below /v1/ carries the operator's token, except that with which a node joins.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Api, ApiError};
use crate::domain::Author;

/// Where a node joins; it brings its own token.
pub(super) const ENROLL: &str = "/v1/enroll";

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Author);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::internal)
    }
}

/// What anyone may ask for who reaches the port.
pub(super) const OPEN: [&str; 5] = [ENROLL, "/healthz", "/readyz", "/metrics", "/openapi.json"];

pub(super) async fn require_token(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    if is_authorized(&api, request.headers()) {
        request.extensions_mut().insert(Caller(Author::new("admin")));
        return next.run(request).await;
    }
    ApiError::unauthorized(
        "the call needs the header `Authorization: Bearer <token>`; the token is in the file \
         admin-token in the cloud's data folder",
    )
    .into_response()
}

/// Whether the operator's token is there.
pub(crate) fn is_authorized(api: &Api, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    let is_right = |(scheme, token): (&str, &str)| {
        scheme.eq_ignore_ascii_case("bearer") && api.identity.admin_token.is(token.trim())
    };
    token.is_some_and(is_right)
}
