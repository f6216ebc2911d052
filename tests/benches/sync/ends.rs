//! Both ends of both streams of one site, and a way to make them equal without a network.

use std::time::Instant;

use gnomon_schemas::document::Document;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::Value;

/// The four machines of one site.
pub(crate) struct Ends {
    pub(crate) cloud_writer: Writer,
    pub(crate) cloud_reader: Reader,
    pub(crate) site_writer: Writer,
    pub(crate) site_reader: Reader,
    start: Instant,
}

impl Ends {
    pub(crate) fn new() -> Self {
        let writer = |epoch| {
            let config = WriterConfig { max_batch: 64 * 1024, ..WriterConfig::default() };
            Writer::new(Epoch(epoch), config, StdRng::seed_from_u64(1))
        };
        Self {
            cloud_writer: writer(u128::MAX / 3),
            cloud_reader: Reader::new(ReaderConfig::default()),
            site_writer: writer(u128::MAX / 5),
            site_reader: Reader::new(ReaderConfig::default()),
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::from_millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Sets a desired document.
    pub(crate) fn desire(&mut self, key: &str, document: Value) -> anyhow::Result<()> {
        let now = self.now();
        self.cloud_writer.put(now, &key.parse()?, Document::from_value(document)?);
        Ok(())
    }

    /// Makes both ends equal, message by message in memory, and then takes the link down.
    pub(crate) fn settle(&mut self) {
        let now = self.now();
        self.cloud_up();
        self.site_reader.link_up(now);
        self.site_writer.link_up(now);
        while !(self.cloud_writer.is_in_sync() && self.site_writer.is_in_sync()) {
            for message in self.site_sends() {
                self.at_cloud(message.0, &message.1);
            }
            for message in self.cloud_sends() {
                self.at_site(message.0, &message.1);
            }
        }
        self.all_down();
    }

    pub(crate) fn all_down(&mut self) {
        self.cloud_down();
        self.site_writer.link_down();
        self.site_reader.link_down();
        drop((self.site_sends(), self.cloud_sends()));
    }

    pub(crate) fn cloud_up(&mut self) {
        let now = self.now();
        self.cloud_writer.link_up(now);
        self.cloud_reader.link_up(now);
    }

    pub(crate) fn cloud_down(&mut self) {
        self.cloud_writer.link_down();
        self.cloud_reader.link_down();
    }

    pub(crate) fn at_cloud(&mut self, stream: Stream, message: &Message) {
        let now = self.now();
        match stream {
            Stream::Down => self.cloud_writer.receive(now, message),
            Stream::Up => self.cloud_reader.receive(now, message),
        }
    }

    pub(crate) fn at_site(&mut self, stream: Stream, message: &Message) {
        let now = self.now();
        match stream {
            Stream::Down => self.site_reader.receive(now, message),
            Stream::Up => self.site_writer.receive(now, message),
        }
    }

    /// What the cloud wants sent; what it wants written counts as written.
    pub(crate) fn cloud_sends(&mut self) -> Vec<(Stream, Message)> {
        let writer = std::iter::from_fn(|| self.cloud_writer.poll_output());
        let mut sends: Vec<_> = writer.filter_map(|output| send(Stream::Down, output)).collect();
        let reader = std::iter::from_fn(|| self.cloud_reader.poll_output());
        sends.extend(reader.filter_map(|output| send(Stream::Up, output)));
        sends
    }

    /// What the site wants sent.
    pub(crate) fn site_sends(&mut self) -> Vec<(Stream, Message)> {
        let reader = std::iter::from_fn(|| self.site_reader.poll_output());
        let mut sends: Vec<_> = reader.filter_map(|output| send(Stream::Down, output)).collect();
        let writer = std::iter::from_fn(|| self.site_writer.poll_output());
        sends.extend(writer.filter_map(|output| send(Stream::Up, output)));
        sends
    }
}

fn send(stream: Stream, output: Output) -> Option<(Stream, Message)> {
    match output {
        Output::Send(message) => Some((stream, message)),
        Output::Persist(_) | Output::Deliver(_) => None,
    }
}
