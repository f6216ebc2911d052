//! A proxy on the way to the cloud, as it is written in the configuration. Its password is shown
//! nowhere.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::mqtt::Address;

/// How the proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SOCKS5; names are looked up by the proxy.
    Socks5,
    /// HTTP CONNECT.
    Http,
}

/// A proxy: `socks5://[USER:PASSWORD@]HOST:PORT` or `http://[USER:PASSWORD@]HOST:PORT`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: Kind,
    /// Where it is.
    pub address: Address,
    /// Who asks: a name and a password.
    pub(super) login: Option<(String, String)>,
}

/// A text names no proxy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no proxy; one is `socks5://HOST:PORT` or `http://HOST:PORT`, with `USER:PASSWORD@` before \
     the host if it asks for them"
)]
pub struct ParseProxyError;

impl FromStr for Proxy {
    type Err = ParseProxyError;

    fn from_str(text: &str) -> Result<Self, ParseProxyError> {
        let (kind, rest) = if let Some(rest) = text.strip_prefix("socks5://") {
            (Kind::Socks5, rest)
        } else {
            (Kind::Http, text.strip_prefix("http://").ok_or(ParseProxyError)?)
        };
        let (login, address) = match rest.trim_end_matches('/').rsplit_once('@') {
            Some((login, address)) => (Some(read_login(login)?), address),
            None => (None, rest.trim_end_matches('/')),
        };
        let address = address.parse().map_err(|_| ParseProxyError)?;
        Ok(Self { kind, address, login })
    }
}

/// SOCKS5 carries at most 255 bytes of each.
fn read_login(text: &str) -> Result<(String, String), ParseProxyError> {
    let (user, password) = text.split_once(':').ok_or(ParseProxyError)?;
    if user.is_empty() || user.len() > 255 || password.is_empty() || password.len() > 255 {
        return Err(ParseProxyError);
    }
    Ok((user.to_owned(), password.to_owned()))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Socks5 => "socks5",
            Kind::Http => "http",
        };
        write!(f, "{kind}://{}", self.address)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Proxy {
    type Error = ParseProxyError;
    fn try_from(text: String) -> Result<Self, ParseProxyError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_and_its_password_is_not_shown() {
        let proxy: Proxy = "socks5://me:s3cr@t@proxy.example:1080".parse().unwrap();
        assert_eq!(proxy.login, Some(("me".to_owned(), "s3cr@t".to_owned())));
        assert_eq!(format!("{proxy} {proxy:?}"), "socks5://proxy.example:1080 ".repeat(2).trim());
        let plain: Proxy = "http://10.0.0.1:3128/".parse().unwrap();
        assert_eq!((plain.kind, plain.login), (Kind::Http, None));
        for text in ["", "proxy:1", "https://a:1", "socks5://a", "http://me@a:1", "http://:x@a:1"] {
            assert!(text.parse::<Proxy>().is_err(), "{text:?} was accepted");
        }
    }
}
