//! A client that sends exactly the bytes it is told to.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::within;

/// The version that a raw client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
}

pub(crate) use Version::{V4, V5};

/// A packet as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    version: Version,
}

/// A string with its length.
pub(crate) fn text(value: &str) -> Vec<u8> {
    let len = u16::try_from(value.len()).unwrap().to_be_bytes();
    [&len, value.as_bytes()].concat()
}

/// A packet with its fixed header.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut header = vec![first];
    let mut rest = body.len();
    loop {
        let more = if rest > 127 { 0x80 } else { 0 };
        header.push(u8::try_from(rest & 127).unwrap() | more);
        rest >>= 7;
        if rest == 0 {
            return [header, body.to_vec()].concat();
        }
    }
}

/// A CONNECT with a clean session; `properties` without their length.
pub(crate) fn connect(
    version: Version,
    who: &str,
    id: &str,
    keep_alive: u16,
    properties: &[u8],
) -> Vec<u8> {
    let level = if version == V4 { 4 } else { 5 };
    let flags = if who.is_empty() { 0x02 } else { 0x82 };
    let mut body = [&text("MQTT")[..], &[level, flags], &keep_alive.to_be_bytes()].concat();
    if version == V5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    body.extend(text(id));
    if !who.is_empty() {
        body.extend(text(who));
    }
    frame(0x10, &body)
}

/// A PUBLISH; `QoS` 1 if it has a packet id.
pub(crate) fn publish(version: Version, topic: &str, pkid: Option<u16>, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(pkid.map(u16::to_be_bytes).into_iter().flatten());
    if version == V5 {
        body.push(0);
    }
    body.extend(payload);
    frame(if pkid.is_some() { 0x32 } else { 0x30 }, &body)
}

impl Raw {
    pub(crate) async fn open(addr: SocketAddr, version: Version) -> Self {
        Self { stream: within("connect", TcpStream::connect(addr)).await.unwrap(), version }
    }

    /// Connects and expects to be accepted.
    pub(crate) async fn connect(addr: SocketAddr, version: Version, who: &str, id: &str) -> Self {
        let mut raw = Self::open(addr, version).await;
        raw.send(&connect(version, who, id, 60, &[])).await;
        let answer = raw.packet().await;
        assert_eq!((answer.first, &answer.body[..2]), (0x20, &[0, 0][..]), "{who} {id}");
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("send", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, pkid: Option<u16>, payload: &[u8]) {
        let packet = publish(self.version, topic, pkid, payload);
        self.send(&packet).await;
    }

    /// Subscribes and returns the answer's code.
    pub(crate) async fn subscribe(&mut self, filter: &str, options: u8) -> u8 {
        let properties: &[u8] = if self.version == V4 { &[] } else { &[0] };
        let body = [&[0, 9], properties, &text(filter), &[options]].concat();
        self.send(&frame(0x82, &body)).await;
        let answer = self.packet().await;
        assert_eq!(answer.first, 0x90);
        *answer.body.last().unwrap()
    }

    /// Connects with flags and properties of one's own; returns whether a session was present.
    pub(crate) async fn resume(
        addr: SocketAddr,
        version: Version,
        id: &str,
        clean: bool,
        properties: &[u8],
    ) -> (Self, bool) {
        let mut raw = Self::open(addr, version).await;
        let mut packet = connect(version, "service/s", id, 60, properties);
        packet[9] = if clean { 0x82 } else { 0x80 };
        raw.send(&packet).await;
        let answer = raw.packet().await;
        assert_eq!((answer.first, answer.body[1]), (0x20, 0), "{:02x?}", answer.body);
        (raw, answer.body[0] == 1)
    }

    /// Publishes with flags (`QoS`, retain, dup) of one's own, and properties without their length.
    pub(crate) async fn publish_with(
        &mut self,
        flags: u8,
        topic: &str,
        pkid: u16,
        properties: &[u8],
        payload: &[u8],
    ) {
        let mut body = text(topic);
        if flags & 0x06 != 0 {
            body.extend(pkid.to_be_bytes());
        }
        if self.version == V5 {
            body.push(u8::try_from(properties.len()).unwrap());
            body.extend(properties);
        }
        body.extend(payload);
        self.send(&frame(0x30 | flags, &body)).await;
    }

    /// An acknowledgement of four bytes.
    pub(crate) async fn ack(&mut self, first: u8, pkid: u16) {
        self.send(&frame(first, &pkid.to_be_bytes())).await;
    }

    /// Expects an acknowledgement and returns its packet id.
    pub(crate) async fn expect_ack(&mut self, first: u8) -> u16 {
        let packet = self.packet().await;
        assert_eq!(packet.first, first, "{:02x?}", packet.body);
        u16::from_be_bytes([packet.body[0], packet.body[1]])
    }

    /// The next packet, a PUBLISH: its flags, packet id and payload.
    pub(crate) async fn delivery(&mut self) -> (u8, u16, Vec<u8>) {
        let Packet { first, body } = self.packet().await;
        assert_eq!(first & 0xf0, 0x30, "{first:02x} {body:02x?}");
        let mut at = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let mut pkid = 0;
        if first & 0x06 != 0 {
            pkid = u16::from_be_bytes([body[at], body[at + 1]]);
            at += 2;
        }
        if self.version == V5 {
            at += 1 + usize::from(body[at]);
        }
        (first & 0x0f, pkid, body[at..].to_vec())
    }

    /// The next packet; `None` if the connection ends.
    pub(crate) async fn next(&mut self) -> Option<Packet> {
        within("a packet or the end", async {
            let first = self.stream.read_u8().await.ok()?;
            let (mut len, mut shift) = (0, 0);
            loop {
                let byte = self.stream.read_u8().await.ok()?;
                len |= usize::from(byte & 127) << shift;
                shift += 7;
                if byte & 128 == 0 {
                    break;
                }
            }
            let mut body = vec![0; len];
            self.stream.read_exact(&mut body).await.ok()?;
            Some(Packet { first, body })
        })
        .await
    }

    pub(crate) async fn packet(&mut self) -> Packet {
        self.next().await.expect("a packet, not the end")
    }

    /// The topic and payload of the next packet, a PUBLISH without properties.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        let Packet { first, body } = self.packet().await;
        assert_eq!(first & 0xf0, 0x30, "{body:02x?}");
        let end = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..end].to_vec()).unwrap();
        let pkid = if first & 0x06 == 0 { 0 } else { 2 };
        let properties = if self.version == V4 { 0 } else { 1 + usize::from(body[end + pkid]) };
        (topic, body[end + pkid + properties..].to_vec())
    }

    /// Expects a DISCONNECT with this code and then the end (of 3.1.1: only the end).
    pub(crate) async fn ends_with(&mut self, code: u8) {
        if self.version == V5 {
            let last = self.packet().await;
            assert_eq!((last.first, last.body.first()), (0xe0, Some(&code)));
        }
        assert_eq!(self.next().await, None);
    }

    /// Subscribes; messages that come before the answer are lost.
    pub(crate) async fn subscribe_among_messages(&mut self, filter: &str, options: u8) {
        let properties: &[u8] = if self.version == V4 { &[] } else { &[0] };
        let body = [&[0, 9], properties, &text(filter), &[options]].concat();
        self.send(&frame(0x82, &body)).await;
        while self.packet().await.first != 0x90 {}
    }

    /// Like [`ping`](Self::ping); messages that come before the answer are lost.
    pub(crate) async fn ping_among_messages(&mut self) {
        self.send(&[0xc0, 0]).await;
        while self.packet().await.first != 0xd0 {}
    }

    /// A question whose answer proves that everything before it was handled.
    pub(crate) async fn ping(&mut self) {
        self.send(&[0xc0, 0]).await;
        assert_eq!(self.packet().await, Packet { first: 0xd0, body: Vec::new() });
    }
}
