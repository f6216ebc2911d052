//! `/v1/lag`: which nodes lack something that is desired, those first that have waited longest.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::auth::Within;
use super::query::Pairs;
use super::{Api, ApiError};
use crate::domain::{Behind, Domain};

/// How many nodes are named, usually and at most.
const NAMED: usize = 20;
const MOST: usize = 1000;

/// The nodes that lack something that is desired.
#[derive(Serialize, ToSchema)]
#[schema(as = Lag)]
pub(super) struct LagJson {
    /// How many of the nodes that the token is good for lack something.
    behind: usize,
    /// Those first that have waited the longest.
    nodes: Vec<LateJson>,
}

/// A node that lacks something that is desired.
#[derive(Serialize, ToSchema)]
#[schema(as = Late, example = json!({
    "node": "site-1", "since_ms": 1_795_238_110_002_u64, "lag_ms": 9_359, "online": false,
    "last_seen_ms": 1_795_238_100_000_u64, "changes": 3,
}))]
struct LateJson {
    node: String,
    /// Since when it lacks something, in milliseconds since 1970. After a restart of the cloud, and
    /// until the node says where it stands: since the first change that came after it was last
    /// heard of.
    since_ms: u64,
    /// How long that is.
    lag_ms: u64,
    /// Whether it is connected.
    online: bool,
    /// When it was last heard of; null: never.
    last_seen_ms: Option<u64>,
    /// How far the stream has gone since; null: the node has not said where it stands.
    changes: Option<u64>,
}

/// Which nodes lack something that is desired, and since when.
#[utoipa::path(get, path = "/v1/lag", tag = "nodes",
    params(("limit" = Option<u64>, Query, description = "1 to 1000; 20 if not given")),
    responses((status = 200, body = LagJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    Within(within): Within,
    uri: Uri,
) -> Result<Json<LagJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(NAMED, MOST)?;
    pairs.end()?;
    let look = move |domain: &Domain, now: crate::domain::Now| {
        let covered = domain.behind().filter(|late| within.covers(late.node.home()));
        let (mut behind, mut nodes) = (0, Vec::new());
        for late in covered {
            behind += 1;
            if nodes.len() < limit {
                nodes.push(form(late, now.unix_ms));
            }
        }
        LagJson { behind, nodes }
    };
    Ok(Json(api.core.read(look).await?))
}

fn form(Behind { node, since_ms }: Behind<'_>, now_ms: u64) -> LateJson {
    let view = node.view();
    LateJson {
        node: view.name.to_string(),
        since_ms,
        lag_ms: now_ms.saturating_sub(since_ms),
        online: view.presence.online,
        last_seen_ms: view.presence.last_seen_ms,
        changes: view.down.acked.map(|acked| view.down.head.0.saturating_sub(acked.0)),
    }
}
