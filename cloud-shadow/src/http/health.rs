//! What supervisors and Prometheus ask; open to everyone who reaches the port.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Api, ApiError};
use crate::health::{Check, Report};

/// Whether the cloud can do its work, and what is not well.
#[derive(Serialize, ToSchema)]
#[schema(as = Ready)]
pub(super) struct ReadyJson {
    /// Whether it can do its work. It may be ready and not well: a full disk keeps nobody from
    /// reading.
    ready: bool,
    /// `ok`, `degraded` (ready, with reasons) or `unready`.
    status: &'static str,
    /// What is not well.
    reasons: Vec<ReasonJson>,
    /// Each check: `ok`, or the code of the first reason.
    #[schema(value_type = Object)]
    checks: BTreeMap<&'static str, &'static str>,
}

/// Why something does not work.
#[derive(Serialize, ToSchema)]
#[schema(as = Reason)]
struct ReasonJson {
    /// Which check has found it: `core`, `store`, `disk`, `broker`, `certificates`, `clock`.
    check: &'static str,
    code: &'static str,
    message: String,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, body = Object, example = json!({ "status": "ok" }))))]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The cloud can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = ReadyJson), (status = 503, body = ReadyJson)))]
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, Json<ReadyJson>) {
    let answer = form(&api.health.report().await);
    let status = if answer.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(answer))
}

fn form(report: &Report) -> ReadyJson {
    let ready = report.is_ready();
    let status = match (ready, report.findings.is_empty()) {
        (true, true) => "ok",
        (true, false) => "degraded",
        (false, _) => "unready",
    };
    let found = |check: Check| report.findings.iter().find(|finding| finding.check == check);
    let reason = |finding: &crate::health::Finding| ReasonJson {
        check: finding.check.name(),
        code: finding.code,
        message: finding.message.to_string(),
    };
    let state = |check: Check| (check.name(), found(check).map_or("ok", |finding| finding.code));
    ReadyJson {
        ready,
        status,
        reasons: report.findings.iter().map(reason).collect(),
        checks: Check::ALL.map(state).into_iter().collect(),
    }
}

/// How long the core may take to say how far the nodes are behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// The counters in the text form of `OpenMetrics`.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200,
    body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let metrics = api.metrics.clone();
    let look = move |domain: &crate::domain::Domain, now: crate::domain::Now| {
        let lag = |since_ms: u64| now.unix_ms.saturating_sub(since_ms) / 1000;
        metrics.lags(domain.behind().map(|late| lag(late.since_ms)));
    };
    // Without an answer those figures stay as they are; the others are worth the more.
    drop(tokio::time::timeout(PATIENCE, api.core.read(look)).await);
    let mut out = String::new();
    if text::encode(&mut out, &api.registry).is_err() {
        return ApiError::internal().into_response();
    }
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], out).into_response()
}
