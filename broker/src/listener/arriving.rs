//! The task of a connection up to its CONNECT: the load balancer's header, TLS, the WebSocket,
//! each within its time. What one step needed is gone before the next.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Transport;
use crate::connection::opening::{self, Newcomer, Opened};
use crate::crew::Crew;
use crate::hub::Hub;
use crate::metrics::{Rejection, Stage};
use crate::proxy::{self, ProxyError};
use crate::socket::Socket;
use crate::tls;
use crate::websocket::{self, WebSocket};

/// A connection that has just been accepted.
pub(super) struct Arriving {
    pub(super) hub: Arc<Hub>,
    pub(super) crew: Arc<Crew>,
    pub(super) stop: CancellationToken,
}

impl Arriving {
    /// Starts the connection's task.
    pub(super) fn start(
        self,
        connections: &mut JoinSet<()>,
        tls: Option<TlsAcceptor>,
        transport: Transport,
        mut newcomer: Newcomer<Socket>,
    ) {
        let Self { hub, crew, stop } = self;
        if let Err(rejection) = newcomer.stay.visit() {
            return hub.note_rejection(rejection, newcomer.stay.peer());
        }
        match (tls, transport) {
            (None, Transport::Plain) => {
                connections.spawn(serve(crew, Box::pin(opening::open(hub, newcomer, stop))));
            }
            (Some(tls), Transport::Plain) => {
                connections.spawn(serve(crew, Box::pin(open_tls(hub, tls, newcomer, stop))));
            }
            (None, Transport::WebSocket) => {
                connections.spawn(serve(crew, Box::pin(open_websocket(hub, newcomer, stop))));
            }
            (Some(tls), Transport::WebSocket) => {
                connections.spawn(serve(crew, Box::pin(open_both(hub, tls, newcomer, stop))));
            }
        }
    }

    /// Learns from the load balancer who is there, and serves it.
    pub(super) async fn behind_proxy(
        self,
        tls: Option<TlsAcceptor>,
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

async fn open_tls(
    hub: Arc<Hub>,
    tls: TlsAcceptor,
    newcomer: Newcomer<Socket>,
    stop: CancellationToken,
) -> Option<Opened<TlsStream<Socket>>> {
    let newcomer = handshake(&hub, tls, newcomer, &stop).await?;
    opening::open(hub, newcomer, stop).await
}

async fn open_websocket(
    hub: Arc<Hub>,
    newcomer: Newcomer<Socket>,
    stop: CancellationToken,
) -> Option<Opened<WebSocket<Socket>>> {
    let newcomer = upgrade(&hub, newcomer, &stop).await?;
    opening::open(hub, newcomer, stop).await
}

async fn open_both(
    hub: Arc<Hub>,
    tls: TlsAcceptor,
    newcomer: Newcomer<Socket>,
    stop: CancellationToken,
) -> Option<Opened<WebSocket<TlsStream<Socket>>>> {
    let newcomer = handshake(&hub, tls, newcomer, &stop).await?;
    let newcomer = upgrade(&hub, newcomer, &stop).await?;
    opening::open(hub, newcomer, stop).await
}

async fn handshake(
    hub: &Hub,
    tls: TlsAcceptor,
    newcomer: Newcomer<Socket>,
    stop: &CancellationToken,
) -> Option<Newcomer<TlsStream<Socket>>> {
    let Newcomer { stream, stay, pending, .. } = newcomer;
    let peer = stay.peer();
    let begin = Instant::now();
    let handshake = timeout(hub.policy.limits.handshake_timeout, tls.accept(stream));
    let outcome = tokio::select! {
        outcome = handshake => outcome,
        () = stop.cancelled() => return None,
    };
    let rejection = match outcome {
        Ok(Ok(stream)) => {
            hub.metrics.took(Stage::Tls, begin.elapsed());
            let certificate = tls::peer_subject(stream.get_ref().1);
            return Some(Newcomer { stream, stay, certificate, pending });
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            Rejection::HandshakeFailed
        }
        Err(_) => Rejection::HandshakeTimeout,
    };
    hub.note_rejection(rejection, peer);
    None
}

async fn upgrade<S: AsyncRead + AsyncWrite + Unpin>(
    hub: &Hub,
    newcomer: Newcomer<S>,
    stop: &CancellationToken,
) -> Option<Newcomer<WebSocket<S>>> {
    let Newcomer { stream, stay, certificate, pending } = newcomer;
    let peer = stay.peer();
    let upgrade = timeout(hub.policy.limits.handshake_timeout, websocket::accept(stream));
    let outcome = tokio::select! {
        outcome = upgrade => outcome,
        () = stop.cancelled() => return None,
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
    hub.note_rejection(rejection, peer);
    None
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
