//! Who may still come in: how many connections there are, those without a session apart, and
//! how many of each address.

use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::Addresses;
use crate::limits::Limits;
use crate::metrics::Rejection;
use crate::rate::Rate;

/// How many more connections a broker takes.
#[derive(Debug, Clone)]
pub(crate) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connections: Semaphore,
    pending: Arc<Semaphore>,
    /// A lock, since connections end in tasks of their own; held for one lookup.
    addresses: Mutex<Addresses>,
    open: Gauge,
}

/// A connection that counts as open, and as one of its address, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Stay {
    room: Arc<Shared>,
    peer: Peer,
}

/// An address in little memory, if it is a short one, and whether it counts as a visitor.
#[derive(Debug)]
enum Peer {
    V4(SocketAddrV4, bool),
    V6(Box<(SocketAddrV6, bool)>),
}

impl Peer {
    fn of(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::V4(addr, false),
            SocketAddr::V6(addr) => Self::V6(Box::new((addr, false))),
        }
    }

    fn addr(&self) -> SocketAddr {
        match self {
            Self::V4(addr, _) => (*addr).into(),
            Self::V6(peer) => peer.0.into(),
        }
    }

    fn is_visit(&self) -> bool {
        match self {
            Self::V4(_, is_visit) => *is_visit,
            Self::V6(peer) => peer.1,
        }
    }

    fn visit(&mut self) {
        match self {
            Self::V4(_, is_visit) => *is_visit = true,
            Self::V6(peer) => peer.1 = true,
        }
    }
}

impl Room {
    /// What there is room for; `open` counts the connections.
    pub(crate) fn new(limits: &Limits, open: Gauge) -> Self {
        let semaphore = |permits: usize| Semaphore::new(permits.min(Semaphore::MAX_PERMITS));
        let rate = Rate::new(limits.connect_rate.into(), limits.connect_burst.into());
        let addresses = Addresses::new(limits.connections_per_address, rate);
        Self(Arc::new(Shared {
            connections: semaphore(limits.connections),
            pending: Arc::new(semaphore(limits.pending_connections)),
            addresses: Mutex::new(addresses),
            open,
        }))
    }

    pub(super) fn take(&self, peer: SocketAddr) -> Result<(Stay, OwnedSemaphorePermit), Rejection> {
        let connection =
            self.0.connections.try_acquire().map_err(|_| Rejection::TooManyConnections)?;
        let pending = Arc::clone(&self.0.pending)
            .try_acquire_owned()
            .map_err(|_| Rejection::TooManyPending)?;
        connection.forget();
        self.0.open.inc();
        Ok((Stay { room: Arc::clone(&self.0), peer: Peer::of(peer) }, pending))
    }
}

impl Stay {
    /// Who is at the other end.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer.addr()
    }

    /// The load balancer knows better who it is.
    pub(super) fn set_peer(&mut self, peer: SocketAddr) {
        if !self.peer.is_visit() {
            self.peer = Peer::of(peer);
        }
    }

    /// Counts as a connection of its address from now on.
    pub(super) fn visit(&mut self) -> Result<(), Rejection> {
        let now = tokio::time::Instant::now().into_std();
        lock(&self.room.addresses).enter(self.peer.addr().ip(), now)?;
        self.peer.visit();
        Ok(())
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.peer.is_visit() {
            lock(&self.room.addresses).leave(self.peer.addr().ip());
        }
        self.room.open.dec();
        self.room.connections.add_permits(1);
    }
}

fn lock(addresses: &Mutex<Addresses>) -> MutexGuard<'_, Addresses> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}
