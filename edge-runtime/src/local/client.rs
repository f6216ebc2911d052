//! The asking end of the local socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Request, Response, socket};

const PATIENCE: Duration = Duration::from_secs(30);
const RESPONSE_BYTES: u64 = 256 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("no agent answers at {}; start one with `gnomon-edge run`, or name its --data", at.display())]
    NoAgent {
        /// The socket.
        at: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The conversation broke off.
    #[error("the agent broke off its answer")]
    Broken(#[source] io::Error),
    /// The answer is none.
    #[error("the agent answered something else; is it of another version?")]
    Unreadable(#[source] serde_json::Error),
}

/// Asks the agent of a data directory.
pub async fn ask(data: &Path, request: &Request) -> Result<Response, AskError> {
    let at = socket(data);
    let stream = UnixStream::connect(&at).await;
    let stream = stream.map_err(|source| AskError::NoAgent { at, source })?;
    let talk = tokio::time::timeout(patience(request), talk(stream, request));
    let text = talk.await.map_err(io::Error::from).and_then(|text| text);
    serde_json::from_slice(&text.map_err(AskError::Broken)?).map_err(AskError::Unreadable)
}

fn patience(request: &Request) -> Duration {
    if let Request::Exec { timeout_s, .. } = request {
        PATIENCE + Duration::from_secs(*timeout_s)
    } else {
        PATIENCE
    }
}

async fn talk(mut stream: UnixStream, request: &Request) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut text = Vec::new();
    stream.take(RESPONSE_BYTES).read_to_end(&mut text).await?;
    Ok(text)
}
