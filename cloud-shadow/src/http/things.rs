//! `/v1/things`: what clients of the AWS face are, and the certificates that let them in.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use gnomon_schemas::id::DeviceName;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::Caller;
use super::query::Pairs;
use super::{Api, ApiError, body, error};
use crate::aws::domain::{Order, THINGS, thing_of};
use crate::clock;
use crate::core::{Deed, Refusal};
use crate::rows::CertificateRecord;

const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// A page of things.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingPage)]
pub(super) struct PageJson {
    things: Vec<ThingJson>,
    /// What `after` has to be to go on; null: that was all.
    next: Option<String>,
}

/// A thing that has shadows.
#[derive(Serialize, ToSchema)]
#[schema(as = Thing)]
pub(super) struct ThingJson {
    thing: String,
    /// How many shadows it has; one that was deleted counts for 48 hours.
    shadows: usize,
}

/// Lists the things that have shadows, by name.
#[utoipa::path(get, path = "/v1/things", tag = "things",
    params(("limit" = Option<u64>, Query, description = "1 to 1000; 100 if not given"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = PageJson)))]
pub(super) async fn list(State(api): State<Api>, uri: Uri) -> Result<Json<PageJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(PAGE, LARGEST_PAGE)?;
    let after = pairs.one::<DeviceName>("after")?;
    pairs.end()?;
    let after = after.map(|thing| [THINGS, thing.as_str().as_bytes()].concat());
    let store = Arc::clone(api.core.store());
    let read = move || store.page(THINGS, after.as_deref(), limit);
    let rows = tokio::task::spawn_blocking(read).await;
    let rows = rows.ok().and_then(Result::ok).ok_or(Refusal::StoreFailed)?;
    let read = |(key, value): &(Vec<u8>, Vec<u8>)| thing_of(key, value);
    let things = rows.iter().map(read).collect::<Result<Vec<_>, _>>();
    let things = things.map_err(|_| Refusal::StoreFailed)?.into_iter();
    let things: Vec<_> =
        things.map(|(thing, shadows)| ThingJson { thing: thing.to_string(), shadows }).collect();
    let next = things.last().filter(|_| things.len() == limit).map(|last| last.thing.clone());
    Ok(Json(PageJson { things, next }))
}

/// What a certificate is made of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certify {
    /// A certificate signing request, in PEM. Whatever it says, the subject is the thing.
    csr_pem: String,
}

/// What a thing needs to connect.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingCertificate)]
pub(super) struct CertifiedJson {
    thing: String,
    certificate_pem: String,
    ca_pem: String,
    /// In hexadecimal.
    serial: String,
    /// When it runs out, in seconds since 1970.
    not_after_s: u64,
    /// Where the broker listens, as `host:port`.
    mqtt: Vec<String>,
}

/// Signs a certificate for a thing; its private key stays where it was made. A thing has at most 8.
#[utoipa::path(post, path = "/v1/things/{thing}/certificates", tag = "things",
    params(("thing" = String, Path, description = "The thing's name", example = "pump-7")),
    request_body(content = Certify),
    responses((status = 201, body = CertifiedJson)))]
pub(super) async fn certify(
    State(api): State<Api>,
    Caller(by): Caller,
    path: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<CertifiedJson>), ApiError> {
    let thing = name(&path.map_err(|error| ApiError::bad("the path", &error))?)?;
    let Certify { csr_pem } = body::request(&headers, content, body::SMALL).await?;
    let authority = &api.identity.authority;
    let signed = authority.sign_thing(&thing, &csr_pem, clock::since_1970())?;
    let record = CertificateRecord::from(&signed);
    let deed = Deed::done(by, "thing.certify", thing.as_str());
    api.core.order(Order::Certify(thing.clone(), record), Some(deed)).await?;
    tracing::info!(%thing, serial = signed.serial, "a thing has a certificate");
    let answer = CertifiedJson {
        thing: thing.to_string(),
        certificate_pem: signed.pem,
        ca_pem: authority.certificate_pem().to_owned(),
        serial: signed.serial,
        not_after_s: signed.not_after_s,
        mqtt: api.mqtt.to_vec(),
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes a certificate of a thing; the sessions that it let in end at once.
#[utoipa::path(delete, path = "/v1/things/{thing}/certificates/{serial}", tag = "things",
    params(("thing" = String, Path, description = "The thing's name", example = "pump-7"),
        ("serial" = String, Path, description = "The serial number, in hexadecimal")),
    responses((status = 204)))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    path: Result<Path<(String, String)>, axum::extract::rejection::PathRejection>,
) -> Result<StatusCode, ApiError> {
    let Path((thing, serial)) = path.map_err(|error| ApiError::bad("the path", &error))?;
    let thing = name(&thing)?;
    let deed = Deed::done(by, "thing.revoke", thing.as_str());
    let order = Order::Revoke(thing.clone(), serial.to_ascii_lowercase());
    api.core.order(order, Some(deed)).await?;
    tracing::info!(%thing, serial = error::brief(&serial), "a certificate of a thing is revoked");
    Ok(StatusCode::NO_CONTENT)
}

fn name(text: &str) -> Result<DeviceName, ApiError> {
    text.parse().map_err(|error| ApiError::bad("the thing's name", &error))
}
