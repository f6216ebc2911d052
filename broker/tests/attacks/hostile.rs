//! Connections that do what they like and do not mind how they are treated.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::harness::within;

/// So many hostile connections at once.
const PARALLEL: usize = 48;

/// How a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing more is sent; the broker's end is waited for.
    Polite,
    /// A reset, at once.
    Reset,
    /// A reset, after the broker has answered something.
    ResetAfterAnswer,
}

/// Opens a connection, which the system may refuse.
pub(crate) async fn open(addr: SocketAddr) -> Option<TcpStream> {
    let stream = within("connect", TcpStream::connect(addr)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Sends bytes and ends; returns what was answered.
pub(crate) async fn hit(addr: SocketAddr, bytes: &[u8], end: End) -> Vec<u8> {
    let mut answer = Vec::new();
    let Some(mut stream) = open(addr).await else { return answer };
    // The broker may hang up at any byte.
    let _sent = within("send", stream.write_all(bytes)).await;
    match end {
        End::Polite => {
            let _end = stream.shutdown().await;
            let _end = within("the end", stream.read_to_end(&mut answer)).await;
        }
        End::Reset => {}
        End::ResetAfterAnswer => {
            let mut first = [0; 64];
            let read = within("an answer", stream.read(&mut first)).await.unwrap_or(0);
            answer.extend(&first[..read]);
        }
    }
    let _gone = stream.set_zero_linger();
    answer
}

/// Runs `one` for each number below `count`, many at once.
pub(crate) async fn many<F>(count: usize, one: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    at_once(PARALLEL, count, one).await;
}

/// Runs `one` for each number below `count`, so many at once.
pub(crate) async fn at_once<F>(parallel: usize, count: usize, one: impl Fn(usize) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(parallel));
    let mut tasks = JoinSet::new();
    for n in 0..count {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let task = one(n);
        tasks.spawn(async move {
            task.await;
            drop(place);
        });
        while let Some(ended) = tasks.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// Expects the broker to end a connection within a time.
pub(crate) async fn is_ended(stream: &mut TcpStream, most: Duration) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(most, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is open after {most:?}");
}

/// A generator that needs no crate: xorshift.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}
