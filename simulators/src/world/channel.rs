//! One stream: its two machines, each in a small shell with a queue of effects and a disk, and the
//! truth beside them. Every input is followed by the checks that it could have broken.

use std::collections::VecDeque;
use std::sync::Arc;

use gnomon_schemas::document::{Document, Packed};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Version};
use gnomon_schemas::wire::Message;
use gnomon_sync::{Delivery, Moment, Output, Reader, ReaderConfig, Row, Writer, WriterConfig};
use rand::rngs::{StdRng, Xoshiro256PlusPlus};
use rand::{RngExt, SeedableRng};

use super::conduct::Conduct;
use super::disk::Disk;
use super::event::Role;
use super::follower::{Follower, Standing};
use super::ledger::{Entry, Ledger};
use super::violation::{Invariant, Violation, ensure};

mod store;

/// Something that a shell does for a machine once everything before it is durable.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Write this; what is true when it is on the disk.
    Write(Vec<Row>, Option<Truth>),
    /// Send this.
    Send(Message),
    /// Tell the application; the epoch in which it happened.
    Deliver(Epoch, Delivery),
    /// Answer someone who asked for a change.
    Answer(ShadowKey, Version),
}

/// What a write makes true.
#[derive(Debug, Clone)]
pub(super) enum Truth {
    Writer(Entry),
    Reader(Arc<Standing>),
}

/// A shell's side of one machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Shell {
    pub(super) queue: VecDeque<Item>,
    disk: Disk,
}

/// One stream between two machines.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    writer_shell: Shell,
    reader_shell: Shell,
    pub(super) ledger: Ledger,
    pub(super) follower: Follower,
    conduct: Conduct,
    writer_config: WriterConfig,
    reader_config: ReaderConfig,
    /// Makes the generators of the writers.
    rng: Xoshiro256PlusPlus,
    backups: Backups,
    /// Whether the reader ever lost something that it had promised to hold.
    reader_was_replaced: bool,
}

/// Copies of the two disks, with the truth of their time.
#[derive(Debug, Clone, Default)]
struct Backups {
    writer: Option<(Disk, super::ledger::Copy)>,
    reader: Option<(Disk, Arc<Standing>)>,
}

impl Channel {
    pub(super) fn new(seed: u64, writer_config: WriterConfig, reader_config: ReaderConfig) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let writer = fresh_writer(&mut rng, writer_config);
        let mut channel = Self {
            writer,
            reader: Reader::new(reader_config),
            writer_shell: Shell::default(),
            reader_shell: Shell::default(),
            ledger: Ledger::default(),
            follower: Follower::default(),
            conduct: Conduct::new(writer_config),
            writer_config,
            reader_config,
            rng,
            backups: Backups::default(),
            reader_was_replaced: false,
        };
        let entry = channel.ledger.noticed(&channel.writer);
        channel.collect_writer(entry);
        channel
    }

    /// Someone asks for a document, or for its deletion.
    pub(super) fn ask(
        &mut self,
        now: Moment,
        key: &ShadowKey,
        document: Option<Document>,
    ) -> Result<(), Violation> {
        let wanted = document.as_ref().map(Packed::from);
        let version = match document {
            Some(document) => Some(self.writer.put(now, key, document)),
            None => self.writer.delete(now, key),
        };
        let entry = self.ledger.asked(&self.writer, key, wanted)?;
        self.collect(entry)?;
        if let Some(version) = version {
            self.writer_shell.queue.push_back(Item::Answer(key.clone(), version));
        }
        Ok(())
    }

    /// A message arrives at the machine that it is for.
    pub(super) fn receive(&mut self, now: Moment, message: &Message) -> Result<(), Violation> {
        if message.kind().is_from_writer() {
            self.reader.receive(now, message);
            return self.collect_reader();
        }
        self.conduct.heard(&self.writer, message);
        self.writer.receive(now, message);
        let entry = self.ledger.noticed(&self.writer);
        self.collect(entry)
    }

    /// The writer's timer is due.
    pub(super) fn timeout(&mut self, now: Moment) -> Result<(), Violation> {
        self.conduct.timeout(now)?;
        self.writer.handle_timeout(now);
        self.collect(None)
    }

    /// When the writer's timer is due.
    pub(super) fn due(&self) -> Option<Moment> {
        self.writer.poll_timeout().map(|(due, _)| due)
    }

    /// The link of a machine comes up.
    pub(super) fn link_up(&mut self, role: Role, now: Moment) -> Result<(), Violation> {
        match role {
            Role::Writer => {
                self.writer.link_up(now);
                self.conduct.link(true);
                self.collect(None)
            }
            Role::Reader => {
                self.reader.link_up(now);
                self.collect_reader()
            }
        }
    }

    /// The link of a machine goes down.
    pub(super) fn link_down(&mut self, role: Role) -> Result<(), Violation> {
        match role {
            Role::Writer => {
                self.writer.link_down();
                self.conduct.link(false);
                self.collect(None)
            }
            Role::Reader => {
                self.reader.link_down();
                self.collect_reader()
            }
        }
    }

    /// What a shell does next for a machine, if nothing has to be written before.
    pub(super) fn next_effect(&mut self, role: Role) -> Option<Item> {
        self.shell_mut(role).queue.pop_front_if(|item| !matches!(item, Item::Write(..)))
    }

    pub(super) fn has_effect(&self, role: Role) -> bool {
        let front = self.shell(role).queue.front();
        front.is_some_and(|item| !matches!(item, Item::Write(..)))
    }

    pub(super) fn has_write(&self, role: Role) -> bool {
        self.shell(role).queue.iter().any(|item| matches!(item, Item::Write(..)))
    }

    /// Checks a message that is about to leave: nothing is told that is not durable.
    pub(super) fn check_send(&self, message: &Message) -> Result<(), Violation> {
        match message {
            Message::Ack(ack) => self.follower.promised(ack.epoch, ack.seq),
            Message::Hello(hello) => self.follower.promised(hello.epoch, hello.seq),
            Message::Fetch(fetch) => self.follower.promised(fetch.epoch, fetch.seq),
            Message::Batch(batch) => self.ledger.reached(batch.epoch, batch.seq),
            Message::Manifest(manifest) => self.ledger.reached(manifest.epoch, manifest.seq),
        }
    }

    /// Checks what the machines take in memory and on disk.
    pub(super) fn check_bounds(&self) -> Result<(), Violation> {
        super::bounds::check(self)
    }

    /// Checks that both ends are equal, in documents, versions and positions.
    pub(super) fn check_equal(&self) -> Result<(), Violation> {
        let (writer, reader) = (&self.writer, &self.reader);
        let own = writer.halves().map(|(key, held)| (key, held.version, held.document));
        self.ledger.compare(own, "writer")?;
        let own = reader.halves().map(|(key, held)| (key, held.version, held.document));
        self.ledger
            .compare(own, "reader")
            .map_err(|broken| Violation { invariant: Invariant::Convergence, what: broken.what })?;
        let ends = (writer.epoch(), writer.head());
        ensure(ends == (reader.epoch(), reader.seq()), Invariant::Convergence, || {
            format!(
                "the writer is at {ends:?}, the reader at {} of {:?}",
                reader.seq(),
                reader.epoch()
            )
        })?;
        self.follower.check_view()
    }

    /// Everything that the future of this stream depends on, and more, as text.
    pub(super) fn describe(&self) -> String {
        let Self { writer, reader, writer_shell, reader_shell, ledger, follower, conduct, .. } =
            self;
        format!(
            "{writer:?} {reader:?} {writer_shell:?} {reader_shell:?} {ledger:?} {follower:?} \
             {conduct:?} {}",
            self.reader_was_replaced
        )
    }

    pub(super) fn disk(&self, role: Role) -> &Disk {
        &self.shell(role).disk
    }

    pub(super) fn shell(&self, role: Role) -> &Shell {
        match role {
            Role::Writer => &self.writer_shell,
            Role::Reader => &self.reader_shell,
        }
    }

    fn shell_mut(&mut self, role: Role) -> &mut Shell {
        match role {
            Role::Writer => &mut self.writer_shell,
            Role::Reader => &mut self.reader_shell,
        }
    }

    fn collect(&mut self, entry: Option<Entry>) -> Result<(), Violation> {
        let news = entry.is_some();
        let (from, written) = self.collect_writer(entry);
        ensure(written || !news, Invariant::NoLoss, || {
            "the writer has changed and does not ask to have it written".to_owned()
        })?;
        for item in self.writer_shell.queue.iter().skip(from) {
            if let Item::Send(message) = item {
                self.conduct.said(&self.writer, message)?;
            }
        }
        self.conduct.check_timer(&self.writer)?;
        match self.writer.acked() {
            Some(seq) if !self.reader_was_replaced => {
                self.follower.believed(self.writer.epoch(), seq)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Takes the writer's outputs; gives back where they begin in the queue, and whether there is
    /// a write among them.
    fn collect_writer(&mut self, entry: Option<Entry>) -> (usize, bool) {
        let from = self.writer_shell.queue.len();
        while let Some(output) = self.writer.poll_output() {
            self.writer_shell.push(Epoch::NONE, output);
        }
        (from, self.writer_shell.date(from, entry.map(Truth::Writer)))
    }

    fn collect_reader(&mut self) -> Result<(), Violation> {
        // What goes when another history is taken over goes by its version in the old one.
        let before = self.follower.live.epoch;
        let standing = self.follower.noticed(&self.reader, &self.ledger)?;
        let news = standing.is_some();
        let from = self.reader_shell.queue.len();
        while let Some(output) = self.reader.poll_output() {
            self.reader_shell.push(before, output);
        }
        let written = self.reader_shell.date(from, standing.map(Truth::Reader));
        ensure(written || !news, Invariant::NoLoss, || {
            "the reader has changed and does not ask to have it written".to_owned()
        })
    }
}

impl Shell {
    fn push(&mut self, epoch: Epoch, output: Output) {
        self.queue.push_back(match output {
            Output::Persist(rows) => Item::Write(rows, None),
            Output::Send(message) => Item::Send(message),
            Output::Deliver(news) => Item::Deliver(epoch, news),
        });
    }

    /// Notes at the last write from `from` on what it makes true; false if there is none.
    fn date(&mut self, from: usize, truth: Option<Truth>) -> bool {
        let written = self.queue.iter_mut().skip(from).rev().find_map(|item| match item {
            Item::Write(_, slot) => Some(slot),
            Item::Send(_) | Item::Deliver(..) | Item::Answer(..) => None,
        });
        let Some(slot) = written else { return false };
        *slot = truth;
        true
    }
}

fn fresh_writer(rng: &mut Xoshiro256PlusPlus, config: WriterConfig) -> Writer {
    let epoch = Epoch(rng.random_range(1..=u128::MAX));
    Writer::new(epoch, config, StdRng::from_rng(rng))
}
