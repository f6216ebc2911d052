//! WebSocket frames as a stream of bytes: nothing is gathered, so that nothing grows. Pure.

/// Why a client's frames are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of the client is not masked")]
    NotMasked,
    #[error("a frame has flags or a type that MQTT does not use ({0:#04x})")]
    Unexpected(u8),
    #[error("a control frame is longer than 125 bytes or in pieces")]
    Control,
    #[error("a frame is longer than any packet")]
    Length,
}

/// What a control frame asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control {
    Ping(Vec<u8>),
    Close,
}

const CONTINUATION: u8 = 0x0;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// The bytes of a header at most: two, a length of eight, a mask of four.
const HEADER: usize = 14;

/// Reads the frames of one client.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    header: [u8; HEADER],
    have: usize,
    /// Bytes of the frame's content that have not come yet, once its header has.
    left: Option<u64>,
    /// Bytes of the content that have come.
    seen: usize,
    control: Vec<u8>,
}

impl Decoder {
    /// Takes bytes: content goes to `content`, control frames are returned.
    pub(super) fn feed(
        &mut self,
        mut bytes: &mut [u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<Vec<Control>, FrameError> {
        let mut controls = Vec::new();
        while !bytes.is_empty() {
            let Some(left) = self.left else {
                let Some((first, rest)) = bytes.split_first_mut() else { break };
                self.take_header(*first)?;
                bytes = rest;
                if self.left == Some(0) {
                    controls.extend(self.end());
                }
                continue;
            };
            let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            let (part, rest) = bytes.split_at_mut(count);
            self.unmask(part);
            bytes = rest;
            if self.kind() & 0x8 == 0 {
                content(part);
            } else {
                self.control.extend_from_slice(part);
            }
            self.left = Some(left - count as u64);
            if self.left == Some(0) {
                controls.extend(self.end());
            }
        }
        Ok(controls)
    }

    fn kind(&self) -> u8 {
        self.header.first().copied().unwrap_or_default() & 0x0F
    }

    fn take_header(&mut self, byte: u8) -> Result<(), FrameError> {
        if let Some(slot) = self.header.get_mut(self.have) {
            *slot = byte;
        }
        self.have += 1;
        let [first, second, ..] = self.header;
        if self.have == 1 {
            let is_known = matches!(first & 0x7F, CONTINUATION | BINARY | CLOSE | PING | PONG);
            return if is_known { Ok(()) } else { Err(FrameError::Unexpected(first)) };
        }
        let short = second & 0x7F;
        if self.have == 2 {
            if second & 0x80 == 0 {
                return Err(FrameError::NotMasked);
            }
            if first & 0x08 != 0 && (short > 125 || first & 0x80 == 0) {
                return Err(FrameError::Control);
            }
        }
        let len_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if self.have == 2 + len_bytes + 4 {
            let long = self.header.get(2..2 + len_bytes).unwrap_or_default();
            let len = long.iter().fold(0, |len: u64, byte| len << 8 | u64::from(*byte));
            let len = if len_bytes == 0 { u64::from(short) } else { len };
            if len > u64::from(u32::MAX) {
                return Err(FrameError::Length);
            }
            self.left = Some(len);
        }
        Ok(())
    }

    fn unmask(&mut self, bytes: &mut [u8]) {
        let mask = self.have - 4;
        for byte in bytes {
            let key = self.header.get(mask + self.seen % 4).copied().unwrap_or_default();
            *byte ^= key;
            self.seen = self.seen.wrapping_add(1);
        }
    }

    fn end(&mut self) -> Option<Control> {
        let kind = self.kind();
        let control = std::mem::take(&mut self.control);
        *self = Self::default();
        match kind {
            PING => Some(Control::Ping(control)),
            CLOSE => Some(Control::Close),
            _ => None,
        }
    }
}

/// The header of a frame of the server with so much content.
pub(super) fn header(kind: Kind, len: usize) -> Vec<u8> {
    let first = match kind {
        Kind::Binary => 0x80 | BINARY,
        Kind::Pong => 0x80 | PONG,
        Kind::Close => 0x80 | CLOSE,
    };
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => vec![first, len],
        (_, Ok(len)) => [&[first, 126][..], &len.to_be_bytes()].concat(),
        _ => [&[first, 127][..], &(len as u64).to_be_bytes()].concat(),
    }
}

/// The frames that a server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Binary,
    Pong,
    Close,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, content: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let mut bytes = header(Kind::Binary, content.len());
        (bytes[0], bytes[1]) = (first, bytes[1] | 0x80);
        bytes.extend(mask);
        bytes.extend(content.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
        bytes
    }

    fn read(decoder: &mut Decoder, bytes: &[u8]) -> Result<(Vec<u8>, Vec<Control>), FrameError> {
        let mut content = Vec::new();
        let mut bytes = bytes.to_vec();
        let controls = decoder.feed(&mut bytes, |part| content.extend_from_slice(part))?;
        Ok((content, controls))
    }

    #[test]
    fn control_frames_may_stand_between_the_pieces_of_a_message() {
        let bytes = [
            frame(0x02, b"ab"),
            frame(0x89, b"ping"),
            frame(0x80, b"c"),
            frame(0x8a, b""),
            frame(0x88, &[3, 0xe8]),
        ]
        .concat();
        let controls = vec![Control::Ping(b"ping".to_vec()), Control::Close];
        assert_eq!(read(&mut Decoder::default(), &bytes), Ok((b"abc".to_vec(), controls)));
    }

    #[test]
    fn what_is_not_for_mqtt_is_refused() {
        let refused = |bytes: &[u8]| read(&mut Decoder::default(), bytes).unwrap_err();
        assert_eq!(refused(&[0x82, 0x01]), FrameError::NotMasked);
        assert_eq!(refused(&[0x81]), FrameError::Unexpected(0x81));
        assert_eq!(refused(&[0xc2]), FrameError::Unexpected(0xc2));
        assert_eq!(refused(&[0x89, 0xfe]), FrameError::Control);
        assert_eq!(refused(&[0x09, 0x81]), FrameError::Control);
        assert_eq!(refused(&[0x82, 0xff, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), FrameError::Length);
    }

    proptest! {
        #[test]
        fn frames_in_any_pieces_are_the_same_bytes(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..5),
            size in 1..50_usize,
        ) {
            let bytes: Vec<u8> = contents.iter().flat_map(|content| frame(0x82, content)).collect();
            let mut decoder = Decoder::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                found.extend(read(&mut decoder, piece).unwrap().0);
            }
            prop_assert_eq!(found, contents.concat());
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _outcome = read(&mut Decoder::default(), &bytes);
        }
    }
}
