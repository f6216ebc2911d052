//! A client of an HTTP API that keeps its connection and does no more than it must, so that the
//! load generator leaves the machine to what it measures.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::{Context, bail};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::fill::{self, Shape};
use crate::load::Client;

/// Writes one field of a shadow, picked at random, again and again.
pub(crate) struct HttpWriter {
    connection: Connection,
    token: String,
    rng: SmallRng,
    shape: Shape,
}

/// Writes one field of each of many shadows with one request, again and again.
pub(crate) struct HttpBatcher {
    writer: HttpWriter,
    size: usize,
}

impl HttpBatcher {
    /// So many of them, which write so many shadows at once.
    pub(crate) async fn many(
        addr: SocketAddr,
        token: &str,
        shape: Shape,
        count: usize,
        size: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let writers = HttpWriter::many(addr, token, shape, count).await?;
        Ok(writers.into_iter().map(|writer| Self { writer, size }).collect())
    }
}

impl Client for HttpBatcher {
    async fn ask(&mut self) -> anyhow::Result<()> {
        let HttpWriter { connection, token, rng, shape } = &mut self.writer;
        let mut body = String::with_capacity(self.size * 100);
        for n in 0..self.size {
            let node = fill::node(rng.random_range(0..shape.nodes));
            let key = fill::shadow(rng.random_range(0..shape.shadows));
            let value: u32 = rng.random_range(0..1_000_000);
            let begin = if n == 0 { "{\"writes\":[" } else { "," };
            write!(
                body,
                "{begin}{{\"node\":\"{node}\",\"key\":\"{key}\",\
                 \"patch\":{{\"price\":{{\"diesel\":{value}}}}}}}"
            )?;
        }
        body.push_str("]}");
        connection.send("POST", "/v1/batch", token, &body).await?;
        if connection.answer().contains("\"error\"") {
            bail!("a write of a batch was refused: {}", connection.answer());
        }
        Ok(())
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpWriter {
    pub(crate) async fn connect(
        addr: SocketAddr,
        token: &str,
        shape: Shape,
        seed: usize,
    ) -> anyhow::Result<Self> {
        let rng = SmallRng::seed_from_u64(seed as u64);
        let connection = Connection::open(addr).await?;
        Ok(Self { connection, token: token.to_owned(), rng, shape })
    }

    /// So many of them.
    pub(crate) async fn many(
        addr: SocketAddr,
        token: &str,
        shape: Shape,
        count: usize,
    ) -> anyhow::Result<Vec<Self>> {
        let mut writers = Vec::with_capacity(count);
        for seed in 0..count {
            writers.push(Self::connect(addr, token, shape, seed).await?);
        }
        Ok(writers)
    }

    /// Writes to a shadow of a node, and says when that was accepted.
    pub(crate) async fn write(&mut self, node: usize, shadow: usize) -> anyhow::Result<()> {
        let path = format!("/v1/nodes/{}/shadows/{}", fill::node(node), fill::shadow(shadow));
        let value: u32 = self.rng.random_range(0..1_000_000);
        let body = format!("{{\"price\":{{\"diesel\":{value}}}}}");
        self.connection.send("PATCH", &path, &self.token, &body).await
    }
}

impl Client for HttpWriter {
    async fn ask(&mut self) -> anyhow::Result<()> {
        let node = self.rng.random_range(0..self.shape.nodes);
        let shadow = self.rng.random_range(0..self.shape.shadows);
        self.write(node, shadow).await
    }
}

impl Connection {
    pub(crate) async fn open(addr: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(addr).await.context("connecting to the HTTP API")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(2048) })
    }

    /// What came last, the head included.
    pub(crate) fn answer(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.buffer)
    }

    /// Sends a request and waits for its answer, which must be a success.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        token: &str,
        body: &str,
    ) -> anyhow::Result<()> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if let Some((head, rest)) = split_head(&self.buffer)
                && rest >= content_length(head)
            {
                if !head.starts_with("HTTP/1.1 20") {
                    bail!("{method} {path}: {}", String::from_utf8_lossy(&self.buffer));
                }
                return Ok(());
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the HTTP API closed a connection");
            }
        }
    }
}

/// The head of an answer, and how many bytes follow it.
fn split_head(bytes: &[u8]) -> Option<(&str, usize)> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(bytes.get(..at)?).ok()?;
    Some((head, bytes.len() - at - 4))
}

fn content_length(head: &str) -> usize {
    let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
    let line = head.lines().find(is_length);
    line.and_then(|line| line.split_once(':')?.1.trim().parse().ok()).unwrap_or(0)
}
