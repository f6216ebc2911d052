//! How sites reach the broker: a host and a port.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::Deserialize;

/// A host name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Advertise {
    host: String,
    port: u16,
}

/// Why a text is not `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST:PORT, such as cloud.example.org:8883 or [2001:db8::1]:8883")]
pub struct ParseAdvertiseError(String);

impl Advertise {
    /// The host, as it stands in a certificate: an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl FromStr for Advertise {
    type Err = ParseAdvertiseError;

    fn from_str(text: &str) -> Result<Self, ParseAdvertiseError> {
        let bad = || ParseAdvertiseError(text.chars().take(300).collect());
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self { host: addr.ip().to_string(), port: addr.port() });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if host.is_empty() || host.len() > 253 || !host.chars().all(in_name) {
            return Err(bad());
        }
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl TryFrom<String> for Advertise {
    type Error = ParseAdvertiseError;
    fn try_from(text: String) -> Result<Self, ParseAdvertiseError> {
        text.parse()
    }
}

impl fmt::Display for Advertise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
