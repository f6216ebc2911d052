//! Why a session ended, and what follows from that: the code on the wire, the will, the metric.

use std::fmt;

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The client said goodbye.
    ByClient,
    /// The client said goodbye and asked for its will to be published.
    ByClientWithWill,
    /// The connection was closed or broke without a goodbye.
    ConnectionLost,
    /// Nothing was received for one and a half times the keep-alive.
    KeepAliveTimeout,
    /// The same client connected again.
    TakenOver,
    /// The client reads slower than messages for it arrive: its queue was full.
    QueueFull,
    /// The client accepted no byte for the write timeout.
    WriteTimeout,
    /// A packet could not be decoded.
    Malformed,
    /// A packet that is not allowed at this point or not to this server.
    ProtocolError,
    /// A packet is larger than the server allows.
    PacketTooLarge,
    /// A message under a name that is not a valid topic name.
    TopicNameInvalid,
    /// A topic alias that was never set, is zero or is above the maximum.
    TopicAliasInvalid,
    /// More `QoS` 2 messages at once than the client was told.
    ReceiveMaximumExceeded,
    /// A message with the retain flag.
    RetainNotSupported,
    /// A message that the access rules deny, from a client that cannot be told otherwise.
    NotAuthorized,
    /// The server stops.
    ServerShutdown,
    /// The application closed the session.
    Administrative,
    /// The client's identity is on the deny list.
    Revoked,
}

impl DisconnectReason {
    /// The code of the MQTT 5 DISCONNECT that the server sends, if it sends one.
    pub(crate) fn code(self) -> Option<u8> {
        match self {
            Self::ByClient | Self::ByClientWithWill | Self::ConnectionLost => None,
            Self::Malformed => Some(0x81),
            Self::ProtocolError => Some(0x82),
            Self::NotAuthorized | Self::Revoked => Some(0x87),
            Self::ServerShutdown => Some(0x8B),
            Self::KeepAliveTimeout => Some(0x8D),
            Self::TakenOver => Some(0x8E),
            Self::TopicNameInvalid => Some(0x90),
            Self::ReceiveMaximumExceeded => Some(0x93),
            Self::TopicAliasInvalid => Some(0x94),
            Self::PacketTooLarge => Some(0x95),
            Self::QueueFull | Self::WriteTimeout => Some(0x97),
            Self::Administrative => Some(0x98),
            Self::RetainNotSupported => Some(0x9A),
        }
    }

    /// Whether the will is published; a stopping server keeps it to itself, since all its
    /// clients are about to come back.
    pub(crate) fn publishes_will(self) -> bool {
        !matches!(self, Self::ByClient | Self::ServerShutdown)
    }

    /// Whether a session that outlives its connection goes on without it.
    pub(crate) fn keeps_session(self) -> bool {
        !matches!(self, Self::ServerShutdown | Self::Revoked)
    }

    /// What an MQTT 5 client is told in words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::ByClient | Self::ByClientWithWill | Self::ConnectionLost => "",
            Self::KeepAliveTimeout => "nothing was received for 1.5 times the keep-alive",
            Self::TakenOver => "the same client connected again",
            Self::QueueFull => "the client reads slower than messages for it arrive",
            Self::WriteTimeout => "the client accepted no byte for too long",
            Self::Malformed => "a packet could not be decoded",
            Self::ProtocolError => "a packet is not allowed here",
            Self::PacketTooLarge => "a packet is larger than the maximum packet size",
            Self::TopicNameInvalid => "a message has no valid topic name",
            Self::TopicAliasInvalid => "a topic alias is zero, above the maximum or was never set",
            Self::ReceiveMaximumExceeded => "more QoS 2 messages at once than the receive maximum",
            Self::RetainNotSupported => "retained messages are switched off",
            Self::NotAuthorized => "the access rules deny this",
            Self::ServerShutdown => "the server stops",
            Self::Administrative => "the application closed the session",
            Self::Revoked => "the client's identity was revoked",
        }
    }

    /// The value of the metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ByClient => "by_client",
            Self::ByClientWithWill => "by_client_with_will",
            Self::ConnectionLost => "connection_lost",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::TakenOver => "taken_over",
            Self::QueueFull => "queue_full",
            Self::WriteTimeout => "write_timeout",
            Self::Malformed => "malformed",
            Self::ProtocolError => "protocol_error",
            Self::PacketTooLarge => "packet_too_large",
            Self::TopicNameInvalid => "topic_name_invalid",
            Self::TopicAliasInvalid => "topic_alias_invalid",
            Self::ReceiveMaximumExceeded => "receive_maximum_exceeded",
            Self::RetainNotSupported => "retain_not_supported",
            Self::NotAuthorized => "not_authorized",
            Self::ServerShutdown => "server_shutdown",
            Self::Administrative => "administrative",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
