//! `/v1/watch`: what there is and then every change of it, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream, StreamExt as _};
use gnomon_schemas::document::Document;
use serde::Serialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use super::auth::{Shown, Within};
use super::history::patch_json;
use super::shape::{ChangedJson, NodeJson};
use super::{Api, ApiError, query};
use crate::clock;
use crate::core::{Position, WatchEvent, WatchFilter, WatchStart, Watching};
use crate::domain::{Notice, ShadowChange};

const HEARTBEAT: Duration = Duration::from_secs(15);

/// What there is, and then every change of it.
///
/// Who comes back with the id of the last event it saw gets what it missed; if that is not known
/// any more, a `resync` and everything anew, nodes first. The stream ends when the token is revoked or runs
/// out. One token has at most a tenth of the streams that the cloud keeps open.
#[utoipa::path(get, path = "/v1/watch", tag = "shadows",
    params(("node" = Option<Vec<String>>, Query, description = "Only these nodes; may be repeated"),
        ("key" = Option<String>, Query, description = "Only this shadow of each"),
        ("label" = Option<Vec<String>>, Query,
            description = "`key=value`: only nodes with this label; may be repeated"),
        ("pool" = Option<String>, Query, description = "Only nodes in this pool"),
        ("tenant" = Option<String>, Query, description = "Only nodes of this tenant"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event seen")),
    responses((status = 200, body = String, content_type = "text/event-stream",
        description = "Server-sent events: `shadow`, `node`, `node_deleted`, each with an id; \
            `synced`, `resync`, `lagged`")))]
pub(super) async fn watch(
    State(api): State<Api>,
    Within(within): Within,
    Shown { token, asker }: Shown,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let last = headers.get(LAST_EVENT_ID).filter(|id| !id.is_empty());
    // Who has seen nodes before may have missed that they came or went.
    let with_nodes = last.is_some();
    let filter = WatchFilter { within, with_nodes, ..query::filter(&uri, true)? };
    let place = api.gate.open_stream(asker).ok_or_else(ApiError::too_many_streams)?;
    // What is no id of ours is that of a cloud that was there before.
    let seen = last.and_then(|id| id.to_str().ok()?.parse::<Position>().ok());
    let Watching { start, position, events } = api.core.watch(filter, seen).await?;
    let is_anew = last.is_some() && matches!(start, WatchStart::Snapshot(..));
    let (missed, nodes, snapshot) = match start {
        WatchStart::Missed(missed) => (missed, Vec::new(), Vec::new()),
        WatchStart::Snapshot(nodes, snapshot) => (Vec::new(), nodes, snapshot),
    };
    let resync = is_anew.then(|| event("resync", &json!({})));
    let nodes =
        stream::iter(nodes).map(|view| event("node", &NodeJson::new(&view, clock::unix_ms())));
    let snapshot = stream::iter(snapshot)
        .map(|view| event("shadow", &ChangedJson::new(&view, clock::unix_ms())));
    let missed = stream::iter(missed).map(|placed| form(&WatchEvent::Changed(placed)));
    let synced = stream::once(async move { event("synced", &json!({})).id(position.to_string()) });
    let changes = ReceiverStream::new(events).map(|event| form(&event));
    let begin = stream::iter(resync).chain(nodes).chain(snapshot).chain(missed).chain(synced);
    let is_void = Box::pin(api.gate.clone().until_void(token));
    let events = begin.chain(changes).take_until(is_void).map(move |event| {
        // The place is free when the stream is dropped.
        let _held = &place;
        Ok(event)
    });
    let events = events.take_until(api.stop.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

const LAST_EVENT_ID: &str = "last-event-id";

fn form(occurrence: &WatchEvent) -> Event {
    let WatchEvent::Changed((position, notice)) = occurrence else {
        return event("lagged", &json!({}));
    };
    let event = match &**notice {
        Notice::Shadow(change) => event("shadow", &shadow(change)),
        Notice::Node(view) => event("node", &NodeJson::new(view, clock::unix_ms())),
        Notice::NodeDeleted(name, _) => event("node_deleted", &json!({ "name": name })),
    };
    event.id(position.to_string())
}

fn shadow(change: &ShadowChange) -> ChangedJson<'_> {
    let ShadowChange { view, half, before, .. } = change;
    let nothing = Document::new();
    let after = view.half(*half).map(|half| &*half.document);
    let (before, after) = (before.as_deref().unwrap_or(&nothing), after.unwrap_or(&nothing));
    let patch = patch_json(before, after, view.key.app().is_some());
    ChangedJson::new(view, clock::unix_ms()).changed(*half, Some(patch))
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).expect("texts, numbers and maps with text keys");
    Event::default().event(name).data(text)
}
