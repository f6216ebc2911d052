//! The JSON forms of nodes and shadows.

use std::borrow::Cow;

use gnomon_schemas::document;
use gnomon_schemas::version::{Half, Version};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::domain::{HalfView, NodeView, ShadowView, secrets};

/// A shadow. An app has no delta: what is reported of it is its status, which has another shape
/// than what is desired of it.
#[derive(Serialize)]
pub(super) struct ShadowJson<'a> {
    node: &'a str,
    key: String,
    version: Version,
    desired: Option<HalfJson<'a>>,
    reported: Option<HalfJson<'a>>,
    delta: Option<Value>,
}

/// All shadows of a node.
#[derive(Serialize)]
pub(super) struct ShadowsJson<'a> {
    shadows: Vec<ShadowJson<'a>>,
}

/// A shadow in a watch stream, with the half that changed; none in the snapshot.
#[derive(Serialize)]
pub(super) struct ChangedJson<'a> {
    #[serde(flatten)]
    shadow: ShadowJson<'a>,
    changed: Option<Half>,
}

#[derive(Serialize)]
struct HalfJson<'a> {
    version: Version,
    document: Cow<'a, Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_ms: Option<u64>,
}

impl<'a> From<&'a ShadowView> for ShadowJson<'a> {
    fn from(view: &'a ShadowView) -> Self {
        let is_app = view.key.app().is_some();
        let half = |half: &'a HalfView, updated_ms| HalfJson {
            version: half.version,
            document: if is_app {
                secrets::hide(object(half))
            } else {
                Cow::Borrowed(object(half))
            },
            updated_ms,
        };
        let halves = view.desired.as_ref().zip(view.reported.as_ref());
        let delta = halves
            .filter(|_| !is_app)
            .and_then(|(desired, reported)| document::delta(&desired.document, &reported.document));
        Self {
            node: view.node.as_str(),
            key: view.key.to_string(),
            version: view.version,
            desired: view.desired.as_ref().map(|desired| half(desired, None)),
            reported: view.reported.as_ref().map(|reported| half(reported, view.reported_ms)),
            delta: delta.map(document::Document::into_value),
        }
    }
}

impl<'a> From<&'a [ShadowView]> for ShadowsJson<'a> {
    fn from(views: &'a [ShadowView]) -> Self {
        Self { shadows: views.iter().map(ShadowJson::from).collect() }
    }
}

impl<'a> ChangedJson<'a> {
    pub(super) fn new(view: &'a ShadowView, changed: Option<Half>) -> Self {
        Self { shadow: view.into(), changed }
    }
}

fn object(half: &HalfView) -> &Map<String, Value> {
    half.document.as_object()
}

/// A node.
pub(super) fn node(view: &NodeView) -> Value {
    let counters = &view.down.counters;
    json!({
        "name": view.name,
        "labels": view.labels,
        "online": view.presence.online,
        "since_ms": view.presence.since_ms,
        "last_seen_ms": view.presence.last_seen_ms,
        "in_sync": view.in_sync,
        "shadows": view.shadows,
        "down": {
            "epoch": view.down.epoch.to_string(),
            "head": view.down.head,
            "acked": view.down.acked,
            "batches": counters.batches,
            "changes": counters.changes,
            "retries": counters.retries,
            "probes": counters.probes,
            "manifests": counters.manifests,
            "bytes": view.down.bytes,
        },
        "up": {
            "epoch": view.up.epoch.to_string(),
            "seq": view.up.seq,
            "batches": view.up.batches,
            "bytes": view.up.bytes,
        },
    })
}
