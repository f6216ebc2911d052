//! `/v1/apps`: which app runs where, and how it is.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use gnomon_schemas::app::{AppSpec, AppStatus};
use gnomon_schemas::id::{AppName, NodeName};
use gnomon_schemas::version::Version;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::auth::Within;
use super::{Api, ApiError, query};
use crate::clock;
use crate::core::WatchFilter;
use crate::domain::{Domain, Node, Rejection, ShadowView};

/// An app on a node.
#[derive(Serialize, ToSchema)]
#[schema(as = App)]
pub(super) struct AppJson {
    #[schema(value_type = String)]
    node: NodeName,
    #[schema(value_type = Option<String>)]
    app: Option<AppName>,
    /// Zero: it is not desired any more.
    #[schema(value_type = u64)]
    desired_version: Version,
    /// The fingerprint of what is desired.
    revision: Option<String>,
    /// What the site reports of it.
    #[schema(value_type = Option<Object>)]
    status: Option<Value>,
    /// When the site's report last changed at the cloud, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_ms: Option<u64>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
}

/// Apps, by node.
#[derive(Serialize, ToSchema)]
#[schema(as = Apps)]
pub(super) struct AppsJson {
    apps: Vec<AppJson>,
}

/// Which app runs where, and how it is.
#[utoipa::path(get, path = "/v1/apps", tag = "apps",
    params(("node" = Option<Vec<String>>, Query, description = "Only of these nodes; may be repeated"),
        ("label" = Option<Vec<String>>, Query,
            description = "`key=value`: only of nodes with this label; may be repeated"),
        ("pool" = Option<String>, Query, description = "Only of nodes in this pool"),
        ("tenant" = Option<String>, Query, description = "Only of nodes of this tenant")),
    responses((status = 200, body = AppsJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Json<AppsJson>, ApiError> {
    let filter = WatchFilter { within, ..query::filter(&uri, false)? };
    let views = api.core.read(move |domain, _| apps(domain, &filter)).await??;
    let now_ms = clock::unix_ms();
    Ok(Json(AppsJson { apps: views.iter().map(|view| row(view, now_ms)).collect() }))
}

fn apps(domain: &Domain, filter: &WatchFilter) -> Result<Vec<ShadowView>, Rejection> {
    let shadows = filter.select(domain)?.into_iter().flat_map(Node::shadows);
    Ok(shadows.filter(|view| view.key.app().is_some()).collect())
}

fn row(view: &ShadowView, now_ms: u64) -> AppJson {
    let updated_ms = view.reported.as_ref().and_then(|half| half.changed_ms);
    let spec = view.desired.as_ref().map(|half| AppSpec::from_document(&half.document.to_value()));
    let status = view.reported.as_ref().map(|half| half.document.to_value());
    AppJson {
        node: view.node.clone(),
        app: view.key.app().cloned(),
        desired_version: view.desired_version(),
        revision: spec.and_then(Result::ok).map(|spec| spec.revision().to_string()),
        status: status.filter(|value| AppStatus::from_document(value).is_ok()),
        updated_ms,
        age_ms: updated_ms.map(|updated_ms| now_ms.saturating_sub(updated_ms)),
    }
}
