//! Asking the cloud that runs on a data folder, from a command of the same machine.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens, or the connection broke.
    #[error("the connection failed")]
    Connection(#[from] std::io::Error),
    /// What came is no answer.
    #[error("no answer came")]
    Answer(#[from] hyper::Error),
    /// The request cannot be made.
    #[error("the request cannot be made")]
    Request(#[from] hyper::http::Error),
}

/// Sends a GET, with a token if there is one. The connection ends with the answer's body.
pub async fn get(
    addr: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> Result<Response<Incoming>, AskError> {
    let addr = reachable(addr);
    let stream = TcpStream::connect(addr).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end is seen by who reads the answer.
    drop(tokio::spawn(connection));
    let mut request = Request::get(path)
        .header(header::HOST, addr.to_string())
        .header(header::CONNECTION, "close");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    Ok(sender.send_request(request.body(Empty::<Bytes>::new())?).await?)
}

/// Where this machine reaches a server that listens on all addresses.
fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        let is_v4 = addr.is_ipv4();
        addr.set_ip(if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    addr
}
