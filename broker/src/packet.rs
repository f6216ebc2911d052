//! The packets of a session in our own words: what a client sends, what we send back.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::codec::Properties;
use crate::filter::TopicFilter;
use crate::reason::DisconnectReason;
use crate::topic::TopicName;

/// The version of MQTT that a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1.
    V4,
    /// MQTT 5.0.
    V5,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "3.1.1",
            Self::V5 => "5.0",
        })
    }
}

/// How surely a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::enum_variant_names, reason = "the words of the standard")]
pub enum Qos {
    /// `QoS` 0.
    AtMostOnce,
    /// `QoS` 1.
    AtLeastOnce,
    /// `QoS` 2.
    ExactlyOnce,
}

impl Qos {
    /// The `QoS` with this number, if there is one.
    pub(crate) fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Its number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}

/// A message on its way from a publisher to its subscribers, shared between their queues.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    /// Whether the publisher wants it kept for later subscribers.
    pub(crate) retain: bool,
    /// When it is worth nothing any more.
    pub(crate) expires: Option<Instant>,
    pub(crate) properties: Option<Box<Properties>>,
}

impl Message {
    /// A message that is not retained and does not expire.
    pub(crate) fn new(topic: TopicName, payload: Bytes, qos: Qos) -> Self {
        Self { topic, payload, qos, retain: false, expires: None, properties: None }
    }

    /// Whether it is worth nothing any more.
    pub(crate) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// The seconds that it has left, rounded up; `None` if it does not expire.
    pub(crate) fn seconds_left(&self, now: Instant) -> Option<u32> {
        let left = self.expires?.saturating_duration_since(now);
        let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
        Some(u32::try_from(seconds).unwrap_or(u32::MAX))
    }

    /// What it costs in memory while it waits.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        let properties = self.properties.as_ref().map_or(0, |properties| properties.size());
        OVERHEAD + self.topic.as_str().len() + self.payload.len() + properties
    }
}

/// What is published when a client is gone.
#[derive(Debug)]
pub(crate) struct Will {
    pub(crate) message: Message,
    /// How long after the end of the connection, if the session lives that long.
    pub(crate) delay: Duration,
    /// How long it is worth something once it is published.
    pub(crate) expiry: Option<Duration>,
}

impl Will {
    /// The message that is published now.
    pub(crate) fn message(&self, now: Instant) -> Arc<Message> {
        Arc::new(Message {
            expires: self.expiry.map(|expiry| now + expiry),
            ..self.message.clone()
        })
    }
}

/// The first packet of a client.
#[derive(Debug)]
pub(crate) struct Connect {
    pub(crate) protocol: Protocol,
    pub(crate) client_id: String,
    pub(crate) clean_start: bool,
    pub(crate) keep_alive: u16,
    pub(crate) login: Option<Login>,
    pub(crate) will: Option<RawWill>,
    /// How long the session outlives the connection, in seconds; 3.1.1 cannot say.
    pub(crate) session_expiry: u32,
    /// Whether it wants to be told in words what went wrong.
    pub(crate) wants_reasons: bool,
    /// How many `QoS` 1 and 2 messages it takes at once; 0 is a protocol error.
    pub(crate) receive_maximum: u16,
    /// The largest packet that it takes; 0 is a protocol error.
    pub(crate) maximum_packet: u32,
    pub(crate) has_auth_method: bool,
}

/// The user name and password of a client.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A will as it arrived.
#[derive(Debug)]
pub(crate) struct RawWill {
    pub(crate) topic: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// Seconds between the end of the connection and the will.
    pub(crate) delay: u32,
    /// Seconds that it is worth something.
    pub(crate) expiry: Option<u32>,
    pub(crate) properties: Option<Box<Properties>>,
}

/// A packet that a connected client may send.
#[derive(Debug)]
pub(crate) enum Incoming {
    Publish(IncomingPublish),
    Ack(Ack),
    Subscribe(IncomingSubscribe),
    Unsubscribe { pkid: u16, filters: Vec<String> },
    Ping,
    Disconnect { with_will: bool, session_expiry: Option<u32> },
}

/// A step of the handshakes of `QoS` 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// PUBACK: the client has a `QoS` 1 message.
    Taken { pkid: u16 },
    /// PUBREC: the client has a `QoS` 2 message, or refuses it.
    Received { pkid: u16, refused: bool },
    /// PUBREL: the client will not send this `QoS` 2 message again.
    Release { pkid: u16 },
    /// PUBCOMP: the client has forgotten the packet id.
    Complete { pkid: u16 },
}

/// A PUBLISH as it arrived.
#[derive(Debug)]
pub(crate) struct IncomingPublish {
    pub(crate) topic: Bytes,
    pub(crate) alias: Option<u16>,
    pub(crate) payload: Bytes,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) pkid: u16,
    pub(crate) has_subscription_id: bool,
    /// Seconds that it is worth something.
    pub(crate) expiry: Option<u32>,
    pub(crate) properties: Option<Box<Properties>>,
}

/// A SUBSCRIBE as it arrived.
#[derive(Debug)]
pub(crate) struct IncomingSubscribe {
    pub(crate) pkid: u16,
    /// The subscription identifier; 0 is a protocol error.
    pub(crate) id: Option<u32>,
    pub(crate) filters: Vec<RequestedFilter>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct RequestedFilter {
    pub(crate) path: String,
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) retain_handling: RetainHandling,
}

/// When a subscriber wants the retained messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetainHandling {
    Always,
    IfNew,
    Never,
}

/// A filter that a session is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// As the client wrote it.
    pub(crate) filter: TopicFilter,
    /// For a shared subscription: the name of the group, and the filter that counts.
    pub(crate) shared: Option<(Arc<str>, TopicFilter)>,
    pub(crate) options: SubscriptionOptions,
    pub(crate) retain_handling: RetainHandling,
}

/// How a subscriber wants what its filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
    pub(crate) retain_as_published: bool,
    pub(crate) id: Option<NonZeroU32>,
}

/// A packet that we send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    ConnAck(Box<ConnAck>),
    Publish(Delivery),
    PubAck {
        pkid: u16,
        denied: bool,
    },
    PubRec {
        pkid: u16,
        denied: bool,
    },
    /// `found` is false if no message with this packet id waits for it.
    PubRel {
        pkid: u16,
        found: bool,
    },
    /// `found` is false if no message with this packet id was received.
    PubComp {
        pkid: u16,
        found: bool,
    },
    SubAck {
        pkid: u16,
        answers: Vec<SubscribeAnswer>,
    },
    /// Per filter, whether there was such a subscription.
    UnsubAck {
        pkid: u16,
        existed: Vec<bool>,
    },
    Pong,
    Disconnect(DisconnectReason),
}

/// A message on its way to one client.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    /// 0 for `QoS` 0.
    pub(crate) pkid: u16,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// The identifiers of the subscriptions that it matches.
    pub(crate) ids: Box<[NonZeroU32]>,
    /// The seconds that it has left.
    pub(crate) expiry: Option<u32>,
}

impl Outgoing {
    /// The packet id, if it carries a message; 0 for `QoS` 0.
    pub(crate) fn message_pkid(&self) -> Option<u16> {
        if let Self::Publish(delivery) = self { Some(delivery.pkid) } else { None }
    }
}

/// The answer to CONNECT.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConnAck {
    Accepted(Terms),
    Refused(Refusal),
}

/// What the server tells an MQTT 5 client with its acceptance.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) session_present: bool,
    /// In seconds, if it is not what the client asked for (MQTT 5, section 3.2.2.3.2).
    pub(crate) session_expiry: Option<u32>,
    pub(crate) retain_available: bool,
    pub(crate) assigned_client_id: Option<Arc<str>>,
    pub(crate) server_keep_alive: Option<u16>,
    pub(crate) receive_maximum: u16,
    pub(crate) maximum_packet: u32,
    pub(crate) topic_alias_maximum: u16,
}

/// Why a CONNECT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the CONNECT breaks the protocol")]
    ProtocolError,
    #[error("the protocol version is neither 3.1.1 nor 5.0")]
    UnsupportedVersion,
    #[error("the client id is empty without a clean session, too long, or has a null character")]
    ClientId,
    #[error("the user name or the password is wrong")]
    BadCredentials,
    #[error("the client is not authorized")]
    NotAuthorized,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("extended authentication is not supported")]
    AuthMethod,
    #[error("the topic of the will is not a valid topic name")]
    WillTopic,
    #[error("a retained will is not supported")]
    WillRetain,
    #[error("the client has too many connections")]
    QuotaExceeded,
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeAnswer {
    Granted(Qos),
    NotAuthorized,
    Invalid,
    QuotaExceeded,
}
