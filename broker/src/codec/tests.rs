//! The codec under bytes that no client should send, and the packets that it must get right.

use proptest::prelude::*;

use super::*;
use crate::packet::{Ack, ConnAck, Delivery, Message, Outgoing, Refusal, SubscribeAnswer};

const LIMIT: usize = 1024;

fn hex(bytes: &[u8]) -> BytesMut {
    BytesMut::from(bytes)
}

fn encoded(protocol: Protocol, packet: Outgoing) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    encode(Dialect::of(protocol), packet, &mut buffer).unwrap();
    buffer.to_vec()
}

fn message(properties: Option<wire::PublishProperties>) -> std::sync::Arc<Message> {
    std::sync::Arc::new(Message {
        topic: "t".parse().unwrap(),
        payload: Bytes::from_static(b"x"),
        qos: Qos::AtLeastOnce,
        retain: false,
        expires: None,
        properties: properties.and_then(Properties::of_publish),
    })
}

fn delivery(message: std::sync::Arc<Message>, qos: Qos, pkid: u16) -> Delivery {
    let ids = Box::default();
    Delivery { message, qos, pkid, dup: false, retain: false, ids, expiry: None }
}

/// Valid packets of both versions, to be damaged.
fn samples() -> Vec<(Protocol, Vec<u8>)> {
    let (v4, v5) = (Protocol::V4, Protocol::V5);
    let bodies: [(Protocol, u8, &[u8]); 16] = [
        (v4, 0x10, b"\x00\x04MQTT\x04\xc6\x00\x0a\x00\x01c\x00\x01w\x00\x01m\x00\x01u\x00\x01p"),
        (v5, 0x10, b"\x00\x04MQTT\x05\x06\x00\x0a\x03\x21\x00\x05\x00\x01c\x05\x18\x00\x00\x00\x05\x00\x01w\x00\x01m"),
        (v4, 0x32, b"\x00\x01t\x00\x05x"),
        (v5, 0x32, b"\x00\x01t\x00\x05\x09\x23\x00\x01\x26\x00\x01k\x00\x00x"),
        (v5, 0x40, b"\x00\x05\x10\x00"),
        (v4, 0x40, b"\x00\x05"),
        (v4, 0x34, b"\x00\x01t\x00\x05x"),
        (v5, 0x50, b"\x00\x05\x00\x00"),
        (v5, 0x62, b"\x00\x05"),
        (v4, 0x70, b"\x00\x05"),
        (v4, 0x82, b"\x00\x05\x00\x01t\x01"),
        (v5, 0x82, b"\x00\x05\x02\x0b\x07\x00\x01t\x01"),
        (v4, 0xa2, b"\x00\x05\x00\x01t"),
        (v5, 0xa2, b"\x00\x05\x00\x00\x01t"),
        (v5, 0xe0, b"\x04\x00"),
        (v4, 0xc0, b""),
    ];
    let framed = |(protocol, first, body): (Protocol, u8, &[u8])| {
        let len = u8::try_from(body.len()).unwrap();
        (protocol, [&[first, len], body].concat())
    };
    bodies.into_iter().map(framed).collect()
}

/// Decodes until the bytes run out or are refused; must end, must not panic.
fn feed(protocol: Protocol, bytes: &[u8]) {
    let mut buffer = hex(bytes);
    let _first = decode_connect(&mut buffer, LIMIT);
    let mut buffer = hex(bytes);
    while let Ok(Some(_)) = decode(protocol, &mut buffer, LIMIT) {}
}

#[test]
fn the_samples_are_valid() {
    for (protocol, bytes) in samples() {
        let mut buffer = hex(&bytes);
        let valid = if bytes[0] == 0x10 {
            decode_connect(&mut buffer, LIMIT).map(|c| c.is_some())
        } else {
            decode(protocol, &mut buffer, LIMIT).map(|p| p.is_some())
        };
        assert_eq!(valid, Ok(true), "{protocol} {bytes:02x?}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn what_only_a_server_sends_and_what_we_do_not_speak_is_refused_before_decoding() {
    for kind in [0, 1, 2, 9, 11, 13, 15_u8] {
        for protocol in [Protocol::V4, Protocol::V5] {
            let mut buffer = hex(&[kind << 4]);
            let error = decode(protocol, &mut buffer, LIMIT).unwrap_err();
            assert_eq!(error, DecodeError::Unexpected(kind));
        }
    }
}

#[test]
fn a_packet_over_the_limit_is_refused_from_its_header() {
    let mut buffer = hex(&[0x30, 0xff, 0xff, 0x7f]);
    let error = decode(Protocol::V4, &mut buffer, LIMIT).unwrap_err();
    assert_eq!(error, DecodeError::TooLarge { size: 2_097_155, limit: LIMIT });
    let mut endless = hex(&[0x30, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(decode(Protocol::V4, &mut endless, LIMIT).unwrap_err(), DecodeError::Length);
}

#[test]
fn the_version_is_read_from_the_connect() {
    for (level, expected) in [(3, 3), (6, 6), (0x84, 0x84)] {
        let mut buffer = hex(&[0x10, 7, 0, 4, b'M', b'Q', b'T', b'T', level]);
        let error = decode_connect(&mut buffer, LIMIT).unwrap_err();
        assert_eq!(error, DecodeError::Version(expected));
    }
    let mut http = hex(b"G");
    assert_eq!(decode_connect(&mut http, LIMIT).unwrap_err(), DecodeError::Unexpected(4));
}

#[test]
fn qos_and_packet_id_are_read_from_the_header() {
    let Ok(Some(Incoming::Publish(publish))) =
        decode(Protocol::V4, &mut hex(b"\x32\x06\x00\x01t\x01\x05x"), LIMIT)
    else {
        panic!("a PUBLISH was expected")
    };
    assert_eq!((publish.qos, publish.pkid), (1, 0x0105));
    assert_eq!(publish.payload, "x");
}

#[test]
fn a_disconnect_of_one_byte_is_understood() {
    for (code, with_will) in [(0, false), (4, true)] {
        let packet = decode(Protocol::V5, &mut hex(&[0xe0, 1, code]), LIMIT).unwrap().unwrap();
        assert!(matches!(packet, Incoming::Disconnect { with_will: w, .. } if w == with_will));
    }
}

#[test]
fn a_disconnect_of_the_server_is_well_formed_and_3_1_1_has_none() {
    let packet = || Outgoing::Disconnect(DisconnectReason::TakenOver);
    let text = b"the same client connected again";
    let expected = [&[0xe0, 36, 0x8e, 34, 0x1f, 0, 31][..], text].concat();
    assert_eq!(encoded(Protocol::V5, packet()), expected);
    let small = Dialect { maximum_packet: 10, ..Dialect::of(Protocol::V5) };
    let mut buffer = BytesMut::new();
    encode(small, packet(), &mut buffer).unwrap();
    assert_eq!(&buffer[..], [0xe0, 2, 0x8e, 0], "the client takes no more");
    assert!(encoded(Protocol::V4, packet()).is_empty());
}

#[test]
fn properties_reach_version_5_and_not_version_3() {
    let properties = wire::PublishProperties {
        topic_alias: Some(7),
        user_properties: vec![("k".into(), "v".into())],
        ..wire::PublishProperties::default()
    };
    let message = message(Some(properties));
    let packet = || Outgoing::Publish(delivery(message.clone(), Qos::AtLeastOnce, 9));
    assert_eq!(encoded(Protocol::V4, packet()), b"\x32\x06\x00\x01t\x00\x09x");
    let v5 = b"\x32\x0e\x00\x01t\x00\x09\x07\x26\x00\x01k\x00\x01vx";
    assert_eq!(encoded(Protocol::V5, packet()), v5);
}

#[test]
fn a_packet_over_the_clients_limit_leaves_no_trace() {
    let packet = Outgoing::Publish(delivery(message(None), Qos::AtMostOnce, 0));
    let mut buffer = hex(b"before");
    let error =
        encode(Dialect { maximum_packet: 5, ..Dialect::of(Protocol::V5) }, packet, &mut buffer)
            .unwrap_err();
    assert!(matches!(error, EncodeError::TooLarge { limit: 5, .. }));
    assert_eq!(&buffer[..], b"before");
}

#[test]
fn answers_use_the_codes_of_their_version() {
    let answers =
        || vec![SubscribeAnswer::Granted(Qos::AtLeastOnce), SubscribeAnswer::NotAuthorized];
    let ack = || Outgoing::SubAck { pkid: 5, answers: answers() };
    assert_eq!(encoded(Protocol::V4, ack()), [0x90, 4, 0, 5, 1, 0x80]);
    assert_eq!(encoded(Protocol::V5, ack()), [0x90, 5, 0, 5, 0, 1, 0x87]);
    let refused = || Outgoing::ConnAck(Box::new(ConnAck::Refused(Refusal::NotAuthorized)));
    assert_eq!(encoded(Protocol::V4, refused()), [0x20, 2, 0, 5]);
    let text = b"the client is not authorized";
    let expected = [&[0x20, 34, 0, 0x87, 31, 0x1f, 0, 28][..], text].concat();
    assert_eq!(encoded(Protocol::V5, refused()), expected);
}

#[test]
fn the_handshakes_are_read_with_and_without_a_code() {
    let read = |protocol, bytes: &[u8]| match decode(protocol, &mut hex(bytes), LIMIT) {
        Ok(Some(Incoming::Ack(ack))) => Ok(ack),
        other => Err(other.unwrap_err()),
    };
    let pkid = 0x0105;
    assert_eq!(read(Protocol::V4, &[0x40, 2, 1, 5]), Ok(Ack::Taken { pkid }));
    assert_eq!(read(Protocol::V4, &[0x62, 2, 1, 5]), Ok(Ack::Release { pkid }));
    assert_eq!(read(Protocol::V5, &[0x70, 3, 1, 5, 0x92]), Ok(Ack::Complete { pkid }));
    for (code, refused) in [(0x10, false), (0x80, true)] {
        let ack = read(Protocol::V5, &[0x50, 4, 1, 5, code, 0]);
        assert_eq!(ack, Ok(Ack::Received { pkid, refused }));
    }
    assert_eq!(read(Protocol::V4, &[0x40, 3, 1, 5, 0]), Err(DecodeError::Length));
    assert_eq!(read(Protocol::V5, &[0x40, 4, 1, 5, 0, 9]), Err(DecodeError::Length));
    assert_eq!(read(Protocol::V5, &[0x40, 2, 0, 0]), Err(DecodeError::PacketId));
    assert_eq!(read(Protocol::V5, &[0x60, 2, 0, 1]), Err(DecodeError::Flags(6)));
}

#[test]
fn flags_expiry_and_identifiers_are_those_of_the_delivery() {
    let ids = [1, 300].map(|id| std::num::NonZeroU32::new(id).unwrap());
    let delivery = || Delivery {
        dup: true,
        retain: true,
        ids: ids.into(),
        expiry: Some(7),
        ..delivery(message(None), Qos::ExactlyOnce, 9)
    };
    assert_eq!(encoded(Protocol::V4, Outgoing::Publish(delivery())), b"\x3d\x06\0\x01t\0\x09x");
    let expected = b"\x3d\x11\0\x01t\0\x09\x0a\x02\0\0\0\x07\x0b\x01\x0b\xac\x02x";
    assert_eq!(encoded(Protocol::V5, Outgoing::Publish(delivery())), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn random_bytes_never_panic(v5 in any::<bool>(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        feed(if v5 { Protocol::V5 } else { Protocol::V4 }, &bytes);
    }

    #[test]
    fn a_random_body_under_a_valid_header_never_panics(
        v5 in any::<bool>(),
        first in prop::sample::select(vec![0x10_u8, 0x30, 0x32, 0x34, 0x40, 0x50, 0x62, 0x70, 0x82, 0xa2, 0xc0, 0xe0]),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut bytes = vec![first, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        feed(if v5 { Protocol::V5 } else { Protocol::V4 }, &bytes);
    }

    #[test]
    fn damaged_packets_never_panic(
        sample in prop::sample::select(samples()),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u32), 0..4),
        cut in any::<prop::sample::Index>(),
        refit in any::<bool>(),
    ) {
        let (protocol, mut bytes) = sample;
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if refit && bytes.len() > 2 {
            bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
        }
        feed(protocol, &bytes);
    }

    #[test]
    fn a_packet_in_pieces_is_the_same_packet(
        sample in prop::sample::select(samples()),
        cut in any::<prop::sample::Index>(),
    ) {
        let (protocol, bytes) = sample;
        let cut = cut.index(bytes.len());
        let mut buffer = hex(&bytes[..cut]);
        let connect = bytes[0] == 0x10;
        if connect {
            prop_assert!(decode_connect(&mut buffer, LIMIT).unwrap().is_none());
        } else {
            prop_assert!(decode(protocol, &mut buffer, LIMIT).unwrap().is_none());
        }
        buffer.extend_from_slice(&bytes[cut..]);
        let whole = if connect {
            decode_connect(&mut buffer, LIMIT).unwrap().is_some()
        } else {
            decode(protocol, &mut buffer, LIMIT).unwrap().is_some()
        };
        prop_assert!(whole && buffer.is_empty());
    }
}
