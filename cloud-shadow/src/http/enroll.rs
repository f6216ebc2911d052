//! `/v1/enroll`: a node trades its join token and a signing request for a certificate. The
//! private key never comes here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Api, ApiError, body};
use crate::clock;
use crate::domain::{Action, Author, Command, Rejection};
use crate::identity::{SERVER_NAME, TokenHash};
use crate::rows::CertificateRecord;

/// What a node joins with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enroll {
    /// The join token.
    token: String,
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
    /// The name in the broker's certificate.
    server_name: &'static str,
}

/// Trades a join token and a signing request for a certificate.
///
/// The certificate is signed before the token is used up, so that a bad request costs no token,
/// and handed out only after that is durable, so that no token buys two.
#[utoipa::path(post, path = "/v1/enroll", tag = "nodes",
    request_body(content = Enroll),
    responses((status = 201, body = EnrolledJson)))]
pub(super) async fn enroll(
    State(api): State<Api>,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<EnrolledJson>), ApiError> {
    let Enroll { token, csr_pem } = body::request(&headers, content, body::SMALL).await?;
    let hash = TokenHash::of(token.trim());
    let owner = api.core.read(move |domain, now| domain.token_owner(hash, now).cloned()).await?;
    let node = owner.ok_or(Rejection::BadToken)?;
    let authority = &api.identity.authority;
    let signed = authority.sign_node(&node, &csr_pem, clock::since_1970())?;
    let certificate =
        CertificateRecord { serial: signed.serial.clone(), not_after_s: signed.not_after_s };
    let action = Action::Enrol { hash, certificate };
    let by = Author::node(&node);
    api.core.execute(Command { node: node.clone(), action, by }).await?;
    tracing::info!(%node, serial = signed.serial, "a node has joined");
    let answer = EnrolledJson {
        node,
        certificate_pem: signed.pem,
        ca_pem: authority.certificate_pem().to_owned(),
        mqtt: api.mqtt.to_vec(),
        server_name: SERVER_NAME,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}
