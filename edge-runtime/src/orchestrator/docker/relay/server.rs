//! What the daemon talks to while it pulls one image: a registry on loopback that has this image
//! and no other, under an address that nobody else can guess, as long as the pull goes on.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::Shared;
use super::blob::Reader;

/// A client that does not say what it wants is cut off after so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// The daemon fetches a few layers at the same time.
const CLIENTS: usize = 32;

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Response<Body>;

/// The server of one pull; it ends, with all that goes on, when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
    port: u16,
}

impl Server {
    pub(super) async fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let port = listener.local_addr()?.port();
        Ok(Self { listener, port })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }

    /// Serves; it does not end by itself.
    pub(super) async fn serve(self, shared: Arc<Shared>) {
        let mut clients = JoinSet::new();
        loop {
            while clients.try_join_next().is_some() {}
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if clients.len() >= CLIENTS {
                continue;
            }
            let shared = Arc::clone(&shared);
            clients.spawn(async move {
                let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                let mut http = hyper::server::conn::http1::Builder::new();
                http.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                drop(http.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let is_get = request.method() == Method::GET;
    if !is_get && request.method() != Method::HEAD {
        return Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "it is to be read only"));
    }
    let path = request.uri().path();
    if path == "/v2/" {
        return Ok(whole(StatusCode::OK, "application/json", &Bytes::from_static(b"{}"), is_get));
    }
    let unknown = || refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository");
    let Some(rest) = path.strip_prefix("/v2/").and_then(|it| it.strip_prefix(shared.place()))
    else {
        return Ok(unknown());
    };
    if let Some(wanted) = rest.strip_prefix("/manifests/") {
        return Ok(manifest(&shared, wanted, &request, is_get).await);
    }
    match rest.strip_prefix("/blobs/") {
        Some(digest) => Ok(blob(shared, digest.to_owned(), &request, is_get).await),
        None => Ok(unknown()),
    }
}

async fn manifest<B>(shared: &Shared, wanted: &str, request: &Request<B>, is_get: bool) -> Answer {
    let accept: Vec<_> = request.headers().get_all(ACCEPT).iter().cloned().collect();
    match shared.manifest(wanted, &accept).await {
        Ok((status, kind, body)) => {
            let mut answer = whole(status, &kind, &body, is_get);
            if status.is_success()
                && let Ok(digest) = HeaderValue::from_str(&super::digest(&body))
            {
                answer.headers_mut().insert("Docker-Content-Digest", digest);
            }
            answer
        }
        Err(refusal) => refuse(refusal.status(), refusal.code(), &refusal.to_string()),
    }
}

async fn blob<B>(
    shared: Arc<Shared>,
    digest: String,
    request: &Request<B>,
    is_get: bool,
) -> Answer {
    let Some(size) = shared.blob(&digest) else {
        return refuse(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the image has no such part");
    };
    let from = request.headers().get(RANGE).and_then(|range| begin(range.to_str().ok()?));
    let from = from.unwrap_or_default();
    if from > size {
        return refuse(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_INVALID", "it is not that long");
    }
    let body = if is_get {
        let reader = match Reader::open(shared, digest, size, from).await {
            Ok(reader) => reader,
            Err(error) => {
                let why = error.to_string();
                return refuse(StatusCode::BAD_GATEWAY, "UNAVAILABLE", &why);
            }
        };
        let pieces = stream::unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Some((piece.map(Frame::data), reader))
        });
        StreamBody::new(pieces).boxed_unsync()
    } else {
        empty()
    };
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(size - from));
    if from > 0 {
        let range = format!("bytes {from}-{}/{size}", size.saturating_sub(1));
        headers.extend(HeaderValue::from_str(&range).ok().map(|range| (CONTENT_RANGE, range)));
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    answer
}

/// The first byte that is wanted: the daemon asks for no other kind of range.
fn begin(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

fn whole(status: StatusCode, kind: &str, body: &Bytes, is_get: bool) -> Answer {
    let length = body.len();
    let body = if is_get { full(body.clone()) } else { empty() };
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.extend(HeaderValue::from_str(kind).ok().map(|kind| (CONTENT_TYPE, kind)));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert("Docker-Distribution-Api-Version", HeaderValue::from_static("registry/2.0"));
    answer
}

/// A refusal in the form that the daemon shows to people.
fn refuse(status: StatusCode, code: &str, message: &str) -> Answer {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    whole(status, "application/json", &body.into(), true)
}

fn full(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

fn empty() -> Body {
    full(Bytes::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_range_to_the_end_is_one() {
        assert_eq!(begin("bytes=5-"), Some(5));
        for other in ["bytes=5-9", "bytes=-5", "bytes=1-2,3-", "items=1-", ""] {
            assert_eq!(begin(other), None, "{other}");
        }
    }
}
