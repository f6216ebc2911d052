//! `/v1/apps`: which app runs where, and how it is.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use gnomon_schemas::app::{AppSpec, AppStatus};
use serde_json::{Value, json};

use super::{Api, ApiError, query};
use crate::core::WatchFilter;
use crate::domain::{Domain, Node, Rejection, ShadowView};

pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let filter = query::filter(&uri, false)?;
    let views = api.core.read(move |domain, _| apps(domain, &filter)).await??;
    Ok(Json(json!({ "apps": views.iter().map(row).collect::<Vec<_>>() })))
}

fn apps(domain: &Domain, filter: &WatchFilter) -> Result<Vec<ShadowView>, Rejection> {
    let known = |name| domain.node(name).ok_or_else(|| Rejection::UnknownNode(name.clone()));
    let nodes: Vec<&Node> = if filter.nodes.is_empty() {
        domain.nodes().collect()
    } else {
        filter.nodes.iter().map(known).collect::<Result<_, _>>()?
    };
    let shadows = nodes.into_iter().flat_map(Node::shadows);
    Ok(shadows.filter(|view| view.key.app().is_some()).collect())
}

fn row(view: &ShadowView) -> Value {
    let spec = view.desired.as_ref().map(|half| AppSpec::from_document(&half.document.to_value()));
    let status = view.reported.as_ref().map(|half| half.document.to_value());
    json!({
        "node": view.node,
        "app": view.key.app(),
        "desired_version": view.desired_version(),
        "revision": spec.and_then(Result::ok).map(|spec| spec.revision()),
        "status": status.filter(|value| AppStatus::from_document(value).is_ok()),
    })
}
