//! `/v1/tokens`: what callers show. The secret is said once; the cloud keeps its fingerprint.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use gnomon_schemas::id::{PoolName, TenantName, TokenName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::auth::{Caller, Granted};
use super::path::IdPath;
use super::shape::ScopeJson;
use super::{Api, ApiError, body};
use crate::access::{ApiToken, Grant, Role, Scope};
use crate::clock;
use crate::core::Deed;
use crate::identity::Secret;

/// What a token shall be good for. What is left out of the scope is as the maker's token has it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateToken, example = json!({
    "name": "ci", "role": "publisher", "ttl_s": 2_592_000, "tenant": "default",
}))]
pub(super) struct Create {
    /// What it is called by: a-z, 0-9 and `-`; the cloud adds some digits.
    #[schema(value_type = String)]
    name: TokenName,
    role: Role,
    /// How long it is good for, in seconds; for ever if not given, at most 10 years.
    #[schema(minimum = 1, maximum = 315_360_000)]
    ttl_s: Option<u64>,
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

const LONGEST_S: u64 = 10 * 365 * 24 * 60 * 60;

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct TokenJson {
    /// What it is called by, also in the history and the audit log (`token/<id>`).
    id: String,
    role: Role,
    #[serde(flatten)]
    scope: ScopeJson,
    /// Who made it.
    by: String,
    /// When, in milliseconds since 1970.
    created_ms: u64,
    /// When it runs out; null: never.
    expires_ms: Option<u64>,
    /// When it was last used, within ten minutes; null: never.
    last_used_ms: Option<u64>,
}

/// A token with its secret, which is said this one time.
#[derive(Serialize, ToSchema)]
#[schema(as = NewToken)]
pub(super) struct NewTokenJson {
    /// The secret: what goes into the header `Authorization: Bearer`.
    token: String,
    #[serde(flatten)]
    about: TokenJson,
}

/// Tokens, by id.
#[derive(Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(super) struct TokensJson {
    tokens: Vec<TokenJson>,
}

/// The tokens that allow nothing beyond what the asker's token allows.
#[utoipa::path(get, path = "/v1/tokens", tag = "access",
    responses((status = 200, body = TokensJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Granted(grant): Granted,
) -> Result<Json<TokensJson>, ApiError> {
    let tokens = api.gate.book().tokens(&grant).map(TokenJson::from).collect();
    Ok(Json(TokensJson { tokens }))
}

/// Makes a token that allows nothing beyond what the maker's token allows.
#[utoipa::path(post, path = "/v1/tokens", tag = "access",
    request_body(content = Create),
    responses((status = 201, body = NewTokenJson)))]
pub(super) async fn create(
    State(api): State<Api>,
    Caller(by): Caller,
    Granted(grant): Granted,
    headers: HeaderMap,
    content: Body,
) -> Result<(StatusCode, Json<NewTokenJson>), ApiError> {
    let Create { name, role, ttl_s, tenant, pool, labels } =
        body::request(&headers, content, body::SMALL).await?;
    if ttl_s.is_some_and(|ttl_s| !(1..=LONGEST_S).contains(&ttl_s)) {
        let message = format!("ttl_s must be from 1 to {LONGEST_S} (10 years), or left out");
        return Err(ApiError::bad_request(message));
    }
    crate::domain::check_labels(&labels)?;
    let scope = grant.scope.complete(Scope { tenant, pool, labels });
    let secret = Secret::api();
    let created_ms = clock::unix_ms();
    let token = ApiToken {
        id: crate::identity::token_id(name.as_str()),
        hash: api.gate.hash(secret.text()),
        grant: Grant { role, scope },
        by: by.to_string(),
        created_ms,
        expires_ms: ttl_s.map(|ttl_s| created_ms + ttl_s * 1000),
        last_used_ms: None,
    };
    let about = TokenJson::from(&token);
    let deed = Deed::done(by, "token.create", &*token.id);
    let deed = deed.of_tenant(token.grant.scope.tenant.clone());
    let plan = |book: &crate::access::Book, now_ms| {
        Ok(((), book.make_token(&grant, token, now_ms)?, Some(deed)))
    };
    api.gate.change(plan).await?;
    let answer = NewTokenJson { token: secret.text().to_owned(), about };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Revokes a token, at once.
#[utoipa::path(delete, path = "/v1/tokens/{id}", tag = "access",
    params(("id" = String, Path, description = "The token's id", example = "ci-5f0c1e")),
    responses((status = 204, description = "It is good for nothing any more")))]
pub(super) async fn revoke(
    State(api): State<Api>,
    Caller(by): Caller,
    Granted(grant): Granted,
    IdPath(id): IdPath,
) -> Result<StatusCode, ApiError> {
    let plan = |book: &crate::access::Book, _| {
        let (token, edit) = book.revoke_token(&grant, &id)?;
        let deed = Deed::done(by, "token.revoke", token.id).of_tenant(token.grant.scope.tenant);
        Ok(((), vec![edit], Some(deed)))
    };
    api.gate.change(plan).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<&ApiToken> for TokenJson {
    fn from(token: &ApiToken) -> Self {
        Self {
            id: token.id.clone(),
            role: token.grant.role,
            scope: ScopeJson::from(&token.grant.scope),
            by: token.by.clone(),
            created_ms: token.created_ms,
            expires_ms: token.expires_ms,
            last_used_ms: token.last_used_ms,
        }
    }
}
