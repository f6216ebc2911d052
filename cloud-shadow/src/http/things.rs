//! `/v1/things`: what clients of the AWS face are, and the certificates that let them in.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use gnomon_schemas::id::{DeviceName, TenantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Within};
use super::query::Pairs;
use super::{Api, ApiError, body, error};
use crate::access::Scope;
use crate::aws::domain::{Claim, Order, ReadThingError, THINGS, ThingRecord, thing_of, thing_row};
use crate::clock;
use crate::core::{Deed, Refusal};
use crate::rows::CertificateRecord;
use crate::store::{Store, StoreError};

const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// How many rows one request looks at, and how many are read at once.
const EXAMINED: usize = 100_000;
const ROWS: usize = 1000;

/// A page of things.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingPage)]
pub(super) struct PageJson {
    things: Vec<ThingJson>,
    /// What `after` has to be to go on; null: that was all. A page may be short, even empty, and yet
    /// not the last one: one request looks at no more than 100,000 things.
    next: Option<String>,
}

/// A thing that has shadows or certificates.
#[derive(Serialize, ToSchema)]
#[schema(as = Thing)]
pub(super) struct ThingJson {
    thing: String,
    /// Whose it is.
    tenant: String,
    /// How many shadows it has; one that was deleted counts for 48 hours.
    shadows: usize,
}

/// Which things are wanted.
struct Wish {
    within: Scope,
    tenant: Option<TenantName>,
    limit: usize,
}

/// Why a page could not be read.
#[derive(Debug, thiserror::Error)]
enum ReadPageError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Row(#[from] ReadThingError),
}

impl Wish {
    fn is_for(&self, record: &ThingRecord) -> bool {
        self.within.covers(&record.home())
            && self.tenant.as_ref().is_none_or(|tenant| *tenant == record.tenant)
    }

    /// Of the things behind one those that are wanted, and how to go on.
    fn look(
        &self,
        store: &dyn Store,
        mut after: Option<Vec<u8>>,
    ) -> Result<PageJson, ReadPageError> {
        let (mut things, mut examined) = (Vec::new(), 0);
        loop {
            let rows = store.page(THINGS, after.as_deref(), ROWS)?;
            for (key, value) in &rows {
                let (thing, record) = thing_of(key, value)?;
                examined += 1;
                if self.is_for(&record) {
                    let (thing, tenant) = (thing.to_string(), record.tenant.to_string());
                    things.push(ThingJson { thing, tenant, shadows: record.shadows });
                }
                if things.len() >= self.limit || examined >= EXAMINED {
                    return Ok(PageJson { things, next: Some(thing_name(key)) });
                }
            }
            if rows.len() < ROWS {
                return Ok(PageJson { things, next: None });
            }
            after = rows.into_iter().next_back().map(|(key, _)| key);
        }
    }
}

fn thing_name(key: &[u8]) -> String {
    String::from_utf8_lossy(key.get(THINGS.len()..).unwrap_or_default()).into_owned()
}

/// Lists the things that have shadows or certificates, by name.
#[utoipa::path(get, path = "/v1/things", tag = "things",
    params(("tenant" = Option<String>, Query, description = "Only things of this tenant"),
        ("limit" = Option<u64>, Query, description = "1 to 1000; 100 if not given"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = PageJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Json<PageJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(PAGE, LARGEST_PAGE)?;
    let (tenant, after) = (pairs.one("tenant")?, pairs.one::<DeviceName>("after")?);
    pairs.end()?;
    let wish = Wish { within, tenant, limit };
    let after = after.map(|thing| thing_row(&thing));
    let store = Arc::clone(api.core.store());
    let page = tokio::task::spawn_blocking(move || wish.look(&*store, after)).await;
    let page = page.map_err(|_| Refusal::StoreFailed)?.map_err(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "the list of things cannot be read");
        Refusal::StoreFailed
    })?;
    Ok(Json(page))
}

/// What a certificate is made of.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certify {
    /// A certificate signing request, in PEM. Whatever it says, the subject is the thing.
    csr_pem: String,
    /// Whose the thing becomes, if nobody has had it; else it must be what it is. Not given: as it
    /// is, or the tenant of the token, or `default`.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantName>,
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
    let Certify { csr_pem, tenant } = body::request(&headers, content, body::SMALL).await?;
    let authority = &api.identity.authority;
    let signed = authority.sign_thing(&thing, &csr_pem, clock::since_1970())?;
    let record = CertificateRecord::from(&signed);
    let deed = Deed::done(by.clone(), "thing.certify", thing.as_str());
    let order = Order::Certify(thing.clone(), record, Claim { by, tenant });
    api.core.order(order, Some(deed)).await?;
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
    let deed = Deed::done(by.clone(), "thing.revoke", thing.as_str());
    let order = Order::Revoke(thing.clone(), serial.to_ascii_lowercase(), by);
    api.core.order(order, Some(deed)).await?;
    tracing::info!(%thing, serial = error::brief(&serial), "a certificate of a thing is revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// The name of a thing, in a path.
pub(super) fn name(text: &str) -> Result<DeviceName, ApiError> {
    text.parse().map_err(|error| ApiError::bad("the thing's name", &error))
}
