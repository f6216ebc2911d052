//! The broker's instruments: each is named here and nowhere else.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod depths;

pub(crate) use depths::{Depths, Queues};

use crate::packet::Protocol;
use crate::reason::DisconnectReason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProtocolLabel {
    protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

/// What the name of every instrument begins with.
pub(crate) const PREFIX: &str = "gnomon_broker";

/// A step of a client's way in, which is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The TLS handshake.
    Tls,
    /// From there to a complete CONNECT, which is up to the client.
    Connect,
    /// The question who it is.
    Authentication,
    /// What of all these was waiting for its turn among the newcomers.
    Turn,
}

type Times = Family<StageLabel, Histogram, fn() -> Histogram>;

/// From half a millisecond to eight seconds.
fn times() -> Histogram {
    Histogram::new((0..15).map(|power| 0.0005 * f64::from(1 << power)))
}

/// A pair of counters, one per direction, found without a lookup.
#[derive(Debug)]
pub(crate) struct Traffic {
    family: Family<DirectionLabel, Counter>,
    pub(crate) incoming: Counter,
    pub(crate) outgoing: Counter,
}

impl Default for Traffic {
    fn default() -> Self {
        let family = Family::<DirectionLabel, Counter>::default();
        let of = |direction| family.get_or_create_owned(&DirectionLabel { direction });
        let (incoming, outgoing) = (of("in"), of("out"));
        Self { family, incoming, outgoing }
    }
}

/// Why a message was not delivered to one subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Drop {
    /// `QoS` 0 to a session whose queue was full.
    QueueFull,
    /// The session was cut off, because a `QoS` 1 or 2 message found its queue full.
    CutOff,
    /// Larger than the client takes.
    TooLarge,
    /// It waited for longer than it was worth something.
    Expired,
    /// `QoS` 0 to a client that was away.
    Away,
    /// The oldest message to a client that was away, for a newer one.
    AwayFull,
    /// No member of a group of subscribers had room.
    GroupFull,
    /// Not kept for later subscribers, as too many are.
    RetainedFull,
}

/// What the access rules refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denial {
    Publish,
    Subscribe,
}

/// Why a connection did not become a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    TooManyConnections,
    TooManyPending,
    TooManyOfAddress,
    TooFast,
    ProxyHeader,
    WebSocket,
    HandshakeTimeout,
    HandshakeFailed,
    ConnectTimeout,
    NoConnect,
    Authentication,
    Refused,
}

/// The counters and gauges of one broker.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) connections: Gauge,
    sessions: Family<ProtocolLabel, Gauge>,
    pub(crate) messages: Traffic,
    pub(crate) bytes: Traffic,
    drops: Family<ReasonLabel, Counter>,
    denials: Family<ReasonLabel, Counter>,
    rejections: Family<ReasonLabel, Counter>,
    auth_failures: Family<ReasonLabel, Counter>,
    pub(crate) takeovers: Counter,
    /// Sessions that are kept whose clients are away.
    pub(crate) away: Gauge,
    /// What waits for them.
    pub(crate) away_bytes: Gauge,
    pub(crate) sessions_not_kept: Counter,
    handshakes: Times,
    pub(crate) retained: Gauge,
    disconnects: Family<ReasonLabel, Counter>,
    pub(crate) accept_errors: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            sessions: Family::default(),
            messages: Traffic::default(),
            bytes: Traffic::default(),
            drops: Family::default(),
            denials: Family::default(),
            rejections: Family::default(),
            auth_failures: Family::default(),
            takeovers: Counter::default(),
            away: Gauge::default(),
            away_bytes: Gauge::default(),
            sessions_not_kept: Counter::default(),
            handshakes: Family::new_with_constructor(times),
            retained: Gauge::default(),
            disconnects: Family::default(),
            accept_errors: Counter::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn drop(&self, reason: Drop) {
        self.drops(reason, 1);
    }

    pub(crate) fn drops(&self, reason: Drop, count: usize) {
        if count == 0 {
            return;
        }
        let reason = match reason {
            Drop::QueueFull => "queue_full",
            Drop::CutOff => "cut_off",
            Drop::TooLarge => "too_large",
            Drop::Expired => "expired",
            Drop::Away => "away",
            Drop::AwayFull => "away_full",
            Drop::GroupFull => "group_full",
            Drop::RetainedFull => "retained_full",
        };
        self.drops.get_or_create(&ReasonLabel { reason }).inc_by(count as u64);
    }

    pub(crate) fn denial(&self, denial: Denial) {
        let reason = match denial {
            Denial::Publish => "publish",
            Denial::Subscribe => "subscribe",
        };
        self.denials.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn rejection(&self, rejection: Rejection) {
        let reason = match rejection {
            Rejection::TooManyConnections => "too_many_connections",
            Rejection::TooManyPending => "too_many_pending",
            Rejection::TooManyOfAddress => "too_many_of_address",
            Rejection::TooFast => "too_fast",
            Rejection::ProxyHeader => "proxy_header",
            Rejection::WebSocket => "websocket",
            Rejection::HandshakeTimeout => "handshake_timeout",
            Rejection::HandshakeFailed => "handshake_failed",
            Rejection::ConnectTimeout => "connect_timeout",
            Rejection::NoConnect => "no_connect",
            Rejection::Authentication => "authentication",
            Rejection::Refused => "refused",
        };
        self.rejections.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// How long a step of a client's way in took.
    pub(crate) fn took(&self, stage: Stage, time: Duration) {
        let stage = match stage {
            Stage::Tls => "tls",
            Stage::Connect => "connect",
            Stage::Authentication => "authentication",
            Stage::Turn => "turn",
        };
        self.handshakes.get_or_create(&StageLabel { stage }).observe(time.as_secs_f64());
    }

    /// A client that is not who it says, or nobody.
    pub(crate) fn auth_failure(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn session_started(&self, protocol: Protocol) {
        self.sessions.get_or_create(&protocol_label(protocol)).inc();
    }

    pub(crate) fn session_ended(&self, protocol: Protocol, reason: DisconnectReason) {
        self.sessions.get_or_create(&protocol_label(protocol)).dec();
        self.disconnects.get_or_create(&ReasonLabel { reason: reason.label() }).inc();
    }

    /// What the broker publishes about itself.
    pub(crate) fn figures(&self) -> [(&'static str, u64); 8] {
        let gauge = |gauge: &Gauge| u64::try_from(gauge.get()).unwrap_or(0);
        [
            ("connections", gauge(&self.connections)),
            ("away_sessions", gauge(&self.away)),
            ("retained_messages", gauge(&self.retained)),
            ("messages/in", self.messages.incoming.get()),
            ("messages/out", self.messages.outgoing.get()),
            ("bytes/in", self.bytes.incoming.get()),
            ("bytes/out", self.bytes.outgoing.get()),
            ("takeovers", self.takeovers.get()),
        ]
    }

    /// Names every instrument in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let broker = registry.sub_registry_with_prefix(PREFIX);
        broker.register("connections", "Open connections", self.connections.clone());
        broker.register("sessions", "Connected sessions", self.sessions.clone());
        broker.register("messages", "Messages, by direction", self.messages.family.clone());
        broker.register("bytes", "Bytes of MQTT, by direction", self.bytes.family.clone());
        broker.register(
            "dropped_messages",
            "Messages not delivered to a subscriber, by reason",
            self.drops.clone(),
        );
        broker.register(
            "denied_actions",
            "Messages and filters that the access rules refused",
            self.denials.clone(),
        );
        broker.register(
            "rejected_connections",
            "Connections that did not become a session, by reason",
            self.rejections.clone(),
        );
        broker.register(
            "auth_failures",
            "Clients whose credentials were refused",
            self.auth_failures.clone(),
        );
        broker.register(
            "takeovers",
            "Sessions ended by the same client connecting again",
            self.takeovers.clone(),
        );
        broker.register(
            "away_sessions",
            "Sessions that are kept whose clients are away",
            self.away.clone(),
        );
        broker.register(
            "away_bytes",
            "Bytes that wait for clients that are away",
            self.away_bytes.clone(),
        );
        broker.register(
            "handshake_seconds",
            "How long clients take to come in, by stage",
            self.handshakes.clone(),
        );
        broker.register(
            "sessions_not_kept",
            "Sessions that ended with their connection, as too many are kept",
            self.sessions_not_kept.clone(),
        );
        broker.register("retained_messages", "Retained messages", self.retained.clone());
        broker.register("disconnects", "Ended sessions, by reason", self.disconnects.clone());
        broker.register(
            "accept_errors",
            "Connections that the system could not hand over",
            self.accept_errors.clone(),
        );
    }
}

fn protocol_label(protocol: Protocol) -> ProtocolLabel {
    let protocol = match protocol {
        Protocol::V4 => "3.1.1",
        Protocol::V5 => "5.0",
    };
    ProtocolLabel { protocol }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_instrument_is_exposed_under_the_brokers_prefix() {
        let metrics = Metrics::default();
        metrics.messages.incoming.inc();
        metrics.drop(Drop::QueueFull);
        metrics.session_started(Protocol::V5);
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "gnomon_broker_messages_total{direction=\"in\"} 1",
            "gnomon_broker_dropped_messages_total{reason=\"queue_full\"} 1",
            "gnomon_broker_sessions{protocol=\"5.0\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
