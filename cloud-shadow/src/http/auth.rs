//! Every call below /v1/ carries the operator's token, except that with which a node joins.

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Api, ApiError};

/// Where a node joins; it brings its own token.
pub(super) const ENROLL: &str = "/v1/enroll";

pub(super) async fn require_token(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    let is_open = matches!(path, ENROLL | "/healthz" | "/readyz" | "/metrics");
    if is_open || is_authorized(&api, &request) {
        return next.run(request).await;
    }
    ApiError::unauthorized(
        "the call needs the header `Authorization: Bearer <token>`; the token is in the file \
         admin-token in the cloud's data folder",
    )
    .into_response()
}

fn is_authorized(api: &Api, request: &Request) -> bool {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let token = value.to_str().ok().and_then(|text| text.split_once(' '));
    let is_right = |(scheme, token): (&str, &str)| {
        scheme.eq_ignore_ascii_case("bearer") && api.identity.admin_token.is(token.trim())
    };
    token.is_some_and(is_right)
}
