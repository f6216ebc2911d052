//! The JSON forms of shadows.

mod node;
mod scope;

use std::borrow::Cow;
use std::collections::BTreeMap;

use gnomon_schemas::document::{self, Document};
use gnomon_schemas::version::{Half, Version};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::domain::{Ack, HalfView, Pointer, ShadowView, Stamps, acks, project, secrets};

pub(super) use node::{NodeJson, NodesJson};
pub(super) use scope::ScopeJson;

/// What of a shadow is wanted, and when it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    /// These parts of the documents; empty: all.
    pub(super) pointers: Vec<Pointer>,
    /// When each field was written.
    pub(super) metadata: bool,
    /// What became of each desired field.
    pub(super) acks: bool,
    /// The present, in milliseconds since 1970.
    pub(super) now_ms: u64,
}

impl Wanted {
    /// Everything that is always there.
    pub(super) fn plain(now_ms: u64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    fn part<'a>(&self, object: Cow<'a, Map<String, Value>>) -> Cow<'a, Map<String, Value>> {
        if self.pointers.is_empty() { object } else { Cow::Owned(project(&object, &self.pointers)) }
    }
}

/// A shadow. An app has no delta: what is reported of it is its status, which has another shape
/// than what is desired of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Shadow, example = json!({
    "node": "site-1", "key": "device/pump-7", "version": 2,
    "desired": { "version": 1, "document": { "price": 1.79 },
        "updated_ms": 1_795_238_110_002_u64, "age_ms": 8359 },
    "reported": { "version": 1, "document": { "price": 1.75 },
        "updated_ms": 1_795_238_118_361_u64, "age_ms": 0 },
    "delta": { "price": 1.79 },
}))]
pub(super) struct ShadowJson<'a> {
    /// The node's name.
    node: &'a str,
    /// `node`, `app/<name>` or `device/<id>[/<shadow>]`.
    key: String,
    /// Counts the accepted updates of either half.
    #[schema(value_type = u64)]
    version: Version,
    /// What should be.
    desired: Option<HalfJson<'a>>,
    /// What is, as far as the site has told.
    reported: Option<HalfJson<'a>>,
    /// What is desired and not reported.
    #[schema(value_type = Option<Object>)]
    delta: Option<Map<String, Value>>,
    /// What operators note; no site sees it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    tags: &'a BTreeMap<String, String>,
    /// What became of each desired field, by JSON pointer; with `acks=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    acks: Option<BTreeMap<String, AckJson>>,
}

/// One half of a shadow.
#[derive(Serialize, ToSchema)]
#[schema(as = Half)]
struct HalfJson<'a> {
    /// Counts the changes of this half.
    #[schema(value_type = u64)]
    version: Version,
    /// The document, or the parts of it that the query asks for.
    #[schema(value_type = Object)]
    document: Cow<'a, Map<String, Value>>,
    /// When it last changed at the cloud, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_ms: Option<u64>,
    /// How long ago that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    age_ms: Option<u64>,
    /// For each field when and by which version it was last written; with `metadata=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
}

/// What became of a desired field.
#[derive(Serialize, ToSchema)]
#[schema(as = Ack)]
struct AckJson {
    state: AckState,
    /// What the device says.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<String>,
}

/// Whether a desired field has arrived.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum AckState {
    Applied,
    Pending,
    Refused,
}

/// All shadows of a node.
#[derive(Serialize, ToSchema)]
#[schema(as = Shadows)]
pub(super) struct ShadowsJson<'a> {
    shadows: Vec<ShadowJson<'a>>,
}

/// A shadow in a watch stream, with the half that changed and how; neither in the snapshot.
#[derive(Serialize, ToSchema)]
#[schema(as = ChangedShadow)]
pub(super) struct ChangedJson<'a> {
    #[serde(flatten)]
    shadow: ShadowJson<'a>,
    /// `desired` or `reported`.
    #[schema(value_type = Option<String>)]
    changed: Option<Half>,
    /// What changed in it, as a merge patch: `null` announces a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    patch: Option<Value>,
}

impl<'a> ShadowJson<'a> {
    pub(super) fn new(view: &'a ShadowView, wanted: &Wanted) -> Self {
        let is_app = view.key.app().is_some();
        let half = |half: &'a HalfView| HalfJson::new(half, is_app, wanted);
        let halves = view.desired.as_ref().zip(view.reported.as_ref());
        let delta = halves
            .filter(|_| !is_app)
            .and_then(|(desired, reported)| document::delta(&desired.document, &reported.document));
        let delta = delta.map(|delta| wanted.part(Cow::Borrowed(delta.as_object())).into_owned());
        let acks = view.desired.as_ref().filter(|_| wanted.acks && !is_app);
        let acks = acks.map(|desired| acks_of(desired, view.reported.as_ref()));
        Self {
            node: view.node.as_str(),
            key: view.key.to_string(),
            version: view.version,
            desired: view.desired.as_ref().map(half),
            reported: view.reported.as_ref().map(half),
            delta: delta.filter(|delta| wanted.pointers.is_empty() || !delta.is_empty()),
            tags: &view.tags,
            acks,
        }
    }
}

impl<'a> HalfJson<'a> {
    fn new(half: &'a HalfView, is_app: bool, wanted: &Wanted) -> Self {
        let metadata = wanted.metadata.then(|| {
            let tree = metadata(half.document.as_object(), &mut half.times.stamps());
            wanted.part(Cow::Owned(tree)).into_owned()
        });
        Self {
            version: half.version,
            document: wanted.part(shown(&half.document, is_app)),
            updated_ms: half.changed_ms,
            age_ms: half.changed_ms.map(|changed_ms| wanted.now_ms.saturating_sub(changed_ms)),
            metadata,
        }
    }
}

impl<'a> ShadowsJson<'a> {
    pub(super) fn new(views: &'a [ShadowView], wanted: &Wanted) -> Self {
        Self { shadows: views.iter().map(|view| ShadowJson::new(view, wanted)).collect() }
    }
}

impl<'a> ChangedJson<'a> {
    pub(super) fn new(view: &'a ShadowView, now_ms: u64) -> Self {
        let shadow = ShadowJson::new(view, &Wanted::plain(now_ms));
        Self { shadow, changed: None, patch: None }
    }

    pub(super) fn changed(self, half: Half, patch: Option<Value>) -> Self {
        Self { changed: Some(half), patch, ..self }
    }
}

/// What anyone may see of a document.
pub(super) fn shown(document: &Document, is_app: bool) -> Cow<'_, Map<String, Value>> {
    let object = document.as_object();
    if is_app { secrets::hide(object) } else { Cow::Borrowed(object) }
}

/// The document's tree with a stamp in the place of each leaf.
fn metadata(object: &Map<String, Value>, stamps: &mut Stamps) -> Map<String, Value> {
    let mut tree = Map::new();
    for (key, value) in object {
        let inner = if let Some(inner) = value.as_object().filter(|inner| !inner.is_empty()) {
            Value::Object(metadata(inner, stamps))
        } else {
            let stamp = stamps.take();
            json!({ "version": stamp.version, "updated_ms": stamp.unix_ms })
        };
        tree.insert(key.clone(), inner);
    }
    tree
}

fn acks_of(desired: &HalfView, reported: Option<&HalfView>) -> BTreeMap<String, AckJson> {
    acks(desired, reported).into_iter().map(|(at, ack)| (at, ack.into())).collect()
}

impl From<Ack> for AckJson {
    fn from(ack: Ack) -> Self {
        let (state, because) = match ack {
            Ack::Applied => (AckState::Applied, None),
            Ack::Pending { because } => (AckState::Pending, because),
            Ack::Refused { because } => (AckState::Refused, Some(because)),
        };
        Self { state, because }
    }
}
