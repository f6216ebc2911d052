//! The broker as the application sees it: start, attach, stop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::acl::Acl;
use crate::attachment::{AttachConfig, Attachment};
use crate::auth::Authenticator;
use crate::crew::Crew;
use crate::hub::{Hub, keep};
use crate::limits::Limits;
use crate::listener::{self, Acceptor, Endpoint, Room, Tls, Transport};
use crate::metrics::{PREFIX, Queues};
use crate::revocation::Revocation;
use crate::session::Policy;
use crate::socket::Watch;
use crate::turns::Turns;

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

/// The listeners of a broker; outlives it.
#[derive(Debug, Clone)]
pub struct Listeners(Vec<AbortHandle>);

impl Listeners {
    /// Whether every one of them takes connections.
    pub fn are_open(&self) -> bool {
        self.0.iter().all(|acceptor| !acceptor.is_finished())
    }
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
    /// The system watches no sockets for us.
    #[error("the system lets nobody wait for sockets; are there file descriptors left?")]
    Watch(#[source] io::Error),
}

/// Why a TLS configuration was not replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReloadError {
    /// No listener has this address.
    #[error("no listener has the address {addr}; ask the broker which there are")]
    NoListener {
        /// The address.
        addr: SocketAddr,
    },
    /// The listener has no TLS.
    #[error("the listener at {addr} has no TLS; it cannot get any while it is open")]
    NoTls {
        /// The address.
        addr: SocketAddr,
    },
}

/// A running MQTT broker. Dropping it ends every connection at once;
/// [`shutdown`](Self::shutdown) says goodbye first.
#[derive(Debug)]
pub struct Broker {
    hub: Arc<Hub>,
    room: Room,
    watch: Arc<Watch>,
    crew: Arc<Crew>,
    /// Those of newcomers.
    turns: Turns,
    addrs: Vec<BoundListener>,
    /// The TLS of each, in the same order.
    tls: Vec<Option<Tls>>,
    acceptors: Vec<JoinHandle<()>>,
    keeper: JoinHandle<()>,
    stop: CancellationToken,
}

impl Broker {
    /// Opens all listeners and begins to serve them; if one cannot be opened, none is.
    pub async fn start(config: BrokerConfig) -> Result<Self, StartError> {
        let BrokerConfig { listeners, limits, acl, authenticator } = config;
        let endpoint = |ListenerConfig { addr, tls }| {
            let transport = Transport::Plain;
            Endpoint { addr, tls, transport, proxy_protocol: false }
        };
        let endpoints = listeners.into_iter().map(endpoint).collect();
        Self::open(endpoints, limits, acl, authenticator).await
    }

    /// Like [`start`](Self::start), with everything that can be said about a listener.
    pub async fn open(
        endpoints: Vec<Endpoint>,
        limits: Limits,
        acl: Acl,
        authenticator: Arc<dyn Authenticator>,
    ) -> Result<Self, StartError> {
        if endpoints.is_empty() {
            return Err(StartError::NoListener);
        }
        let stop = CancellationToken::new();
        let hub = Arc::new(Hub::new(Policy { acl, limits }, authenticator));
        let room = Room::new(&hub.policy.limits, hub.metrics.connections.clone());
        let watch = Arc::new(Watch::start().map_err(StartError::Watch)?);
        let mut opened = Vec::new();
        for endpoint in endpoints {
            opened.push((bind(endpoint.addr).await?, endpoint));
        }
        let turns = listener::turns(&hub.policy.limits);
        let keeper = tokio::spawn(keep(Arc::clone(&hub), stop.clone()));
        let mut broker = Self {
            hub,
            room,
            watch,
            crew: Arc::new(Crew::start()),
            turns,
            addrs: Vec::new(),
            tls: Vec::new(),
            acceptors: Vec::new(),
            keeper,
            stop,
        };
        for ((listener, addr), endpoint) in opened {
            broker.serve(listener, addr, endpoint);
        }
        Ok(broker)
    }

    /// Opens one more listener.
    pub async fn listen(&mut self, endpoint: Endpoint) -> Result<BoundListener, StartError> {
        let (listener, addr) = bind(endpoint.addr).await?;
        Ok(self.serve(listener, addr, endpoint))
    }

    fn serve(
        &mut self,
        listener: TcpListener,
        addr: SocketAddr,
        endpoint: Endpoint,
    ) -> BoundListener {
        let Endpoint { tls, transport, proxy_protocol, .. } = endpoint;
        let tls = tls.map(Tls::new);
        let bound = BoundListener { addr, tls: tls.is_some() };
        let acceptor = Acceptor {
            hub: Arc::clone(&self.hub),
            listener,
            tls: tls.clone(),
            transport,
            proxy_protocol,
            room: self.room.clone(),
            watch: Arc::clone(&self.watch),
            crew: Arc::clone(&self.crew),
            turns: self.turns.clone(),
            stop: self.stop.clone(),
        };
        self.acceptors.push(tokio::spawn(acceptor.run()));
        self.addrs.push(bound);
        self.tls.push(tls);
        tracing::info!(%addr, tls = bound.tls, ?transport, proxy_protocol, "the broker listens");
        bound
    }

    /// Gives the listener at `addr` another TLS configuration. Connections that are there keep
    /// theirs.
    pub fn reload_tls(
        &self,
        addr: SocketAddr,
        config: Arc<rustls::ServerConfig>,
    ) -> Result<(), ReloadError> {
        let at = self.addrs.iter().position(|bound| bound.addr == addr);
        let tls = at.and_then(|at| self.tls.get(at)).ok_or(ReloadError::NoListener { addr })?;
        tls.as_ref().ok_or(ReloadError::NoTls { addr })?.replace(config);
        tracing::info!(%addr, "the listener has another TLS configuration");
        Ok(())
    }

    /// Turns an identity away from now on, and ends its sessions at once; returns how many.
    pub fn revoke(&self, revocation: &Revocation) -> usize {
        self.hub.revoke(revocation)
    }

    /// Lets an identity in again; `false` if it was not revoked.
    pub fn pardon(&self, revocation: &Revocation) -> bool {
        self.hub.pardon(revocation)
    }

    /// Where it listens, in the order of the configuration.
    pub fn addrs(&self) -> &[BoundListener] {
        &self.addrs
    }

    /// The listeners, for whoever wants to know whether they are open.
    pub fn listeners(&self) -> Listeners {
        Listeners(self.acceptors.iter().map(JoinHandle::abort_handle).collect())
    }

    /// Connects the application itself, in-process.
    pub fn attach(&self, config: AttachConfig) -> Attachment {
        Attachment::new(&self.hub, config)
    }

    /// Names the broker's metrics in `registry`.
    pub fn register(&self, registry: &mut Registry) {
        self.hub.metrics.register(registry);
        let queues = Queues(Arc::downgrade(&self.hub));
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(queues));
    }

    /// Closes the listeners, says goodbye to every client and waits for them to go, at most
    /// for `grace`; then ends what is left. Attachments see the end once they took what waits.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.cancel();
        self.hub.stop();
        let mut acceptors = std::mem::take(&mut self.acceptors);
        let mut crew = self.crew.tasks();
        let all = async {
            for acceptor in &mut acceptors {
                finish(acceptor).await;
            }
            self.crew.close();
            for task in &mut crew {
                finish(task).await;
            }
        };
        if timeout(grace, all).await.is_err() {
            tracing::warn!(?grace, "clients that did not go in time are cut off");
            for task in acceptors.iter_mut().chain(&mut crew).filter(|task| !task.is_finished()) {
                task.abort();
                finish(task).await;
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
        self.acceptors.iter().chain(&self.crew.tasks()).for_each(JoinHandle::abort);
        self.hub.detach_all();
    }
}

async fn bind(addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Bind { addr, source };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn finish(acceptor: &mut JoinHandle<()>) {
    if let Err(error) = acceptor.await
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the broker panicked");
    }
}
