//! The link to the cloud: messages in and out while it is up. It keeps nothing across connections;
//! what must not get lost is in the store, and the sync protocol sends it again.

pub mod fake;
pub mod mqtt;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gnomon_schemas::topic::Topic;
use gnomon_schemas::wire::Message;

pub use tls::{TlsError, client_config};

/// What the link tells.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// The cloud can be reached, and what it sends to this node arrives.
    Up,
    /// It cannot, or an attempt has failed again.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// A message of the cloud.
    Message(Topic, Message),
    /// Something arrived that is no message of the protocol.
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

/// A link to the cloud.
pub trait Link: Send {
    /// The next event. Safe to cancel.
    fn next(&mut self) -> impl Future<Output = LinkEvent> + Send;

    /// Sends a message if the link is up and not congested; never waits.
    fn publish(&mut self, topic: &Topic, payload: Vec<u8>);

    /// The bytes that have gone each way.
    fn traffic(&self) -> Traffic;

    /// Says goodbye.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Bytes of topics and payloads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received.
    pub bytes_in: u64,
    /// Sent.
    pub bytes_out: u64,
}

/// Counts traffic from several tasks.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<(AtomicU64, AtomicU64)>);

impl Meter {
    fn received(&self, bytes: usize) {
        self.0.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.0.1.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn read(&self) -> Traffic {
        Traffic {
            bytes_in: self.0.0.load(Ordering::Relaxed),
            bytes_out: self.0.1.load(Ordering::Relaxed),
        }
    }
}
