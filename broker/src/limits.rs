//! How much a client may take from the server. Everything that a client can make grow has a bound here.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::topic::TopicLimits;

/// The bounds that hold per client, per session and for the whole broker. In a file, times are
/// numbers of seconds, and what is not there has its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections of one broker at once; one more is closed as soon as it is accepted.
    pub connections: usize,
    /// Connections of one address at once; of IPv6, the upper half counts.
    pub connections_per_address: usize,
    /// Connections that one address may open in a second; zero is without a limit.
    pub connect_rate: u32,
    /// Connections that one address may open at once after a pause.
    pub connect_burst: u32,
    /// Messages a second that are read from one client, after as many at once; zero is
    /// without a limit.
    pub publish_rate: u32,
    /// Bytes of payload a second that are read from one client; zero is without a limit.
    pub publish_bytes_rate: u64,
    /// How often the broker publishes its own figures below `$SYS/broker/`; zero is never.
    #[serde(deserialize_with = "seconds")]
    pub sys_interval: Duration,
    /// Connected sessions of one principal at once.
    pub connections_per_principal: usize,
    /// Of these, how many may be in the TLS handshake or before their CONNECT at once.
    pub pending_connections: usize,
    /// The time for each of: the header of a load balancer, a TLS handshake, the request for
    /// a WebSocket.
    #[serde(deserialize_with = "seconds")]
    pub handshake_timeout: Duration,
    /// The time from the handshake to a complete CONNECT.
    #[serde(deserialize_with = "seconds")]
    pub connect_timeout: Duration,
    /// Newcomers that are worked on at the same time, from their first byte to their session; the
    /// others wait, each address in turn. Zero: one less than the runtime has workers, at least one.
    pub newcomers: usize,
    /// Passwords that are checked at the same time; others wait, each address in turn, for at
    /// most the time that a CONNECT has.
    pub password_checks: usize,
    /// The time in which a client must accept at least one byte that waits for it.
    #[serde(deserialize_with = "seconds")]
    pub write_timeout: Duration,
    /// The time for the last packets (and the client's end of the connection) at a close.
    #[serde(deserialize_with = "seconds")]
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
    /// Messages that may wait for one connected session. When it is full, `QoS` 0 is
    /// dropped, and `QoS` 1 and 2 cut the session off.
    pub queue_messages: usize,
    /// Bytes that may wait for one connected session; a single message may always wait.
    pub queue_bytes: usize,
    /// How long a publisher is not read from, at most, per message to a session whose queue is
    /// more than half full.
    #[serde(deserialize_with = "seconds")]
    pub congestion_pause: Duration,
    /// The longest that an MQTT 5 session is kept whose client is away; zero keeps none.
    #[serde(deserialize_with = "seconds")]
    pub session_expiry: Duration,
    /// How long an MQTT 3.1.1 session without `clean session` is kept; zero keeps none.
    #[serde(deserialize_with = "seconds")]
    pub session_expiry_v4: Duration,
    /// Sessions that are kept whose clients are away; one more is not kept.
    pub away_sessions: usize,
    /// Of these, how many may belong to one principal.
    pub away_per_principal: usize,
    /// Messages that may wait for a client that is away; the oldest goes first. `QoS` 0 never
    /// waits.
    pub away_messages: usize,
    /// Bytes that may wait for a client that is away; a single message may always wait.
    pub away_bytes: usize,
    /// Bytes that may wait for all clients together that are away. While there is no room, nothing
    /// more waits for them, and a session is not kept that has more in flight than fits.
    pub away_total_bytes: usize,
    /// Retained messages of the broker; zero switches them off. One more is delivered, but
    /// not kept.
    pub retained_messages: usize,
    /// Bytes of all retained messages.
    pub retained_bytes: usize,
    /// `QoS` 1 and 2 messages to one session that wait for its acknowledgement; a smaller
    /// receive maximum of the client wins.
    pub inflight: u16,
    /// The receive maximum that is announced to MQTT 5 clients. More `QoS` 2 messages at once
    /// end the connection.
    pub receive_maximum: u16,
    /// `QoS` 2 messages that an MQTT 3.1.1 client may have under way.
    pub received_v4: u16,
    /// Topic aliases that an MQTT 5 client may set.
    pub topic_aliases: u16,
    /// The longest keep-alive of an MQTT 5 client; one that asks for more, or for none, gets this.
    #[serde(deserialize_with = "seconds")]
    pub keep_alive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_address: 20_000,
            connect_rate: 2_000,
            connect_burst: 20_000,
            publish_rate: 0,
            publish_bytes_rate: 0,
            sys_interval: Duration::ZERO,
            connections_per_principal: 20_000,
            pending_connections: 10_000,
            handshake_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            newcomers: 0,
            password_checks: 2,
            write_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(1),
            connect_packet: 16 * 1024,
            packet: 1024 * 1024,
            client_id: 256,
            topic: TopicLimits { bytes: 1024, levels: 32 },
            subscriptions: 256,
            queue_messages: 1_000,
            queue_bytes: 4 * 1024 * 1024,
            congestion_pause: Duration::from_millis(20),
            session_expiry: Duration::from_hours(24),
            session_expiry_v4: Duration::from_hours(1),
            away_sessions: 10_000,
            away_per_principal: 100,
            away_messages: 1_000,
            away_bytes: 256 * 1024,
            away_total_bytes: 256 * 1024 * 1024,
            retained_messages: 10_000,
            retained_bytes: 64 * 1024 * 1024,
            inflight: 100,
            receive_maximum: 1_000,
            received_v4: 4_096,
            topic_aliases: 16,
            keep_alive: Duration::from_mins(20),
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let seconds = f64::deserialize(deserializer)?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| de::Error::custom(format_args!("{seconds} is no number of seconds")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_a_file_and_the_others_have_their_defaults() {
        let text = "connections = 7\ncongestion_pause = 0.5\nkeep_alive = 60\n\
                    topic = { bytes = 9, levels = 2 }";
        let limits: Limits = toml::from_str(text).unwrap();
        let expected = Limits {
            connections: 7,
            congestion_pause: Duration::from_millis(500),
            keep_alive: Duration::from_mins(1),
            topic: TopicLimits { bytes: 9, levels: 2 },
            ..Limits::default()
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_limit_that_there_is_not_and_a_time_that_is_none_are_refused() {
        for (text, wanted) in [
            ("conections = 7", "unknown field `conections`"),
            ("keep_alive = -1", "-1 is no number of seconds"),
            ("keep_alive = 1e300", "is no number of seconds"),
        ] {
            let error = toml::from_str::<Limits>(text).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
