//! How many more connections a broker takes, in all and from one address.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::addresses::Addresses;
use crate::limits::Limits;
use crate::metrics::Rejection;
use crate::rate::Rate;

/// How many more connections a broker takes.
#[derive(Debug, Clone)]
pub(crate) struct Room {
    connections: Arc<Semaphore>,
    pending: Arc<Semaphore>,
    /// A lock, since connections end in tasks of their own; held for one lookup.
    addresses: Arc<Mutex<Addresses>>,
}

/// A connection that counts as one of its address for as long as this lives.
#[derive(Debug)]
pub(super) struct Visit {
    addresses: Arc<Mutex<Addresses>>,
    address: IpAddr,
}

impl Room {
    pub(crate) fn new(limits: &Limits) -> Self {
        let semaphore =
            |permits: usize| Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)));
        let rate = Rate::new(limits.connect_rate.into(), limits.connect_burst.into());
        let addresses = Addresses::new(limits.connections_per_address, rate);
        Self {
            connections: semaphore(limits.connections),
            pending: semaphore(limits.pending_connections),
            addresses: Arc::new(Mutex::new(addresses)),
        }
    }

    pub(super) fn take(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Rejection> {
        let connection = Arc::clone(&self.connections)
            .try_acquire_owned()
            .map_err(|_| Rejection::TooManyConnections)?;
        let pending =
            Arc::clone(&self.pending).try_acquire_owned().map_err(|_| Rejection::TooManyPending)?;
        Ok((connection, pending))
    }

    /// Lets a connection of an address in.
    pub(super) fn visit(&self, address: IpAddr) -> Result<Visit, Rejection> {
        let now = tokio::time::Instant::now().into_std();
        lock(&self.addresses).enter(address, now)?;
        Ok(Visit { addresses: Arc::clone(&self.addresses), address })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        lock(&self.addresses).leave(self.address);
    }
}

fn lock(addresses: &Mutex<Addresses>) -> MutexGuard<'_, Addresses> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}
