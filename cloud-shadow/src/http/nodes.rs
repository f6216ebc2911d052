//! `/v1/nodes`: the sites that the cloud knows.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::path::NodePath;
use super::{Api, ApiError, body, shape};
use crate::domain::{Action, Answer, Command, Created, NodeView, Rejection};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PutNode {
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

pub(super) async fn put(
    State(api): State<Api>,
    NodePath(node): NodePath,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let PutNode { labels } = body::request(&headers, content, body::REQUEST).await?;
    let action = Action::PutNode { labels };
    let Answer::Node(view, Created(created)) = api.core.execute(Command { node, action }).await?
    else {
        return Err(ApiError::internal());
    };
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(shape::node(&view))))
}

pub(super) async fn list(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let views: Vec<NodeView> =
        api.core.read(|domain, _| domain.nodes().map(crate::domain::Node::view).collect()).await?;
    Ok(Json(json!({ "nodes": views.iter().map(shape::node).collect::<Vec<_>>() })))
}

pub(super) async fn read(
    State(api): State<Api>,
    NodePath(node): NodePath,
) -> Result<Json<Value>, ApiError> {
    let name = node.clone();
    let view = api.core.read(move |domain, _| Some(domain.node(&name)?.view())).await?;
    let view = view.ok_or(Rejection::UnknownNode(node))?;
    Ok(Json(shape::node(&view)))
}

pub(super) async fn delete(
    State(api): State<Api>,
    NodePath(node): NodePath,
) -> Result<StatusCode, ApiError> {
    api.core.execute(Command { node, action: Action::DeleteNode }).await?;
    Ok(StatusCode::NO_CONTENT)
}
