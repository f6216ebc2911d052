//! The HTTP listener: bounded connections, bounded patience, a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use gnomon_broker::CertificateSubject;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::{TowerToHyperService, TowerToHyperServiceFuture};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::late;
use super::patience::Patient;
use crate::clock;
use crate::metrics::ApiMetrics;
use crate::quiet::Quiet;

/// What the listener may be tuned with.
#[derive(Debug, Clone, Copy)]
pub struct HttpConfig {
    /// The most connections at once; further ones wait.
    pub connections: usize,
    /// How long a client may take for the head of a request, and how long a connection may idle.
    pub head_timeout: Duration,
    /// How long a client may read nothing of what waits for it.
    pub write_timeout: Duration,
    /// How long the connections may take to end.
    pub grace: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            connections: 4096,
            head_timeout: Duration::from_mins(1),
            write_timeout: Duration::from_secs(20),
            grace: Duration::from_secs(5),
        }
    }
}

/// The most bytes of a head, and so of what a client can have waiting here: room for a query that
/// names as many nodes as one may.
const HEAD: usize = 128 * 1024;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it is.
    pub(crate) addr: SocketAddr,
    /// Whether nobody on the way can read along.
    pub(super) is_tls: bool,
    /// The certificate of the cloud's authority that it showed.
    pub(crate) certificate: Option<Arc<CertificateSubject>>,
    /// The same, if it has run out: good for one that has not, and for nothing else.
    pub(crate) late: Option<Arc<CertificateSubject>>,
}

/// Hands requests to the router, with what is known of who sends them.
struct Service {
    router: TowerToHyperService<Router>,
    peer: Peer,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response;
    type Error = Infallible;
    type Future = TowerToHyperServiceFuture<Router, Request<Incoming>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.peer.clone());
        self.router.call(request)
    }
}

/// What a listener serves with.
#[derive(Clone)]
pub struct Serving {
    /// TLS, if it is spoken.
    pub tls: Option<TlsAcceptor>,
    /// What answers.
    pub router: Router,
    /// The bounds.
    pub config: HttpConfig,
    /// What is counted.
    pub metrics: ApiMetrics,
    /// Ends it.
    pub stop: CancellationToken,
}

impl Serving {
    /// Serves without TLS.
    pub const fn plain(
        router: Router,
        config: HttpConfig,
        metrics: ApiMetrics,
        stop: CancellationToken,
    ) -> Self {
        Self { tls: None, router, config, metrics, stop }
    }
}

/// Serves until it is stopped, then lets the requests that are under way end.
pub async fn serve(listener: TcpListener, serving: Serving) {
    let config = serving.config;
    let room = Arc::new(Semaphore::new(config.connections));
    let connections = TaskTracker::new();
    let mut quiet = Quiet::default();
    while let Some(stream) = next(&listener, &room, &serving.stop).await {
        let (stream, addr, permit) = match stream {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only burn CPU.
                if let Some(unsaid) = quiet.speak() {
                    tracing::warn!(%error, unsaid, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let open = serving.metrics.connected();
        let connection = welcome(stream, addr, serving.clone());
        connections.spawn(async move {
            connection.await;
            drop((permit, open));
        });
    }
    connections.close();
    if tokio::time::timeout(config.grace, connections.wait()).await.is_err() {
        tracing::warn!(left = connections.len(), "some HTTP connections did not end in time");
    }
}

type Accepted = std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)>;

async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<Accepted> {
    let accept = async {
        let permit = Arc::clone(room).acquire_owned().await.expect("nobody closes the semaphore");
        listener.accept().await.map(|(stream, addr)| (stream, addr, permit))
    };
    stop.run_until_cancelled(accept).await
}

async fn welcome(stream: TcpStream, addr: SocketAddr, serving: Serving) {
    let Serving { tls, router, config, metrics, stop } = serving;
    drop(stream.set_nodelay(true));
    let stream = Patient::new(stream, config.write_timeout, metrics.traffic());
    let router = TowerToHyperService::new(router);
    let Some(tls) = tls else {
        let peer = Peer { addr, is_tls: false, certificate: None, late: None };
        let service = Service { router, peer };
        return converse(stream, service, config, stop).await;
    };
    let shaking = tokio::time::timeout(config.head_timeout, tls.accept(stream));
    let stream = match stop.run_until_cancelled(shaking).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => {
            return tracing::debug!(%addr, %error, "a TLS handshake failed");
        }
        Some(Err(_)) => return tracing::debug!(%addr, "a TLS handshake took too long"),
        None => return,
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let subject = leaf.and_then(|leaf| CertificateSubject::from_der(leaf).ok());
    let subject = subject.map(Arc::new);
    let is_late = |shown: &Arc<CertificateSubject>| late::is_late(&shown.der, clock::since_1970());
    let late = subject.clone().filter(is_late);
    let certificate = subject.filter(|shown| !is_late(shown));
    let peer = Peer { addr, is_tls: true, certificate, late };
    converse(stream, Service { router, peer }, config, stop).await;
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    service: Service,
    config: HttpConfig,
    stop: CancellationToken,
) {
    let stream = TokioIo::new(stream);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(HEAD)
        // Who has said all and only listens is answered, too.
        .half_close(true)
        .serve_connection(stream, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended early");
    }
}
