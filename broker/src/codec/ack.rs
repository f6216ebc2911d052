//! PUBACK, PUBREC, PUBREL and PUBCOMP: so small that they are read here.

use super::frame::{Frame, PUBACK, PUBCOMP, PUBREC, PUBREL};
use super::{DecodeError, nonzero};
use crate::packet::{Ack, Protocol};

/// Reads the packet if it is one of the four.
pub(super) fn read(
    frame: Frame,
    protocol: Protocol,
    bytes: &[u8],
) -> Result<Option<Ack>, DecodeError> {
    let kind = frame.kind();
    if !matches!(kind, PUBACK | PUBREC | PUBREL | PUBCOMP) {
        return Ok(None);
    }
    let (pkid, code) = match (frame.body(bytes), protocol) {
        ([high, low], _) => (u16::from_be_bytes([*high, *low]), 0),
        ([high, low, code, properties @ ..], Protocol::V5) if fits(properties) => {
            (u16::from_be_bytes([*high, *low]), *code)
        }
        _ => return Err(DecodeError::Length),
    };
    let pkid = nonzero(pkid)?;
    Ok(Some(match kind {
        PUBACK => Ack::Taken { pkid },
        PUBREC => Ack::Received { pkid, refused: code >= 0x80 },
        PUBREL => Ack::Release { pkid },
        _ => Ack::Complete { pkid },
    }))
}

/// Whether properties, which nobody reads, at least have the length that they say.
fn fits(properties: &[u8]) -> bool {
    let mut len = 0;
    for (at, byte) in properties.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return properties.len() == at + 1 + len;
        }
    }
    properties.is_empty()
}
