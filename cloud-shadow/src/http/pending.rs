//! `/v1/pending`: nodes without a token that wait for an operator.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::{NodeName, PoolName, TenantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::enroll::{self, EnrolledJson};
use super::path::IdPath;
use super::server::Peer;
use super::{Api, ApiError, body};
use crate::access::{Book, Edit, Home, Knock, Waiting, WaitingState};
use crate::clock;
use crate::core::Deed;
use crate::domain::{Action, Author, Command, Rejection};
use crate::identity::{Authority, Stranger, record_of};
use crate::rows::CertificateRecord;

/// How long a node that waits should pause before it asks again.
const PAUSE_S: u64 = 10;

/// That a node waits for an operator.
#[derive(Serialize, ToSchema)]
#[schema(as = Pending)]
pub(super) struct PendingJson {
    /// What an operator knows it by.
    pending: String,
    /// The SHA-256 of the node's public key, for the operator to compare.
    key_sha256: String,
    /// How long to pause before asking again, in seconds.
    retry_after_s: u64,
}

/// A node that waits for an operator, or was decided about in the last day.
#[derive(Serialize, ToSchema)]
#[schema(as = PendingNode)]
pub(super) struct PendingNodeJson {
    id: String,
    /// What it calls itself.
    #[schema(value_type = String)]
    node: NodeName,
    /// The SHA-256 of its public key: compare it with what the machine shows.
    key_sha256: String,
    /// Where it asks from.
    peer: String,
    /// Since when, in milliseconds since 1970.
    since_ms: u64,
    /// `undecided`, `approved`, `denied` or `joined`.
    state: &'static str,
}

/// The nodes that wait.
#[derive(Serialize, ToSchema)]
#[schema(as = PendingNodes)]
pub(super) struct PendingNodesJson {
    pending: Vec<PendingNodeJson>,
}

/// Where a node that is let in belongs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "labels": { "region": "north" } }))]
pub(super) struct Approve {
    /// Whose it is; `default` if not given.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// The group that it is in.
    #[schema(value_type = Option<String>)]
    pool: Option<PoolName>,
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
}

/// The nodes that wait for an operator.
#[utoipa::path(get, path = "/v1/pending", tag = "nodes",
    responses((status = 200, body = PendingNodesJson)))]
pub(super) async fn list(State(api): State<Api>) -> Result<Json<PendingNodesJson>, ApiError> {
    let now_ms = clock::unix_ms();
    let pending = api.gate.book().waiting(now_ms).map(PendingNodeJson::from).collect();
    Ok(Json(PendingNodesJson { pending }))
}

/// Lets a node in that waits: it gets its certificate when it asks again.
#[utoipa::path(post, path = "/v1/pending/{id}/approve", tag = "nodes",
    params(("id" = String, Path, description = "The id of what waits")),
    request_body(content = Approve),
    responses((status = 204, description = "It is let in")))]
pub(super) async fn approve(
    State(api): State<Api>,
    Caller(by): Caller,
    IdPath(id): IdPath,
    headers: HeaderMap,
    content: Body,
) -> Result<StatusCode, ApiError> {
    let Approve { tenant, pool, labels } = body::request(&headers, content, body::REQUEST).await?;
    crate::domain::check_labels(&labels)?;
    let home = Home { tenant: tenant.unwrap_or_else(Home::usual_tenant), pool, labels };
    let state = WaitingState::Approved(home.clone());
    let waiting = decide(&api, by, id, state, "node.approve").await?;
    if let Some(pem) = waiting.certificate.clone() {
        let_in(&api, waiting, home, pem).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Does not let a node in that waits.
#[utoipa::path(post, path = "/v1/pending/{id}/deny", tag = "nodes",
    params(("id" = String, Path, description = "The id of what waits")),
    responses((status = 204, description = "It is not let in")))]
pub(super) async fn deny(
    State(api): State<Api>,
    Caller(by): Caller,
    IdPath(id): IdPath,
) -> Result<StatusCode, ApiError> {
    decide(&api, by, id, WaitingState::Denied, "node.deny").await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn decide(
    api: &Api,
    by: Author,
    id: String,
    state: WaitingState,
    what: &'static str,
) -> Result<Waiting, ApiError> {
    let plan = |book: &Book, now_ms| {
        let (waiting, edit) = book.decide(&id, state, now_ms)?;
        let target = format!("{}/{}", waiting.node, waiting.id);
        Ok((waiting, vec![edit], Some(Deed::done(by, what, target))))
    };
    Ok(api.gate.change(plan).await?)
}

/// A node without a token wants to be let in, and is told how it stands.
pub(super) async fn knock(
    api: &Api,
    peer: &Peer,
    node: Option<NodeName>,
    csr_pem: &str,
) -> Result<Response, ApiError> {
    if !api.enrolment.approve_unknown {
        return Err(ApiError::unauthorized("the request needs a join token: gnomon node token"));
    }
    let node = node.ok_or_else(|| ApiError::bad_request("without a token, `node` names it"))?;
    let key = Authority::key_of(csr_pem)?;
    let id = crate::identity::short_id(&format!("{node}/{key}"));
    let peer = peer.addr.ip().to_string();
    let knock = Knock { node: node.clone(), key, peer, certificate: None };
    let is_known = is_there(api, &node).await?;
    let most = api.enrolment.pending;
    let plan = |book: &Book, now_ms| {
        if is_known {
            let known = book.waiting(now_ms).find(|waiting| waiting.id == id);
            return Ok((known.cloned(), Vec::new(), None));
        }
        let (waiting, edits) = book.knock(&id, knock, most, now_ms)?;
        Ok((Some(waiting), edits, None))
    };
    let waiting = api.gate.change(plan).await?.ok_or(Rejection::NameTaken(node))?;
    match waiting.state.clone() {
        WaitingState::Undecided => Ok(wait(waiting)),
        WaitingState::Denied => Err(ApiError::forbidden("an operator has not let this node in")),
        WaitingState::Approved(home) => admit(api, waiting, home, csr_pem).await,
        WaitingState::Joined(pem) if is_there(api, &waiting.node).await? => {
            let answer = EnrolledJson::new(api, waiting.node, pem);
            Ok((StatusCode::CREATED, Json(answer)).into_response())
        }
        WaitingState::Joined(_) => Ok(wait(begin_anew(api, waiting).await?)),
    }
}

async fn is_there(api: &Api, node: &NodeName) -> Result<bool, ApiError> {
    let node = node.clone();
    Ok(api.core.read(move |domain, _| domain.node(&node).is_some()).await?)
}

/// A node that was let in, and deleted since, waits again.
async fn begin_anew(api: &Api, waiting: Waiting) -> Result<Waiting, ApiError> {
    let plan = |_: &Book, since_ms| {
        let waiting = Waiting { state: WaitingState::Undecided, since_ms, ..waiting };
        Ok((waiting.clone(), vec![Edit::Waiting(waiting)], None))
    };
    Ok(api.gate.change(plan).await?)
}

fn wait(waiting: Waiting) -> Response {
    let (pending, key_sha256) = (waiting.id, waiting.key);
    let answer = PendingJson { pending, key_sha256, retry_after_s: PAUSE_S };
    let pause = [(header::RETRY_AFTER, PAUSE_S.to_string())];
    (StatusCode::ACCEPTED, pause, Json(answer)).into_response()
}

/// Lets an approved node in. The certificate is kept with it, should the answer get lost.
async fn admit(
    api: &Api,
    waiting: Waiting,
    home: Home,
    csr_pem: &str,
) -> Result<Response, ApiError> {
    let node = waiting.node.clone();
    let signed = enroll::sign(api, &node, csr_pem)?;
    join(api, waiting, home, CertificateRecord::from(&signed), signed.pem.clone()).await?;
    tracing::info!(%node, serial = signed.serial, "a node that an operator let in has joined");
    let answer = EnrolledJson::new(api, node, signed.pem);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Lets an approved node in that has a certificate already.
async fn let_in(api: &Api, waiting: Waiting, home: Home, pem: String) -> Result<(), ApiError> {
    let (node, certificate) = (waiting.node.clone(), record_of(&pem));
    let certificate = certificate.ok_or_else(ApiError::internal)?;
    join(api, waiting, home, certificate, pem).await?;
    tracing::info!(%node, "a node that the backup did not know is let in again");
    Ok(())
}

/// Takes in the nodes that were made after the backup, and that wait for an operator until `stop`.
pub(crate) async fn take_in(api: Api) {
    while let Some(stranger) = api.stop.run_until_cancelled(api.roll.stranger()).await {
        if !api.enrolment.approve_unknown {
            continue;
        }
        let node = stranger.node.clone();
        if let Err(error) = meet(&api, stranger).await {
            tracing::debug!(%node, ?error, "a node that the backup does not know cannot wait");
        }
    }
}

async fn meet(api: &Api, Stranger { node, key, pem }: Stranger) -> Result<(), ApiError> {
    let id = crate::identity::short_id(&format!("{node}/{key}"));
    let (peer, most) = ("its certificate".to_owned(), api.enrolment.pending);
    let knock = Knock { node, key, peer, certificate: Some(pem.clone()) };
    let plan = |book: &Book, now_ms| {
        let (waiting, edits) = book.knock(&id, knock, most, now_ms)?;
        Ok((waiting, edits, None))
    };
    let waiting = api.gate.change(plan).await?;
    match waiting.state.clone() {
        WaitingState::Approved(home) => let_in(api, waiting, home, pem).await,
        WaitingState::Undecided | WaitingState::Denied | WaitingState::Joined(_) => Ok(()),
    }
}

async fn join(
    api: &Api,
    waiting: Waiting,
    home: Home,
    certificate: CertificateRecord,
    pem: String,
) -> Result<(), ApiError> {
    let node = waiting.node;
    let plan = |book: &Book, now_ms| {
        let (_, edit) = book.decide(&waiting.id, WaitingState::Joined(pem), now_ms)?;
        Ok(((), vec![edit]))
    };
    let (core, name) = (api.core.clone(), node);
    let act = |(), also| async move {
        let action = Action::Join { home, certificate, also };
        let by = Author::node(&name);
        core.execute(Command { node: name, action, by }).await
    };
    api.gate.change_with(plan, act).await?;
    Ok(())
}

impl From<&Waiting> for PendingNodeJson {
    fn from(waiting: &Waiting) -> Self {
        Self {
            id: waiting.id.clone(),
            node: waiting.node.clone(),
            key_sha256: waiting.key.clone(),
            peer: waiting.peer.clone(),
            since_ms: waiting.since_ms,
            state: match waiting.state {
                WaitingState::Undecided => "undecided",
                WaitingState::Approved(_) => "approved",
                WaitingState::Denied => "denied",
                WaitingState::Joined(_) => "joined",
            },
        }
    }
}
