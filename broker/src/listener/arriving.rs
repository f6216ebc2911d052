//! The task of a connection up to its CONNECT: the load balancer's header, TLS, the WebSocket,
//! each within its time. What one step needed is gone before the next.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Transport;
use super::pace::Pace;
use crate::connection::opening::{self, Newcomer, Opened};
use crate::crew::Crew;
use crate::hub::Hub;
use crate::metrics::{Rejection, Stage};
use crate::proxy::{self, ProxyError};
use crate::socket::Socket;
use crate::tls;
use crate::turns::{Step, Turns};
use crate::websocket::{self, WebSocket};

/// A connection that has just been accepted.
pub(super) struct Arriving {
    pub(super) hub: Arc<Hub>,
    pub(super) crew: Arc<Crew>,
    pub(super) turns: Turns,
    pub(super) stop: CancellationToken,
}

/// The way in of one newcomer.
struct Way {
    hub: Arc<Hub>,
    pace: Pace,
    stop: CancellationToken,
}

impl Arriving {
    /// Starts the connection's task.
    pub(super) fn start(
        self,
        connections: &mut JoinSet<()>,
        tls: Option<Arc<ServerConfig>>,
        transport: Transport,
        mut newcomer: Newcomer<Socket>,
    ) {
        let Self { hub, crew, turns, stop } = self;
        if let Err(rejection) = newcomer.stay.visit() {
            return hub.note_rejection(rejection, newcomer.stay.peer());
        }
        let way = Way { hub, pace: Pace::new(turns, newcomer.stay.peer().ip()), stop };
        match (tls, transport) {
            (None, Transport::Plain) => {
                connections.spawn(serve(crew, Box::pin(way.open(newcomer))));
            }
            (Some(tls), Transport::Plain) => {
                connections.spawn(serve(crew, Box::pin(way.open_tls(tls, newcomer))));
            }
            (None, Transport::WebSocket) => {
                connections.spawn(serve(crew, Box::pin(way.open_websocket(newcomer))));
            }
            (Some(tls), Transport::WebSocket) => {
                connections.spawn(serve(crew, Box::pin(way.open_both(tls, newcomer))));
            }
        }
    }

    /// Learns from the load balancer who is there, and serves it.
    pub(super) async fn behind_proxy(
        self,
        tls: Option<Arc<ServerConfig>>,
        transport: Transport,
        mut newcomer: Newcomer<Socket>,
    ) {
        let limit = self.hub.policy.limits.handshake_timeout;
        let header = timeout(limit, read_proxy_header(&mut newcomer.stream));
        let outcome = tokio::select! {
            outcome = header => outcome,
            () = self.stop.cancelled() => return,
        };
        match outcome {
            Ok(Ok(source)) => newcomer.stay.set_peer(source.unwrap_or(newcomer.stay.peer())),
            Ok(Err(error)) => {
                tracing::debug!(peer = %newcomer.stay.peer(), %error, "no header of a load balancer");
                return self.hub.note_rejection(Rejection::ProxyHeader, newcomer.stay.peer());
            }
            Err(_) => {
                return self.hub.note_rejection(Rejection::HandshakeTimeout, newcomer.stay.peer());
            }
        }
        let mut task = JoinSet::new();
        self.start(&mut task, tls, transport, newcomer);
        while let Some(ended) = task.join_next().await {
            super::report(ended);
        }
    }
}

/// The task of a connection: it ends when there is a session, which the crew serves.
async fn serve<S, F>(crew: Arc<Crew>, opening: Pin<Box<F>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Option<Opened<S>>>,
{
    if let Some(opened) = opening.await {
        opened.serve(&crew).await;
    }
}

impl Way {
    async fn open(self, newcomer: Newcomer<Socket>) -> Option<Opened<Socket>> {
        self.connect(newcomer, Step::Begin).await
    }

    async fn open_tls(
        self,
        tls: Arc<ServerConfig>,
        newcomer: Newcomer<Socket>,
    ) -> Option<Opened<TlsStream<Socket>>> {
        let newcomer = self.handshake(tls, newcomer).await?;
        self.connect(newcomer, Step::GoOn).await
    }

    async fn open_websocket(self, newcomer: Newcomer<Socket>) -> Option<Opened<WebSocket<Socket>>> {
        let newcomer = self.upgrade(newcomer, Step::Begin).await?;
        self.connect(newcomer, Step::GoOn).await
    }

    async fn open_both(
        self,
        tls: Arc<ServerConfig>,
        newcomer: Newcomer<Socket>,
    ) -> Option<Opened<WebSocket<TlsStream<Socket>>>> {
        let newcomer = self.handshake(tls, newcomer).await?;
        let newcomer = self.upgrade(newcomer, Step::GoOn).await?;
        self.connect(newcomer, Step::GoOn).await
    }

    async fn connect<S>(&self, newcomer: Newcomer<S>, step: Step) -> Option<Opened<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let opening = opening::open(Arc::clone(&self.hub), newcomer, self.stop.clone());
        let opened = self.pace.work(step, pin!(opening)).await?;
        self.hub.metrics.took(Stage::Turn, self.pace.waited());
        Some(opened)
    }

    async fn handshake(
        &self,
        tls: Arc<ServerConfig>,
        newcomer: Newcomer<Socket>,
    ) -> Option<Newcomer<TlsStream<Socket>>> {
        let Newcomer { stream, stay, pending, .. } = newcomer;
        let peer = stay.peer();
        let begin = Instant::now();
        let handshake = async {
            let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
            let hello = self.pace.work(Step::Begin, hello).await?;
            // What costs most is done before the first poll of what this gives back.
            let rest = pin!(async { hello.into_stream(tls).await });
            self.pace.work(Step::GoOn, rest).await
        };
        let outcome = tokio::select! {
            outcome = timeout(self.hub.policy.limits.handshake_timeout, handshake) => outcome,
            () = self.stop.cancelled() => return None,
        };
        let rejection = match outcome {
            Ok(Ok(stream)) => {
                self.hub.metrics.took(Stage::Tls, begin.elapsed());
                let certificate = tls::peer_subject(stream.get_ref().1);
                return Some(Newcomer { stream, stay, certificate, pending });
            }
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                Rejection::HandshakeFailed
            }
            Err(_) => Rejection::HandshakeTimeout,
        };
        self.hub.note_rejection(rejection, peer);
        None
    }

    async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        newcomer: Newcomer<S>,
        step: Step,
    ) -> Option<Newcomer<WebSocket<S>>> {
        let Newcomer { stream, stay, certificate, pending } = newcomer;
        let peer = stay.peer();
        let upgrade = pin!(websocket::accept(stream));
        let upgrade = self.pace.work(step, upgrade);
        let outcome = tokio::select! {
            outcome = timeout(self.hub.policy.limits.handshake_timeout, upgrade) => outcome,
            () = self.stop.cancelled() => return None,
        };
        let rejection = match outcome {
            Ok(Ok(stream)) => return Some(Newcomer { stream, stay, certificate, pending }),
            Ok(Err(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(%peer, error, "no WebSocket");
                Rejection::WebSocket
            }
            Err(_) => Rejection::HandshakeTimeout,
        };
        self.hub.note_rejection(rejection, peer);
        None
    }
}

/// Why a connection does not come from a load balancer.
#[derive(Debug, thiserror::Error)]
enum HeaderError {
    #[error("the connection ended within the header")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Header(#[from] ProxyError),
}

async fn read_proxy_header(stream: &mut Socket) -> Result<Option<SocketAddr>, HeaderError> {
    let mut fixed = [0; proxy::FIXED];
    stream.read_exact(&mut fixed).await?;
    let mut rest = vec![0; proxy::rest_len(&fixed)?];
    stream.read_exact(&mut rest).await?;
    Ok(proxy::source(&fixed, &rest)?)
}
