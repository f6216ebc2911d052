//! Our packets as bytes. Written here, since the codec below cannot express every code, panics
//! on some packets and copies each message once more.

use bytes::{BufMut, BytesMut};

use super::{Dialect, EncodeError, properties};
use crate::packet::{ConnAck, Delivery, Outgoing, Protocol, Qos, Refusal, SubscribeAnswer, Terms};
use crate::reason::DisconnectReason;

/// Appends a packet to `buffer`, or leaves `buffer` as it was.
pub(crate) fn encode(
    dialect: Dialect,
    packet: Outgoing,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let v5 = dialect.protocol == Protocol::V5;
    match packet {
        Outgoing::Publish(delivery) => publish(dialect, &delivery, buffer),
        Outgoing::ConnAck(answer) => connack(dialect, *answer, buffer),
        Outgoing::PubAck { pkid, denied } => publish_answer(dialect, 0x40, pkid, denied, buffer),
        Outgoing::PubRec { pkid, denied } => publish_answer(dialect, 0x50, pkid, denied, buffer),
        Outgoing::PubRel { pkid, found } => handshake(dialect, 0x62, pkid, found, buffer),
        Outgoing::PubComp { pkid, found } => handshake(dialect, 0x70, pkid, found, buffer),
        Outgoing::SubAck { pkid, answers } => {
            let codes = answers.into_iter().map(|answer| subscribe_code(v5, answer));
            list(dialect, 0x90, pkid, codes, buffer)
        }
        Outgoing::UnsubAck { pkid, existed } => {
            let code = |existed| if existed { 0 } else { 0x11 };
            let codes = existed.into_iter().filter(|_| v5).map(code);
            list(dialect, 0xB0, pkid, codes, buffer)
        }
        Outgoing::Pong => {
            buffer.extend_from_slice(&[0xD0, 0]);
            Ok(())
        }
        Outgoing::Disconnect(reason) => disconnect(dialect, reason, buffer),
    }
}

fn publish(
    dialect: Dialect,
    delivery: &Delivery,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let Delivery { message, qos, pkid, dup, retain, ids, expiry } = delivery;
    let has_pkid = *qos != Qos::AtMostOnce;
    let properties = match dialect.protocol {
        Protocol::V4 => None,
        Protocol::V5 => Some(properties::of_delivery(message.properties.as_deref(), *expiry, ids)),
    };
    let properties_len = properties.as_ref().map_or(0, |p| varint_len(p.len()) + p.len());
    let topic = message.topic.as_str().as_bytes();
    let body =
        2 + topic.len() + if has_pkid { 2 } else { 0 } + properties_len + message.payload.len();
    check_size(dialect, body)?;
    buffer.reserve(5 + body);
    buffer.put_u8(0x30 | u8::from(*dup) << 3 | qos.number() << 1 | u8::from(*retain));
    put_varint(buffer, body);
    put_text(buffer, topic);
    if has_pkid {
        buffer.put_u16(*pkid);
    }
    if let Some(properties) = properties {
        put_varint(buffer, properties.len());
        buffer.extend_from_slice(&properties);
    }
    buffer.extend_from_slice(&message.payload);
    Ok(())
}

fn connack(dialect: Dialect, answer: ConnAck, buffer: &mut BytesMut) -> Result<(), EncodeError> {
    let (flags, code, properties) = match answer {
        ConnAck::Refused(refusal) => {
            let mut properties = BytesMut::new();
            put_reason(&mut properties, &refusal.to_string());
            (0, refusal_code(dialect.protocol, refusal), properties)
        }
        ConnAck::Accepted(terms) => (u8::from(terms.session_present), 0, terms_properties(&terms)),
    };
    match dialect.protocol {
        Protocol::V4 => buffer.extend_from_slice(&[0x20, 2, flags, code]),
        Protocol::V5 => {
            let mut body = BytesMut::from(&[flags, code][..]);
            put_varint(&mut body, properties.len());
            body.extend_from_slice(&properties);
            frame(dialect, 0x20, &body, buffer)?;
        }
    }
    Ok(())
}

fn terms_properties(terms: &Terms) -> BytesMut {
    let mut out = BytesMut::new();
    if let Some(seconds) = terms.session_expiry {
        out.put_u8(0x11);
        out.put_u32(seconds);
    }
    out.put_u8(0x21);
    out.put_u16(terms.receive_maximum);
    if !terms.retain_available {
        out.extend_from_slice(&[0x25, 0]);
    }
    out.put_u8(0x27);
    out.put_u32(terms.maximum_packet);
    if let Some(id) = &terms.assigned_client_id {
        out.put_u8(0x12);
        put_text(&mut out, id.as_bytes());
    }
    out.put_u8(0x22);
    out.put_u16(terms.topic_alias_maximum);
    if let Some(seconds) = terms.server_keep_alive {
        out.put_u8(0x13);
        out.put_u16(seconds);
    }
    out
}

/// PUBACK and PUBREC.
fn publish_answer(
    dialect: Dialect,
    first: u8,
    pkid: u16,
    denied: bool,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let [high, low] = pkid.to_be_bytes();
    match (dialect.protocol, denied) {
        (Protocol::V5, true) => {
            let text = DisconnectReason::NotAuthorized.text();
            let reason = if dialect.reason_strings { text } else { "" };
            with_reason(dialect, first, &[high, low, 0x87], reason, buffer)
        }
        (Protocol::V4 | Protocol::V5, _) => {
            buffer.extend_from_slice(&[first, 2, high, low]);
            Ok(())
        }
    }
}

/// PUBREL and PUBCOMP.
fn handshake(
    dialect: Dialect,
    first: u8,
    pkid: u16,
    found: bool,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    const PACKET_ID_NOT_FOUND: u8 = 0x92;
    let [high, low] = pkid.to_be_bytes();
    match dialect.protocol {
        Protocol::V5 if !found => frame(dialect, first, &[high, low, PACKET_ID_NOT_FOUND], buffer),
        Protocol::V4 | Protocol::V5 => frame(dialect, first, &[high, low], buffer),
    }
}

/// SUBACK and UNSUBACK.
fn list(
    dialect: Dialect,
    first: u8,
    pkid: u16,
    codes: impl Iterator<Item = u8>,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let mut body = BytesMut::from(&pkid.to_be_bytes()[..]);
    if dialect.protocol == Protocol::V5 {
        body.put_u8(0);
    }
    body.extend(codes);
    frame(dialect, first, &body, buffer)
}

fn disconnect(
    dialect: Dialect,
    reason: DisconnectReason,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    // 3.1.1 has none from a server.
    match (dialect.protocol, reason.code()) {
        (Protocol::V5, Some(code)) => with_reason(dialect, 0xE0, &[code], reason.text(), buffer),
        (Protocol::V4 | Protocol::V5, _) => Ok(()),
    }
}

/// A packet with a reason in words, or without it if the client takes no packet so large.
fn with_reason(
    dialect: Dialect,
    first: u8,
    head: &[u8],
    reason: &str,
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    let mut properties = BytesMut::new();
    put_reason(&mut properties, reason);
    let mut body = BytesMut::from(head);
    put_varint(&mut body, properties.len());
    body.extend_from_slice(&properties);
    if check_size(dialect, body.len()).is_err() {
        body = BytesMut::from(head);
        body.put_u8(0);
    }
    frame(dialect, first, &body, buffer)
}

fn put_reason(properties: &mut BytesMut, reason: &str) {
    if !reason.is_empty() {
        properties.put_u8(0x1F);
        put_text(properties, reason.as_bytes());
    }
}

fn frame(
    dialect: Dialect,
    first: u8,
    body: &[u8],
    buffer: &mut BytesMut,
) -> Result<(), EncodeError> {
    check_size(dialect, body.len())?;
    buffer.put_u8(first);
    put_varint(buffer, body.len());
    buffer.extend_from_slice(body);
    Ok(())
}

fn check_size(dialect: Dialect, body: usize) -> Result<(), EncodeError> {
    const MOST: usize = 268_435_455;
    let size = 1 + varint_len(body) + body;
    let limit = usize::try_from(dialect.maximum_packet).unwrap_or(usize::MAX);
    if size > limit || body > MOST { Err(EncodeError::TooLarge { size, limit }) } else { Ok(()) }
}

/// Bytes after their length; longer ones than the length can say are cut off.
pub(super) fn put_text(out: &mut BytesMut, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(len);
    out.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

/// A variable byte integer.
pub(super) fn put_varint(out: &mut BytesMut, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7F).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
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
        Refusal::QuotaExceeded => (3, 0x97),
        Refusal::WillRetain => (3, 0x9A),
    };
    match protocol {
        Protocol::V4 => v4,
        Protocol::V5 => v5,
    }
}

fn subscribe_code(v5: bool, answer: SubscribeAnswer) -> u8 {
    match answer {
        SubscribeAnswer::Granted(qos) => qos.number(),
        SubscribeAnswer::NotAuthorized if v5 => 0x87,
        SubscribeAnswer::Invalid if v5 => 0x8F,
        SubscribeAnswer::QuotaExceeded if v5 => 0x97,
        SubscribeAnswer::NotAuthorized
        | SubscribeAnswer::Invalid
        | SubscribeAnswer::QuotaExceeded => 0x80,
    }
}
