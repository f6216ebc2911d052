//! The link to the cloud: messages in and out while it is up. It keeps nothing across connections;
//! what must not get lost is in the store, and the sync protocol sends it again.

pub mod call;
pub mod clock;
mod course;
mod dial;
pub mod fake;
mod keepalive;
pub mod memory;
pub mod mqtt;
pub mod proxy;
pub mod retry;
mod tls;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::wire::Message;
use serde::{Deserialize, Serialize};

pub use course::Version;
pub use tls::{
    Fingerprint, ParseFingerprintError, Tls, TlsError, Trust, client_config, client_config_at,
    joining_config,
};

/// What the link tells.
#[derive(Debug, Clone, PartialEq)]
pub enum LinkEvent {
    /// The cloud can be reached, and what it sends to this node arrives.
    Up,
    /// Another machine with this node's identity has taken the link; `Down` follows.
    TakenOver,
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

    /// How good it is.
    fn quality(&self) -> Quality;

    /// Says goodbye.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// Bytes since the link was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received, with all that TLS and MQTT add.
    pub bytes_in: u64,
    /// Sent, with all that TLS and MQTT add.
    pub bytes_out: u64,
    /// Topics and payloads about what is desired, both ways.
    pub desired: u64,
    /// Topics and payloads about what is reported, both ways.
    pub reported: u64,
}

impl Traffic {
    /// Both ways.
    pub const fn total(&self) -> u64 {
        self.bytes_in.saturating_add(self.bytes_out)
    }
}

/// How good the link is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quality {
    /// How long the last answer of the broker took; `None` before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<u64>,
    /// How often it came up.
    pub connections: u64,
    /// How many of those cost only a short handshake.
    pub resumed: u64,
    /// The present keep-alive.
    pub keep_alive_s: u64,
    /// The version of MQTT; 0 before there was a connection.
    pub mqtt: u64,
}

/// Counts from several tasks.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    desired: AtomicU64,
    reported: AtomicU64,
    /// One more than it was; 0 before the first answer.
    rtt_ms: AtomicU64,
    connections: AtomicU64,
    resumed: AtomicU64,
    keep_alive_s: AtomicU64,
    mqtt: AtomicU64,
}

impl Meter {
    fn received(&self, bytes: usize) {
        self.0.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.0.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn carried(&self, stream: Stream, bytes: usize) {
        let counter = match stream {
            Stream::Down => &self.0.desired,
            Stream::Up => &self.0.reported,
        };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn answered_in(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.rtt_ms.store(millis.saturating_add(1), Ordering::Relaxed);
    }

    fn connected(&self, version: Version, is_resumed: bool, keep_alive: Duration) {
        let mqtt = match version {
            Version::V5 => 5,
            Version::V3 => 3,
        };
        self.0.connections.fetch_add(1, Ordering::Relaxed);
        self.0.resumed.fetch_add(u64::from(is_resumed), Ordering::Relaxed);
        self.0.keep_alive_s.store(keep_alive.as_secs(), Ordering::Relaxed);
        self.0.mqtt.store(mqtt, Ordering::Relaxed);
    }

    fn traffic(&self) -> Traffic {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            bytes_in: read(&self.0.bytes_in),
            bytes_out: read(&self.0.bytes_out),
            desired: read(&self.0.desired),
            reported: read(&self.0.reported),
        }
    }

    fn quality(&self) -> Quality {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Quality {
            rtt_ms: read(&self.0.rtt_ms).checked_sub(1),
            connections: read(&self.0.connections),
            resumed: read(&self.0.resumed),
            keep_alive_s: read(&self.0.keep_alive_s),
            mqtt: read(&self.0.mqtt),
        }
    }
}
