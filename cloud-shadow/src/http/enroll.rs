//! `/v1/enroll`: a node trades its join token and a signing request for a certificate. The
//! private key never comes here.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::server::Peer;
use super::{Api, ApiError, body, pending};
use crate::access::{Book, Home, JoinToken, Scope};
use crate::clock;
use crate::domain::{Action, Author, Command};
use crate::identity::{NodeCertificate, SERVER_NAME, TokenHash};
use crate::rows::CertificateRecord;

/// How nodes join.
#[derive(Debug, Clone, Copy)]
pub struct EnrolmentConfig {
    /// How long a node's certificate is good for.
    pub certificate_life: Duration,
    /// Whether nodes without a token may wait for an operator to let them in.
    pub approve_unknown: bool,
    /// How many may wait.
    pub pending: usize,
}

impl Default for EnrolmentConfig {
    fn default() -> Self {
        let certificate_life = Duration::from_hours(90 * 24);
        Self { certificate_life, approve_unknown: false, pending: 100 }
    }
}

/// What a node joins with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enroll {
    /// The join token; without one, the node waits for an operator, where that is allowed.
    token: Option<String>,
    /// What the node calls itself, if the token is not one of a certain node.
    #[schema(value_type = Option<String>)]
    node: Option<NodeName>,
    /// A certificate signing request, in PEM.
    csr_pem: String,
}

/// What a node needs to connect.
#[derive(Serialize, ToSchema)]
#[schema(as = Enrolled)]
pub(super) struct EnrolledJson {
    #[schema(value_type = String)]
    node: NodeName,
    certificate_pem: String,
    ca_pem: String,
    /// Where the broker listens, as `host:port`.
    mqtt: Vec<String>,
    /// Where the API speaks HTTPS, as `host:port`; null: nowhere. A node renews its certificate
    /// there.
    https: Option<String>,
    /// The name in the cloud's certificate.
    server_name: &'static str,
}

/// Trades a join token and a signing request for a certificate.
///
/// Without a token the node waits, where that is allowed, until an operator lets it in.
///
/// The certificate is signed before the token is used up, so that a bad request costs no token,
/// and handed out only after that is durable, so that no token buys two.
#[utoipa::path(post, path = "/v1/enroll", tag = "nodes",
    request_body(content = Enroll),
    responses((status = 201, body = EnrolledJson),
        (status = 202, body = pending::PendingJson,
            description = "It waits for an operator: ask again with the same key")))]
pub(super) async fn enroll(
    State(api): State<Api>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let Enroll { token, node, csr_pem } = body::request(&headers, content, body::SMALL).await?;
    let Some(token) = token else {
        return pending::knock(&api, &peer, node, &csr_pem).await;
    };
    let hash = api.gate.hash(token.trim());
    let owner = api.core.read(move |domain, now| domain.token_owner(hash, now).cloned()).await?;
    let (node, certificate) = match (owner, node) {
        (Some(owner), Some(node)) if owner != node => {
            let message = format!("the join token is one of another node than {node}");
            return Err(ApiError::bad_request(message));
        }
        (Some(owner), _) => with_own_token(&api, hash, owner, &csr_pem).await?,
        (None, node) => with_fleet_token(&api, hash, node, &csr_pem).await?,
    };
    let answer = EnrolledJson::new(&api, node, certificate.pem);
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// Joins as the node that the token was made for.
async fn with_own_token(
    api: &Api,
    hash: TokenHash,
    node: NodeName,
    csr_pem: &str,
) -> Result<(NodeName, NodeCertificate), ApiError> {
    let signed = sign(api, &node, csr_pem)?;
    let action = Action::Enrol { hash, certificate: CertificateRecord::from(&signed) };
    let by = Author::node(&node);
    api.core.execute(Command { node: node.clone(), action, by }).await?;
    tracing::info!(%node, serial = signed.serial, "a node has joined");
    Ok((node, signed))
}

/// Joins as a node that nobody knew, where the token says.
async fn with_fleet_token(
    api: &Api,
    hash: TokenHash,
    node: Option<NodeName>,
    csr_pem: &str,
) -> Result<(NodeName, NodeCertificate), ApiError> {
    // Whether there is such a token is looked at before anything else is said.
    api.gate.book().use_join(hash, clock::unix_ms())?;
    let node = node.ok_or_else(|| {
        let message = "the join token is for any node, so the request must name one: `node` \
                       (gnomon-edge join --node NAME)";
        ApiError::bad_request(message)
    })?;
    let signed = sign(api, &node, csr_pem)?;
    let (certificate, name) = (CertificateRecord::from(&signed), node.clone());
    let core = api.core.clone();
    let plan = |book: &Book, now_ms| {
        let (token, edit) = book.use_join(hash, now_ms)?;
        Ok((token, vec![edit]))
    };
    let act = |token: JoinToken, also| async move {
        let Scope { tenant, pool, labels } = token.scope;
        let home = Home { tenant: tenant.unwrap_or_else(Home::usual_tenant), pool, labels };
        let action = Action::Join { home, certificate, also };
        let by = Author::node(&name);
        core.execute(Command { node: name, action, by }).await
    };
    api.gate.change_with(plan, act).await?;
    tracing::info!(%node, serial = signed.serial, "a node that nobody knew has joined");
    Ok((node, signed))
}

pub(super) fn sign(api: &Api, node: &NodeName, csr_pem: &str) -> Result<NodeCertificate, ApiError> {
    let (now, life) = (clock::since_1970(), api.enrolment.certificate_life);
    Ok(api.identity.authority.sign_node(node, csr_pem, now, life)?)
}

impl EnrolledJson {
    pub(super) fn new(api: &Api, node: NodeName, certificate_pem: String) -> Self {
        Self {
            node,
            certificate_pem,
            ca_pem: api.identity.authority.certificate_pem().to_owned(),
            mqtt: api.mqtt.to_vec(),
            https: api.https.clone(),
            server_name: SERVER_NAME,
        }
    }
}

impl From<&NodeCertificate> for CertificateRecord {
    fn from(certificate: &NodeCertificate) -> Self {
        let (serial, not_after_s) = (certificate.serial.clone(), certificate.not_after_s);
        Self { serial, not_after_s, replaces: None }
    }
}
