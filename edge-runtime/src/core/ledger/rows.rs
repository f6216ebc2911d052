//! The rows of the ledger: `site/<part>/<app>`, each a small JSON document.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::app::{AppSpec, Revision};
use gnomon_schemas::id::AppName;
use gnomon_schemas::version::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bad, Decision, Good, Held, Local, PREFIX};
use crate::reconcile::DesiredApp;
use crate::store::Op;

#[derive(Serialize, Deserialize)]
struct AppRow {
    version: Version,
    spec: Value,
    /// Of a good revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    images: BTreeMap<String, String>,
    /// Of a local one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base: Option<Version>,
    /// Of one that is good or held.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_local: bool,
}

#[derive(Serialize, Deserialize)]
struct BadRow {
    version: Version,
    revision: Revision,
    reason: String,
}

/// Why a row is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("its key has no known form")]
    Key,
    #[error("it is not of the expected form: {0}")]
    Form(#[from] serde_json::Error),
    #[error("its app is refused: {0}")]
    App(#[from] gnomon_schemas::app::DocumentError),
}

pub(super) fn write(app: &AppName, decision: &Decision) -> Op {
    let (part, value) = match decision {
        Decision::Good(good) => ("good", good.as_ref().and_then(good_row)),
        Decision::Bad(bad) => ("bad", bad.as_ref().and_then(bad_row)),
        Decision::Hold(hold) => ("hold", hold.as_ref().and_then(hold_row)),
        Decision::Local(local) => ("local", local.as_ref().and_then(local_row)),
        Decision::Runs(runs) => ("runs", Some(runs).filter(|it| !it.is_empty()).and_then(bytes)),
    };
    (format!("{PREFIX}{part}/{app}").into_bytes(), value)
}

fn good_row(good: &Good) -> Option<Vec<u8>> {
    let (images, is_local) = (good.images.clone(), good.is_local);
    bytes(&AppRow { images, is_local, ..app_row(&good.app)? })
}

fn hold_row(held: &Held) -> Option<Vec<u8>> {
    bytes(&AppRow { is_local: held.is_local, ..app_row(&held.app)? })
}

fn local_row(local: &Local) -> Option<Vec<u8>> {
    bytes(&AppRow { base: local.base, ..app_row(&local.app)? })
}

fn bad_row(bad: &Bad) -> Option<Vec<u8>> {
    let Bad { version, revision, reason } = bad.clone();
    bytes(&BadRow { version, revision, reason })
}

/// `None` for an app that is refused, which is never decided for.
fn app_row(app: &DesiredApp) -> Option<AppRow> {
    let spec = app.spec.as_ref().ok()?.to_value();
    Some(AppRow {
        version: app.version,
        spec,
        images: BTreeMap::new(),
        base: None,
        is_local: false,
    })
}

fn bytes(row: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(row).ok()
}

pub(super) fn read(key: &[u8], value: &[u8]) -> Result<(AppName, Decision), RowError> {
    let key = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(PREFIX));
    let (part, app) = key.and_then(|key| key.split_once('/')).ok_or(RowError::Key)?;
    let app = app.parse().map_err(|_| RowError::Key)?;
    let decision = match part {
        "good" => {
            let (row, app) = read_app(value)?;
            Decision::Good(Some(Good { app, images: row.images, is_local: row.is_local }))
        }
        "hold" => {
            let (row, app) = read_app(value)?;
            Decision::Hold(Some(Held { app, is_local: row.is_local }))
        }
        "local" => {
            let (row, app) = read_app(value)?;
            Decision::Local(Some(Local { base: row.base, app }))
        }
        "bad" => {
            let BadRow { version, revision, reason } = serde_json::from_slice(value)?;
            Decision::Bad(Some(Bad { version, revision, reason }))
        }
        "runs" => Decision::Runs(serde_json::from_slice(value)?),
        _ => return Err(RowError::Key),
    };
    Ok((app, decision))
}

fn read_app(value: &[u8]) -> Result<(AppRow, DesiredApp), RowError> {
    let row: AppRow = serde_json::from_slice(value)?;
    let spec = AppSpec::from_document(&row.spec)?;
    let app = DesiredApp::new(row.version, Arc::new(spec));
    Ok((row, app))
}
