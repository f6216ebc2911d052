//! The HTTP request that asks for a WebSocket, and our answer. Pure.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The longest request.
pub(super) const LONGEST: usize = 8 * 1024;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the request is longer than {LONGEST} bytes")]
    TooLong,
    #[error("the request is not a GET of HTTP/1.1 that asks for a WebSocket of version 13")]
    NotAnUpgrade,
    #[error("the request does not offer the subprotocol mqtt")]
    NoMqtt,
}

impl RequestError {
    /// What the client is told.
    pub(super) fn response(self) -> &'static [u8] {
        match self {
            Self::TooLong => {
                b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n"
            }
            Self::NotAnUpgrade => {
                b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n"
            }
            Self::NoMqtt => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        }
    }
}

/// A request that is granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Upgrade {
    /// Bytes of the request.
    pub(super) len: usize,
    /// What the client is told.
    pub(super) response: String,
}

/// Reads a request; `None` asks for more bytes.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Upgrade>, RequestError> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(end) = end.filter(|end| *end < LONGEST) else {
        return if bytes.len() >= LONGEST { Err(RequestError::TooLong) } else { Ok(None) };
    };
    let text = bytes.get(..end).and_then(|head| str::from_utf8(head).ok());
    let mut lines = text.ok_or(RequestError::NotAnUpgrade)?.split("\r\n");
    let request = lines.next().unwrap_or_default();
    if !request.starts_with("GET ") || !request.ends_with(" HTTP/1.1") {
        return Err(RequestError::NotAnUpgrade);
    }
    let headers: Vec<_> = lines.filter_map(|line| line.split_once(':')).collect();
    let named = |name: &str| {
        let found = headers.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        found.flat_map(|(_, value)| value.split(',')).map(str::trim).collect::<Vec<_>>()
    };
    let has = |name, wanted: &str| named(name).iter().any(|v| v.eq_ignore_ascii_case(wanted));
    let keys = named("Sec-WebSocket-Key");
    let is_upgrade = has("Upgrade", "websocket")
        && has("Connection", "upgrade")
        && has("Sec-WebSocket-Version", "13");
    let ([key], true) = (keys.as_slice(), is_upgrade) else {
        return Err(RequestError::NotAnUpgrade);
    };
    if key.len() != 24 {
        return Err(RequestError::NotAnUpgrade);
    }
    if !has("Sec-WebSocket-Protocol", "mqtt") {
        return Err(RequestError::NoMqtt);
    }
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
        accept(key)
    );
    Ok(Some(Upgrade { len: end + 4, response }))
}

/// The proof that the request was understood as one for a WebSocket.
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()).as_ref())
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let index = usize::try_from(group >> (18 - 6 * digit) & 0x3F).unwrap_or_default();
            let letter = ALPHABET.get(index).copied().unwrap_or(b'=');
            let is_padding = digit > u32::try_from(chunk.len()).unwrap_or(3);
            text.push(char::from(if is_padding { b'=' } else { letter }));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /mqtt HTTP/1.1\r\nHost: h\r\nupgrade: WebSocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\nSec-WebSocket-Version: 13\r\n\r\n";

    #[test]
    fn a_request_is_answered_as_the_standard_says() {
        let upgrade = read(format!("{GOOD}next").as_bytes()).unwrap().unwrap();
        assert_eq!(upgrade.len, GOOD.len());
        assert!(upgrade.response.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        for cut in 0..GOOD.len() {
            assert_eq!(read(&GOOD.as_bytes()[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn another_request_is_refused() {
        let with = |from: &str, to: &str| read(GOOD.replace(from, to).as_bytes());
        for (from, to) in [
            ("GET", "POST"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("WebSocket", "h2c"),
            ("keep-alive, Upgrade", "close"),
            ("Version: 13", "Version: 8"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short"),
            ("Sec-WebSocket-Key", "Key"),
            ("Host: h", "Host: \u{fffd}\r\nSec-WebSocket-Key: x"),
        ] {
            assert_eq!(with(from, to), Err(RequestError::NotAnUpgrade), "{to}");
        }
        assert_eq!(with("mqttv3.1, mqtt", "soap"), Err(RequestError::NoMqtt));
        assert_eq!(read(&[b'x'; LONGEST]), Err(RequestError::TooLong));
        assert_eq!(read(b"\xff\r\n\r\n"), Err(RequestError::NotAnUpgrade));
    }
}
