//! The broker's metrics over HTTP, for Prometheus.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The listener, which ends with this.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) addr: SocketAddr,
    task: JoinHandle<()>,
}

/// Answers `GET /metrics`.
pub(super) async fn serve(addr: SocketAddr, registry: Registry) -> anyhow::Result<Served> {
    let failed = || format!("cannot listen for metrics on {addr}; is another server using it?");
    let listener = TcpListener::bind(addr).await.with_context(failed)?;
    let addr = listener.local_addr().with_context(failed)?;
    let registry = Arc::new(registry);
    let router = Router::new().route("/metrics", get(move || async move { answer(&registry) }));
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "metrics are no longer served");
        }
    });
    Ok(Served { addr, task })
}

fn answer(registry: &Registry) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(CONTENT_TYPE, kind)], text).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
