//! `/v1/nodes`: the sites that the cloud knows.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::{PoolName, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::{Caller, Within};
use super::path::{AnyNodePath, NodePath};
use super::shape::{NodeJson, NodesJson};
use super::{Api, ApiError, body};
use crate::domain::{Action, Answer, Command, Created, Domain, Node, NodeView, Rejection};

/// What an operator says of a node.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "labels": { "region": "north" } }))]
pub(super) struct PutNode {
    /// At most 64; a key has 1 to 63 of a-z, A-Z, 0-9, `.`, `_`, `-`, `/`, a value at most 256 bytes.
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// Whose it is, for life; if not given, the token's tenant, else `default`.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// The group that it is in; if not given, the token's pool, else none.
    #[schema(value_type = Option<String>)]
    pool: Option<PoolName>,
}

/// Makes a node, or sets its labels and its pool.
#[utoipa::path(put, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    request_body(content = PutNode),
    responses((status = 200, body = NodeJson<'_>), (status = 201, body = NodeJson<'_>)))]
pub(super) async fn put(
    State(api): State<Api>,
    Caller(by): Caller,
    AnyNodePath(node): AnyNodePath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let PutNode { labels, tenant, pool } = body::request(&headers, content, body::REQUEST).await?;
    let action = Action::PutNode { labels, tenant, pool };
    let command = Command { node, action, by };
    let Answer::Node(view, Created(created)) = api.core.execute(command).await? else {
        return Err(ApiError::internal());
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(NodeJson::from(&*view))).into_response())
}

/// All nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    responses((status = 200, body = NodesJson<'_>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
) -> Result<Response, ApiError> {
    let look = move |domain: &Domain, _| {
        let nodes = domain.nodes().filter(|node| within.covers(node.home()));
        nodes.map(Node::view).collect()
    };
    let views: Vec<NodeView> = api.core.read(look).await?;
    let nodes = NodesJson { nodes: views.iter().map(NodeJson::from).collect() };
    Ok(Json(nodes).into_response())
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    responses((status = 200, body = NodeJson<'_>)))]
pub(super) async fn read(
    State(api): State<Api>,
    NodePath(node): NodePath,
) -> Result<Response, ApiError> {
    let name = node.clone();
    let view = api.core.read(move |domain, _| Some(domain.node(&name)?.view())).await?;
    let view = view.ok_or(Rejection::UnknownNode(node))?;
    Ok(Json(NodeJson::from(&view)).into_response())
}

/// Deletes a node with everything it had.
#[utoipa::path(delete, path = "/v1/nodes/{node}", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    responses((status = 204, description = "It is deleted, its session has ended")))]
pub(super) async fn delete(
    State(api): State<Api>,
    Caller(by): Caller,
    NodePath(node): NodePath,
) -> Result<StatusCode, ApiError> {
    api.core.execute(Command { node, action: Action::DeleteNode, by }).await?;
    Ok(StatusCode::NO_CONTENT)
}
