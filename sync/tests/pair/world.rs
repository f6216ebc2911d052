//! The world of the two machines: their disks, the messages between them, and the checks.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_schemas::document::{Document, Packed, Patch};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::MessageKind;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_schemas::wire::Message;
use gnomon_sync::{Held, Moment, Output, Reader, ReaderConfig, Row, Writer, WriterConfig};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// One of the two machines.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Writer,
    Reader,
}

/// Everything that can happen.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// The application sets a field of one of a few halves at the writer.
    Set(u8, u8, u8),
    /// The application deletes a half.
    Delete(u8),
    /// The application sets a field of several halves at once, or deletes them.
    Together(Vec<(u8, Option<u8>)>),
    /// A machine carries out its next effect.
    Step(End),
    /// Some message arrives.
    Arrive(u8),
    /// Some message arrives and stays under way.
    Repeat(u8),
    /// Some message is lost.
    Lose(u8),
    /// A machine dies between two effects and starts again from its disk.
    Crash(End),
    /// The link goes down; what is under way stays there, and may come late.
    LinkDown,
    /// The link comes up.
    LinkUp,
    /// Time passes, in milliseconds.
    Wait(u16),
    /// Someone copies the writer's disk.
    Backup,
    /// Someone puts that copy back and says so.
    RestoreBackup,
    /// The reader's disk is lost.
    WipeReader,
}

type Disk = BTreeMap<Vec<u8>, Vec<u8>>;

/// Every document that a writer ever made durable.
type History = BTreeMap<(Epoch, ShadowKey, Version), Packed>;

pub(crate) struct World {
    now: Moment,
    rng: StdRng,
    window: u8,
    max_batch: usize,
    writer: Writer,
    writer_disk: Disk,
    reader: Reader,
    reader_disk: Disk,
    backup: Option<Disk>,
    network: Vec<Message>,
    up: bool,
    history: History,
    epochs: Vec<Epoch>,
    last: (Epoch, Seq),
    delivered: BTreeMap<(Epoch, ShadowKey), Version>,
    trace: Vec<String>,
}

/// With `TRACE=1` a failing run tells its story.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("TRACE").is_some() {
            eprintln!("trace:\n  {}", self.trace.join("\n  "));
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, window: u8, max_batch: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let config = WriterConfig { window, max_batch, ..WriterConfig::default() };
        let epoch = Epoch(rng.random_range(1..=u128::MAX));
        let writer = Writer::new(epoch, config, StdRng::seed_from_u64(seed ^ 1));
        Self {
            now: Moment::from_millis(0),
            rng,
            window,
            max_batch,
            writer,
            writer_disk: Disk::new(),
            reader: Reader::new(ReaderConfig { window }),
            reader_disk: Disk::new(),
            backup: None,
            network: Vec::new(),
            up: false,
            history: History::new(),
            epochs: vec![Epoch::NONE],
            last: (Epoch::NONE, Seq::ZERO),
            delivered: BTreeMap::new(),
            trace: Vec::new(),
        }
    }

    pub(crate) fn act(&mut self, action: &Action) {
        self.trace.push(format!("{action:?}"));
        match *action {
            Action::Set(key, field, value) => self.set(key, field, value),
            Action::Together(ref changes) => self.set_together(changes),
            Action::Delete(key) => drop(self.writer.delete(self.now, &key_of(key))),
            Action::Step(end) => drop(self.step(end)),
            Action::Arrive(pick) => self.arrive(pick, false),
            Action::Repeat(pick) => self.arrive(pick, true),
            Action::Lose(pick) => drop(self.pick(pick).map(|at| self.network.swap_remove(at))),
            Action::Crash(End::Writer) => self.start_writer(false),
            Action::Crash(End::Reader) => self.start_reader(),
            Action::LinkDown => self.link_down(),
            Action::LinkUp => self.link_up(),
            Action::Wait(millis) => self.wait(Duration::from_millis(millis.into())),
            Action::Backup => self.backup = Some(self.writer_disk.clone()),
            Action::RestoreBackup => self.restore_backup(),
            Action::WipeReader => {
                self.restore_reader(Disk::new());
                self.last = (Epoch::NONE, Seq::ZERO);
            }
        }
    }

    /// Safety, after every action: no ghosts.
    pub(crate) fn check(&self) {
        for (key, held) in self.reader.halves() {
            let at_some_time = self
                .epochs
                .iter()
                .filter_map(|epoch| self.history.get(&(*epoch, key.clone(), held.version)))
                .any(|document| document == held.document);
            assert!(at_some_time, "{key} v{} at the reader is a ghost", held.version);
        }
    }

    /// Liveness: with a working link and time, both ends become equal, and then fall silent.
    pub(crate) fn settle(&mut self) {
        self.trace.push("settle".to_owned());
        self.link_down();
        self.network.clear();
        self.link_up();
        for round in 0..2_000 {
            while self.step(End::Writer) || self.step(End::Reader) {}
            if self.network.is_empty() {
                if self.writer.is_in_sync() && !self.reader.is_incomplete() {
                    break;
                }
                let (due, _) = self.writer.poll_timeout().expect("not in sync, so a timer runs");
                self.wait(due.saturating_since(self.now));
            } else {
                let pick = self.rng.random_range(0..=u8::MAX);
                self.arrive(pick, false);
            }
            self.check();
            assert!(round < 1_999, "no end");
        }
        let held = |reader: &Reader| -> Vec<_> {
            let own = |(k, h): (&ShadowKey, Held<'_>)| (k.clone(), h.version, h.document.clone());
            reader.halves().map(own).collect()
        };
        let own = |(k, h): (&ShadowKey, Held<'_>)| (k.clone(), h.version, h.document.clone());
        let wanted: Vec<_> = self.writer.halves().map(own).collect();
        assert_eq!(wanted, held(&self.reader));
        assert_eq!(self.writer.epoch(), self.reader.epoch());
        assert_eq!(self.writer.head(), self.reader.seq());
        self.start_reader();
        assert_eq!(wanted, held(&self.reader), "the disk holds something else than the memory");
    }

    pub(crate) fn put_named(&mut self, key: &str, value: u8) {
        let document = Document::from_value(json!({ "v": value })).unwrap();
        self.writer.put(self.now, &key.parse().unwrap(), document);
    }

    pub(crate) fn delete_named(&mut self, key: &str) {
        self.writer.delete(self.now, &key.parse().unwrap());
    }

    pub(crate) fn reader_disk(&self) -> Disk {
        self.reader_disk.clone()
    }

    pub(crate) fn restore_reader(&mut self, disk: Disk) {
        self.reader_disk = disk;
        self.delivered.clear();
        self.start_reader();
        self.last = (self.reader.epoch(), self.reader.seq());
    }

    pub(crate) fn reader_keys(&self) -> Vec<String> {
        self.reader.halves().map(|(key, _)| key.to_string()).collect()
    }

    fn set(&mut self, key: u8, field: u8, value: u8) {
        let document = self.with_field(&key_of(key), field, value);
        self.writer.put(self.now, &key_of(key), document);
    }

    fn set_together(&mut self, changes: &[(u8, Option<u8>)]) {
        let change = |&(key, value): &(u8, Option<u8>)| {
            let key = key_of(key);
            let document = value.map(|value| self.with_field(&key, 0, value).into());
            (key, document)
        };
        let changes: Vec<_> = changes.iter().map(change).collect();
        self.writer.change_all(self.now, changes);
    }

    fn with_field(&self, key: &ShadowKey, field: u8, value: u8) -> Document {
        let patch =
            json!({ format!("field{field}"): if value == 0 { json!(null) } else { json!(value) } });
        let patch = Patch::from_value(patch).unwrap();
        let current = self.writer.get(key).map(|held| held.document.unpack());
        current.unwrap_or_default().apply(&patch).unwrap()
    }

    /// Carries out one effect of a machine; false if it has none.
    fn step(&mut self, end: End) -> bool {
        let output = match end {
            End::Writer => self.writer.poll_output(),
            End::Reader => self.reader.poll_output(),
        };
        match output {
            None => return false,
            Some(Output::Persist(rows)) => self.write(end, rows),
            Some(Output::Send(message)) => self.send(message),
            Some(Output::Deliver(news)) => {
                let key = (self.last.0, news.key);
                if news.document.is_some() {
                    let last = self.delivered.insert(key.clone(), news.version);
                    let again = last.is_some_and(|last| last >= news.version);
                    assert!(!again, "{key:?} v{} was delivered again", news.version);
                }
            }
        }
        true
    }

    fn write(&mut self, end: End, rows: Vec<Row>) {
        let disk = match end {
            End::Writer => &mut self.writer_disk,
            End::Reader => &mut self.reader_disk,
        };
        for row in rows {
            match row.value {
                Some(value) => disk.insert(row.key, value),
                None => disk.remove(&row.key),
            };
        }
        match end {
            End::Writer => self.remember(),
            End::Reader => self.check_monotonic(),
        }
    }

    /// What the reader has made durable never goes back.
    fn check_monotonic(&mut self) {
        let disk = self.reader_disk.clone();
        let durable = Reader::restore(disk, ReaderConfig::default()).unwrap().unwrap();
        let (epoch, seq) = (durable.epoch(), durable.seq());
        let position = |of: Epoch| self.epochs.iter().position(|known| *known == of);
        let (was, is) = (position(self.last.0), position(epoch));
        assert!(is.is_some(), "the reader follows an epoch that no writer ever had");
        assert!(was <= is, "the reader went back to an older epoch");
        if self.last.0 == epoch {
            assert!(self.last.1 <= seq, "the reader went back from {} to {seq}", self.last.1);
        }
        self.last = (epoch, seq);
    }

    /// Adds what the writer has made durable to the history.
    fn remember(&mut self) {
        let disk = self.writer_disk.clone();
        let rng = StdRng::seed_from_u64(0);
        let durable = Writer::restore(disk, WriterConfig::default(), rng).unwrap().unwrap();
        if self.epochs.last() != Some(&durable.epoch()) {
            self.epochs.push(durable.epoch());
        }
        for (key, held) in durable.halves() {
            let place = (durable.epoch(), key.clone(), held.version);
            let before = self.history.insert(place, held.document.clone());
            assert!(
                before.is_none_or(|before| before == *held.document),
                "{key} v{} was made twice in one epoch",
                held.version
            );
        }
    }

    /// Puts a message on the network, by way of its bytes; acks and hellos must be true.
    fn send(&mut self, message: Message) {
        let bytes = message.encode();
        let again = Message::decode(message.kind(), &bytes).expect("own messages decode");
        assert_eq!(again, message);
        let promised = match &message {
            Message::Ack(ack) => Some((ack.epoch, ack.seq)),
            Message::Hello(hello) => Some((hello.epoch, hello.seq)),
            Message::Fetch(_) | Message::Batch(_) | Message::Manifest(_) => None,
        };
        if let Some((epoch, seq)) = promised
            && seq > Seq::ZERO
        {
            let disk = self.reader_disk.clone();
            let durable = Reader::restore(disk, ReaderConfig::default()).unwrap().unwrap();
            assert_eq!(durable.epoch(), epoch, "an epoch was promised before it was durable");
            assert!(durable.seq() >= seq, "a position was promised before it was durable");
        }
        self.trace.push(format!("send {message:?}"));
        if self.up {
            self.network.push(message);
        }
    }

    fn pick(&self, pick: u8) -> Option<usize> {
        (!self.network.is_empty()).then(|| usize::from(pick) % self.network.len())
    }

    fn arrive(&mut self, pick: u8, stays: bool) {
        let Some(at) = self.pick(pick) else { return };
        let message = if stays { self.network[at].clone() } else { self.network.swap_remove(at) };
        self.trace.push(format!("arrives: {message:?}"));
        match message.kind() {
            MessageKind::Batch | MessageKind::Manifest => self.reader.receive(self.now, &message),
            MessageKind::Hello | MessageKind::Ack | MessageKind::Fetch => {
                self.writer.receive(self.now, &message);
            }
        }
    }

    fn link_down(&mut self) {
        self.up = false;
        self.writer.link_down();
        self.reader.link_down();
    }

    fn link_up(&mut self) {
        if !self.up {
            self.up = true;
            self.writer.link_up(self.now);
            self.reader.link_up(self.now);
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.writer.handle_timeout(self.now);
    }

    fn start_writer(&mut self, restored_from_backup: bool) {
        let config = WriterConfig {
            window: self.window,
            max_batch: self.max_batch,
            ..WriterConfig::default()
        };
        let seed = self.rng.random();
        let rng = || StdRng::seed_from_u64(seed);
        let restored = Writer::restore(self.writer_disk.clone(), config, rng()).unwrap();
        self.writer = restored.unwrap_or_else(|| {
            Writer::new(Epoch(self.rng.random_range(1..=u128::MAX)), config, rng())
        });
        if restored_from_backup {
            self.writer.begin_epoch();
        }
        if self.up {
            self.writer.link_up(self.now);
        }
    }

    fn start_reader(&mut self) {
        let config = ReaderConfig { window: self.window };
        let restored = Reader::restore(self.reader_disk.clone(), config).unwrap();
        self.reader = restored.unwrap_or_else(|| Reader::new(config));
        if self.up {
            self.reader.link_up(self.now);
        }
    }

    /// The new epoch is durable before the machine runs: a shell restores in one go.
    fn restore_backup(&mut self) {
        if let Some(backup) = self.backup.clone() {
            self.writer_disk = backup;
            self.start_writer(true);
            while self.step(End::Writer) {}
        }
    }
}

fn key_of(pick: u8) -> ShadowKey {
    ["node", "app/web", "device/p1"][usize::from(pick)].parse().unwrap()
}
