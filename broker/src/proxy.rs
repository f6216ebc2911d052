//! The header that a load balancer puts before a connection (PROXY protocol, version 2): who is
//! at the other end of it. Pure.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// The bytes of a header that say how long the rest is.
pub(crate) const FIXED: usize = 16;
/// The longest rest that is read: addresses, and extensions that are skipped.
const LONGEST: usize = 1_024;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection does not begin with a PROXY protocol header of version 2")]
    Signature,
    #[error("the PROXY protocol header has an unknown command or family ({0:#04x})")]
    Unknown(u8),
    #[error("the PROXY protocol header has {0} bytes after its fixed part, which cannot be")]
    Length(usize),
}

/// Reads the fixed part: how many bytes follow it.
pub(crate) fn rest_len(fixed: &[u8; FIXED]) -> Result<usize, ProxyError> {
    let [signature @ .., version, _, high, low] = fixed;
    if signature != SIGNATURE || version >> 4 != 2 {
        return Err(ProxyError::Signature);
    }
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    if len > LONGEST { Err(ProxyError::Length(len)) } else { Ok(len) }
}

/// Reads a whole header: the address of the client; `None` if the balancer speaks for itself.
pub(crate) fn source(fixed: &[u8; FIXED], rest: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    const LOCAL: u8 = 0;
    const PROXY: u8 = 1;
    let [.., version, family, _, _] = *fixed;
    match version & 0x0F {
        LOCAL => return Ok(None),
        PROXY => {}
        _ => return Err(ProxyError::Unknown(version)),
    }
    let short = || ProxyError::Length(rest.len());
    match family {
        0x11 => {
            let (ip, ports) = rest.split_first_chunk::<4>().ok_or_else(short)?;
            let port = port(ports.get(4..)).ok_or_else(short)?;
            Ok(Some((Ipv4Addr::from_octets(*ip), port).into()))
        }
        0x21 => {
            let (ip, ports) = rest.split_first_chunk::<16>().ok_or_else(short)?;
            let port = port(ports.get(16..)).ok_or_else(short)?;
            Ok(Some((Ipv6Addr::from_octets(*ip), port).into()))
        }
        _ => Err(ProxyError::Unknown(family)),
    }
}

/// The first port of the two that follow the destination's address.
fn port(ports: Option<&[u8]>) -> Option<u16> {
    match ports? {
        [high, low, _, _, ..] => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(version: u8, family: u8, rest: &[u8]) -> ([u8; FIXED], Vec<u8>) {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let bytes = [&SIGNATURE[..], &[version, family], &len].concat();
        (bytes.try_into().unwrap(), rest.to_vec())
    }

    fn read((fixed, rest): ([u8; FIXED], Vec<u8>)) -> Result<Option<SocketAddr>, ProxyError> {
        assert_eq!(rest_len(&fixed)?, rest.len());
        source(&fixed, &rest)
    }

    #[test]
    fn the_source_is_read_in_both_families() {
        let v4 = [10, 0, 0, 1, 10, 0, 0, 2, 0x04, 0x00, 0x22, 0xb3, 9, 9, 9];
        assert_eq!(read(header(0x21, 0x11, &v4)), Ok(Some("10.0.0.1:1024".parse().unwrap())));
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[33]) = (0x20, 1, 80);
        assert_eq!(read(header(0x21, 0x21, &v6)), Ok(Some("[2000::1]:80".parse().unwrap())));
        assert_eq!(read(header(0x20, 0x00, &[])), Ok(None));
    }

    #[test]
    fn what_is_none_is_refused() {
        let v4 = [0; 12];
        assert_eq!(read(header(0x11, 0x11, &v4)), Err(ProxyError::Signature));
        assert_eq!(read(header(0x22, 0x11, &v4)), Err(ProxyError::Unknown(0x22)));
        assert_eq!(read(header(0x21, 0x12, &v4)), Err(ProxyError::Unknown(0x12)));
        assert_eq!(read(header(0x21, 0x11, &v4[..11])), Err(ProxyError::Length(11)));
        assert_eq!(read(header(0x21, 0x21, &v4)), Err(ProxyError::Length(12)));
        assert_eq!(rest_len(b"GET / HTTP/1.1\r\n"), Err(ProxyError::Signature));
        assert_eq!(rest_len(&header(0x21, 0x11, &[0; 1_025]).0), Err(ProxyError::Length(1_025)));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(
            version in any::<u8>(),
            family in any::<u8>(),
            rest in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let (fixed, rest) = header(version, family, &rest);
            let _ = (rest_len(&fixed).is_ok(), source(&fixed, &rest).is_ok());
        }
    }
}
