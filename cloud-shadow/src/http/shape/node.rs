//! The JSON form of nodes.

use std::collections::BTreeMap;

use gnomon_schemas::id::{NodeName, PoolName};
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::NodeView;

/// A site, and how its two streams stand.
#[derive(Serialize, ToSchema)]
#[schema(as = Node)]
pub(in crate::http) struct NodeJson<'a> {
    name: &'a str,
    /// Whose it is.
    tenant: &'a str,
    /// The group that it is in.
    pool: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    /// Whether it is connected.
    online: bool,
    /// When that last changed, in milliseconds since 1970; null: it was never connected.
    since_ms: Option<u64>,
    /// When it was last heard of.
    last_seen_ms: Option<u64>,
    /// How long ago that was.
    age_ms: Option<u64>,
    /// Whether it is known to hold every `desired`.
    in_sync: bool,
    shadows: usize,
    down: DownJson,
    up: UpJson,
}

/// All nodes.
#[derive(Serialize, ToSchema)]
#[schema(as = Nodes)]
pub(in crate::http) struct NodesJson<'a> {
    nodes: Vec<NodeJson<'a>>,
    /// What `after` has to be to go on; null: that was all. With conditions a page may be short, even
    /// empty, and yet not the last one.
    next: Option<&'a str>,
}

/// The stream of every `desired` to a node; counted since the cloud started.
#[derive(Serialize, ToSchema)]
#[schema(as = DownStream)]
struct DownJson {
    /// The identity of its history.
    epoch: String,
    /// The position of its last change.
    head: u64,
    /// The node's position, if it has told it since it connected.
    acked: Option<u64>,
    batches: u64,
    changes: u64,
    retries: u64,
    probes: u64,
    manifests: u64,
    bytes: u64,
}

/// The stream of every `reported` from a node; counted since the cloud started.
#[derive(Serialize, ToSchema)]
#[schema(as = UpStream)]
struct UpJson {
    /// The identity of its history.
    epoch: String,
    /// The position up to which the cloud holds it.
    seq: u64,
    batches: u64,
    bytes: u64,
}

impl<'a> NodesJson<'a> {
    pub(in crate::http) fn new(
        views: &'a [NodeView],
        next: Option<&'a NodeName>,
        now_ms: u64,
    ) -> Self {
        let nodes = views.iter().map(|view| NodeJson::new(view, now_ms)).collect();
        Self { nodes, next: next.map(NodeName::as_str) }
    }
}

impl<'a> NodeJson<'a> {
    pub(in crate::http) fn new(view: &'a NodeView, now_ms: u64) -> Self {
        let (down, up) = (&view.down, &view.up);
        let last_seen_ms = view.presence.last_seen_ms;
        Self {
            name: view.name.as_str(),
            tenant: view.home.tenant.as_str(),
            pool: view.home.pool.as_ref().map(PoolName::as_str),
            labels: &view.home.labels,
            online: view.presence.online,
            since_ms: view.presence.since_ms,
            last_seen_ms,
            age_ms: last_seen_ms.map(|seen_ms| now_ms.saturating_sub(seen_ms)),
            in_sync: view.in_sync,
            shadows: view.shadows,
            down: DownJson {
                epoch: down.epoch.to_string(),
                head: down.head.0,
                acked: down.acked.map(|seq| seq.0),
                batches: down.counters.batches,
                changes: down.counters.changes,
                retries: down.counters.retries,
                probes: down.counters.probes,
                manifests: down.counters.manifests,
                bytes: down.bytes,
            },
            up: UpJson {
                epoch: up.epoch.to_string(),
                seq: up.seq.0,
                batches: up.batches,
                bytes: up.bytes,
            },
        }
    }
}
