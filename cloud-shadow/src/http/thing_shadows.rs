//! `/v1/things/{thing}/shadows`: which shadows a thing has, and what each of them was before. What
//! they are now, and how they are written, is the AWS face's.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::Uri;
use axum::http::request::Parts;
use gnomon_schemas::id::DeviceName;
use gnomon_schemas::topic::ShadowId;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use super::auth::Caller;
use super::query::Pairs;
use super::{Api, ApiError, things};
use crate::aws::domain::{
    PastRevision, ReadThingError, Slot, ThingRecord, past_entry, past_of, read_slot, shadow_of,
    shadow_row, shadows_of, thing_of, thing_row, unfold_past,
};
use crate::clock;
use crate::core::Refusal;
use crate::domain::Author;
use crate::rows::ReadRowError;
use crate::store::{Store, StoreError};

/// How many shadows, and how many versions, a page has.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;
const VERSIONS: usize = 20;
const MOST_VERSIONS: usize = 100;

/// The name in a path of the shadow that has none; no shadow can be called so.
const CLASSIC: &str = "@classic";

/// How many look back at once; further ones wait. All versions of a shadow are in memory meanwhile.
static TURNS: Semaphore = Semaphore::const_new(8);

/// A page of a thing's shadows.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingShadows)]
pub(super) struct PageJson {
    thing: String,
    /// Whose it is.
    tenant: String,
    shadows: Vec<ShadowJson>,
    /// What `after` has to be to go on; null: that was all.
    next: Option<String>,
}

/// A shadow of a thing.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingShadow, example = json!({
    "name": "config", "version": 3, "updated_ms": 1_795_238_110_000_u64, "bytes": 42,
}))]
struct ShadowJson {
    /// Its name; `@classic` is the one that has none.
    name: String,
    version: u64,
    /// When a field of it was last written, in milliseconds since 1970; null: it is empty.
    updated_ms: Option<u64>,
    /// The size of `desired` and `reported` together, as AWS counts it.
    bytes: usize,
}

/// A version of a thing's shadow.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingVersion, example = json!({
    "version": 2, "at_ms": 1_795_238_110_002_u64, "by": "thing/pump-7", "deleted": false,
    "patch": { "desired": { "price": 1.79 } },
}))]
struct VersionJson {
    /// That of the shadow; a deletion has the version of what it deletes.
    version: u64,
    /// When it was accepted, in milliseconds since 1970.
    at_ms: u64,
    /// Who wrote it: `thing/<name>`, `aws-key/<id>`, `admin` or `token/<id>`.
    by: String,
    /// Whether the shadow was deleted.
    deleted: bool,
    /// What changed, as a merge patch on what was before: of `desired` and `reported`.
    #[schema(value_type = Object)]
    patch: Map<String, Value>,
}

/// A page of versions, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingHistory)]
pub(super) struct HistoryJson {
    versions: Vec<VersionJson>,
    /// What `before` has to be for the next page; null: there is none.
    next: Option<u64>,
}

/// A version with what it made.
#[derive(Serialize, ToSchema)]
#[schema(as = ThingVersionDocument)]
pub(super) struct DocumentJson {
    #[serde(flatten)]
    version: VersionJson,
    /// `desired` and `reported`; null: the shadow was deleted.
    #[schema(value_type = Option<Object>)]
    document: Option<Map<String, Value>>,
}

/// Why a thing's rows could not be read.
#[derive(Debug, thiserror::Error)]
enum LookError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Thing(#[from] ReadThingError),
    #[error("the history cannot be read")]
    Past(#[from] ReadRowError),
}

/// A path that names a thing.
pub(super) struct ThingPath(DeviceName);

/// A path that names a shadow of a thing.
pub(super) struct ThingShadowPath(ShadowId);

impl FromRequestParts<Api> for ThingPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path: Result<Path<String>, _> = Path::from_request_parts(parts, api).await;
        let Path(name) = path.map_err(|error| ApiError::bad("the path", &error))?;
        things::name(&name).map(Self)
    }
}

impl FromRequestParts<Api> for ThingShadowPath {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path: Result<Path<(String, String)>, _> = Path::from_request_parts(parts, api).await;
        let Path((name, shadow)) = path.map_err(|error| ApiError::bad("the path", &error))?;
        Ok(Self(ShadowId { thing: things::name(&name)?, shadow: named(&shadow)? }))
    }
}

fn named(name: &str) -> Result<Option<gnomon_schemas::id::ThingShadowName>, ApiError> {
    if name == CLASSIC {
        return Ok(None);
    }
    name.parse().map(Some).map_err(|error| ApiError::bad("the shadow's name", &error))
}

/// The shadows of a thing, by name.
#[utoipa::path(get, path = "/v1/things/{thing}/shadows", tag = "things",
    params(("thing" = String, Path, description = "The thing's name", example = "pump-7"),
        ("limit" = Option<u64>, Query, description = "1 to 1000; 100 if not given"),
        ("after" = Option<String>, Query, description = "`next` of the page before")),
    responses((status = 200, body = PageJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Caller(by): Caller,
    ThingPath(thing): ThingPath,
    uri: Uri,
) -> Result<Json<PageJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(PAGE, LARGEST_PAGE)?;
    let after = pairs.text("after")?.map(|name| named(&name)).transpose()?;
    pairs.end()?;
    let name = thing.clone();
    let look = move |store: &dyn Store, record: ThingRecord| {
        let prefix = shadows_of(&name);
        let after = after.map(|shadow| shadow_row(&ShadowId { thing: name.clone(), shadow }));
        let rows = store.page(&prefix, after.as_deref(), limit)?;
        let read = |(key, value): &(Vec<u8>, Vec<u8>)| shadow_of(key, value).map(ShadowJson::from);
        let shadows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let next = shadows.last().filter(|_| shadows.len() == limit).map(|last| last.name.clone());
        let (thing, tenant) = (name.to_string(), record.tenant.to_string());
        Ok(PageJson { thing, tenant, shadows, next })
    };
    look_at(&api, thing, by, look).await.map(Json)
}

/// The versions of a thing's shadow, newest first: who wrote it, when, and what changed.
#[utoipa::path(get, path = "/v1/things/{thing}/shadows/{name}/history", tag = "things",
    params(("thing" = String, Path, description = "The thing's name", example = "pump-7"),
        ("name" = String, Path, description = "The shadow's name; `@classic`: the one without",
            example = "config"),
        ("limit" = Option<u64>, Query, description = "1 to 100; 20 if not given"),
        ("before" = Option<u64>, Query, description = "`next` of the page before")),
    responses((status = 200, body = HistoryJson)))]
pub(super) async fn history(
    State(api): State<Api>,
    Caller(by): Caller,
    ThingShadowPath(id): ThingShadowPath,
    uri: Uri,
) -> Result<Json<HistoryJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(VERSIONS, MOST_VERSIONS)?;
    let before = pairs.one::<u64>("before")?.unwrap_or(u64::MAX);
    pairs.end()?;
    let look = move |revisions: &mut dyn Iterator<Item = PastRevision>| {
        let mut page = revisions.filter(|revision| place_of(revision) < before);
        let mut next = None;
        let mut versions = Vec::new();
        for revision in page.by_ref().take(limit) {
            next = Some(place_of(&revision));
            versions.push(VersionJson::from(&revision));
        }
        HistoryJson { versions, next: page.next().and(next) }
    };
    look_back(&api, id, by, look).await.map(Json)
}

/// What a thing's shadow was at a version or at a time.
#[utoipa::path(get, path = "/v1/things/{thing}/shadows/{name}/versions", tag = "things",
    params(("thing" = String, Path, description = "The thing's name", example = "pump-7"),
        ("name" = String, Path, description = "The shadow's name; `@classic`: the one without",
            example = "config"),
        ("version" = Option<u64>, Query, description = "A version of the shadow"),
        ("at_ms" = Option<u64>, Query,
            description = "A time in milliseconds since 1970, instead of a version")),
    responses((status = 200, body = DocumentJson)))]
pub(super) async fn version(
    State(api): State<Api>,
    Caller(by): Caller,
    ThingShadowPath(id): ThingShadowPath,
    uri: Uri,
) -> Result<Json<DocumentJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let (version, at_ms) = (pairs.one::<u64>("version")?, pairs.one::<u64>("at_ms")?);
    pairs.end()?;
    if version.is_some() == at_ms.is_some() {
        let message = "the query needs either `version` or `at_ms`, and not both";
        return Err(ApiError::bad_request(message));
    }
    let is_wanted = move |revision: &PastRevision| {
        let mark = revision.mark;
        version.is_some_and(|version| mark.version == version && !mark.is_end)
            || at_ms.is_some_and(|at_ms| revision.at_ms <= at_ms)
    };
    let look = move |mut revisions: &mut dyn Iterator<Item = PastRevision>| {
        let found = Iterator::find(&mut revisions, is_wanted)?;
        Some(DocumentJson { version: VersionJson::from(&found), document: found.state })
    };
    let what = match version {
        Some(version) => format!("version {version}"),
        None => "a version of that time".to_owned(),
    };
    let found = look_back(&api, id, by, look).await?;
    found.map(Json).ok_or_else(|| ApiError::unknown_version(&what))
}

/// Where a version stands among those of its shadow: a deletion comes after what it deletes.
fn place_of(revision: &PastRevision) -> u64 {
    revision.mark.version.saturating_mul(2).saturating_add(revision.mark.is_end.into())
}

/// Gives the versions of a shadow, newest first, to `look`.
async fn look_back<T: Send + 'static>(
    api: &Api,
    id: ShadowId,
    by: Author,
    look: impl FnOnce(&mut dyn Iterator<Item = PastRevision>) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let (thing, unknown) = (id.thing.clone(), ApiError::unknown_thing_shadow(&id));
    let turn = TURNS.acquire().await.map_err(|_| Refusal::Stopping)?;
    let limits = api.core.read(|domain, _| domain.history_limits()).await?;
    let oldest = clock::unix_ms().saturating_sub(limits.age_ms);
    let work = move |store: &dyn Store, _: ThingRecord| {
        let _turn = turn;
        let seen = read_slot(&id, |key| store.get(key))??;
        if seen == Slot::Absent {
            return Ok(None);
        }
        let rows = store.scan(&past_of(&id))?;
        let entries = rows.iter().rev().map(|(key, value)| past_entry(key, value));
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        let newest = entries.first().map(|(mark, _)| *mark);
        let is_kept = move |it: &PastRevision| it.at_ms >= oldest || Some(it.mark) == newest;
        let revisions = unfold_past(&seen, entries).take(limits.versions);
        Ok(Some(look(&mut revisions.take_while(is_kept))))
    };
    look_at(api, thing, by, work).await?.ok_or(unknown)
}

/// Looks at the rows of a thing, if there is one for who asks.
async fn look_at<T: Send + 'static>(
    api: &Api,
    thing: DeviceName,
    by: Author,
    look: impl FnOnce(&dyn Store, ThingRecord) -> Result<T, LookError> + Send + 'static,
) -> Result<T, ApiError> {
    let store = Arc::clone(api.core.store());
    let unknown = ApiError::unknown_thing(&thing);
    let work = move || -> Result<Option<T>, LookError> {
        let key = thing_row(&thing);
        let Some(value) = store.get(&key)? else { return Ok(None) };
        let (_, record) = thing_of(&key, &value)?;
        if !by.covers(&record.home()) {
            return Ok(None);
        }
        look(&*store, record).map(Some)
    };
    let done = tokio::task::spawn_blocking(work).await.map_err(|_| Refusal::StoreFailed)?;
    let done = done.map_err(|error| {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "the shadows of a thing cannot be read");
        Refusal::StoreFailed
    })?;
    done.ok_or(unknown)
}

impl From<(ShadowId, crate::aws::domain::Shadow)> for ShadowJson {
    fn from((id, shadow): (ShadowId, crate::aws::domain::Shadow)) -> Self {
        Self {
            name: id.shadow.map_or_else(|| CLASSIC.to_owned(), String::from),
            version: shadow.version,
            updated_ms: shadow.written_s().map(|at_s| at_s.saturating_mul(1000)),
            bytes: shadow.bytes(),
        }
    }
}

impl From<&PastRevision> for VersionJson {
    fn from(revision: &PastRevision) -> Self {
        Self {
            version: revision.mark.version,
            at_ms: revision.at_ms,
            by: revision.by.clone(),
            deleted: revision.mark.is_end,
            patch: revision.patch(),
        }
    }
}
