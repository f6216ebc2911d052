//! What supervisors and Prometheus ask; open to everyone who reaches the port.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{Api, ApiError};

/// Whether the process can do its work, and why not.
#[derive(Serialize, ToSchema)]
#[schema(as = Ready)]
pub(super) struct ReadyJson {
    ready: bool,
    reasons: Vec<ReasonJson>,
}

/// Why something does not work.
#[derive(Serialize, ToSchema)]
#[schema(as = Reason)]
struct ReasonJson {
    code: &'static str,
    message: String,
}

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, body = Object, example = json!({ "status": "ok" }))))]
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = ReadyJson), (status = 503, body = ReadyJson)))]
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, Json<ReadyJson>) {
    match api.core.read(|_, _| ()).await {
        Ok(()) => (StatusCode::OK, Json(ReadyJson { ready: true, reasons: Vec::new() })),
        Err(refusal) => {
            let reason = ReasonJson { code: refusal.code(), message: refusal.to_string() };
            let answer = ReadyJson { ready: false, reasons: vec![reason] };
            (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
        }
    }
}

/// The counters in the text form of `OpenMetrics`.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200,
    body = String, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")))]
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut out = String::new();
    if text::encode(&mut out, &api.metrics).is_err() {
        return ApiError::internal().into_response();
    }
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], out).into_response()
}
