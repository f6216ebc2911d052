//! The broker as the application sees it: start, attach, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::acl::Acl;
use crate::attachment::{AttachConfig, Attachment};
use crate::auth::Authenticator;
use crate::hub::{Hub, keep};
use crate::limits::Limits;
use crate::listener::{Acceptor, Room};
use crate::session::Policy;

/// What a broker is started with.
#[derive(Debug)]
pub struct BrokerConfig {
    /// Where it listens.
    pub listeners: Vec<ListenerConfig>,
    /// How much a client may take.
    pub limits: Limits,
    /// Who may publish and subscribe to what.
    pub acl: Acl,
    /// Who a client is.
    pub authenticator: Arc<dyn Authenticator>,
}

/// One listener; MQTT 3.1.1 and 5.0 share it.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// The address; port 0 lets the system choose.
    pub addr: SocketAddr,
    /// TLS, as [`crate::TlsConfig`] builds it; without it, clients have no certificate.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// A listener that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundListener {
    /// The address, with the port that the system chose.
    pub addr: SocketAddr,
    /// Whether clients must speak TLS.
    pub tls: bool,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No listener is configured.
    #[error("the broker has no listener: configure at least one address")]
    NoListener,
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}; is another server using it?")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A running MQTT broker. Dropping it ends every connection at once;
/// [`shutdown`](Self::shutdown) says goodbye first.
#[derive(Debug)]
pub struct Broker {
    hub: Arc<Hub>,
    addrs: Vec<BoundListener>,
    acceptors: Vec<JoinHandle<()>>,
    keeper: JoinHandle<()>,
    stop: CancellationToken,
}

impl Broker {
    /// Opens all listeners and begins to serve them; if one cannot be opened, none is.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let BrokerConfig { listeners, limits, acl, authenticator } = config;
        if listeners.is_empty() {
            return Err(StartError::NoListener);
        }
        let room = Room::new(limits.connections, limits.pending_connections);
        let hub = Arc::new(Hub::new(Policy { acl, limits }, authenticator));
        let stop = CancellationToken::new();
        let (mut opened, mut addrs) = (Vec::new(), Vec::new());
        for ListenerConfig { addr, tls } in listeners {
            let (listener, bound) =
                bind(addr).await.map_err(|source| StartError::Bind { addr, source })?;
            addrs.push(BoundListener { addr: bound, tls: tls.is_some() });
            opened.push(Acceptor {
                hub: Arc::clone(&hub),
                listener,
                tls: tls.map(TlsAcceptor::from),
                room: room.clone(),
                stop: stop.clone(),
            });
        }
        let keeper = tokio::spawn(keep(Arc::clone(&hub), stop.clone()));
        let acceptors = opened.into_iter().map(|acceptor| tokio::spawn(acceptor.run())).collect();
        for BoundListener { addr, tls } in &addrs {
            tracing::info!(%addr, tls, "the broker listens");
        }
        Ok(Self { hub, addrs, acceptors, keeper, stop })
    }

    /// Where it listens, in the order of the configuration.
    pub fn addrs(&self) -> &[BoundListener] {
        &self.addrs
    }

    /// Connects the application itself, in-process.
    pub fn attach(&self, config: AttachConfig) -> Attachment {
        Attachment::new(&self.hub, config)
    }

    /// Names the broker's metrics in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.hub.metrics.register(registry);
    }

    /// Closes the listeners, says goodbye to every client and waits for them to go, at most
    /// for `grace`; then ends what is left. Attachments see the end once they took what waits.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.cancel();
        self.hub.stop();
        let mut acceptors = std::mem::take(&mut self.acceptors);
        let all = async {
            for acceptor in &mut acceptors {
                finish(acceptor).await;
            }
        };
        if timeout(grace, all).await.is_err() {
            tracing::warn!(?grace, "clients that did not go in time are cut off");
            for acceptor in acceptors.iter_mut().filter(|acceptor| !acceptor.is_finished()) {
                acceptor.abort();
                finish(acceptor).await;
            }
        }
        self.hub.detach_all();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop.cancel();
        self.hub.stop();
        self.keeper.abort();
        self.acceptors.iter().for_each(JoinHandle::abort);
        self.hub.detach_all();
    }
}

async fn bind(addr: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(addr).await?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

async fn finish(acceptor: &mut JoinHandle<()>) {
    if let Err(error) = acceptor.await
        && error.is_panic()
    {
        tracing::error!(%error, "the task of a listener panicked");
    }
}
