//! What supervisors and Prometheus ask; open to everyone who reaches the port.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text;
use serde_json::{Value, json};

use super::{Api, ApiError};

/// The process answers.
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// The process can do its work.
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    match api.core.read(|_, _| ()).await {
        Ok(()) => (StatusCode::OK, Json(json!({ "ready": true, "reasons": [] }))),
        Err(refusal) => {
            let reason = json!({ "code": refusal.code(), "message": refusal.to_string() });
            let answer = json!({ "ready": false, "reasons": [reason] });
            (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
        }
    }
}

/// The counters in the text form of `OpenMetrics`.
pub(super) async fn metrics(State(api): State<Api>) -> Response {
    let mut out = String::new();
    if text::encode(&mut out, &api.metrics).is_err() {
        return ApiError::internal().into_response();
    }
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], out).into_response()
}
