//! The read-only HTTP face for workloads: on loopback or a Unix socket, off unless it is asked
//! for. It says what a workload may know of its own site: what is desired and reported, without
//! secrets, whether there is a link, since when, and what the cloud has not got yet.

use std::convert::Infallible;
use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;

use super::{Asked, Refusal, RefusalCode, Request, Response, Status};

const CLIENTS: usize = 32;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where it listens: `127.0.0.1:7790`, `[::1]:7790` or `unix:/run/gnomon.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// A port of the machine itself.
    Loopback(SocketAddr),
    /// A socket, which everyone who sees the file may open.
    Unix(PathBuf),
}

/// A text is no place to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no place for the local HTTP; one is `127.0.0.1:7790` (only loopback), or `unix:` and an absolute path"
)]
pub struct ParseAtError(String);

impl FromStr for At {
    type Err = ParseAtError;

    fn from_str(text: &str) -> Result<Self, ParseAtError> {
        let bad = || ParseAtError(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(bad()) };
        }
        let address: SocketAddr = text.parse().map_err(|_| bad())?;
        if address.ip().is_loopback() { Ok(Self::Loopback(address)) } else { Err(bad()) }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The listening server; gone when dropped.
#[derive(Debug)]
pub struct HttpServer {
    at: At,
    task: AbortHandle,
}

impl HttpServer {
    /// Listens, and passes questions on to the agent.
    pub async fn start(at: At, requests: mpsc::Sender<Asked>) -> io::Result<Self> {
        let (at, task) = match at {
            At::Loopback(address) => {
                let listener = TcpListener::bind(address).await?;
                let at = At::Loopback(listener.local_addr()?);
                let accept = move || {
                    let listener = Arc::new(listener);
                    tokio::spawn(accept(requests, move || {
                        let listener = Arc::clone(&listener);
                        async move { listener.accept().await.map(|(stream, _)| stream) }
                    }))
                };
                (at, accept())
            }
            At::Unix(path) => {
                remove_if_there(&path)?;
                let listener = Arc::new(UnixListener::bind(&path)?);
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
                let task = tokio::spawn(accept(requests, move || {
                    let listener = Arc::clone(&listener);
                    async move { listener.accept().await.map(|(stream, _)| stream) }
                }));
                (At::Unix(path), task)
            }
        };
        Ok(Self { at, task: task.abort_handle() })
    }

    /// Where it listens; with the port that was taken if any was right.
    pub const fn at(&self) -> &At {
        &self.at
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
        if let At::Unix(path) = &self.at {
            drop(fs::remove_file(path));
        }
    }
}

fn remove_if_there(path: &PathBuf) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn accept<S, F>(requests: mpsc::Sender<Asked>, mut next: impl FnMut() -> F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<S>>,
{
    let slots = Arc::new(Semaphore::new(CLIENTS));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match next().await {
            Ok(stream) => drop(tokio::spawn(serve(stream, requests.clone(), slot))),
            Err(error) => {
                tracing::warn!(%error, "the local HTTP takes no client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve<S>(stream: S, requests: mpsc::Sender<Asked>, slot: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let requests = requests.clone();
        async move { Ok::<_, Infallible>(answer(&request, &requests).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a local HTTP client went away");
    }
    drop(slot);
}

type Answer = hyper::Response<Full<Bytes>>;

async fn answer(request: &hyper::Request<Incoming>, requests: &mpsc::Sender<Asked>) -> Answer {
    if request.headers().contains_key(ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "this is for programs on this machine, not browsers");
    }
    if request.method() != Method::GET {
        let mut answer = refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET; nothing can be changed");
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return answer;
    }
    let path = request.uri().path();
    if path == "/v1/status" {
        return respond(ask(Request::Status, requests).await);
    }
    if path == "/metrics" {
        return metrics(ask(Request::Status, requests).await);
    }
    let key = path.strip_prefix("/v1/shadows/").map(str::parse);
    match key {
        Some(Ok(key)) => respond(ask(Request::Shadow { key }, requests).await),
        Some(Err(error)) => refuse(StatusCode::NOT_FOUND, &gnomon_error(&error)),
        None => refuse(
            StatusCode::NOT_FOUND,
            "there are /metrics, /v1/status and /v1/shadows/KEY, such as /v1/shadows/app/web",
        ),
    }
}

fn gnomon_error(error: &(dyn std::error::Error + 'static)) -> String {
    crate::chain(error)
}

async fn ask(request: Request, requests: &mpsc::Sender<Asked>) -> Response {
    let (answer, answered) = oneshot::channel();
    let stopping =
        || Response::Refused(Refusal::new(RefusalCode::Unavailable, "the agent is stopping"));
    if requests.send(Asked { request, answer }).await.is_err() {
        return stopping();
    }
    match tokio::time::timeout(PATIENCE, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) | Err(_) => stopping(),
    }
}

fn respond(response: Response) -> Answer {
    match response {
        Response::Status(status) => json_answer(StatusCode::OK, &brief(&status)),
        Response::Shadow(shadow) => json_answer(StatusCode::OK, &json!(shadow)),
        Response::Refused(refusal) => {
            let status = match refusal.code {
                RefusalCode::UnknownApp
                | RefusalCode::UnknownService
                | RefusalCode::UnknownShadow => StatusCode::NOT_FOUND,
                RefusalCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                RefusalCode::BadRequest
                | RefusalCode::Invalid
                | RefusalCode::Conflict
                | RefusalCode::Failed => StatusCode::BAD_REQUEST,
            };
            refuse(status, &refusal.message)
        }
        Response::Logs(_) | Response::Done(_) | Response::Exec(_) | Response::Diag(_) => {
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "the agent answered something else")
        }
    }
}

/// For Prometheus.
fn metrics(response: Response) -> Answer {
    const TEXT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let Response::Status(status) = response else { return respond(response) };
    let Ok(text) = crate::metrics::text(*status) else {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written");
    };
    let mut answer = hyper::Response::new(Full::new(Bytes::from(text)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    answer
}

/// What a workload may know of the agent.
fn brief(status: &Status) -> Value {
    let apps = status.apps.iter().map(|app| {
        let state = app.status.as_ref().map(|status| json!(status.state));
        (app.app.to_string(), state.unwrap_or(Value::Null))
    });
    json!({
        "node": status.node,
        "online": status.link.up,
        "for_s": status.link.for_s,
        "offline_reason": status.link.reason,
        "desired_complete": status.desired_complete,
        "pending": status.pending,
        "apps": apps.collect::<serde_json::Map<_, _>>(),
    })
}

fn refuse(status: StatusCode, message: &str) -> Answer {
    json_answer(status, &json!({ "error": { "message": message } }))
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = hyper::Response::new(Full::new(Bytes::from(format!("{value}\n"))));
    *answer.status_mut() = status;
    let headers: [(HeaderName, &str); 2] =
        [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests;
