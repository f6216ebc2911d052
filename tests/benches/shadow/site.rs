//! A site as the cloud sees it: MQTT over mutual TLS, the protocol's machines behind it, no disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use gnomon_schemas::document::Document;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use rustls::ClientConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::fill;
use crate::load::Client;
use crate::mqtt;

/// A connected site.
pub(crate) struct Site {
    stream: TlsStream<TcpStream>,
    node: NodeName,
    reader: Reader,
    writer: Writer,
    bytes: Vec<u8>,
    packets: Vec<u8>,
    began: Instant,
    pkid: u16,
    reports: u64,
}

/// How long anything may take before the run fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long a site has to be left alone until it is taken to hold everything.
const QUIET: Duration = Duration::from_millis(500);

impl Site {
    /// Connects the site, and lets both ends tell each other what they hold.
    pub(crate) async fn connect(
        addr: SocketAddr,
        config: ClientConfig,
        n: usize,
    ) -> anyhow::Result<Self> {
        let tcp = TcpStream::connect(addr).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect("localhost".try_into()?, tcp).await?;
        let rng = StdRng::seed_from_u64(n as u64);
        let mut site = Self {
            stream,
            node: fill::node(n).parse()?,
            reader: Reader::new(ReaderConfig::default()),
            writer: Writer::new(Epoch(rand::random::<u128>() | 1), WriterConfig::default(), rng),
            bytes: Vec::new(),
            packets: Vec::new(),
            began: Instant::now(),
            pkid: 0,
            reports: 0,
        };
        tokio::time::timeout(PATIENCE, site.greet()).await.context("a site does not get in")??;
        Ok(site)
    }

    async fn greet(&mut self) -> anyhow::Result<()> {
        mqtt::connect(&mut self.packets, self.node.as_str());
        self.flush().await?;
        while !self.read().await?.contains(&mqtt::CONNACK) {}
        mqtt::subscribe(&mut self.packets, &Topic::all_to(&self.node));
        self.flush().await?;
        while !self.read().await?.contains(&mqtt::SUBACK) {}
        let now = self.now();
        self.reader.link_up(now);
        self.writer.link_up(now);
        self.report()?;
        self.speak();
        self.flush().await?;
        while !self.writer.is_in_sync() || self.reader.seq().0 == 0 || self.reader.is_incomplete() {
            self.turn().await?;
        }
        // What the cloud holds of the time before is fetched by now, or on its way.
        while tokio::time::timeout(QUIET, self.turn()).await.is_ok() {}
        Ok(())
    }

    /// Waits for the next change of `desired`, and takes it.
    pub(crate) async fn next_change(&mut self) -> anyhow::Result<()> {
        let before = self.reader.seq();
        while self.reader.seq() == before {
            self.turn().await?;
        }
        Ok(())
    }

    async fn turn(&mut self) -> anyhow::Result<()> {
        self.read().await?;
        self.speak();
        self.flush().await
    }

    fn report(&mut self) -> anyhow::Result<()> {
        self.reports += 1;
        let key: ShadowKey = fill::shadow(0).parse()?;
        let document = json!({
            "price": { "diesel": self.reports, "super": 1, "currency": "EUR" },
            "enabled": true, "limit": 120.5, "label": "island 1",
        });
        self.writer.put(self.now(), &key, Document::from_value(document)?);
        Ok(())
    }

    /// Reads once, and gives back which packets came.
    async fn read(&mut self) -> anyhow::Result<Vec<u8>> {
        if self.stream.read_buf(&mut self.bytes).await? == 0 {
            bail!("the broker closed the connection of {}", self.node);
        }
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        let mut kinds = Vec::new();
        while let Some((kind, body, len)) = mqtt::first(rest) {
            kinds.push(kind);
            if kind == mqtt::PUBLISH {
                self.take(body)?;
            }
            rest = rest.get(len..).unwrap_or_default();
        }
        self.bytes = rest.to_vec();
        Ok(kinds)
    }

    fn take(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let (topic, pkid, payload) = mqtt::published(body).context("a malformed PUBLISH")?;
        mqtt::puback(&mut self.packets, pkid);
        let topic: Topic = topic.parse()?;
        let message = Message::decode(topic.kind, payload)?;
        let now = self.now();
        match topic.stream() {
            Stream::Down => self.reader.receive(now, &message),
            Stream::Up => self.writer.receive(now, &message),
        }
        Ok(())
    }

    /// Turns what the machines want to say into packets; they have no disk to wait for.
    fn speak(&mut self) {
        loop {
            let down = self.reader.poll_output().map(|output| (Stream::Down, output));
            let next =
                down.or_else(|| self.writer.poll_output().map(|output| (Stream::Up, output)));
            let Some((stream, output)) = next else { return };
            if let Output::Send(message) = output {
                self.pkid = self.pkid % u16::MAX + 1;
                let topic = Topic::of(self.node.clone(), stream, message.kind()).to_string();
                mqtt::publish(&mut self.packets, &topic, self.pkid, &message.encode());
            }
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.packets).await?;
        self.stream.flush().await?;
        self.packets.clear();
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}

/// Reports one changed field, and waits until the cloud says that it is durable.
impl Client for Site {
    async fn ask(&mut self) -> anyhow::Result<()> {
        self.report()?;
        self.speak();
        self.flush().await?;
        while !self.writer.is_in_sync() {
            self.turn().await?;
        }
        Ok(())
    }
}
