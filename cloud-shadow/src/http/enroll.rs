//! `/v1/enroll`: a node trades its join token and a signing request for a certificate. The
//! private key never comes here.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Api, ApiError, body};
use crate::clock;
use crate::domain::{Action, Command, Rejection};
use crate::identity::{SERVER_NAME, TokenHash};
use crate::rows::CertificateRecord;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enroll {
    token: String,
    csr_pem: String,
}

/// The certificate is signed before the token is used up, so that a bad request costs no token,
/// and handed out only after that is durable, so that no token buys two.
pub(super) async fn enroll(
    State(api): State<Api>,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let Enroll { token, csr_pem } = body::request(&headers, content, body::SMALL).await?;
    let hash = TokenHash::of(token.trim());
    let owner = api.core.read(move |domain, now| domain.token_owner(hash, now).cloned()).await?;
    let node = owner.ok_or(Rejection::BadToken)?;
    let authority = &api.identity.authority;
    let signed = authority.sign_node(&node, &csr_pem, clock::since_1970())?;
    let certificate =
        CertificateRecord { serial: signed.serial.clone(), not_after_s: signed.not_after_s };
    let action = Action::Enrol { hash, certificate };
    api.core.execute(Command { node: node.clone(), action }).await?;
    tracing::info!(%node, serial = signed.serial, "a node has joined");
    let answer = json!({
        "node": node,
        "certificate_pem": signed.pem,
        "ca_pem": authority.certificate_pem(),
        "mqtt": *api.mqtt,
        "server_name": SERVER_NAME,
    });
    Ok((StatusCode::CREATED, Json(answer)))
}
