//! The one place that every request goes through: it says who calls, and whether the role may do
//! what the route is for. What of the cloud's nodes the caller may know of, the extractors of
//! [`super::path`] and the domain see to.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::NodeName;

use super::server::Peer;
use super::{Api, ApiError, Operation};
use crate::access::{self, Action, Decision, Grant, Scope};
use crate::core::Deed;
use crate::domain::Author;
use crate::gate::Principal;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// Anyone who reaches the port; what joins brings its own token.
    Open,
    /// A node, by its certificate.
    OfANode,
    /// Whose grant allows this.
    Needs(Action),
}

/// What each route needs, by path and method.
#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<BTreeMap<(&'static str, String), Permit>>);

impl Permits {
    pub(super) fn of(routes: &[(&'static str, Vec<Operation>)]) -> Self {
        let operations = routes.iter().flat_map(|(path, operations)| {
            let permit = |operation: &Operation| (operation.method.to_string(), operation.permit);
            operations.iter().map(permit).map(|(method, permit)| ((*path, method), permit))
        });
        Self(Arc::new(operations.collect()))
    }

    /// What a route needs; `None`: there is no such route.
    pub(super) fn get(&self, path: &str, method: &Method) -> Option<Permit> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let mut all = self.0.iter();
        let found = all.find(|((route, name), _)| *route == path && name == method.as_str());
        found.map(|(_, permit)| *permit)
    }
}

/// Who calls.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Author);

/// What the caller may.
#[derive(Debug, Clone)]
pub(super) struct Granted(pub(super) Grant);

/// The nodes that there are for the caller.
pub(super) struct Within(pub(super) Scope);

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::internal)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Granted {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::internal)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Within {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Granted::from_request_parts(parts, state).await.map(|Granted(grant)| Self(grant.scope))
    }
}

pub(super) async fn guard(
    State((api, permits)): State<(Api, Permits)>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let permit = path.and_then(|path| permits.get(path.as_str(), request.method()));
    if permit == Some(Permit::Open) {
        return next.run(request).await;
    }
    if permit == Some(Permit::OfANode) {
        return match node_of(&api, &request) {
            Ok(shown) => {
                request.extensions_mut().insert(shown);
                next.run(request).await
            }
            Err(error) => error.into_response(),
        };
    }
    let Some(principal) = bearer(request.headers()).and_then(|token| api.gate.who(token)) else {
        let message = "the call needs the header `Authorization: Bearer <token>`, with a token \
                       that is neither revoked nor out of date; `gnomon-cloud init` made the \
                       first one, or it is in the file admin-token in the cloud's data folder";
        return ApiError::unauthorized(message).into_response();
    };
    // Without a permit there is no such route: whoever is known is told so.
    if let Some(Permit::Needs(action)) = permit
        && let Err(error) = may(&principal, action)
    {
        if action != Action::Read {
            remember(&api, attempt(&principal, &request)).await;
        }
        return error.into_response();
    }
    let Principal { author, grant, .. } = principal;
    request.extensions_mut().insert(Caller(author));
    request.extensions_mut().insert(Granted(grant));
    next.run(request).await
}

/// The node that calls, by a certificate that is good now, and the serial number of that.
#[derive(Debug, Clone)]
pub(super) struct NodeCaller {
    pub(super) node: NodeName,
    pub(super) serial: String,
}

impl<S: Send + Sync> FromRequestParts<S> for NodeCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::internal)
    }
}

fn node_of(api: &Api, request: &Request) -> Result<NodeCaller, ApiError> {
    let peer = request.extensions().get::<Peer>();
    let shown = peer.and_then(|peer| peer.certificate.as_deref());
    let known = shown.and_then(|shown| api.roll.recognize(shown));
    let (node, serial) = known.ok_or_else(|| {
        ApiError::unauthorized(
            "this needs HTTPS to the cloud itself and the certificate of a node that is neither \
             revoked nor out of date; join again with a new token",
        )
    })?;
    Ok(NodeCaller { node, serial })
}

/// Whether somebody may do something, where no single node or token is concerned.
pub(crate) fn may(principal: &Principal, action: Action) -> Result<(), ApiError> {
    if principal.is_local && action != Action::CopyStore {
        let message = "the token in local-token is for `gnomon-cloud backup` only";
        return Err(ApiError::forbidden(message));
    }
    match access::authorize(&principal.grant, action, &action.usual_target()) {
        Decision::Allowed => Ok(()),
        Decision::RoleTooWeak(needed) => {
            let role = principal.grant.role;
            let message = format!("this needs a token with the role {needed}; yours is {role}");
            Err(ApiError::forbidden(message))
        }
        Decision::OutOfScope => {
            let message = "this concerns more than what your token is good for; it needs one \
                           that is not limited to a tenant, a pool or labels";
            Err(ApiError::forbidden(message))
        }
    }
}

/// Notes that somebody tried what it may not. That the note cannot be written changes nothing.
async fn remember(api: &Api, attempt: Deed) {
    if api.gate.may_note_refusal() {
        drop(api.core.keep(Vec::new(), Some(attempt)).await);
    }
}

fn attempt(principal: &Principal, request: &Request) -> Deed {
    let target = format!("{} {}", request.method(), super::error::brief(request.uri().path()));
    let tenant = principal.grant.scope.tenant.clone();
    let deed = Deed::done(principal.author.clone(), "request", target).of_tenant(tenant);
    Deed { outcome: "forbidden", ..deed }
}

/// The token that is shown.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
