//! The asking end of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Request, Response};

const DEADLINE: Duration = Duration::from_secs(10);

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answers there.
    #[error("no links answer at {}: is `gnomon-sim link` running with that --control?", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The conversation broke off or took too long.
    #[error("the links at {} gave no answer", path.display())]
    Talk {
        /// The socket.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something answered that is no link.
    #[error("{} answers something else than `gnomon-sim link` does", path.display())]
    Answer {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the links behind a control socket one thing.
pub async fn ask(path: &Path, request: &Request) -> Result<Response, AskError> {
    let socket = UnixStream::connect(path)
        .await
        .map_err(|source| AskError::Connect { path: path.to_owned(), source })?;
    let line = timeout(DEADLINE, exchange(socket, request))
        .await
        .unwrap_or_else(|late| Err(late.into()))
        .map_err(|source| AskError::Talk { path: path.to_owned(), source })?;
    serde_json::from_str(&line).map_err(|source| AskError::Answer { path: path.to_owned(), source })
}

async fn exchange(mut socket: UnixStream, request: &Request) -> io::Result<String> {
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    socket.write_all(&bytes).await?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).await?;
    Ok(line)
}
