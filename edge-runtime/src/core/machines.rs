//! Both streams of the site, and their place in the store.

use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{
    Delivery, Moment, Output, Reader, ReaderConfig, RestoreError, Writer, WriterConfig,
};
use rand::RngExt;
use rand::rngs::StdRng;

use super::{fork, prefix};
use crate::store::{Contents, Entry, Op};

/// The reader of what should be and the writer of what is.
#[derive(Debug)]
pub(super) struct Machines {
    pub(super) down: Reader,
    pub(super) up: Writer,
    /// Rows of an unreadable stream, to be deleted with the next commit.
    rubble: Vec<Op>,
}

/// What the machines want done: `after` only when `ops` are durable.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) ops: Vec<Op>,
    pub(super) after: Vec<After>,
}

/// What follows a commit.
#[derive(Debug)]
pub(super) enum After {
    Send(Stream, Message),
    Deliver(Delivery),
}

impl Machines {
    /// The machines as the store describes them. A stream that is absent or cannot be read starts
    /// afresh: the reader asks for everything, the writer begins a new history. So does a writer
    /// whose store went back, or it would promise other things under the same positions; and the
    /// reader asks what exists, since what it holds may be older than what runs.
    pub(super) fn restore(contents: Contents, rng: &mut StdRng) -> Self {
        let Contents { entries, went_back } = contents;
        let (mut down_rows, mut up_rows) = (Vec::new(), Vec::new());
        for (key, value) in entries {
            if let Some(own) = key.strip_prefix(prefix(Stream::Down)) {
                down_rows.push((own.to_vec(), value));
            } else if let Some(own) = key.strip_prefix(prefix(Stream::Up)) {
                up_rows.push((own.to_vec(), value));
            }
        }
        let mut rubble = Vec::new();
        let mut wreck = |stream, rows: &Vec<Entry>, error: &RestoreError| {
            tracing::error!(error = %crate::chain(error), ?stream, "a stream in the store cannot be read; \
                it starts afresh and the cloud sends or takes everything again");
            rubble.extend(rows.iter().map(|(key, _)| (own_key(stream, key), None)));
        };
        let config = ReaderConfig::default();
        let down = Reader::restore(down_rows.iter().cloned(), config).unwrap_or_else(|error| {
            wreck(Stream::Down, &down_rows, &error);
            None
        });
        let config = WriterConfig::default();
        let restored = Writer::restore(up_rows.iter().cloned(), config, fork(rng));
        let up = restored.unwrap_or_else(|error| {
            wreck(Stream::Up, &up_rows, &error);
            None
        });
        let mut up = up.unwrap_or_else(|| {
            Writer::new(Epoch(rng.random_range(1..=u128::MAX)), config, fork(rng))
        });
        let mut down = down.unwrap_or_else(|| Reader::new(ReaderConfig::default()));
        if went_back {
            up.begin_epoch();
            down.give_up_position();
        }
        Self { down, up, rubble }
    }

    pub(super) fn link_down(&mut self) {
        self.down.link_down();
        self.up.link_down();
    }

    pub(super) fn receive(&mut self, now: Moment, stream: Stream, message: &Message) {
        match stream {
            Stream::Down => self.down.receive(now, message),
            Stream::Up => self.up.receive(now, message),
        }
    }

    /// Takes all outputs of both machines.
    pub(super) fn drain(&mut self) -> Batch {
        let mut batch = Batch { ops: std::mem::take(&mut self.rubble), after: Vec::new() };
        while let Some(output) = self.down.poll_output() {
            batch.add(Stream::Down, output);
        }
        while let Some(output) = self.up.poll_output() {
            batch.add(Stream::Up, output);
        }
        batch
    }
}

impl Batch {
    fn add(&mut self, stream: Stream, output: Output) {
        match output {
            Output::Persist(rows) => {
                let ops = rows.into_iter().map(|row| (own_key(stream, &row.key), row.value));
                self.ops.extend(ops);
            }
            Output::Send(message) => self.after.push(After::Send(stream, message)),
            Output::Deliver(delivery) => self.after.push(After::Deliver(delivery)),
        }
    }
}

fn own_key(stream: Stream, key: &[u8]) -> Vec<u8> {
    [prefix(stream), key].concat()
}
