//! Accepts connections, and does nothing else: what may take time is done by each connection's task.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::connection::opening::{self, Newcomer, Opened};
use crate::hub::Hub;
use crate::metrics::Rejection;
use crate::tls;

/// The accept loop of one listener.
pub(crate) struct Acceptor {
    pub(crate) hub: Arc<Hub>,
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) room: Room,
    pub(crate) stop: CancellationToken,
}

/// How many more connections a broker takes.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    connections: Arc<Semaphore>,
    pending: Arc<Semaphore>,
}

impl Room {
    pub(crate) fn new(connections: usize, pending: usize) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        Self { connections: semaphore(connections), pending: semaphore(pending) }
    }

    fn take(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Rejection> {
        let connection = Arc::clone(&self.connections)
            .try_acquire_owned()
            .map_err(|_| Rejection::TooManyConnections)?;
        let pending =
            Arc::clone(&self.pending).try_acquire_owned().map_err(|_| Rejection::TooManyPending)?;
        Ok((connection, pending))
    }
}

impl Acceptor {
    /// Runs until the broker stops and the last connection of this listener ended. Its
    /// connections end with it if it is aborted.
    pub(crate) async fn run(self) {
        let mut connections = JoinSet::new();
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        pause = FIRST_PAUSE;
                        self.start(&mut connections, stream, peer);
                    }
                    Err(error) => pause = self.back_off(&error, pause).await,
                },
                Some(ended) = connections.join_next() => report(ended),
                () = self.stop.cancelled() => break,
            }
        }
        drop(self.listener);
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    }

    fn start(&self, connections: &mut JoinSet<()>, stream: TcpStream, peer: SocketAddr) {
        let (connection, pending) = match self.room.take() {
            Ok(permits) => permits,
            Err(rejection) => {
                self.hub.metrics.rejection(rejection);
                if let Some(held_back) = self.hub.rejection_log.allows(std::time::Instant::now()) {
                    tracing::warn!(%peer, ?rejection, held_back, "a connection is turned away");
                }
                return;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::trace!(%peer, %error, "the connection is gone already");
            return;
        }
        let (hub, stop) = (Arc::clone(&self.hub), self.stop.clone());
        let open = Open::new(Arc::clone(&hub), connection);
        if let Some(tls) = self.tls.clone() {
            let opening = Box::pin(open_tls(hub, tls, stream, peer, pending, stop));
            connections.spawn(serve(open, opening));
        } else {
            let newcomer = Newcomer { stream, peer, certificate: Ok(None), pending };
            let opening = Box::pin(opening::open(hub, newcomer, stop));
            connections.spawn(serve(open, opening));
        }
    }

    /// Waits before the next accept when the system has no room, such as file descriptors;
    /// returns how long to wait the next time.
    async fn back_off(&self, error: &io::Error, pause: Duration) -> Duration {
        use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
        self.hub.metrics.accept_errors.inc();
        if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
            return pause;
        }
        tracing::error!(%error, ?pause, "no connection can be accepted; trying again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
        (pause * 2).min(LONGEST_PAUSE)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A connection that counts as open for as long as this lives.
struct Open {
    hub: Arc<Hub>,
    _permit: OwnedSemaphorePermit,
}

impl Open {
    fn new(hub: Arc<Hub>, permit: OwnedSemaphorePermit) -> Self {
        hub.metrics.connections.inc();
        Self { hub, _permit: permit }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.hub.metrics.connections.dec();
    }
}

/// The task of a connection: first one future, then the other, each in memory of its own.
async fn serve<S, F>(open: Open, opening: Pin<Box<F>>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Option<Opened<S>>>,
{
    if let Some(opened) = opening.await {
        opened.serve().await;
    }
    drop(open);
}

async fn open_tls(
    hub: Arc<Hub>,
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    pending: OwnedSemaphorePermit,
    stop: CancellationToken,
) -> Option<Opened<TlsStream<TcpStream>>> {
    let handshake = timeout(hub.policy.limits.handshake_timeout, tls.accept(stream));
    let outcome = tokio::select! {
        outcome = handshake => outcome,
        () = stop.cancelled() => return None,
    };
    let rejection = match outcome {
        Ok(Ok(stream)) => {
            let certificate = tls::peer_subject(stream.get_ref().1);
            let newcomer = Newcomer { stream, peer, certificate, pending };
            return opening::open(hub, newcomer, stop).await;
        }
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a TLS handshake failed");
            Rejection::HandshakeFailed
        }
        Err(_) => Rejection::HandshakeTimeout,
    };
    hub.metrics.rejection(rejection);
    if let Some(held_back) = hub.rejection_log.allows(std::time::Instant::now()) {
        tracing::warn!(%peer, ?rejection, held_back, "a connection is turned away");
    }
    None
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a connection panicked");
    }
}
