//! Opens a connection to the cloud: TCP, through a proxy where there is one, and TLS over it. The
//! bytes below TLS are counted: they are what a metered link is paid for, but for TCP's own.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use hyper::http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower_service::Service as _;

use super::Meter;
use super::mqtt::Address;
use super::proxy::{Kind, Proxy};
use super::retry::Met;

/// How long it may take until TLS is spoken.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that nobody acknowledges for so long mean that the connection is dead, whatever the
/// system's own patience is.
const UNACKNOWLEDGED: Duration = Duration::from_secs(90);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The address is not that of a reachable machine.
    #[error("{to} cannot be reached")]
    Reach {
        to: Address,
        /// What the system says; none: the name has no address.
        kind: Option<ErrorKind>,
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The proxy does not answer, or does not let us through.
    #[error("{to} cannot be reached through the proxy {proxy}")]
    Proxy {
        to: Address,
        proxy: Box<Proxy>,
        /// What the system says; none: it is the proxy that refuses.
        kind: Option<ErrorKind>,
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The host cannot be named to TLS or a proxy.
    #[error("{0} is no address that can be dialled")]
    Name(Address),
    /// Somebody else is there, or does not want us.
    #[error("no TLS with {to}")]
    Tls {
        to: Address,
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to {to} within {} s", PATIENCE.as_secs())]
    Late { to: Address },
}

impl DialError {
    /// What the attempt met.
    pub(super) fn met(&self) -> Met {
        match self {
            Self::Reach { kind, .. } => kind.map_or(Met::Silence, met),
            Self::Proxy { kind, .. } => kind.map_or(Met::Refusal, met),
            Self::Name(_) => Met::Refusal,
            Self::Tls { source, .. } => met(source.kind()),
            Self::Late { .. } => Met::Silence,
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the system's list grows")]
const fn met(kind: ErrorKind) -> Met {
    use ErrorKind::{
        AddrNotAvailable, BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset,
        HostUnreachable, NetworkDown, NetworkUnreachable, PermissionDenied, TimedOut,
        UnexpectedEof,
    };
    match kind {
        NetworkDown | NetworkUnreachable | HostUnreachable | AddrNotAvailable
        | PermissionDenied => Met::NoNetwork,
        TimedOut => Met::Silence,
        ConnectionRefused | ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => {
            Met::NoService
        }
        _ => Met::Refusal,
    }
}

/// A connection that counts its bytes.
pub(super) type Wire = TlsStream<Counted<TcpStream>>;

/// Dials, and shakes hands.
pub(super) async fn dial(
    to: &Address,
    proxy: Option<&Proxy>,
    tls: &Arc<ClientConfig>,
    meter: &Meter,
) -> Result<Wire, DialError> {
    let open = async {
        let tcp = connect(to, proxy).await?;
        let name = ServerName::try_from(to.host.clone());
        let name = name.map_err(|_| DialError::Name(to.clone()))?;
        let wire = Counted { inner: tcp, meter: meter.clone() };
        let connected = TlsConnector::from(Arc::clone(tls)).connect(name, wire).await;
        connected.map_err(|source| DialError::Tls { to: to.clone(), source })
    };
    let late = |_| DialError::Late { to: to.clone() };
    tokio::time::timeout(PATIENCE, open).await.map_err(late)?
}

pub(super) async fn connect(to: &Address, proxy: Option<&Proxy>) -> Result<TcpStream, DialError> {
    let mut direct = HttpConnector::new();
    direct.enforce_http(false);
    direct.set_nodelay(true);
    direct.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    let uri = |address: &Address| {
        let text = format!("tcp://{address}");
        text.parse::<Uri>().map_err(|_| DialError::Name(address.clone()))
    };
    let target = uri(to)?;
    let Some(proxy) = proxy else {
        let reached = direct.call(target).await;
        let wrong = |source: Box<dyn StdError + Send + Sync>| DialError::Reach {
            to: to.clone(),
            kind: kind(&*source),
            source: deepest(&*source),
        };
        return Ok(reached.map_err(|error| wrong(error.into()))?.into_inner());
    };
    let at = uri(&proxy.address)?;
    let wrong = |kind, source: Box<dyn StdError + Send + Sync>| DialError::Proxy {
        to: to.clone(),
        proxy: Box::new(proxy.clone()),
        kind,
        source,
    };
    let through = match proxy.kind {
        Kind::Socks5 => {
            let mut socks = SocksV5::new(at, direct);
            if let Some((user, password)) = proxy.login.clone() {
                socks = socks.with_auth(user, password);
            }
            socks.call(target).await.map_err(|error| wrong(kind(&error), error.to_string().into()))
        }
        Kind::Http => {
            let mut tunnel = Tunnel::new(at, direct);
            if let Some(login) = proxy.login.as_ref() {
                tunnel = tunnel.with_auth(basic(login).map_err(|error| wrong(None, error.into()))?);
            }
            tunnel.call(target).await.map_err(|error| wrong(kind(&error), Box::new(error)))
        }
    };
    Ok(through?.into_inner())
}

fn basic((user, password): &(String, String)) -> Result<HeaderValue, hyper::http::Error> {
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
    Ok(HeaderValue::from_str(&text)?)
}

/// The connector says the same at several levels; the last one is the system's.
fn deepest(error: &(dyn StdError + 'static)) -> Box<dyn StdError + Send + Sync> {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string().into()
}

/// What the system says, if it was the system; a name that has no address is not of it.
fn kind(error: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    let (mut next, mut found) = (Some(error), None);
    while let Some(error) = next {
        let of_system = error.downcast_ref::<io::Error>();
        let of_system = of_system.filter(|error| error.raw_os_error().is_some());
        found = of_system.map(io::Error::kind).or(found);
        next = error.source();
    }
    found
}

/// A stream that counts.
#[derive(Debug)]
pub(super) struct Counted<S> {
    inner: S,
    meter: Meter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.meter.received(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.inner).poll_write(context, bytes))?;
        self.meter.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_an_attempt_met_is_told_apart() {
        let met = async |to: &str| {
            let to: Address = to.parse().unwrap();
            connect(&to, None).await.map(drop).map_err(|error| error.met())
        };
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(met(&nobody.to_string()).await, Err(Met::NoService));
        assert_eq!(met("nobody.invalid:1").await, Err(Met::Silence));
        let unreachable = DialError::Reach {
            to: "cloud.example:1".parse().unwrap(),
            kind: Some(ErrorKind::NetworkUnreachable),
            source: "no route".into(),
        };
        assert_eq!(unreachable.met(), Met::NoNetwork);
        let late = DialError::Late { to: "cloud.example:1".parse().unwrap() };
        assert_eq!(late.met(), Met::Silence);
        let stranger = io::Error::new(ErrorKind::InvalidData, "another certificate");
        let stranger = DialError::Tls { to: nobody.to_string().parse().unwrap(), source: stranger };
        assert_eq!(stranger.met(), Met::Refusal);
    }
}
