//! `/v1/nodes/{node}/join-tokens`: what a node joins with, once.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::NodePath;
use super::{Api, ApiError, body};
use crate::domain::{Action, Answer, Command};
use crate::identity::JoinToken;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateToken {
    #[serde(default = "an_hour")]
    ttl_s: u64,
}

/// A token that is not used within a month is not going to be.
const LONGEST_S: u64 = 30 * 24 * 60 * 60;

pub(super) async fn create(
    State(api): State<Api>,
    NodePath(node): NodePath,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let CreateToken { ttl_s } = body::request(&headers, content, body::SMALL).await?;
    if !(1..=LONGEST_S).contains(&ttl_s) {
        let message = format!("ttl_s is {ttl_s}; it must be from 1 to {LONGEST_S} (30 days)");
        return Err(ApiError::bad_request(message));
    }
    let token = JoinToken::random();
    let action = Action::AddToken { hash: token.hash, ttl: Duration::from_secs(ttl_s) };
    let command = Command { node: node.clone(), action };
    let Answer::Until(expires_ms) = api.core.execute(command).await? else {
        return Err(ApiError::internal());
    };
    let answer = json!({ "token": token.text, "node": node, "expires_ms": expires_ms });
    Ok((StatusCode::CREATED, Json(answer)))
}

const fn an_hour() -> u64 {
    3600
}
