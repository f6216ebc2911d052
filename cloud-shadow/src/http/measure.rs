//! Every request is counted, timed and, if somebody exports traces, a span.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use crate::metrics::ApiMetrics;
use crate::spans;

pub(super) async fn measure(
    State(metrics): State<Arc<ApiMetrics>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let method = label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    // A path that no route has is up to the client, and no label.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let span = spans::request(method, route, request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    spans::answered(&span, status);
    metrics.answered(method, route, status, began.elapsed());
    response
}

/// Clients may call a method what they like; labels are few.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
