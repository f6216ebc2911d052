//! `/v1/nodes/{node}/shadows`: what should be and what is, per shadow.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::document::{Document, Patch};

use super::auth::Caller;
use super::path::{NodePath, ShadowPath};
use super::precondition::Conditions;
use super::prefer::Answering;
use super::query::Pairs;
use super::shape::{ShadowJson, ShadowsJson, Wanted};
use super::{Api, ApiError, body, precondition, prefer};
use crate::clock;
use crate::domain::{Action, Answer, Change, Command, Created, Rejection, ShadowView, Write};

/// The shadows of a node.
#[utoipa::path(get, path = "/v1/nodes/{node}/shadows", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1")),
    responses((status = 200, body = ShadowsJson<'_>)))]
pub(super) async fn list(
    State(api): State<Api>,
    NodePath(node): NodePath,
) -> Result<Response, ApiError> {
    let name = node.clone();
    let look = move |domain: &crate::domain::Domain, _| {
        Some(domain.node(&name)?.shadows().collect::<Vec<_>>())
    };
    let views = api.core.read(look).await?.ok_or(Rejection::UnknownNode(node))?;
    Ok(Json(ShadowsJson::new(&views, &Wanted::plain(clock::unix_ms()))).into_response())
}

/// One shadow, or parts of it.
#[utoipa::path(get, path = "/v1/nodes/{node}/shadows/{key}", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        ("pointer" = Option<Vec<String>>, Query,
            description = "Only these parts of the documents, as JSON pointers; may be repeated. \
                An array that one leads into comes whole"),
        ("metadata" = Option<bool>, Query,
            description = "When and by which version each field was last written"),
        ("acks" = Option<bool>, Query, description = "What became of each desired field")),
    responses((status = 200, body = ShadowJson<'_>,
        headers(("etag" = String, description = "The version of desired, in quotes")))))]
pub(super) async fn read(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let wanted = Wanted {
        pointers: pairs.pointers()?,
        metadata: pairs.one("metadata")?.unwrap_or_default(),
        acks: pairs.one("acks")?.unwrap_or_default(),
        now_ms: clock::unix_ms(),
    };
    pairs.end()?;
    let (name, key_wanted) = (node.clone(), key.clone());
    let look =
        move |domain: &crate::domain::Domain, _| Some(domain.node(&name)?.shadow(&key_wanted));
    let view = api.core.read(look).await?.ok_or_else(|| Rejection::UnknownNode(node.clone()))?;
    if !view.is_present() {
        return Err(Rejection::UnknownShadow { node, key }.into());
    }
    Ok(respond(StatusCode::OK, &view, &wanted))
}

/// Replaces `desired`.
#[utoipa::path(put, path = "/v1/nodes/{node}/shadows/{key}", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        Conditions, Answering),
    request_body(content = Object, description = "The new document, without null",
        example = json!({ "price": 1.79 })),
    responses((status = 200, body = ShadowJson<'_>), (status = 201, body = ShadowJson<'_>),
        (status = 204, description = "It is done; who asked preferred no more")))]
pub(super) async fn put(
    State(api): State<Api>,
    Caller(by): Caller,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let Conditions { when, fields } = precondition::of(&headers)?;
    let value = body::json(&headers, content, body::JSON).await?;
    let change = Change::Put(Document::from_value(value)?);
    let action = Action::Write(Write { key, change, when, fields });
    write(&api, Command { node, action, by }, Answering::of(&headers)).await
}

/// Changes `desired` by a merge patch (RFC 7396).
#[utoipa::path(patch, path = "/v1/nodes/{node}/shadows/{key}", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        Conditions, Answering),
    request_body(content((Object = "application/merge-patch+json"), (Object = "application/json")),
        description = "What changes; null deletes", example = json!({ "price": 1.79 })),
    responses((status = 200, body = ShadowJson<'_>), (status = 201, body = ShadowJson<'_>),
        (status = 204, description = "It is done; who asked preferred no more")))]
pub(super) async fn patch(
    State(api): State<Api>,
    Caller(by): Caller,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let Conditions { when, fields } = precondition::of(&headers)?;
    let value = body::json(&headers, content, body::PATCH).await?;
    let change = Change::Patch(Patch::from_value(value)?);
    let action = Action::Write(Write { key, change, when, fields });
    write(&api, Command { node, action, by }, Answering::of(&headers)).await
}

/// Deletes `desired`.
#[utoipa::path(delete, path = "/v1/nodes/{node}/shadows/{key}", tag = "shadows",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        Conditions),
    responses((status = 204, description = "It is deleted")))]
pub(super) async fn delete(
    State(api): State<Api>,
    Caller(by): Caller,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    let Conditions { when, fields } = precondition::of(&headers)?;
    let action = Action::Write(Write { key, change: Change::Delete, when, fields });
    execute(&api, Command { node, action, by }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Carries out a write and answers with the shadow.
pub(super) async fn write(
    api: &Api,
    command: Command,
    answering: Answering,
) -> Result<Response, ApiError> {
    let (view, Created(created)) = execute(api, command).await?;
    if answering == Answering::Minimal {
        return Ok(prefer::minimal(view.desired_version()));
    }
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(respond(status, &view, &Wanted::plain(clock::unix_ms())))
}

/// Carries out a write.
async fn execute(api: &Api, command: Command) -> Result<(Arc<ShadowView>, Created), ApiError> {
    match api.core.execute(command).await? {
        Answer::Shadow(view, created) => Ok((view, created)),
        Answer::Nothing | Answer::Node(..) | Answer::Until(_) => Err(ApiError::internal()),
    }
}

fn respond(status: StatusCode, view: &ShadowView, wanted: &Wanted) -> Response {
    let tag = precondition::etag(view.desired_version());
    (status, [(header::ETAG, tag)], Json(ShadowJson::new(view, wanted))).into_response()
}
