//! `/v1/nodes/{node}/shadows`: what should be and what is, per shadow.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::document::{Document, Patch};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;

use super::path::{NodePath, ShadowPath};
use super::shape::{ShadowJson, ShadowsJson};
use super::{Api, ApiError, body, precondition};
use crate::domain::{Action, Answer, Change, Command, Created, Rejection, ShadowView};

pub(super) async fn list(
    State(api): State<Api>,
    NodePath(node): NodePath,
) -> Result<Response, ApiError> {
    let name = node.clone();
    let look = move |domain: &crate::domain::Domain, _| {
        Some(domain.node(&name)?.shadows().collect::<Vec<_>>())
    };
    let views = api.core.read(look).await?.ok_or(Rejection::UnknownNode(node))?;
    Ok(Json(ShadowsJson::from(views.as_slice())).into_response())
}

pub(super) async fn read(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
) -> Result<Response, ApiError> {
    let (name, wanted) = (node.clone(), key.clone());
    let view = api.core.read(move |domain, _| Some(domain.node(&name)?.shadow(&wanted))).await?;
    let view = view.ok_or_else(|| Rejection::UnknownNode(node.clone()))?;
    if !view.is_present() {
        return Err(Rejection::UnknownShadow { node, key }.into());
    }
    Ok(respond(StatusCode::OK, &view))
}

pub(super) async fn put(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let value = body::json(&headers, content, body::JSON).await?;
    let change = Change::Put(Document::from_value(value)?);
    let (view, Created(created)) = write(&api, node, key, change, &headers).await?;
    Ok(respond(if created { StatusCode::CREATED } else { StatusCode::OK }, &view))
}

pub(super) async fn patch(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let value = body::json(&headers, content, body::PATCH).await?;
    let change = Change::Patch(Patch::from_value(value)?);
    let (view, Created(created)) = write(&api, node, key, change, &headers).await?;
    Ok(respond(if created { StatusCode::CREATED } else { StatusCode::OK }, &view))
}

pub(super) async fn delete(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    write(&api, node, key, Change::Delete, &headers).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn write(
    api: &Api,
    node: NodeName,
    key: ShadowKey,
    change: Change,
    headers: &HeaderMap,
) -> Result<(ShadowView, Created), ApiError> {
    let when = precondition::of(headers)?;
    let action = Action::Write { key, change, when };
    match api.core.execute(Command { node, action }).await? {
        Answer::Shadow(view, created) => Ok((*view, created)),
        Answer::Nothing | Answer::Node(..) | Answer::Until(_) => Err(ApiError::internal()),
    }
}

fn respond(status: StatusCode, view: &ShadowView) -> Response {
    let tag = precondition::etag(view.desired_version());
    (status, [(header::ETAG, tag)], Json(ShadowJson::from(view))).into_response()
}
