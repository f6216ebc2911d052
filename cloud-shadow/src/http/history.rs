//! What a half was before: `/v1/nodes/{node}/history|versions|diff|rollback/{key}`.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use gnomon_schemas::document::{self, Document};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Half, Version};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::auth::Caller;
use super::path::ShadowPath;
use super::precondition::Conditions;
use super::prefer::Answering;
use super::query::Pairs;
use super::shape::shown;
use super::{Api, ApiError, body, precondition, shadows};
use crate::core::Past;
use crate::domain::{Action, Change, Command, Revision, Write, secrets};

/// How many versions a page has.
const PAGE: usize = 20;
const LARGEST_PAGE: usize = 100;

/// A version of a half.
#[derive(Serialize, ToSchema)]
#[schema(as = Version, example = json!({
    "version": 2, "shadow_version": 3, "at_ms": 1_795_238_110_002_u64, "by": "admin",
    "digest": "5f0c1e22a4f0b9f7c7d1b2a3e4f50617", "deleted": false, "bytes": 14,
    "patch": { "price": 1.79 },
}))]
pub(super) struct VersionJson {
    /// The half's version.
    #[schema(value_type = u64)]
    version: Version,
    /// The shadow's version with it: what pages go by.
    #[schema(value_type = u64)]
    shadow_version: Version,
    /// When it was accepted, in milliseconds since 1970.
    at_ms: u64,
    /// Who wrote it: `admin`, `node/<name>`, or `cloud` where that is not known.
    by: String,
    /// The fingerprint of the document as it is shown; null: this version deleted the half.
    digest: Option<String>,
    /// Whether this version deleted the half.
    deleted: bool,
    /// The size of what changed, in CBOR.
    bytes: usize,
    /// What changed, as a merge patch on the version before.
    #[schema(value_type = Object)]
    patch: Value,
}

/// A page of versions, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = History)]
pub(super) struct HistoryJson {
    versions: Vec<VersionJson>,
    /// What `before` has to be for the next page; null: there is none.
    #[schema(value_type = Option<u64>)]
    next: Option<Version>,
}

/// A version with its document.
#[derive(Serialize, ToSchema)]
#[schema(as = VersionDocument)]
pub(super) struct DocumentJson {
    #[serde(flatten)]
    version: VersionJson,
    /// The document; null: this version deleted the half.
    #[schema(value_type = Option<Object>)]
    document: Option<Map<String, Value>>,
}

/// What lies between two versions.
#[derive(Serialize, ToSchema)]
#[schema(as = Diff)]
pub(super) struct DiffJson {
    #[schema(value_type = u64)]
    from: Version,
    #[schema(value_type = u64)]
    to: Version,
    /// The merge patch that makes the one out of the other.
    #[schema(value_type = Object)]
    patch: Value,
}

/// Where to roll back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "version": 1 }))]
pub(super) struct Rollback {
    /// A version of `desired`.
    version: u64,
}

/// The versions of a half, newest first: who wrote it, when, and what changed.
#[utoipa::path(get, path = "/v1/nodes/{node}/history/{key}", tag = "history",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        ("half" = Option<String>, Query, description = "`desired` (the default) or `reported`"),
        ("limit" = Option<u64>, Query, description = "1 to 100; 20 if not given"),
        ("before" = Option<u64>, Query, description = "Only what came before this shadow_version")),
    responses((status = 200, body = HistoryJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    uri: Uri,
) -> Result<Json<HistoryJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let past = past(node, key, &mut pairs)?;
    let limit = pairs.limit(PAGE, LARGEST_PAGE)?;
    let before = pairs.one::<u64>("before")?.unwrap_or(u64::MAX);
    pairs.end()?;
    let is_app = past.key.app().is_some();
    let look = move |revisions: &mut dyn Iterator<Item = Revision>| {
        let is_older = |revision: &Revision| revision.entry.shadow_version.0 < before;
        let mut page = revisions.filter(is_older);
        let versions: Vec<_> =
            page.by_ref().take(limit).map(|revision| VersionJson::new(&revision, is_app)).collect();
        let next = page.next().and(versions.last().map(|last| last.shadow_version));
        HistoryJson { versions, next }
    };
    Ok(Json(api.core.look_back(past, look).await?))
}

/// A half as it was at a version or at a time.
#[utoipa::path(get, path = "/v1/nodes/{node}/versions/{key}", tag = "history",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        ("half" = Option<String>, Query, description = "`desired` (the default) or `reported`"),
        ("version" = Option<u64>, Query, description = "The half's version"),
        ("at_ms" = Option<u64>, Query,
            description = "A time in milliseconds since 1970, instead of a version")),
    responses((status = 200, body = DocumentJson)))]
pub(super) async fn read(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    uri: Uri,
) -> Result<Json<DocumentJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let past = past(node, key, &mut pairs)?;
    let (version, at_ms) = (pairs.one::<u64>("version")?, pairs.one::<u64>("at_ms")?);
    pairs.end()?;
    if version.is_some() == at_ms.is_some() {
        let message = "the query needs either `version` or `at_ms`, and not both";
        return Err(ApiError::bad_request(message));
    }
    let is_app = past.key.app().is_some();
    let is_wanted = move |revision: &Revision| {
        version.is_some_and(|version| revision.entry.version.0 == version)
            || at_ms.is_some_and(|at_ms| revision.entry.at_ms <= at_ms)
    };
    let look = move |mut revisions: &mut dyn Iterator<Item = Revision>| {
        Iterator::find(&mut revisions, is_wanted).map(|revision| DocumentJson {
            version: VersionJson::new(&revision, is_app),
            document: revision.document.map(|document| shown(&document, is_app).into_owned()),
        })
    };
    let found = api.core.look_back(past, look).await?;
    let what = || match version {
        Some(version) => format!("version {version}"),
        None => "a version of that time".to_owned(),
    };
    found.map(Json).ok_or_else(|| ApiError::unknown_version(&what()))
}

/// What changed from one version of a half to another.
#[utoipa::path(get, path = "/v1/nodes/{node}/diff/{key}", tag = "history",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        ("half" = Option<String>, Query, description = "`desired` (the default) or `reported`"),
        ("from" = u64, Query, description = "A version of the half"),
        ("to" = u64, Query, description = "A version of the half, earlier or later")),
    responses((status = 200, body = DiffJson)))]
pub(super) async fn diff(
    State(api): State<Api>,
    ShadowPath(node, key): ShadowPath,
    uri: Uri,
) -> Result<Json<DiffJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let past = past(node, key, &mut pairs)?;
    let (from, to) = (pairs.one::<u64>("from")?, pairs.one::<u64>("to")?);
    pairs.end()?;
    let (Some(from), Some(to)) = (from, to) else {
        return Err(ApiError::bad_request("the query needs `from` and `to`"));
    };
    let is_app = past.key.app().is_some();
    let look = move |revisions: &mut dyn Iterator<Item = Revision>| {
        let (mut first, mut second) = (None, None);
        for revision in revisions {
            let version = revision.entry.version.0;
            let document = || revision.document.as_deref().cloned().unwrap_or_default();
            if version == from && first.is_none() {
                first = Some(document());
            }
            if version == to && second.is_none() {
                second = Some(document());
            }
            if first.is_some() && second.is_some() {
                break;
            }
        }
        (first, second)
    };
    let (first, second) = api.core.look_back(past, look).await?;
    let missing = |version: u64| ApiError::unknown_version(&format!("version {version}"));
    let first = first.ok_or_else(|| missing(from))?;
    let second = second.ok_or_else(|| missing(to))?;
    let patch = patch_json(&first, &second, is_app);
    Ok(Json(DiffJson { from: Version(from), to: Version(to), patch }))
}

/// Makes what `desired` was at a version its newest one.
#[utoipa::path(post, path = "/v1/nodes/{node}/rollback/{key}", tag = "history",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("key" = String, Path, description = "The shadow's key", example = "device/pump-7"),
        Conditions),
    request_body(content = Rollback),
    responses((status = 200, body = super::shape::ShadowJson<'_>),
        (status = 201, body = super::shape::ShadowJson<'_>)))]
pub(super) async fn roll_back(
    State(api): State<Api>,
    Caller(by): Caller,
    ShadowPath(node, key): ShadowPath,
    headers: HeaderMap,
    content: Body,
) -> Result<Response, ApiError> {
    let Conditions { when, fields } = precondition::of(&headers)?;
    let Rollback { version } = body::request(&headers, content, body::SMALL).await?;
    let past = Past { node: node.clone(), key: key.clone(), half: Half::Desired };
    let is_wanted = move |revision: &Revision| revision.entry.version.0 == version;
    let look = move |mut revisions: &mut dyn Iterator<Item = Revision>| {
        let found = Iterator::find(&mut revisions, is_wanted);
        found.map(|revision| revision.document)
    };
    let found = api.core.look_back(past, look).await?;
    let document = found.ok_or_else(|| ApiError::unknown_version(&format!("version {version}")))?;
    let change = document.map_or(Change::Delete, |document| Change::Put((*document).clone()));
    let action = Action::Write(Write { key, change, when, fields });
    shadows::write(&api, Command { node, action, by }, Answering::Whole).await
}

fn past(node: NodeName, key: ShadowKey, pairs: &mut Pairs) -> Result<Past, ApiError> {
    let half = pairs.half()?.unwrap_or(Half::Desired);
    Ok(Past { node, key, half })
}

impl VersionJson {
    fn new(revision: &Revision, is_app: bool) -> Self {
        let nothing = Document::new();
        let before = revision.before.as_deref().unwrap_or(&nothing);
        let after = revision.document.as_deref().unwrap_or(&nothing);
        let entry = &revision.entry;
        // That of an app is of what is shown: with the rest known, the true one would let a short
        // secret be guessed.
        let public = || Document::from_value(Value::Object(shown(after, true).into_owned()));
        let digest = match entry.digest {
            Some(_) if is_app => public().ok().map(|document| document.digest()),
            digest => digest,
        };
        Self {
            version: entry.version,
            shadow_version: entry.shadow_version,
            at_ms: entry.at_ms,
            by: entry.by.to_string(),
            digest: digest.map(|digest| digest.to_string()),
            deleted: revision.document.is_none(),
            bytes: revision.patch().to_cbor().len(),
            patch: patch_json(before, after, is_app),
        }
    }
}

/// What anyone may see of what changed.
pub(super) fn patch_json(before: &Document, after: &Document, is_app: bool) -> Value {
    let patch = document::diff(before, after).to_value().unwrap_or_default();
    match patch.as_object().filter(|_| is_app) {
        Some(object) => Value::Object(secrets::hide(object).into_owned()),
        None => patch,
    }
}
