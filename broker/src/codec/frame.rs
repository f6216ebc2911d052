//! The fixed header, read before anything is decoded: what is refused here never reaches the codec.

use super::DecodeError;
use crate::packet::Protocol;

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;

/// Whether it is the type of the first packet.
pub(super) fn is_connect(kind: u8) -> bool {
    kind == CONNECT
}

/// Whether a client that is connected may send this type of packet to this server: not
/// what only a server sends, not a second CONNECT, no `AUTH`.
pub(super) fn is_from_connected_client(kind: u8) -> bool {
    matches!(kind, PUBLISH..=SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT)
}

/// A whole packet at the front of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    first: u8,
    header_len: usize,
    /// Length of the packet with its fixed header.
    pub(super) len: usize,
}

impl Frame {
    /// Measures the packet at the front; `None` asks for more bytes. A type that is not `taken`
    /// is refused from its first byte.
    pub(super) fn peek(
        buffer: &[u8],
        limit: usize,
        taken: fn(u8) -> bool,
    ) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = buffer.split_first() else { return Ok(None) };
        if !taken(first >> 4) {
            return Err(DecodeError::Unexpected(first >> 4));
        }
        let mut remaining = 0;
        for (at, &byte) in rest.iter().take(4).enumerate() {
            remaining |= usize::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                let header_len = at + 2;
                let len = header_len + remaining;
                if len > limit {
                    return Err(DecodeError::TooLarge { size: len, limit });
                }
                let frame = Self { first, header_len, len };
                return Ok((buffer.len() >= len).then_some(frame));
            }
        }
        if rest.len() < 4 { Ok(None) } else { Err(DecodeError::Length) }
    }

    pub(super) fn kind(self) -> u8 {
        self.first >> 4
    }

    /// What follows the fixed header.
    pub(super) fn body(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.header_len..self.len).unwrap_or_default()
    }

    /// The lower half of the first byte is fixed for every type but PUBLISH.
    pub(super) fn check_flags(self) -> Result<(), DecodeError> {
        let flags = self.first & 0x0F;
        let holds = match self.kind() {
            PUBLISH => flags & 0b0110 != 0b0110 && (flags & 0b1000 == 0 || flags & 0b0110 != 0),
            PUBREL | SUBSCRIBE | UNSUBSCRIBE => flags == 0b0010,
            PINGREQ => flags == 0 && self.len == 2,
            _ => flags == 0,
        };
        if holds { Ok(()) } else { Err(DecodeError::Flags(self.kind())) }
    }

    /// Which version a CONNECT asks for.
    pub(super) fn protocol(self, bytes: &[u8]) -> Result<Protocol, DecodeError> {
        let body = self.body(bytes);
        match body {
            [0, 4, b'M', b'Q', b'T', b'T', 4, flags, ..] if flags & 1 == 0 => Ok(Protocol::V4),
            [0, 4, b'M', b'Q', b'T', b'T', 5, flags, ..] if flags & 1 == 0 => Ok(Protocol::V5),
            [0, 4, b'M', b'Q', b'T', b'T', 4 | 5, ..] => Err(DecodeError::Flags(CONNECT)),
            [0, 4, b'M', b'Q', b'T', b'T', level, ..]
            | [0, 6, b'M', b'Q', b'I', b's', b'd', b'p', level, ..] => {
                Err(DecodeError::Version(*level))
            }
            _ => Err(DecodeError::Unexpected(CONNECT)),
        }
    }

    /// Reads an MQTT 5 DISCONNECT of one byte, which the codec does not know: whether
    /// the will is to be published.
    pub(super) fn short_disconnect(self, protocol: Protocol, bytes: &[u8]) -> Option<bool> {
        let is_short = protocol == Protocol::V5 && self.kind() == DISCONNECT && self.len == 3;
        if is_short { bytes.last().map(|code| *code != 0) } else { None }
    }

    /// The `QoS` and the packet id of a PUBLISH (0 where it has none); the codec keeps them private.
    pub(super) fn qos_and_pkid(self, bytes: &[u8]) -> (u8, u16) {
        let qos = (self.first & 0b0110) >> 1;
        if self.kind() != PUBLISH || qos == 0 {
            return (0, 0);
        }
        let at = |index: usize| bytes.get(index).copied().unwrap_or_default();
        let topic_len = u16::from_be_bytes([at(self.header_len), at(self.header_len + 1)]);
        let pkid_at = self.header_len + 2 + usize::from(topic_len);
        (qos, u16::from_be_bytes([at(pkid_at), at(pkid_at + 1)]))
    }
}
