//! What the tests stand on: an echo server, a link to it, waiting with a deadline.

use std::net::SocketAddr;
use std::time::Duration;

use gnomon_sim::link::{Link, LinkConfig, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

/// Far beyond what anything here takes; reached only when it would never happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// Long enough for loopback to show what should not have come.
pub(crate) const A_WHILE: Duration = Duration::from_millis(150);

pub(crate) fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(loopback()).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Sends everything back until it is told the end, then ends too.
pub(crate) async fn echo_server() -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = stream.split();
                if tokio::io::copy(&mut reads, &mut writes).await.is_ok() {
                    writes.shutdown().await.ok();
                }
            });
        }
    });
    address
}

pub(crate) fn start(target: SocketAddr, profile: Profile) -> Link {
    Link::start(LinkConfig { listen: loopback(), target, profile, seed: 42 }).unwrap()
}

pub(crate) async fn echo_link(profile: Profile) -> Link {
    start(echo_server().await, profile)
}

pub(crate) async fn connect(link: &Link) -> TcpStream {
    soon(TcpStream::connect(link.addr())).await.unwrap()
}

pub(crate) async fn round_trip(stream: &mut TcpStream, message: &[u8]) {
    stream.write_all(message).await.unwrap();
    expect(stream, message).await;
}

pub(crate) async fn expect(stream: &mut TcpStream, message: &[u8]) {
    let mut answer = vec![0; message.len()];
    soon(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, message);
}

/// Passes when nothing can be read from the stream for a while, not even its end.
pub(crate) async fn silence(stream: &mut TcpStream) {
    let mut byte = [0];
    let heard = timeout(A_WHILE, stream.read(&mut byte)).await;
    assert!(heard.is_err(), "heard {heard:?}");
}

/// Passes when the stream ends with a reset.
pub(crate) async fn reset(stream: &mut TcpStream) {
    let error = soon(stream.read_to_end(&mut Vec::new())).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("it happens within the deadline")
}

pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::task::yield_now().await;
    }
}
