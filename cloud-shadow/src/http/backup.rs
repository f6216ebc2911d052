//! `/v1/backup`: a copy of every row of the store as it is now, while the cloud goes on. It does
//! not hold the keys of the cloud: those are in its data folder.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Api, ApiError};
use crate::backup::Writer;
use crate::clock;
use crate::domain::Rejection;
use crate::store::Store;

/// Where a copy of the store is given out.
pub(crate) const BACKUP: &str = "/v1/backup";

/// A copy keeps the store from reusing space: one at a time.
static TURN: Semaphore = Semaphore::const_new(1);

const CHUNK: usize = 64 * 1024;

/// A copy of the store's rows as they are now; `gnomon-cloud backup` makes a whole backup of it.
#[utoipa::path(get, path = "/v1/backup", tag = "operation",
    responses((status = 200, body = String, content_type = "application/octet-stream",
        description = "Ends with a checksum; without it the copy is not whole")))]
pub(super) async fn read(State(api): State<Api>) -> Result<Response, ApiError> {
    let busy = || Rejection::LimitReached { what: "copies of the store being made", limit: 1 };
    let turn = TURN.try_acquire().map_err(|_| busy())?;
    let (sender, chunks) = mpsc::channel(4);
    let store = Arc::clone(api.core.store());
    tokio::task::spawn_blocking(move || {
        if let Err(error) = copy(&*store, Pipe { sender: sender.clone(), chunk: Vec::new() }) {
            tracing::warn!(%error, "a copy of the store was not finished");
            // Whoever wanted it may have gone.
            drop(sender.blocking_send(Err(error)));
        }
        drop(turn);
    });
    let body = Body::from_stream(ReceiverStream::new(chunks));
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response())
}

fn copy(store: &dyn Store, pipe: Pipe) -> io::Result<()> {
    let mut writer = Writer::new(pipe)?;
    writer.taken(clock::unix_ms())?;
    let mut broken = Ok(());
    let exported = store.export(&mut |key, value| {
        broken = writer.row(key, value);
        broken.is_ok()
    });
    broken?;
    exported.map_err(io::Error::other)?;
    writer.end().map(drop)
}

/// Hands over what is written in chunks, no faster than they are taken.
struct Pipe {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.sender.blocking_send(Ok(chunk.into())).map_err(gone)
    }
}
