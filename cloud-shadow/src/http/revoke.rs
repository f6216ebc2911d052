//! `/v1/nodes/{node}/revoke`: shuts a node out whose machine is in wrong hands.

use axum::extract::State;
use axum::http::StatusCode;

use super::auth::Caller;
use super::path::NodePath;
use super::{Api, ApiError};
use crate::domain::{Action, Command};

/// Shuts a node out: its session ends at once, its certificates and join tokens are good for
/// nothing any more. Its shadows stay; with a new join token it comes back.
#[utoipa::path(post, path = "/v1/nodes/{node}/revoke", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    responses((status = 204, description = "It is shut out")))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, ApiError> {
    api.core.execute(Command { node, action: Action::Revoke, by }).await?;
    Ok(StatusCode::NO_CONTENT)
}
