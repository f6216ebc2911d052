//! The only place that knows rumqttd: guards its decoder against what makes it panic, and
//! translates its packets into ours. Bytes in, packets out; no I/O.

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{self as wire, Packet, Protocol as _};

use crate::packet::{
    Connect, Incoming, IncomingPublish, IncomingSubscribe, Login, Protocol, Qos, RawWill,
    RequestedFilter, RetainHandling,
};
use crate::reason::DisconnectReason;

mod ack;
mod frame;
mod outgoing;
mod properties;
#[cfg(test)]
mod tests;

use frame::Frame;
pub(crate) use outgoing::encode;
pub(crate) use properties::Properties;

/// Why bytes are not a packet that we take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("a packet of {size} bytes is over the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("packet type {0} is not for a client to send, or not at this point")]
    Unexpected(u8),
    #[error("the remaining length is malformed")]
    Length,
    #[error("the flags of packet type {0} are malformed")]
    Flags(u8),
    #[error("protocol version {0} is not supported")]
    Version(u8),
    #[error("the packet is malformed")]
    Malformed(#[source] wire::Error),
    #[error("the packet has packet id 0")]
    PacketId,
}

impl DecodeError {
    /// How a session that received it ends.
    pub(crate) fn reason(self) -> DisconnectReason {
        match self {
            Self::TooLarge { .. } => DisconnectReason::PacketTooLarge,
            Self::Unexpected(_) | Self::PacketId | Self::Version(_) => {
                DisconnectReason::ProtocolError
            }
            Self::Length | Self::Flags(_) | Self::Malformed(_) => DisconnectReason::Malformed,
        }
    }
}

/// Takes the CONNECT off the front of `buffer`, whatever version it is; `None` asks for more bytes.
pub(crate) fn decode_connect(
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Option<Connect>, DecodeError> {
    let Some(frame) = Frame::peek(buffer, limit, frame::is_connect)? else { return Ok(None) };
    frame.check_flags()?;
    let protocol = frame.protocol(buffer)?;
    let mut bytes = buffer.split_to(frame.len);
    let packet = read(protocol, &mut bytes, limit)?;
    let Packet::Connect(connect, properties, will, will_properties, login) = packet else {
        return Err(DecodeError::Unexpected(frame.kind()));
    };
    let properties = properties.as_ref();
    Ok(Some(Connect {
        protocol,
        client_id: connect.client_id,
        clean_start: connect.clean_session,
        keep_alive: connect.keep_alive,
        login: login.map(|l| Login { username: l.username, password: l.password }),
        will: will.map(|will| RawWill {
            topic: will.topic,
            payload: Bytes::copy_from_slice(&will.message),
            qos: will.qos as u8,
            retain: will.retain,
            delay: will_properties.as_ref().and_then(|p| p.delay_interval).unwrap_or(0),
            expiry: will_properties.as_ref().and_then(|p| p.message_expiry_interval),
            properties: will_properties.and_then(Properties::of_will),
        }),
        session_expiry: properties.and_then(|p| p.session_expiry_interval).unwrap_or(0),
        wants_reasons: properties.and_then(|p| p.request_problem_info) != Some(0),
        receive_maximum: properties.and_then(|p| p.receive_maximum).unwrap_or(u16::MAX),
        maximum_packet: properties.and_then(|p| p.max_packet_size).unwrap_or(u32::MAX),
        has_auth_method: properties.is_some_and(|p| p.authentication_method.is_some()),
    }))
}

/// Takes the next packet of a connected client off the front of `buffer`; `None` asks for more.
pub(crate) fn decode(
    protocol: Protocol,
    buffer: &mut BytesMut,
    limit: usize,
) -> Result<Option<Incoming>, DecodeError> {
    let Some(frame) = Frame::peek(buffer, limit, frame::is_from_connected_client)? else {
        return Ok(None);
    };
    frame.check_flags()?;
    let mut bytes = buffer.split_to(frame.len);
    if let Some(with_will) = frame.short_disconnect(protocol, &bytes) {
        return Ok(Some(Incoming::Disconnect { with_will, session_expiry: None }));
    }
    if let Some(ack) = ack::read(frame, protocol, &bytes)? {
        return Ok(Some(Incoming::Ack(ack)));
    }
    let (qos, pkid) = frame.qos_and_pkid(&bytes);
    let packet = read(protocol, &mut bytes, limit)?;
    translate(packet, frame, qos, pkid).map(Some)
}

fn read(protocol: Protocol, bytes: &mut BytesMut, limit: usize) -> Result<Packet, DecodeError> {
    let packet = match protocol {
        Protocol::V4 => V4.read_mut(bytes, limit),
        Protocol::V5 => V5.read_mut(bytes, limit),
    };
    packet.map_err(DecodeError::Malformed)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the frame's check has refused every packet that is not named here"
)]
fn translate(packet: Packet, frame: Frame, qos: u8, pkid: u16) -> Result<Incoming, DecodeError> {
    let incoming = match packet {
        Packet::Publish(publish, properties) => Incoming::Publish(IncomingPublish {
            alias: properties.as_ref().and_then(|p| p.topic_alias),
            has_subscription_id: properties
                .as_ref()
                .is_some_and(|p| !p.subscription_identifiers.is_empty()),
            expiry: properties.as_ref().and_then(|p| p.message_expiry_interval),
            properties: properties.and_then(Properties::of_publish),
            topic: publish.topic,
            // A view would pin the whole read buffer for as long as the message waits.
            payload: Bytes::copy_from_slice(&publish.payload),
            qos,
            retain: publish.retain,
            pkid,
        }),
        Packet::Subscribe(subscribe, properties) => Incoming::Subscribe(IncomingSubscribe {
            pkid: nonzero(subscribe.pkid)?,
            id: properties.and_then(|p| p.id).map(|id| u32::try_from(id).unwrap_or(0)),
            filters: subscribe.filters.into_iter().map(requested_filter).collect(),
        }),
        Packet::Unsubscribe(unsubscribe, _) if unsubscribe.filters.is_empty() => {
            return Err(DecodeError::Malformed(wire::Error::EmptySubscription));
        }
        Packet::Unsubscribe(unsubscribe, _) => {
            Incoming::Unsubscribe { pkid: nonzero(unsubscribe.pkid)?, filters: unsubscribe.filters }
        }
        Packet::PingReq(_) => Incoming::Ping,
        Packet::Disconnect(disconnect, properties) => Incoming::Disconnect {
            with_will: disconnect.reason_code != wire::DisconnectReasonCode::NormalDisconnection,
            session_expiry: properties.and_then(|p| p.session_expiry_interval),
        },
        _ => return Err(DecodeError::Unexpected(frame.kind())),
    };
    Ok(incoming)
}

fn requested_filter(filter: wire::Filter) -> RequestedFilter {
    RequestedFilter {
        path: filter.path,
        qos: match filter.qos {
            wire::QoS::AtMostOnce => Qos::AtMostOnce,
            wire::QoS::AtLeastOnce => Qos::AtLeastOnce,
            wire::QoS::ExactlyOnce => Qos::ExactlyOnce,
        },
        no_local: filter.nolocal,
        retain_as_published: filter.preserve_retain,
        retain_handling: match filter.retain_forward_rule {
            wire::RetainForwardRule::OnEverySubscribe => RetainHandling::Always,
            wire::RetainForwardRule::OnNewSubscribe => RetainHandling::IfNew,
            wire::RetainForwardRule::Never => RetainHandling::Never,
        },
    }
}

fn nonzero(pkid: u16) -> Result<u16, DecodeError> {
    if pkid == 0 { Err(DecodeError::PacketId) } else { Ok(pkid) }
}

/// How to speak to one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) protocol: Protocol,
    /// The largest packet that it takes.
    pub(crate) maximum_packet: u32,
    /// Whether it wants to be told in words why a message is refused.
    pub(crate) reason_strings: bool,
}

impl Dialect {
    /// For a client of which nothing but its version is known.
    pub(crate) fn of(protocol: Protocol) -> Self {
        Self { protocol, maximum_packet: u32::MAX, reason_strings: true }
    }
}

/// Why a packet was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the packet has {size} bytes, the client takes at most {limit}")]
    TooLarge { size: usize, limit: usize },
}
