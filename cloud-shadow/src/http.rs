//! The HTTP API, one file per resource. Everything that comes in is checked here and turned into
//! commands; every refusal goes out in one JSON form.

use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{MethodRouter, delete, get, post, put};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

mod apps;
mod auth;
mod backup;
mod batch;
pub(crate) mod body;
mod enroll;
mod error;
mod health;
mod history;
mod nodes;
mod openapi;
mod path;
mod patience;
mod precondition;
mod query;
mod search;
mod server;
mod sessions;
mod shadows;
mod shape;
mod tags;
mod things;
mod tokens;
mod watch;

pub(crate) use auth::is_authorized;
pub(crate) use backup::BACKUP;
pub use error::ApiError;
pub use openapi::description;
pub use server::{HttpConfig, serve};

use crate::aws::AccessKeys;
use crate::core::CoreHandle;
use crate::identity::Identity;

/// What the handlers work with.
#[derive(Clone)]
pub struct Api {
    /// The core.
    pub core: CoreHandle,
    /// The operator's token and the certificate authority.
    pub identity: Arc<Identity>,
    /// With which keys clients of AWS sign.
    pub keys: Arc<AccessKeys>,
    /// The metrics that are shown.
    pub metrics: Arc<Registry>,
    /// Where nodes reach the broker, as `host:port`.
    pub mqtt: Arc<[String]>,
    /// Ends the streams that would go on forever.
    pub stop: CancellationToken,
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let routes = routes().into_iter();
    routes
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(api.clone(), auth::require_token))
        .with_state(api.clone())
        .merge(crate::aws::rest::router(api))
}

/// Every path and what it takes.
fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    let shadow = get(shadows::read).put(shadows::put).patch(shadows::patch).delete(shadows::delete);
    vec![
        ("/healthz", get(health::alive)),
        ("/readyz", get(health::ready)),
        ("/metrics", get(health::metrics)),
        ("/openapi.json", get(openapi::document)),
        ("/v1/nodes", get(nodes::list)),
        ("/v1/nodes/{node}", put(nodes::put).get(nodes::read).delete(nodes::delete)),
        ("/v1/nodes/{node}/join-tokens", post(tokens::create)),
        ("/v1/nodes/{node}/sessions", get(sessions::list)),
        ("/v1/nodes/{node}/shadows", get(shadows::list)),
        ("/v1/nodes/{node}/shadows/{*key}", shadow),
        ("/v1/nodes/{node}/history/{*key}", get(history::list)),
        ("/v1/nodes/{node}/versions/{*key}", get(history::read)),
        ("/v1/nodes/{node}/diff/{*key}", get(history::diff)),
        ("/v1/nodes/{node}/rollback/{*key}", post(history::roll_back)),
        ("/v1/nodes/{node}/tags/{*key}", put(tags::put)),
        (BACKUP, get(backup::read)),
        ("/v1/batch", post(batch::write)),
        ("/v1/search", get(search::search)),
        ("/v1/apps", get(apps::list)),
        ("/v1/watch", get(watch::watch)),
        ("/v1/things", get(things::list)),
        ("/v1/things/{thing}/certificates", post(things::certify)),
        ("/v1/things/{thing}/certificates/{serial}", delete(things::revoke)),
        (auth::ENROLL, post(enroll::enroll)),
    ]
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(&method, uri.path())
}
