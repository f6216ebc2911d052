//! Accepts connections, and does nothing else: what may take time is done by each connection's task.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connection::opening::Newcomer;
use crate::crew::Crew;
use crate::hub::Hub;
use crate::socket::{Socket, Watch};
use crate::turns::Turns;

mod arriving;
mod pace;
mod room;

use arriving::Arriving;
pub(crate) use pace::turns;
pub(crate) use room::{Room, Stay};

/// What clients speak below MQTT, or below TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// MQTT as it is.
    #[default]
    Plain,
    /// MQTT in the frames of a WebSocket.
    WebSocket,
}

/// One listener, with everything that can be said about it; MQTT 3.1.1 and 5.0 share it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// TLS, as [`crate::TlsConfig`] builds it; without it, clients have no certificate.
    pub tls: Option<Arc<ServerConfig>>,
    /// What clients speak.
    pub transport: Transport,
    /// Whether each connection begins with a PROXY protocol header of version 2. Then only the
    /// load balancer may be able to reach the listener, since whoever can is believed.
    pub proxy_protocol: bool,
}

/// The TLS of a listener, which can be replaced.
#[derive(Debug, Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ServerConfig>>>);

impl Tls {
    pub(crate) fn new(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    /// Later connections get this.
    pub(crate) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The accept loop of one listener.
pub(crate) struct Acceptor {
    pub(crate) hub: Arc<Hub>,
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Tls>,
    pub(crate) transport: Transport,
    pub(crate) proxy_protocol: bool,
    pub(crate) room: Room,
    pub(crate) watch: Arc<Watch>,
    pub(crate) crew: Arc<Crew>,
    pub(crate) turns: Turns,
    pub(crate) stop: CancellationToken,
}

impl Acceptor {
    /// Runs until the broker stops and no connection of this listener is without a session any
    /// more. Those end with it if it is aborted.
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
        let (stay, pending) = match self.room.take(peer) {
            Ok(taken) => taken,
            Err(rejection) => {
                self.hub.note_rejection(rejection, peer);
                return;
            }
        };
        let stream = match self.watched(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::trace!(%peer, %error, "the connection is gone already");
                return;
            }
        };
        let newcomer = Newcomer { stream, stay, certificate: Ok(None), pending };
        let arriving = Arriving {
            hub: Arc::clone(&self.hub),
            crew: Arc::clone(&self.crew),
            turns: self.turns.clone(),
            stop: self.stop.clone(),
        };
        let tls = self.tls.as_ref().map(Tls::config);
        if self.proxy_protocol {
            connections.spawn(arriving.behind_proxy(tls, self.transport, newcomer));
        } else {
            arriving.start(connections, tls, self.transport, newcomer);
        }
    }

    fn watched(&self, stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        self.watch.socket(stream.into_std()?)
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

pub(crate) fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a connection panicked");
    }
}
