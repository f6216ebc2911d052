//! `/v1/renew`: a node trades its certificate, before that runs out, for a new one. It shows it in
//! the TLS handshake, so the request holds nothing but a new key's signing request.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::auth::NodeCaller;
use super::enroll::{self, EnrolledJson};
use super::{Api, ApiError, body};
use crate::domain::{Action, Author, Command};
use crate::rows::CertificateRecord;

/// What a node renews its certificate with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Renew {
    /// A certificate signing request, in PEM; of a new key, best.
    csr_pem: String,
}

/// Gives the node that calls a new certificate.
///
/// The one that it shows stays good until the new one is used, or until it runs out.
#[utoipa::path(post, path = "/v1/renew", tag = "nodes",
    request_body(content = Renew),
    responses((status = 201, body = EnrolledJson)))]
pub(super) async fn renew(
    State(api): State<Api>,
    NodeCaller { node, serial: shown }: NodeCaller,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<EnrolledJson>), ApiError> {
    let Renew { csr_pem } = body::request(&headers, content, body::SMALL).await?;
    let signed = enroll::sign(&api, &node, &csr_pem)?;
    let action = Action::Renew { shown, certificate: CertificateRecord::from(&signed) };
    let by = Author::node(&node);
    api.core.execute(Command { node: node.clone(), action, by }).await?;
    tracing::info!(%node, serial = signed.serial, "a node has renewed its certificate");
    Ok((StatusCode::CREATED, Json(EnrolledJson::new(&api, node, signed.pem))))
}
