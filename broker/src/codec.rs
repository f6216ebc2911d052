//! The only file that knows rumqttd: guards its codec against what makes it panic, and
//! translates between its packets and ours. Bytes in, packets out; no I/O.

use bytes::{Bytes, BytesMut};
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::v5::V5;
use rumqttd::protocol::{
    self as wire, Packet, Protocol as _, PubAckReason, SubscribeReasonCode, UnsubAckReason,
};

use crate::packet::{
    ConnAck, Connect, Incoming, IncomingPublish, IncomingSubscribe, Login, Message, Outgoing,
    Protocol, Qos, RawWill, Refusal, RequestedFilter, SubscribeAnswer, Terms,
};
use crate::reason::DisconnectReason;

mod frame;
#[cfg(test)]
mod tests;

use frame::Frame;

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

/// The MQTT 5 properties that travel with a message to its subscribers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Properties(wire::PublishProperties);

impl Properties {
    /// About what they cost in memory.
    pub(crate) fn size(&self) -> usize {
        const PAIR: usize = size_of::<(String, String)>();
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let pairs: usize =
            self.0.user_properties.iter().map(|(k, v)| PAIR + k.len() + v.len()).sum();
        size_of::<wire::PublishProperties>()
            + text(&self.0.response_topic)
            + text(&self.0.content_type)
            + self.0.correlation_data.as_ref().map_or(0, Bytes::len)
            + pairs
    }

    /// The topic that an answer is expected on.
    pub(crate) fn response_topic(&self) -> Option<&str> {
        self.0.response_topic.as_deref()
    }

    fn of_publish(mut properties: wire::PublishProperties) -> Option<Box<Self>> {
        properties.topic_alias = None;
        properties.subscription_identifiers = Vec::new();
        // Its strings are copies, its bytes are views into the read buffer.
        properties.correlation_data =
            properties.correlation_data.map(|data| Bytes::copy_from_slice(&data));
        (properties != wire::PublishProperties::default()).then(|| Box::new(Self(properties)))
    }

    fn of_will(properties: wire::LastWillProperties) -> Option<Box<Self>> {
        Self::of_publish(wire::PublishProperties {
            payload_format_indicator: properties.payload_format_indicator,
            message_expiry_interval: properties.message_expiry_interval,
            response_topic: properties.response_topic,
            correlation_data: properties.correlation_data,
            user_properties: properties.user_properties,
            content_type: properties.content_type,
            ..wire::PublishProperties::default()
        })
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
            properties: will_properties.and_then(Properties::of_will),
        }),
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
        return Ok(Some(Incoming::Disconnect { with_will }));
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
            properties: properties.and_then(Properties::of_publish),
            topic: publish.topic,
            // A view would pin the whole read buffer for as long as the message waits.
            payload: Bytes::copy_from_slice(&publish.payload),
            qos,
            retain: publish.retain,
            pkid,
        }),
        Packet::PubAck(ack, _) => Incoming::PubAck { pkid: nonzero(ack.pkid)? },
        Packet::Subscribe(subscribe, properties) => Incoming::Subscribe(IncomingSubscribe {
            pkid: nonzero(subscribe.pkid)?,
            has_id: properties.is_some_and(|p| p.id.is_some()),
            filters: subscribe
                .filters
                .into_iter()
                .map(|f| RequestedFilter { path: f.path, qos: f.qos as u8, no_local: f.nolocal })
                .collect(),
        }),
        Packet::Unsubscribe(unsubscribe, _) if unsubscribe.filters.is_empty() => {
            return Err(DecodeError::Malformed(wire::Error::EmptySubscription));
        }
        Packet::Unsubscribe(unsubscribe, _) => {
            Incoming::Unsubscribe { pkid: nonzero(unsubscribe.pkid)?, filters: unsubscribe.filters }
        }
        Packet::PingReq(_) => Incoming::Ping,
        Packet::Disconnect(disconnect, _) => Incoming::Disconnect {
            with_will: disconnect.reason_code != wire::DisconnectReasonCode::NormalDisconnection,
        },
        _ => return Err(DecodeError::Unexpected(frame.kind())),
    };
    Ok(incoming)
}

fn nonzero(pkid: u16) -> Result<u16, DecodeError> {
    if pkid == 0 { Err(DecodeError::PacketId) } else { Ok(pkid) }
}

/// Why a packet was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EncodeError {
    #[error("the packet has {size} bytes, the client takes at most {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("the packet cannot be expressed")]
    Wire(#[source] wire::Error),
}

/// Appends a packet to `buffer`, or leaves `buffer` as it was.
pub(crate) fn encode(
    protocol: Protocol,
    packet: Outgoing,
    limit: usize,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let start = buffer.len();
    let written = append(protocol, packet, buffer).map_err(EncodeError::Wire);
    let size = buffer.len() - start;
    let outcome = match written {
        Ok(()) if size > limit => Err(EncodeError::TooLarge { size, limit }),
        other => other,
    };
    if outcome.is_err() {
        buffer.truncate(start);
    }
    outcome
}

fn append(protocol: Protocol, packet: Outgoing, buffer: &mut BytesMut) -> Result<(), wire::Error> {
    let v5 = protocol == Protocol::V5;
    let packet = match packet {
        Outgoing::ConnAck(answer) => match (*answer, protocol) {
            (ConnAck::Refused(refusal), _) => {
                let code = refusal_code(protocol, refusal);
                // rumqttd cannot express every code of either version.
                let tail: &[u8] = if v5 { &[0x20, 3, 0, code, 0] } else { &[0x20, 2, 0, code] };
                buffer.extend_from_slice(tail);
                return Ok(());
            }
            (ConnAck::Accepted(_), Protocol::V4) => Packet::ConnAck(accepted(), None),
            (ConnAck::Accepted(terms), Protocol::V5) => {
                Packet::ConnAck(accepted(), Some(terms_properties(terms)))
            }
        },
        Outgoing::Publish { message, qos, pkid } => publish_packet(protocol, &message, qos, pkid),
        Outgoing::PubAck { pkid, denied } => {
            let reason = if denied { PubAckReason::NotAuthorized } else { PubAckReason::Success };
            Packet::PubAck(wire::PubAck { pkid, reason }, None)
        }
        Outgoing::SubAck { pkid, answers } => {
            let codes = answers.into_iter().map(|answer| subscribe_code(protocol, answer));
            Packet::SubAck(wire::SubAck { pkid, return_codes: codes.collect() }, None)
        }
        Outgoing::UnsubAck { pkid, existed } => {
            let reason = |existed| {
                if existed {
                    UnsubAckReason::Success
                } else {
                    UnsubAckReason::NoSubscriptionExisted
                }
            };
            let reasons = existed.into_iter().map(reason).collect();
            Packet::UnsubAck(wire::UnsubAck { pkid, reasons }, None)
        }
        Outgoing::Pong => Packet::PingResp(wire::PingResp),
        Outgoing::Disconnect(reason) => {
            // rumqttd's own DISCONNECT is one byte short; 3.1.1 has none from a server.
            if let (true, Some(code)) = (v5, reason.code()) {
                buffer.extend_from_slice(&[0xE0, 2, code, 0]);
            }
            return Ok(());
        }
    };
    match protocol {
        Protocol::V4 => V4.write(packet, buffer),
        Protocol::V5 => V5.write(packet, buffer),
    }
    .map(drop)
}

fn publish_packet(protocol: Protocol, message: &Message, qos: Qos, pkid: u16) -> Packet {
    let flags = match qos {
        Qos::AtMostOnce => 0x30,
        Qos::AtLeastOnce => 0x32,
    };
    let [high, low] = pkid.to_be_bytes();
    // The QoS and the packet id are private to rumqttd, except through its serial form.
    let serial = Bytes::copy_from_slice(&[flags, high, low, 0, 0]);
    let mut publish = wire::Publish::deserialize(serial);
    publish.topic = Bytes::copy_from_slice(message.topic.as_str().as_bytes());
    publish.payload = message.payload.clone();
    // Its 3.1.1 encoder panics on properties.
    let properties = match protocol {
        Protocol::V4 => None,
        Protocol::V5 => message.properties.as_ref().map(|properties| properties.0.clone()),
    };
    Packet::Publish(publish, properties)
}

fn accepted() -> wire::ConnAck {
    wire::ConnAck { session_present: false, code: wire::ConnectReturnCode::Success }
}

fn terms_properties(terms: Terms) -> wire::ConnAckProperties {
    wire::ConnAckProperties {
        session_expiry_interval: Some(0),
        receive_max: Some(terms.receive_maximum),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(terms.maximum_packet),
        assigned_client_identifier: terms.assigned_client_id.map(|id| String::from(&*id)),
        topic_alias_max: Some(terms.topic_alias_maximum),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        server_keep_alive: terms.server_keep_alive,
        ..wire::ConnAckProperties::default()
    }
}

fn refusal_code(protocol: Protocol, refusal: Refusal) -> u8 {
    let (v4, v5) = match refusal {
        Refusal::ProtocolError => (3, 0x82),
        Refusal::UnsupportedVersion => (1, 0x84),
        Refusal::ClientId => (2, 0x85),
        Refusal::BadCredentials => (4, 0x86),
        Refusal::NotAuthorized => (5, 0x87),
        Refusal::ShuttingDown => (3, 0x88),
        Refusal::AuthMethod => (5, 0x8C),
        Refusal::WillTopic => (3, 0x90),
        Refusal::WillQos => (3, 0x9B),
        Refusal::WillRetain => (3, 0x9A),
    };
    match protocol {
        Protocol::V4 => v4,
        Protocol::V5 => v5,
    }
}

fn subscribe_code(protocol: Protocol, answer: SubscribeAnswer) -> SubscribeReasonCode {
    let code = match answer {
        SubscribeAnswer::Granted(Qos::AtMostOnce) => return SubscribeReasonCode::QoS0,
        SubscribeAnswer::Granted(Qos::AtLeastOnce) => return SubscribeReasonCode::QoS1,
        SubscribeAnswer::NotAuthorized => SubscribeReasonCode::NotAuthorized,
        SubscribeAnswer::Invalid => SubscribeReasonCode::TopicFilterInvalid,
        SubscribeAnswer::QuotaExceeded => SubscribeReasonCode::QuotaExceeded,
        SubscribeAnswer::NoSharedSubscriptions => {
            SubscribeReasonCode::SharedSubscriptionsNotSupported
        }
        SubscribeAnswer::NoSubscriptionIds => SubscribeReasonCode::SubscriptionIdNotSupported,
    };
    match protocol {
        Protocol::V4 => SubscribeReasonCode::Failure,
        Protocol::V5 => code,
    }
}
