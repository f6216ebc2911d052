//! `/v1/nodes`: the sites that the cloud knows.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::{NodeName, PoolName, TenantName};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::{Caller, Within};
use super::path::{self, AnyNodePath, NodePath};
use super::query::Pairs;
use super::shape::{NodeJson, NodesJson};
use super::{Api, ApiError, body};
use crate::access::Scope;
use crate::clock;
use crate::domain::{Action, Answer, Command, Created, Domain, NodeView, Rejection};

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
    Ok((status, Json(NodeJson::new(&view, clock::unix_ms()))).into_response())
}

/// The most nodes of a page.
const LARGEST_PAGE: usize = 10_000;

/// How many nodes are looked at at a stretch, since nothing is written meanwhile.
const STRETCH: usize = 1000;

/// Which nodes are wanted.
#[derive(Clone)]
struct Wish {
    within: Scope,
    selected: Scope,
    online: Option<bool>,
}

impl Wish {
    /// Of the next nodes behind one those that are wanted, at most so many, and the last that was
    /// looked at; `None`: there are no more.
    fn look(
        &self,
        domain: &Domain,
        after: Option<&NodeName>,
        room: usize,
    ) -> (Vec<NodeView>, Option<NodeName>) {
        let (mut views, mut last) = (Vec::new(), None);
        for (count, node) in domain.nodes_after(after).enumerate() {
            if count >= STRETCH || views.len() >= room {
                return (views, last);
            }
            last = Some(node.name().clone());
            if self.within.covers(node.home()) && self.selected.covers(node.home()) {
                let view = node.view();
                let is_wanted = self.online.is_none_or(|online| view.presence.online == online);
                views.extend(Some(view).filter(|_| is_wanted));
            }
        }
        (views, None)
    }
}

/// The nodes, by name.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    params(("label" = Option<Vec<String>>, Query,
            description = "`key=value`: only nodes with this label; may be repeated"),
        ("pool" = Option<String>, Query, description = "Only nodes in this pool"),
        ("tenant" = Option<String>, Query, description = "Only nodes of this tenant"),
        ("online" = Option<bool>, Query, description = "Only nodes that are connected, or are not"),
        ("limit" = Option<u64>, Query, description = "1 to 10000; without it all nodes come"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = NodesJson<'_>)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let (selected, online) = (pairs.scope()?, pairs.one("online")?);
    let wish = Wish { within, selected, online };
    let limit = pairs.limit(usize::MAX, LARGEST_PAGE)?;
    let mut after = pairs.text("after")?.map(|name| path::node(&name)).transpose()?;
    pairs.end()?;
    let mut views: Vec<NodeView> = Vec::new();
    loop {
        let (wish, from, room) = (wish.clone(), after.take(), limit - views.len());
        let look = move |domain: &Domain, _| wish.look(domain, from.as_ref(), room);
        let (found, last) = api.core.read(look).await?;
        views.extend(found);
        after = last;
        if after.is_none() || views.len() >= limit {
            break;
        }
    }
    Ok(Json(NodesJson::new(&views, after.as_ref(), clock::unix_ms())).into_response())
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
    Ok(Json(NodeJson::new(&view, clock::unix_ms())).into_response())
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
