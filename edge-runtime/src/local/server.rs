//! The agent's end of the local socket.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::{Refusal, RefusalCode, Request, Response};

/// An app in its normal form, and then some.
const REQUEST_BYTES: u64 = 2 * gnomon_schemas::limits::JSON_BYTES as u64;
const CLIENTS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);

/// A request and the way back.
#[derive(Debug)]
pub struct Asked {
    /// What was asked.
    pub request: Request,
    /// Takes the answer.
    pub answer: oneshot::Sender<Response>,
}

/// The listening socket; gone when dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    task: AbortHandle,
}

impl Server {
    /// Listens at `path`, which only the owner can open, and passes requests on. Must be called
    /// by the one agent of the data directory: a socket that is there already is a leftover.
    pub fn start(path: &Path, requests: mpsc::Sender<Asked>) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        let task = tokio::spawn(accept(listener, requests)).abort_handle();
        Ok(Self { path: path.to_path_buf(), task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        drop(fs::remove_file(&self.path));
    }
}

async fn accept(listener: UnixListener, requests: mpsc::Sender<Asked>) {
    let slots = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let requests = requests.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &requests).await {
                        tracing::debug!(%error, "a local client went away");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the local socket takes no client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, requests: &mpsc::Sender<Asked>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = Vec::new();
    let mut reader = BufReader::new(reader.take(REQUEST_BYTES));
    let read = tokio::time::timeout(PATIENCE, reader.read_until(b'\n', &mut line));
    read.await.map_err(io::Error::from)??;
    let response = match serde_json::from_slice(&line) {
        Ok(request) => pass_on(request, requests).await,
        Err(error) => refuse(RefusalCode::BadRequest, format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&response)?;
    text.push(b'\n');
    tokio::time::timeout(PATIENCE, writer.write_all(&text)).await.map_err(io::Error::from)??;
    writer.shutdown().await
}

async fn pass_on(request: Request, requests: &mpsc::Sender<Asked>) -> Response {
    let (answer, answered) = oneshot::channel();
    let unavailable = || refuse(RefusalCode::Unavailable, "the agent is stopping".to_owned());
    if requests.send(Asked { request, answer }).await.is_err() {
        return unavailable();
    }
    answered.await.unwrap_or_else(|_| unavailable())
}

const fn refuse(code: RefusalCode, message: String) -> Response {
    Response::Refused(Refusal { code, message })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::{ask, socket};
    use super::*;

    fn started() -> (tempfile::TempDir, Server, mpsc::Receiver<Asked>) {
        let dir = tempfile::tempdir().unwrap();
        let (sender, receiver) = mpsc::channel(1);
        let server = Server::start(&socket(dir.path()), sender).unwrap();
        (dir, server, receiver)
    }

    #[tokio::test]
    async fn a_request_reaches_the_agent_and_its_answer_the_asker() {
        let (dir, _server, mut requests) = started();
        let agent = tokio::spawn(async move {
            let asked = requests.recv().await.unwrap();
            asked.answer.send(Response::Logs(Vec::new())).unwrap();
            asked.request
        });
        let request = Request::Logs { app: "web".parse().unwrap(), service: None, tail: 5 };
        let response = ask(dir.path(), &request).await.unwrap();
        assert_eq!(response, Response::Logs(Vec::new()));
        assert_eq!(agent.await.unwrap(), request);
    }

    #[tokio::test]
    async fn nonsense_is_refused_with_a_reason() {
        let (dir, _server, _requests) = started();
        let mut stream = UnixStream::connect(socket(dir.path())).await.unwrap();
        stream.write_all(b"{\"request\":\"reboot\"}\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.contains("bad_request"), "{text}");
    }

    #[tokio::test]
    async fn a_stopping_agent_says_so_and_the_socket_goes_with_it() {
        let (dir, server, requests) = started();
        drop(requests);
        let response = ask(dir.path(), &Request::Status).await.unwrap();
        assert!(matches!(response, Response::Refused(it) if it.code == RefusalCode::Unavailable));
        let mode = fs::metadata(socket(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(server);
        assert!(!socket(dir.path()).exists());
    }
}
