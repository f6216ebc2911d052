//! How much a client may take from the server. Everything that a client can make grow has a bound here.

use std::time::Duration;

use crate::topic::TopicLimits;

/// The bounds that hold per client, per session and for the whole broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one broker at once; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Of these, how many may be in the TLS handshake or before their CONNECT at once.
    pub pending_connections: usize,
    /// The time for a TLS handshake.
    pub handshake_timeout: Duration,
    /// The time from the handshake to a complete CONNECT.
    pub connect_timeout: Duration,
    /// The time in which a client must accept at least one byte that waits for it.
    pub write_timeout: Duration,
    /// The time for the last packets (and the client's end of the connection) at a close.
    pub close_timeout: Duration,
    /// The largest CONNECT, in bytes.
    pub connect_packet: usize,
    /// The largest packet of an authenticated client, in bytes.
    pub packet: usize,
    /// The longest client id, in bytes.
    pub client_id: usize,
    /// Topic names and filters.
    pub topic: TopicLimits,
    /// Filters that one session may be subscribed to.
    pub subscriptions: usize,
    /// Messages that may wait for one session.
    pub queue_messages: usize,
    /// Bytes that may wait for one session; a single message may always wait.
    pub queue_bytes: usize,
    /// `QoS` 1 messages to one session that wait for its acknowledgement; a smaller
    /// receive maximum of the client wins.
    pub inflight: u16,
    /// The receive maximum that is announced to clients.
    pub receive_maximum: u16,
    /// Topic aliases that an MQTT 5 client may set.
    pub topic_aliases: u16,
    /// The longest keep-alive of an MQTT 5 client; one that asks for more, or for none, gets this.
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            pending_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(1),
            connect_packet: 16 * 1024,
            packet: 1024 * 1024,
            client_id: 256,
            topic: TopicLimits { bytes: 1024, levels: 32 },
            subscriptions: 256,
            queue_messages: 1_000,
            queue_bytes: 4 * 1024 * 1024,
            inflight: 100,
            receive_maximum: 100,
            topic_aliases: 16,
            keep_alive: Duration::from_mins(20),
        }
    }
}
