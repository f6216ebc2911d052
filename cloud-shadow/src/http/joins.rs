//! `/v1/join-tokens`: what nodes join with that the cloud need not know before. They name
//! themselves, and belong where the token says.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gnomon_schemas::id::{PoolName, TenantName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Granted, Within};
use super::path::IdPath;
use super::shape::ScopeJson;
use super::{Api, ApiError, body, tokens};
use crate::access::{Book, JoinToken, Scope};
use crate::clock;
use crate::core::Deed;
use crate::identity::Secret;

/// How many may join, for how long, and where their nodes belong. What is left out of that is as
/// the maker's token has it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateJoinTokens, example = json!({
    "uses": 50, "ttl_s": 86400, "labels": { "region": "north" },
}))]
pub(super) struct Create {
    /// How many nodes may join with it; 1 if not given.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 100_000)]
    uses: u32,
    /// How long it is good for, in seconds; an hour if not given, at most 30 days.
    #[schema(minimum = 1, maximum = 2_592_000)]
    #[serde(default = "tokens::an_hour")]
    ttl_s: u64,
    /// Nodes of this tenant; if not given, as the maker's token has it.
    #[schema(value_type = Option<String>)]
    tenant: Option<TenantName>,
    /// Nodes in this pool; if not given, as the maker's token has it.
    #[schema(value_type = Option<String>)]
    pool: Option<PoolName>,
    /// Nodes with all these labels, and those of the maker's token.
    #[serde(default)]
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
}

const fn one() -> u32 {
    1
}

const MOST_USES: u32 = 100_000;

/// A join token, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = FleetJoinToken)]
pub(super) struct JoinJson {
    /// What it is called by.
    id: String,
    #[serde(flatten)]
    scope: ScopeJson,
    /// How many more nodes may join with it.
    uses_left: u32,
    /// Who made it.
    by: String,
    /// When it runs out, in milliseconds since 1970.
    expires_ms: u64,
}

/// A join token with its secret, which is said this one time.
#[derive(Serialize, ToSchema)]
#[schema(as = NewFleetJoinToken)]
pub(super) struct NewJoinJson {
    /// The secret. Behind its dot is the fingerprint of the cloud's authority, by which a node
    /// knows the cloud.
    token: String,
    #[serde(flatten)]
    about: JoinJson,
}

/// Join tokens, by id.
#[derive(Serialize, ToSchema)]
#[schema(as = FleetJoinTokens)]
pub(super) struct JoinsJson {
    tokens: Vec<JoinJson>,
}

/// The join tokens that are good for several nodes, and neither used up nor out of date.
#[utoipa::path(get, path = "/v1/join-tokens", tag = "access",
    responses((status = 200, body = JoinsJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
) -> Result<Json<JoinsJson>, ApiError> {
    let now_ms = clock::unix_ms();
    let tokens = api.gate.book().joins(&within, now_ms).map(JoinJson::from).collect();
    Ok(Json(JoinsJson { tokens }))
}

/// Makes a token with which nodes join that need not be known before.
#[utoipa::path(post, path = "/v1/join-tokens", tag = "access",
    request_body(content = Create),
    responses((status = 201, body = NewJoinJson)))]
pub(super) async fn create(
    State(api): State<Api>,
    Caller(by): Caller,
    Granted(grant): Granted,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<NewJoinJson>), ApiError> {
    let Create { uses, ttl_s, tenant, pool, labels } =
        body::request(&headers, content, body::SMALL).await?;
    tokens::check_ttl(ttl_s)?;
    if !(1..=MOST_USES).contains(&uses) {
        let message = format!("uses is {uses}; it must be from 1 to {MOST_USES}");
        return Err(ApiError::bad_request(message));
    }
    crate::domain::check_labels(&labels)?;
    let secret = Secret::join(api.identity.authority.fingerprint());
    let token = JoinToken {
        id: crate::identity::token_id("join"),
        hash: api.gate.hash(secret.text()),
        scope: grant.scope.complete(Scope { tenant, pool, labels }),
        uses_left: uses,
        by: by.to_string(),
        expires_ms: clock::unix_ms() + ttl_s * 1000,
    };
    let about = JoinJson::from(&token);
    let deed = Deed::done(by, "join_token.create", &*token.id);
    let deed = deed.of_tenant(token.scope.tenant.clone());
    let plan = |book: &Book, now_ms| Ok(((), book.make_join(&grant, token, now_ms)?, Some(deed)));
    api.gate.change(plan).await?;
    let answer = NewJoinJson { token: secret.text().to_owned(), about };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes a join token; nodes that have joined with it stay.
#[utoipa::path(delete, path = "/v1/join-tokens/{id}", tag = "access",
    params(("id" = String, Path, description = "The token's id", example = "join-5f0c1e")),
    responses((status = 204, description = "Nobody joins with it any more")))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    Granted(grant): Granted,
    IdPath(id): IdPath,
) -> Result<StatusCode, ApiError> {
    let plan = |book: &Book, _| {
        let (token, edit) = book.revoke_join(&grant, &id)?;
        let deed = Deed::done(by, "join_token.revoke", token.id).of_tenant(token.scope.tenant);
        Ok(((), vec![edit], Some(deed)))
    };
    api.gate.change(plan).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<&JoinToken> for JoinJson {
    fn from(token: &JoinToken) -> Self {
        Self {
            id: token.id.clone(),
            scope: ScopeJson::from(&token.scope),
            uses_left: token.uses_left,
            by: token.by.clone(),
            expires_ms: token.expires_ms,
        }
    }
}
