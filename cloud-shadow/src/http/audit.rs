//! `/v1/audit`: who did what, the newest first.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use gnomon_schemas::id::TenantName;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Within;
use super::query::Pairs;
use super::{Api, ApiError};
use crate::access::Scope;
use crate::core::{AUDIT, AuditEntry, Refusal, audit_key, read_audit};
use crate::rows::ReadRowError;
use crate::store::{Store, StoreError};

const PAGE: usize = 50;
const LARGEST_PAGE: usize = 1000;

/// How many rows are read at once, and how many entries one request looks at.
const ROWS: usize = 64;
const EXAMINED: usize = 100_000;

/// What somebody did.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry, example = json!({
    "number": 17, "at_ms": 1_795_238_110_002_u64, "by": "token/ci-5f0c1e",
    "action": "shadow.patch", "target": "site-1/device/pump-7", "tenant": "default",
    "outcome": "done",
}))]
pub(super) struct EntryJson {
    /// Counts the entries; what pages go by.
    number: u64,
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// Who: `admin`, `token/<id>` or `node/<name>`.
    by: String,
    /// What.
    action: String,
    /// To what.
    target: String,
    /// Whose that is; null: the whole cloud's.
    tenant: Option<String>,
    /// `done`, or the code of a refusal.
    outcome: String,
}

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct AuditJson {
    entries: Vec<EntryJson>,
    /// What `before` has to be for the next page; null: there is none. A page may be short, even
    /// empty, and yet not the last one.
    next: Option<u64>,
}

/// What is looked for.
struct Wanted {
    within: Scope,
    by: Option<String>,
    action: Option<String>,
    target: Option<String>,
    tenant: Option<TenantName>,
    from_ms: u64,
    to_ms: u64,
    limit: usize,
}

/// Who did what, the newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "access",
    params(("by" = Option<String>, Query, description = "Only of this author: `token/ci-5f0c1e`"),
        ("action" = Option<String>, Query,
            description = "Only this, or all that begins with it and a dot: `shadow`"),
        ("target" = Option<String>, Query,
            description = "Only to this, or to what is below it: `site-1`"),
        ("tenant" = Option<String>, Query, description = "Only of this tenant"),
        ("from_ms" = Option<u64>, Query, description = "Not before, in milliseconds since 1970"),
        ("to_ms" = Option<u64>, Query, description = "Not after"),
        ("limit" = Option<u64>, Query, description = "1 to 1000; 50 if not given"),
        ("before" = Option<u64>, Query, description = "`next` of the page before")),
    responses((status = 200, body = AuditJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Json<AuditJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let wanted = Wanted {
        within,
        by: pairs.text("by")?,
        action: pairs.text("action")?,
        target: pairs.text("target")?,
        tenant: pairs.one("tenant")?,
        from_ms: pairs.one("from_ms")?.unwrap_or(0),
        to_ms: pairs.one("to_ms")?.unwrap_or(u64::MAX),
        limit: pairs.limit(PAGE, LARGEST_PAGE)?,
    };
    let before = pairs.one("before")?;
    pairs.end()?;
    let store = Arc::clone(api.core.store());
    let read = tokio::task::spawn_blocking(move || page(&*store, &wanted, before));
    match read.await {
        Ok(Ok(page)) => Ok(Json(page)),
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the audit log could not be read");
            Err(Refusal::StoreFailed.into())
        }
        Err(error) => {
            tracing::error!(%error, "reading the audit log ended by a panic");
            Err(Refusal::StoreFailed.into())
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum ReadAuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a row of the audit log is malformed")]
    Row(#[from] ReadRowError),
}

fn page(
    store: &dyn Store,
    wanted: &Wanted,
    before: Option<u64>,
) -> Result<AuditJson, ReadAuditError> {
    let mut after = before.map(audit_key);
    let (mut entries, mut examined) = (Vec::new(), 0);
    loop {
        let rows = store.page(AUDIT, after.as_deref(), ROWS)?;
        let is_last = rows.len() < ROWS;
        for (key, value) in rows {
            for entry in read_audit(&key, &value)?.into_iter().rev() {
                if before.is_some_and(|before| entry.number >= before) {
                    continue;
                }
                examined += 1;
                let number = entry.number;
                if wanted.is_met(&entry) {
                    entries.push(EntryJson::from(entry));
                }
                if entries.len() >= wanted.limit || examined >= EXAMINED {
                    return Ok(AuditJson { entries, next: Some(number) });
                }
            }
            after = Some(key);
        }
        if is_last {
            return Ok(AuditJson { entries, next: None });
        }
    }
}

impl Wanted {
    fn is_met(&self, entry: &AuditEntry) -> bool {
        let tenant = entry.tenant.as_ref();
        let below = |wanted: &Option<String>, found: &str, parts: char| {
            wanted.as_deref().is_none_or(|wanted| {
                let rest = found.strip_prefix(wanted);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(parts))
            })
        };
        self.within.tenant.as_ref().is_none_or(|own| tenant == Some(own))
            && self.tenant.as_ref().is_none_or(|wanted| tenant == Some(wanted))
            && self.by.as_deref().is_none_or(|by| by == entry.by)
            && below(&self.action, &entry.action, '.')
            && below(&self.target, &entry.target, '/')
            && (self.from_ms..=self.to_ms).contains(&entry.at_ms)
    }
}

impl From<AuditEntry> for EntryJson {
    fn from(entry: AuditEntry) -> Self {
        Self {
            number: entry.number,
            at_ms: entry.at_ms,
            by: entry.by,
            action: entry.action,
            target: entry.target,
            tenant: entry.tenant.map(String::from),
            outcome: entry.outcome,
        }
    }
}
