//! The packets of a session in our own words: what a client sends, what we send back.

use std::fmt;
use std::sync::Arc;

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
pub enum Qos {
    /// `QoS` 0.
    AtMostOnce,
    /// `QoS` 1.
    AtLeastOnce,
}

/// A message on its way from a publisher to its subscribers, shared between their queues.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: TopicName,
    pub(crate) payload: Bytes,
    pub(crate) qos: Qos,
    pub(crate) properties: Option<Box<Properties>>,
}

impl Message {
    /// What it costs in memory while it waits.
    pub(crate) fn size(&self) -> usize {
        const OVERHEAD: usize = 128;
        let properties = self.properties.as_ref().map_or(0, |properties| properties.size());
        OVERHEAD + self.topic.as_str().len() + self.payload.len() + properties
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
    /// How many `QoS` 1 messages it takes at once; 0 is a protocol error.
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
    pub(crate) properties: Option<Box<Properties>>,
}

/// A packet that a connected client may send.
#[derive(Debug)]
pub(crate) enum Incoming {
    Publish(IncomingPublish),
    PubAck { pkid: u16 },
    Subscribe(IncomingSubscribe),
    Unsubscribe { pkid: u16, filters: Vec<String> },
    Ping,
    Disconnect { with_will: bool },
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
    pub(crate) properties: Option<Box<Properties>>,
}

/// A SUBSCRIBE as it arrived.
#[derive(Debug)]
pub(crate) struct IncomingSubscribe {
    pub(crate) pkid: u16,
    pub(crate) has_id: bool,
    pub(crate) filters: Vec<RequestedFilter>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug)]
pub(crate) struct RequestedFilter {
    pub(crate) path: String,
    /// 0, 1 or 2; the most that is granted is 1.
    pub(crate) qos: u8,
    pub(crate) no_local: bool,
}

/// A filter that a session is granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscriptionOptions,
}

/// How a subscriber wants what its filter matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubscriptionOptions {
    pub(crate) qos: Qos,
    pub(crate) no_local: bool,
}

/// A packet that we send.
#[derive(Debug)]
pub(crate) enum Outgoing {
    ConnAck(Box<ConnAck>),
    Publish {
        message: Arc<Message>,
        qos: Qos,
        pkid: u16,
    },
    PubAck {
        pkid: u16,
        denied: bool,
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

impl Outgoing {
    /// The packet id, if it carries a message; 0 for `QoS` 0.
    pub(crate) fn message_pkid(&self) -> Option<u16> {
        if let Self::Publish { pkid, .. } = self { Some(*pkid) } else { None }
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
    #[error("a will of QoS 2 is not supported")]
    WillQos,
    #[error("a retained will is not supported")]
    WillRetain,
}

/// The answer to one filter of a SUBSCRIBE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubscribeAnswer {
    Granted(Qos),
    NotAuthorized,
    Invalid,
    QuotaExceeded,
    NoSharedSubscriptions,
    NoSubscriptionIds,
}
