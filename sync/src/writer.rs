//! The writing end of a stream: owns its halves, gives every change a version and a position, and
//! brings the reader up to date with as few bytes as it can (protocol.md, section 3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::limits;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_schemas::wire::{Ack, Fetch, Hello, Message};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::backoff::{Backoff, Dice};
use crate::moment::Moment;
use crate::output::{Output, Row};

mod flight;
mod half;
mod retire;
mod send;
mod store;
#[cfg(test)]
mod tests;

use flight::Flights;
use half::{Base, WriterHalf};

/// What an operator may tune about a writer.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// The most batches in flight; the reader may ask for fewer.
    pub window: u8,
    /// Batches are cut at this many bytes; a larger single change travels alone.
    pub max_batch: usize,
    /// How long to wait for an answer.
    pub backoff: Backoff,
}

impl Default for WriterConfig {
    /// One batch of 16 KiB in flight: right for a metered link.
    fn default() -> Self {
        Self { window: 1, max_batch: 16 * 1024, backoff: Backoff::default() }
    }
}

/// What a writer has sent, since it was made or restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriterCounters {
    /// Batches with changes, retries included.
    pub batches: u64,
    /// Changes in them.
    pub changes: u64,
    /// Times that an answer did not come in time.
    pub retries: u64,
    /// Empty batches sent to ask for the reader's position.
    pub probes: u64,
    /// Manifests sent, however many parts each had.
    pub manifests: u64,
}

/// The current state of a half.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The document.
    pub document: &'a Packed,
    /// How many accepted changes it has seen.
    pub version: Version,
    /// Its last change's position in the stream; zero at a reader.
    pub seq: Seq,
}

/// What the writer knows of the reader in this session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contact {
    /// No link: nothing is sent.
    Down,
    /// A link, but the reader has not said where it stands.
    Silent,
    /// A manifest went out, answering a hello of this epoch.
    Manifest(Epoch),
    /// The reader has said where it stands.
    Known,
}

/// A retry that is due.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    due: Option<Moment>,
    attempt: u32,
}

/// The writing end of a stream. See the crate's documentation for how to drive it.
#[derive(Debug, Clone)]
pub struct Writer {
    epoch: Epoch,
    head: Seq,
    /// No half that is made from now on gets this version or a lower one.
    floor: Version,
    /// Tombstones up to here may have been forgotten.
    purged: Seq,
    halves: BTreeMap<ShadowKey, WriterHalf>,
    by_seq: BTreeMap<Seq, ShadowKey>,
    tombstones: BTreeSet<Seq>,
    /// No reader of this history stands beyond it: the last position that was sent, or that an
    /// earlier life may have sent.
    sent: Seq,
    /// The reader's position: told if the contact is `Known`, believed otherwise.
    position: Seq,
    /// Halves that the reader wants in full, whatever its position.
    wanted: BTreeSet<ShadowKey>,
    flights: Flights,
    contact: Contact,
    window: u8,
    retry: Retry,
    config: WriterConfig,
    rng: Dice,
    outputs: VecDeque<Output>,
    counters: WriterCounters,
}

impl Writer {
    /// A writer with a fresh store. `epoch` must be random and not zero.
    pub fn new(epoch: Epoch, config: WriterConfig, rng: StdRng) -> Self {
        let mut writer = Self::empty(epoch, config, rng);
        writer.persist(Vec::new());
        writer
    }

    /// Makes `document` the half's current one and gives back its version; a document that is
    /// equal to the current one changes nothing.
    pub fn put(&mut self, now: Moment, key: &ShadowKey, document: impl Into<Packed>) -> Version {
        self.change_all(now, [(key.clone(), Some(document.into()))]);
        self.last_version(key)
    }

    /// Deletes a half; `None` if there is none.
    pub fn delete(&mut self, now: Moment, key: &ShadowKey) -> Option<Version> {
        self.get(key)?;
        self.change_all(now, [(key.clone(), None)]);
        Some(self.last_version(key))
    }

    /// Puts halves, and deletes those without a document, as one change: it is persisted as a
    /// whole, and what fits into one batch travels in one.
    pub fn change_all(
        &mut self,
        now: Moment,
        changes: impl IntoIterator<Item = (ShadowKey, Option<Packed>)>,
    ) {
        let mut rows = Vec::new();
        for (key, document) in changes {
            if self.get(&key).map(|held| held.document) != document.as_ref() {
                rows.push(self.change(key, document));
            }
        }
        if !rows.is_empty() {
            self.persist(rows);
            self.send_changes(now);
        }
    }

    /// The link is up; nothing is sent until the reader says where it stands, or stays silent.
    pub fn link_up(&mut self, now: Moment) {
        self.contact = Contact::Silent;
        self.retry = Retry { due: Some(now + self.config.backoff.base * 10), attempt: 0 };
    }

    /// The link is down; nothing is sent until it is up again.
    pub fn link_down(&mut self) {
        self.contact = Contact::Down;
        self.retry = Retry::default();
        self.flights.ground();
    }

    /// Starts a new history over the present halves. To be called after the store was restored
    /// from a backup: what was promised since then under the old epoch is void.
    pub fn begin_epoch(&mut self) {
        self.epoch = Epoch(self.rng.random_range(1..=u128::MAX));
        self.sent = Seq::ZERO;
        self.flights.clear();
        self.persist(Vec::new());
        if self.contact != Contact::Down {
            self.contact = Contact::Silent;
        }
    }

    /// Takes a message of the reader. Others are ignored, as are messages without a link.
    pub fn receive(&mut self, now: Moment, message: &Message) {
        if self.contact == Contact::Down {
            return;
        }
        match message {
            Message::Hello(hello) => self.on_hello(now, hello),
            Message::Ack(ack) => self.on_ack(now, ack),
            Message::Fetch(fetch) => self.on_fetch(now, fetch),
            Message::Batch(_) | Message::Manifest(_) => {}
        }
    }

    /// Call when the moment of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now: Moment) {
        if self.retry.due.is_none_or(|due| due > now) {
            return;
        }
        self.retry.attempt = self.retry.attempt.saturating_add(1);
        match self.contact {
            Contact::Down => self.retry.due = None,
            Contact::Silent => self.send_probe(now),
            Contact::Manifest(answers) => self.send_manifest(now, answers),
            Contact::Known => {
                self.counters.retries += 1;
                self.flights.ground();
                self.retry.due = None;
                self.send_changes(now);
            }
        }
    }

    /// The next effect.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Self::handle_timeout`], and why.
    pub fn poll_timeout(&self) -> Option<(Moment, &'static str)> {
        let why = match self.contact {
            Contact::Down => return None,
            Contact::Silent => "the reader has not said where it stands",
            Contact::Manifest(_) => "the manifest has not been answered",
            Contact::Known => "a batch has not been acknowledged",
        };
        self.retry.due.map(|due| (due, why))
    }

    /// The half's current state, unless it was deleted or never was.
    pub fn get(&self, key: &ShadowKey) -> Option<Held<'_>> {
        self.halves.get(key).and_then(WriterHalf::held)
    }

    /// Every half that exists, by key.
    pub fn halves(&self) -> impl Iterator<Item = (&ShadowKey, Held<'_>)> {
        self.halves.iter().filter_map(|(key, half)| Some((key, half.held()?)))
    }

    /// The version that the half has or had last; zero if it never was.
    pub fn last_version(&self, key: &ShadowKey) -> Version {
        self.halves.get(key).map_or(Version::ZERO, |half| half.version)
    }

    /// The identity of this stream's history.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The position of the last change.
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// The reader's position, once it has told it in this session.
    pub fn acked(&self) -> Option<Seq> {
        (self.contact == Contact::Known).then_some(self.position)
    }

    /// Whether the reader is known to hold everything.
    pub fn is_in_sync(&self) -> bool {
        self.acked() == Some(self.head) && self.wanted.is_empty()
    }

    /// Whether there is something that the reader is not known to hold. Of one that has not said
    /// where it stands, what was believed last counts.
    pub fn owes(&self) -> bool {
        self.position < self.head || !self.wanted.is_empty()
    }

    /// What was sent so far.
    pub const fn counters(&self) -> &WriterCounters {
        &self.counters
    }

    /// Gives a change its position and its version; its row is to be persisted before anything is
    /// sent.
    fn change(&mut self, key: ShadowKey, document: Option<Packed>) -> Row {
        self.head = self.head.next();
        let old = self.halves.remove(&key);
        let version = old.as_ref().map_or(self.floor, |half| half.version).next();
        if let Some(old) = &old {
            self.by_seq.remove(&old.seq);
            self.tombstones.remove(&old.seq);
        }
        let base = old.and_then(|old| self.base_after(&key, old));
        if document.is_none() {
            self.tombstones.insert(self.head);
        }
        self.by_seq.insert(self.head, key.clone());
        let half = WriterHalf::new(version, self.head, document, base);
        let row = store::half_row(&key, &half);
        self.halves.insert(key, half);
        row
    }

    /// What the reader holds of a half that moves on to the head position: the state that it
    /// leaves, or, where the reader is further behind, what it held before; that may end with the
    /// first batch under way that carries the half.
    fn base_after(&self, key: &ShadowKey, old: WriterHalf) -> Option<Box<Base>> {
        if old.seq <= self.position && !self.wanted.contains(key) {
            return old.into_base(self.head);
        }
        let mut base = old.base?;
        base.until = self.flights.earliest(key).unwrap_or(self.head);
        Some(base)
    }

    /// A reader that says that it is lost, while batches are under way to where it stands, was
    /// overtaken by one of them: what is under way may still arrive, and else the timer is due.
    fn on_hello(&mut self, now: Moment, hello: &Hello) {
        self.window = hello.window.clamp(1, self.config.window.max(1));
        if let Some(position) = self.acked()
            && hello.epoch == self.epoch
            && self.flights.is_airborne()
            && position <= hello.seq
        {
            if position < hello.seq {
                self.on_ack(now, &Ack { epoch: hello.epoch, seq: hello.seq });
            }
            return;
        }
        self.wanted.clear();
        if self.reorient(now, hello.epoch, hello.seq) {
            self.retry = Retry::default();
            self.send_changes(now);
        }
    }

    /// Wishes add up until they are met: a reader that finds two halves misfit in two batches
    /// would else be sent the one in full and the other not, in turns, for ever.
    fn on_fetch(&mut self, now: Moment, fetch: &Fetch) {
        let before = (self.wanted.clone(), self.acked());
        if !self.reorient(now, fetch.epoch, fetch.seq) {
            self.wanted.clear();
            return;
        }
        let room = limits::SHADOWS_PER_NODE.saturating_sub(self.wanted.len());
        self.wanted.extend(fetch.keys.iter().take(room).cloned());
        if !self.wanted.is_empty() && (&self.wanted, self.acked()) == (&before.0, before.1) {
            self.arm(now, 0);
        } else {
            self.retry = Retry::default();
            self.send_changes(now);
        }
    }

    /// Learns where the reader says that it stands. False if that place is not in this history,
    /// or lies before a deletion that is forgotten: then a manifest is on its way. It goes out
    /// once; a reader that is told by every part of another one that it is lost, and says so each
    /// time, waits for the retry.
    fn reorient(&mut self, now: Moment, epoch: Epoch, seq: Seq) -> bool {
        if epoch == self.epoch && seq > self.sent {
            self.begin_epoch();
        }
        if epoch != self.epoch || seq < self.purged {
            if self.contact == Contact::Manifest(epoch) {
                return false;
            }
            self.flights.clear();
            self.retry = Retry::default();
            self.send_manifest(now, epoch);
            return false;
        }
        self.settle(seq);
        self.land();
        self.meet(seq);
        true
    }

    fn on_ack(&mut self, now: Moment, ack: &Ack) {
        if ack.epoch != self.epoch {
            return;
        }
        if ack.seq > self.sent {
            self.begin_epoch();
            self.send_manifest(now, ack.epoch);
            return;
        }
        self.settle(ack.seq);
        let position = match self.contact {
            Contact::Known => self.position.max(ack.seq),
            Contact::Down | Contact::Silent | Contact::Manifest(_) => ack.seq,
        };
        self.meet(position);
        self.retry.attempt = 0;
        self.retry.due = None;
        if self.flights.is_airborne() {
            self.arm(now, self.flights.bytes());
        }
        self.retire_tombstones();
        self.send_changes(now);
    }

    /// The reader stands at `position`: what it was known to hold before matters no longer.
    fn meet(&mut self, position: Seq) {
        let passed = (Bound::Excluded(self.position), Bound::Included(position.max(self.position)));
        for key in self.by_seq.range(passed).map(|(_, key)| key) {
            if let Some(half) = self.halves.get_mut(key) {
                half.base = None;
            }
        }
        self.position = position;
        self.contact = Contact::Known;
    }

    /// Learns from the batches that a reader at `seq` has seen what it holds.
    fn settle(&mut self, seq: Seq) {
        for cargo in self.flights.arrived(seq).into_iter().flat_map(|flight| flight.cargo) {
            self.wanted.remove(&cargo.key);
            let until = self.flights.earliest(&cargo.key);
            if let Some(half) = self.halves.get_mut(&cargo.key) {
                half.reader_holds(cargo, until);
            }
        }
    }

    /// Forgets the batches that the reader, as it says itself, has not seen.
    fn land(&mut self) {
        for cargo in self.flights.take().flat_map(|flight| flight.cargo) {
            if let Some(half) = self.halves.get_mut(&cargo.key)
                && let Some(base) = &mut half.base
            {
                base.until = half.seq;
            }
        }
    }

    /// Waits for an answer to the `bytes` that are under way.
    fn arm(&mut self, now: Moment, bytes: usize) {
        let delay = self.config.backoff.delay(self.retry.attempt, bytes, &mut self.rng);
        self.retry.due = Some(now + delay);
    }
}
