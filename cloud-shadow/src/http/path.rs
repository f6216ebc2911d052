//! The names in a path, checked before anything else happens.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;

use super::ApiError;

/// A path that names a node.
pub(super) struct NodePath(pub(super) NodeName);

/// A path that names a shadow of a node.
pub(super) struct ShadowPath(pub(super) NodeName, pub(super) ShadowKey);

impl<S: Send + Sync> FromRequestParts<S> for NodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(name): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| unreadable())?;
        node(&name).map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ShadowPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((name, key)): Path<(String, String)> =
            Path::from_request_parts(parts, state).await.map_err(|_| unreadable())?;
        Ok(Self(node(&name)?, shadow(&key)?))
    }
}

/// A node's name.
pub(super) fn node(text: &str) -> Result<NodeName, ApiError> {
    text.parse().map_err(|error| ApiError::bad("the node's name", &error))
}

/// A shadow's key.
pub(super) fn shadow(text: &str) -> Result<ShadowKey, ApiError> {
    text.parse().map_err(|error| ApiError::bad("the shadow's key", &error))
}

fn unreadable() -> ApiError {
    ApiError::bad_request("the path holds percent codes that are not UTF-8")
}
