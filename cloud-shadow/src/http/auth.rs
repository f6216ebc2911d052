//! The one place that every request goes through: it says who calls, and whether the role may do
//! what the route is for. What of the cloud's nodes the caller may know of, the extractors of
//! [`super::path`] and the domain see to.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::NodeName;
use http_body_util::BodyExt as _;

use super::server::Peer;
use super::{Api, ApiError, Operation};
use crate::access::{self, Action, Asker, Decision, Grant, Scope, Target};
use crate::core::Deed;
use crate::domain::{Action as Act, Author, Command};
use crate::gate::{Gate, Principal};
use crate::identity::{Recognized, Unlisted};

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    /// Anyone who reaches the port; what joins brings its own token.
    Open,
    /// Anyone who reaches the port without TLS, which is for this machine; others as they may.
    OpenHere(Action),
    /// A node, by its certificate.
    OfANode,
    /// Whose grant allows this.
    Needs(Action),
}

/// What each route needs, by path and method.
#[derive(Debug, Clone)]
pub(super) struct Permits(Arc<BTreeMap<&'static str, Vec<(Method, Permit)>>>);

impl Permits {
    pub(super) fn of(routes: &[(&'static str, Vec<Operation>)]) -> Self {
        let permit = |operation: &Operation| (operation.method.clone(), operation.permit);
        let permits = routes.iter().map(|(path, of)| (*path, of.iter().map(permit).collect()));
        Self(Arc::new(permits.collect()))
    }

    /// What a route needs; `None`: there is no such route.
    pub(super) fn get(&self, path: &str, method: &Method) -> Option<Permit> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let found = self.0.get(path)?.iter().find(|(known, _)| known == method);
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

/// The token that the caller has shown.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    /// Its id; `None`: it is not in the book.
    pub(super) token: Option<String>,
    /// As whom it is counted, if at all.
    pub(super) asker: Option<Asker>,
}

impl<S: Send + Sync> FromRequestParts<S> for Shown {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::internal)
    }
}

pub(super) async fn guard(
    State((api, permits)): State<(Api, Permits)>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.extensions().get::<MatchedPath>();
    let permit = path.and_then(|path| permits.get(path.as_str(), request.method()));
    match admit(&api, permit, &mut request).await {
        Ok(None) => next.run(request).await,
        Ok(Some(asker)) => {
            next.run(request.map(|body| counted(body, api.gate.clone(), asker))).await
        }
        Err(error) => error.into_response(),
    }
}

/// Lets a request through, and says who has to pay for its body.
async fn admit(
    api: &Api,
    permit: Option<Permit>,
    request: &mut Request,
) -> Result<Option<Asker>, ApiError> {
    let peer = request.extensions().get::<Peer>().cloned();
    let is_here = peer.as_ref().is_some_and(|peer| !peer.is_tls);
    let stranger = peer.map(|peer| Asker::stranger(peer.addr.ip()));
    let action = match permit {
        Some(Permit::Needs(action)) => Some(action),
        Some(Permit::OpenHere(action)) if !is_here => Some(action),
        // Without a permit there is no such route: whoever is known is told so.
        None => None,
        Some(Permit::OfANode) => {
            let shown = match node_of(api, request) {
                Ok(shown) => shown,
                Err(error) => return Err(count(api, stranger.as_ref()).err().unwrap_or(error)),
            };
            let Recognized { node, serial, unlisted } = shown;
            let asker = Asker::Node(node.clone());
            count(api, Some(&asker))?;
            if let Some(Unlisted { certificate, issued_s }) = unlisted {
                let action = Act::Learn { certificate, issued_s, session: None };
                let by = Author::node(&node);
                api.core.execute(Command { node: node.clone(), action, by }).await?;
            }
            request.extensions_mut().insert(NodeCaller { node, serial });
            return Ok(Some(asker));
        }
        Some(Permit::Open | Permit::OpenHere(_)) => {
            return count(api, stranger.as_ref()).map(|()| None);
        }
    };
    let Some(principal) = bearer(request.headers()).and_then(|token| api.gate.who(token)) else {
        count(api, stranger.as_ref())?;
        let message = "the call needs the header `Authorization: Bearer <token>`, with a token \
                       that is neither revoked nor out of date; `gnomon-cloud init` made the \
                       first one, or it is in the file admin-token in the cloud's data folder";
        return Err(ApiError::unauthorized(message));
    };
    let asker = principal.asker();
    count(api, asker.as_ref())?;
    if let Some(action) = action
        && let Err(error) = may(&principal, action)
    {
        if action != Action::Read {
            remember(api, attempt(&principal, request)).await;
        }
        return Err(error);
    }
    let Principal { author, grant, token, .. } = principal;
    request.extensions_mut().insert(Caller(author));
    request.extensions_mut().insert(Granted(grant));
    request.extensions_mut().insert(Shown { token, asker: asker.clone() });
    Ok(asker)
}

/// Counts a request, and refuses it where that is too much.
pub(crate) fn count(api: &Api, asker: Option<&Asker>) -> Result<(), ApiError> {
    let Some(asker) = asker else { return Ok(()) };
    api.gate.count(asker).map_err(|too_much| {
        api.throttled.refused(asker.kind());
        ApiError::too_many_requests(too_much.wait)
    })
}

/// The body, which is counted as it comes.
pub(crate) fn counted(body: Body, gate: Gate, asker: Asker) -> Body {
    Body::new(body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            gate.count_bytes(&asker, data.len());
        }
        frame
    }))
}

/// The node that calls, by a certificate that is good now or was until not long ago, and the serial
/// number of that.
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

fn node_of(api: &Api, request: &Request) -> Result<Recognized, ApiError> {
    let peer = request.extensions().get::<Peer>();
    let shown = peer.and_then(|peer| peer.certificate.as_deref().or(peer.late.as_deref()));
    let known = shown.and_then(|shown| api.roll.recognize(shown));
    known.ok_or_else(|| {
        ApiError::unauthorized(
            "this needs HTTPS to the cloud itself and the certificate of a node that is neither \
             revoked nor out of date; join again with a new token",
        )
    })
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
            let limit = if action.usual_target() == Target::Tenant {
                "a pool or labels"
            } else {
                "a tenant, a pool or labels"
            };
            let message = format!(
                "this concerns more than what your token is good for; it needs one that is not \
                 limited to {limit}"
            );
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
