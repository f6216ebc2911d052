//! `/v1/nodes/{node}/sessions`: when a node was there.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::path::NodePath;
use super::query::Pairs;
use super::{Api, ApiError};
use crate::clock;
use crate::domain::SESSIONS;

/// Whether a node is there, and when it was.
#[derive(Serialize, ToSchema)]
#[schema(as = Sessions)]
pub(super) struct SessionsJson {
    /// Whether it is connected.
    online: bool,
    /// When that last changed, in milliseconds since 1970; null: it was never connected.
    since_ms: Option<u64>,
    /// When it was last heard of.
    last_seen_ms: Option<u64>,
    /// The newest first.
    sessions: Vec<SessionJson>,
}

/// A session of a node.
#[derive(Serialize, ToSchema)]
#[schema(as = Session, example = json!({
    "connected_ms": 1_795_238_110_002_u64, "ended_ms": 1_795_238_170_002_u64,
    "duration_ms": 60_000, "open": false, "reason": "the client said goodbye",
}))]
struct SessionJson {
    /// When it began, in milliseconds since 1970.
    connected_ms: u64,
    /// When it ended; null: it has not, or the cloud was not there to see it.
    ended_ms: Option<u64>,
    /// How long it lasted, or lasts so far; null: that is not known.
    duration_ms: Option<u64>,
    /// Whether it is the present one.
    open: bool,
    /// Why it ended.
    reason: Option<String>,
}

/// Whether a node is there, and its last sessions.
#[utoipa::path(get, path = "/v1/nodes/{node}/sessions", tag = "nodes",
    params(("node" = String, Path, description = "The node's name", example = "site-1"),
        ("limit" = Option<u64>, Query, description = "1 to 100; 100 if not given")),
    responses((status = 200, body = SessionsJson)))]
pub(super) async fn list(
    State(api): State<Api>,
    NodePath(node): NodePath,
    uri: Uri,
) -> Result<Json<SessionsJson>, ApiError> {
    let mut pairs = Pairs::of(&uri)?;
    let limit = pairs.limit(SESSIONS, SESSIONS)?;
    pairs.end()?;
    let (view, records) = api.core.sessions(node).await?;
    let presence = view.presence;
    let now_ms = clock::unix_ms();
    let session = |(n, record): (usize, crate::rows::session::SessionRecord)| {
        let open = n == 0 && presence.online && record.ended_ms.is_none();
        let until = record.ended_ms.or(open.then_some(now_ms));
        let is_lost = !open && record.ended_ms.is_none();
        SessionJson {
            connected_ms: record.connected_ms,
            ended_ms: record.ended_ms,
            duration_ms: until.map(|until| until.saturating_sub(record.connected_ms)),
            open,
            reason: record
                .reason
                .or_else(|| is_lost.then(|| "the cloud was not there to see it end".to_owned())),
        }
    };
    Ok(Json(SessionsJson {
        online: presence.online,
        since_ms: presence.since_ms,
        last_seen_ms: presence.last_seen_ms,
        sessions: records.into_iter().take(limit).enumerate().map(session).collect(),
    }))
}
