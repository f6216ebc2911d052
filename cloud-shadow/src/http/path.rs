//! The names in a path, checked before anything else happens.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;

use super::auth::Caller;
use super::{Api, ApiError};
use crate::domain::Rejection;

/// A path that names a node.
pub(super) struct NodePath(pub(super) NodeName);

/// A path that names a shadow of a node.
pub(super) struct ShadowPath(pub(super) NodeName, pub(super) ShadowKey);

/// The same, of a node that need not be there.
pub(super) struct AnyNodePath(pub(super) NodeName);

/// A path with one name or id in it, whatever it may be.
pub(super) struct IdPath(pub(super) String);

impl FromRequestParts<Api> for IdPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Path(id) = Path::from_request_parts(parts, api).await.map_err(|_| unreadable())?;
        Ok(Self(id))
    }
}

impl FromRequestParts<Api> for AnyNodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let IdPath(name) = IdPath::from_request_parts(parts, api).await?;
        node(&name).map(Self)
    }
}

impl FromRequestParts<Api> for NodePath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let AnyNodePath(name) = AnyNodePath::from_request_parts(parts, api).await?;
        known(parts, api, name).await.map(Self)
    }
}

impl FromRequestParts<Api> for ShadowPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Path((name, key)): Path<(String, String)> =
            Path::from_request_parts(parts, api).await.map_err(|_| unreadable())?;
        let (node, key) = (node(&name)?, shadow(&key)?);
        Ok(Self(known(parts, api, node).await?, key))
    }
}

/// For a caller whose scope is not the whole cloud, a node of others is as unknown as one that
/// never was, whatever else is wrong with the request.
async fn known(parts: &mut Parts, api: &Api, node: NodeName) -> Result<NodeName, ApiError> {
    let Caller(by) = Caller::from_request_parts(parts, api).await?;
    if by.scope().is_none() {
        return Ok(node);
    }
    let name = node.clone();
    let look = move |domain: &crate::domain::Domain, _| {
        domain.node(&name).is_some_and(|node| by.covers(node.home()))
    };
    if api.core.read(look).await? { Ok(node) } else { Err(Rejection::UnknownNode(node).into()) }
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
