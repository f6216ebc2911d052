//! `/v1/nodes/{node}/tags/{key}`: what operators note about a shadow.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::Caller;
use super::path::ShadowPath;
use super::prefer::Answering;
use super::{Api, ApiError, body, shadows};
use crate::domain::{Action, Command};

/// All tags of a shadow.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "tags": { "owner": "team-fuel" } }))]
pub(super) struct PutTags {
    /// At most 64, like the labels of a node.
    tags: BTreeMap<String, String>,
}

/// Sets the tags of a shadow that there is; no site ever sees them.
#[utoipa::path(put, path = "/v1/nodes/{node}/tags/{key}", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7")),
    request_body(content = PutTags),
    responses((status = 200, body = super::shape::ShadowJson<'_>)))]
pub(super) async fn put(
    State(api): State<Api>,
    Caller(by): Caller,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let PutTags { tags } = body::request(&headers, content, body::REQUEST).await?;
    let action = Action::Tag { key, tags };
    shadows::write(&api, Command { node, action, by }, Answering::Whole).await
}
