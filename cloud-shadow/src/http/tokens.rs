//! `/v1/nodes/{node}/join-tokens`: what a node joins with, once.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::path::NodePath;
use super::{Api, ApiError, body};
use crate::domain::{Action, Answer, Command};
use crate::identity::Secret;

/// What the token shall be like.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "ttl_s": 3600 }))]
pub(super) struct CreateToken {
    /// How long it is good for, in seconds; an hour if not given, at most 30 days.
    #[schema(minimum = 1, maximum = 2_592_000)]
    #[serde(default = "an_hour")]
    ttl_s: u64,
}

/// A token that is not used within a month is not going to be.
const LONGEST_S: u64 = 30 * 24 * 60 * 60;

/// A join token.
#[derive(Serialize, ToSchema)]
#[schema(as = JoinToken)]
pub(super) struct TokenJson {
    /// The secret; the cloud keeps only its fingerprint. Behind its dot is the fingerprint of the
    /// cloud's authority, by which the node knows the cloud.
    token: String,
    #[schema(value_type = String)]
    node: NodeName,
    /// When it runs out, in milliseconds since 1970.
    expires_ms: u64,
}

/// Makes a token with which the node can join, once.
#[utoipa::path(post, path = "/v1/nodes/{node}/join-tokens", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    request_body(content = CreateToken),
    responses((status = 201, body = TokenJson)))]
pub(super) async fn create(
    State(api): State<Api>,
    Caller(by): Caller,
    NodePath(node): NodePath,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<TokenJson>), ApiError> {
    let CreateToken { ttl_s } = body::request(&headers, content, body::SMALL).await?;
    check_ttl(ttl_s)?;
    let secret = Secret::join(api.identity.authority.fingerprint());
    let hash = api.gate.hash(secret.text());
    let action = Action::AddToken { hash, ttl: Duration::from_secs(ttl_s) };
    let command = Command { node: node.clone(), action, by };
    let Answer::Until(expires_ms) = api.core.execute(command).await? else {
        return Err(ApiError::internal());
    };
    Ok((StatusCode::CREATED, Json(TokenJson { token: secret.text().to_owned(), node, expires_ms })))
}

pub(super) const fn an_hour() -> u64 {
    3600
}

/// Refuses a time that is too long.
pub(super) fn check_ttl(ttl_s: u64) -> Result<(), ApiError> {
    if (1..=LONGEST_S).contains(&ttl_s) {
        return Ok(());
    }
    let message = format!("ttl_s is {ttl_s}; it must be from 1 to {LONGEST_S} (30 days)");
    Err(ApiError::bad_request(message))
}
