//! `/v1/watch`: what there is and then every change of it, as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::Uri;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{self, Stream, StreamExt as _};
use serde::Serialize;
use serde_json::json;
use tokio_stream::wrappers::ReceiverStream;

use super::shape::{self, ChangedJson};
use super::{Api, ApiError, query};
use crate::core::{WatchEvent, Watching};
use crate::domain::Notice;

const HEARTBEAT: Duration = Duration::from_secs(15);

pub(super) async fn watch(
    State(api): State<Api>,
    uri: Uri,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let filter = query::filter(&uri, true)?;
    let Watching { snapshot, events } = api.core.watch(filter).await?;
    let snapshot =
        stream::iter(snapshot).map(|view| event("shadow", &ChangedJson::new(&view, None)));
    let synced = stream::once(async { event("synced", &json!({})) });
    let changes = ReceiverStream::new(events).map(|event| form(&event));
    let events = snapshot.chain(synced).chain(changes).map(Ok);
    let events = events.take_until(api.stop.cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT)))
}

fn form(occurrence: &WatchEvent) -> Event {
    let WatchEvent::Changed(notice) = occurrence else { return event("lagged", &json!({})) };
    match &**notice {
        Notice::Shadow(view, half) => event("shadow", &ChangedJson::new(view, Some(*half))),
        Notice::Node(view) => event("node", &shape::node(view)),
        Notice::NodeDeleted(name) => event("node_deleted", &json!({ "name": name })),
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let text = serde_json::to_string(data).expect("texts, numbers and maps with text keys");
    Event::default().event(name).data(text)
}
