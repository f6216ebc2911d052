//! The HTTP API, one file per resource. Everything that comes in is checked here and turned into
//! commands; every refusal goes out in one JSON form.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::http::{Method, Uri};
use axum::middleware;
use axum::routing::{self, MethodRouter, delete, get, patch, post, put};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

mod api_tokens;
mod apps;
mod audit;
mod auth;
mod backup;
mod batch;
pub(crate) mod body;
mod enroll;
mod error;
mod health;
mod history;
mod joins;
mod lag;
mod late;
mod measure;
mod nodes;
mod openapi;
mod path;
mod patience;
pub(crate) mod pending;
mod precondition;
mod prefer;
mod query;
mod renew;
mod revoke;
mod search;
mod server;
mod sessions;
mod shadows;
mod shape;
mod tags;
mod thing_shadows;
mod things;
pub mod tls;
mod tokens;
mod watch;

pub(crate) use auth::{bearer, count, counted, may};
pub(crate) use backup::BACKUP;
pub use enroll::EnrolmentConfig;
pub use error::ApiError;
pub use openapi::description;
pub(crate) use server::Peer;
pub use server::{HttpConfig, Serving, serve};

use self::auth::Permit::{self, Needs, OfANode, Open, OpenHere};
use self::auth::Permits;
use crate::access::Action;
use crate::aws::{AccessKeys, ThingRoll};
use crate::core::CoreHandle;
use crate::gate::Gate;
use crate::health::Health;
use crate::identity::{Identity, Roll};
use crate::metrics::{Metrics, Throttled};

/// What the handlers work with; cheap to clone, which every layer does for every request.
#[derive(Clone)]
pub struct Api(Arc<ApiParts>);

impl Deref for Api {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl From<ApiParts> for Api {
    fn from(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }
}

/// What that is.
pub struct ApiParts {
    /// The core.
    pub core: CoreHandle,
    /// Who calls.
    pub gate: Gate,
    /// The certificate authority.
    pub identity: Arc<Identity>,
    /// With which keys clients of AWS sign.
    pub keys: Arc<AccessKeys>,
    /// What counts requests that are too many.
    pub throttled: Throttled,
    /// The metrics that are shown.
    pub registry: Arc<Registry>,
    /// What is counted.
    pub metrics: Metrics,
    /// How the cloud is.
    pub health: Health,
    /// Where nodes reach the broker, as `host:port`.
    pub mqtt: Arc<[String]>,
    /// Where nodes reach the API over HTTPS, as `host:port`.
    pub https: Option<String>,
    /// Which certificates are good.
    pub roll: Roll,
    /// Which certificates of things are good.
    pub things: ThingRoll,
    /// How nodes join.
    pub enrolment: EnrolmentConfig,
    /// Ends the streams that would go on forever.
    pub stop: CancellationToken,
}

/// The whole API.
pub fn router(api: Api) -> Router {
    let routes = routes();
    let (permits, metrics) = (Permits::of(&routes), Arc::new(api.metrics.api.clone()));
    let route = |router: Router<Api>, (path, operations): (&str, Vec<Operation>)| {
        let handlers = operations.into_iter().map(|operation| operation.handler);
        router.route(path, handlers.fold(MethodRouter::new(), MethodRouter::merge))
    };
    routes
        .into_iter()
        .fold(Router::new(), route)
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state((api.clone(), permits), auth::guard))
        .with_state(api.clone())
        .merge(crate::aws::rest::router(api))
        .layer(middleware::from_fn_with_state(metrics, measure::measure))
}

/// A method of a path, who may call it, and what answers. There is no other way to make a route.
pub(crate) struct Operation {
    method: Method,
    permit: Permit,
    handler: MethodRouter<Api>,
}

const fn on(method: Method, permit: Permit, handler: MethodRouter<Api>) -> Operation {
    Operation { method, permit, handler }
}

/// Every path, and what it takes from whom.
fn routes() -> Vec<(&'static str, Vec<Operation>)> {
    use Action::{
        ApproveUnknown, CopyStore, ManageEnrolment, ManageThings, ManageTokens, Read, ReadAudit,
        ReadMetrics, ReadThings, WriteDesired,
    };
    let (reads, deletes) = (Method::GET, Method::DELETE);
    let posts = Method::POST;
    let read = |handler| vec![on(Method::GET, Needs(Read), handler)];
    let look = |handler| vec![on(Method::GET, Needs(ReadThings), handler)];
    let open = |handler| vec![on(Method::GET, Open, handler)];
    let tokens = vec![
        on(reads.clone(), Needs(ManageTokens), get(api_tokens::list)),
        on(posts.clone(), Needs(ManageTokens), post(api_tokens::create)),
    ];
    let joins = vec![
        on(reads.clone(), Needs(ManageEnrolment), get(joins::list)),
        on(posts.clone(), Needs(ManageEnrolment), post(joins::create)),
    ];
    let post = |action, handler| vec![on(Method::POST, Needs(action), handler)];
    let take = |action, handler| vec![on(deletes.clone(), Needs(action), handler)];
    let mut all = vec![
        ("/healthz", open(get(health::alive))),
        ("/readyz", open(get(health::ready))),
        ("/metrics", vec![on(Method::GET, OpenHere(ReadMetrics), get(health::metrics))]),
        ("/openapi.json", open(get(openapi::document))),
        (BACKUP, vec![on(reads.clone(), Needs(CopyStore), get(backup::read))]),
        ("/v1/batch", post(WriteDesired, routing::post(batch::write))),
        ("/v1/search", read(get(search::search))),
        ("/v1/apps", read(get(apps::list))),
        ("/v1/lag", read(get(lag::list))),
        ("/v1/watch", read(get(watch::watch))),
        ("/v1/tokens", tokens),
        ("/v1/tokens/{id}", take(ManageTokens, delete(api_tokens::revoke))),
        ("/v1/join-tokens", joins),
        ("/v1/join-tokens/{id}", take(ManageEnrolment, delete(joins::revoke))),
        ("/v1/audit", vec![on(reads, Needs(ReadAudit), get(audit::list))]),
        ("/v1/pending", vec![on(Method::GET, Needs(ApproveUnknown), get(pending::list))]),
        ("/v1/pending/{id}/approve", post(ApproveUnknown, routing::post(pending::approve))),
        ("/v1/pending/{id}/deny", post(ApproveUnknown, routing::post(pending::deny))),
        ("/v1/things", look(get(things::list))),
        ("/v1/things/{thing}/shadows", look(get(thing_shadows::list))),
        ("/v1/things/{thing}/shadows/{name}/history", look(get(thing_shadows::history))),
        ("/v1/things/{thing}/shadows/{name}/versions", look(get(thing_shadows::version))),
        ("/v1/things/{thing}/certificates", post(ManageThings, routing::post(things::certify))),
        ("/v1/things/{thing}/certificates/{serial}", take(ManageThings, delete(things::revoke))),
        ("/v1/enroll", vec![on(posts.clone(), Open, routing::post(enroll::enroll))]),
        ("/v1/renew", vec![on(posts, OfANode, routing::post(renew::renew))]),
    ];
    all.extend(node_routes());
    all
}

/// The paths of nodes, and what it takes from whom.
fn node_routes() -> Vec<(&'static str, Vec<Operation>)> {
    use Action::{ManageEnrolment, ManageNodes, Read, WriteDesired, WriteTags};
    let (reads, deletes) = (Method::GET, Method::DELETE);
    let (puts, posts) = (Method::PUT, Method::POST);
    let read = |handler| vec![on(Method::GET, Needs(Read), handler)];
    let node = vec![
        on(puts.clone(), Needs(ManageNodes), put(nodes::put)),
        on(reads.clone(), Needs(Read), get(nodes::read)),
        on(deletes.clone(), Needs(ManageNodes), delete(nodes::delete)),
    ];
    let shadow = vec![
        on(reads, Needs(Read), get(shadows::read)),
        on(puts.clone(), Needs(WriteDesired), put(shadows::put)),
        on(Method::PATCH, Needs(WriteDesired), patch(shadows::patch)),
        on(deletes, Needs(WriteDesired), delete(shadows::delete)),
    ];
    let post = |action, handler| vec![on(posts.clone(), Needs(action), handler)];
    vec![
        ("/v1/nodes", read(get(nodes::list))),
        ("/v1/nodes/{node}", node),
        ("/v1/nodes/{node}/join-tokens", post(ManageEnrolment, routing::post(tokens::create))),
        ("/v1/nodes/{node}/sessions", read(get(sessions::list))),
        ("/v1/nodes/{node}/shadows", read(get(shadows::list))),
        ("/v1/nodes/{node}/shadows/{*key}", shadow),
        ("/v1/nodes/{node}/history/{*key}", read(get(history::list))),
        ("/v1/nodes/{node}/versions/{*key}", read(get(history::read))),
        ("/v1/nodes/{node}/diff/{*key}", read(get(history::diff))),
        ("/v1/nodes/{node}/rollback/{*key}", post(WriteDesired, routing::post(history::roll_back))),
        ("/v1/nodes/{node}/tags/{*key}", vec![on(puts, Needs(WriteTags), put(tags::put))]),
        ("/v1/nodes/{node}/revoke", post(ManageEnrolment, routing::post(revoke::revoke))),
    ]
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(uri.path())
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::method_not_allowed(&method, uri.path())
}
