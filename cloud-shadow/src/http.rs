//! The HTTP API, one file per resource. Everything that comes in is checked here and turned into
//! commands; every refusal goes out in one JSON form.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{get, post, put};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

mod apps;
mod auth;
mod body;
mod enroll;
mod error;
mod health;
mod nodes;
mod path;
mod patience;
mod precondition;
mod query;
mod server;
mod shadows;
mod shape;
mod tokens;
mod watch;

pub use error::ApiError;
pub use server::{HttpConfig, serve};

use crate::core::CoreHandle;
use crate::identity::Identity;

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// The core.
    pub core: CoreHandle,
    /// The operator's token and the certificate authority.
    pub identity: Arc<Identity>,
    /// The metrics that are shown.
    pub metrics: Arc<Registry>,
    /// Where nodes reach the broker, as `host:port`.
    pub mqtt: Arc<[String]>,
    /// Ends the streams that would go on forever.
    pub stop: CancellationToken,
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let shadow = get(shadows::read).put(shadows::put).patch(shadows::patch).delete(shadows::delete);
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/v1/nodes", get(nodes::list))
        .route("/v1/nodes/{node}", put(nodes::put).get(nodes::read).delete(nodes::delete))
        .route("/v1/nodes/{node}/join-tokens", post(tokens::create))
        .route("/v1/nodes/{node}/shadows", get(shadows::list))
        .route("/v1/nodes/{node}/shadows/{*key}", shadow)
        .route("/v1/apps", get(apps::list))
        .route("/v1/watch", get(watch::watch))
        .route(auth::ENROLL, post(enroll::enroll))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_token))
        .with_state(api)
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(&method, uri.path())
}
