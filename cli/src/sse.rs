//! A stream of server-sent events, read as the cloud's watch.

use std::pin::Pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

use crate::api::WatchEvent;
use crate::client::ApiError;

#[cfg(test)]
mod tests;

/// The most bytes of one event; beyond them the stream is broken, not big.
const EVENT_BYTES: usize = 4 * 1024 * 1024;

type Chunks = Pin<Box<dyn Stream<Item = reqwest::Result<Vec<u8>>> + Send>>;

/// An open watch. Ends with `None` when the cloud closes it.
pub(crate) struct Watch {
    chunks: Chunks,
    parser: Parser,
    server: String,
    silence: Duration,
}

impl Watch {
    pub(crate) fn new(response: Response, server: String, silence: Duration) -> Self {
        let chunks = response.bytes_stream().map(|chunk| chunk.map(|bytes| bytes.to_vec()));
        Self { chunks: Box::pin(chunks), parser: Parser::default(), server, silence }
    }

    /// The next event. Safe to drop and call again: nothing is lost in between.
    pub(crate) async fn next(&mut self) -> Option<Result<WatchEvent, ApiError>> {
        loop {
            while let Some(raw) = self.parser.take() {
                if let Some(event) = read(&raw, &self.server).transpose() {
                    return Some(event);
                }
            }
            match tokio::time::timeout(self.silence, self.chunks.next()).await {
                Err(_) => {
                    let (server, seconds) = (self.server.clone(), self.silence.as_secs());
                    return Some(Err(ApiError::Silent { server, seconds }));
                }
                Ok(None) => return None,
                Ok(Some(Err(source))) => {
                    let server = self.server.clone();
                    return Some(Err(ApiError::Unreachable {
                        server,
                        source: Box::new(source.without_url()),
                    }));
                }
                Ok(Some(Ok(bytes))) => self.parser.feed(&bytes),
            }
        }
    }
}

/// An event name this build does not know gives `None`.
fn read(raw: &RawEvent, server: &str) -> Result<Option<WatchEvent>, ApiError> {
    let bad = |source| ApiError::BadAnswer { url: format!("{server}/v1/watch"), source };
    Ok(match raw.event.as_str() {
        "shadow" => {
            let value: Value = serde_json::from_str(&raw.data).map_err(bad)?;
            let shadow = serde_json::from_value(value.clone()).map_err(bad)?;
            Some(WatchEvent::Shadow { shadow: Box::new(shadow), raw: value })
        }
        "node" => Some(WatchEvent::Node(serde_json::from_str(&raw.data).map_err(bad)?)),
        "node_deleted" => {
            let gone: Gone = serde_json::from_str(&raw.data).map_err(bad)?;
            Some(WatchEvent::NodeDeleted { name: gone.name })
        }
        "synced" => Some(WatchEvent::Synced),
        "lagged" => Some(WatchEvent::Lagged),
        _ => None,
    })
}

#[derive(Deserialize)]
struct Gone {
    name: String,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct RawEvent {
    event: String,
    data: String,
}

/// Cuts bytes into events, wherever the chunks end.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    current: RawEvent,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) {
        if self.buffer.len() + bytes.len() > EVENT_BYTES {
            self.buffer.clear();
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event, if there is one.
    fn take(&mut self) -> Option<RawEvent> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let event = std::mem::take(&mut self.current);
                if !event.event.is_empty() || !event.data.is_empty() {
                    return Some(event);
                }
                continue;
            }
            self.field(line);
        }
        None
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.current.event),
            "data" => {
                if !self.current.data.is_empty() {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
            }
            _ => {}
        }
    }
}
