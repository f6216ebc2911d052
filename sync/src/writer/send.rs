//! What goes on the wire: batches cut to size, manifests, probes.

use std::ops::Bound;

use gnomon_schemas::document::{Packed, diff};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_schemas::wire::{Batch, Body, Entry, Manifest, ManifestEntry, Message};

use super::flight::Cargo;
use super::half::WriterHalf;
use super::{Contact, Writer};
use crate::moment::Moment;
use crate::output::Output;

/// About the bytes of one manifest entry beyond its key.
const MANIFEST_ENTRY: usize = 24;

/// The changes of one batch, as they are collected.
struct Load {
    bytes: usize,
    entries: Vec<Entry>,
    cargo: Vec<Cargo>,
}

impl Writer {
    /// Sends what the reader does not have, as far as the window allows.
    pub(super) fn send_changes(&mut self, now: Moment) {
        while self.contact == Contact::Known && self.flights.airborne().count() < self.open_window()
        {
            let after = self.flights.airborne().next_back().map_or(self.position, |last| last.seq);
            let Some((seq, load)) = self.load(after) else { return };
            self.sent = self.sent.max(seq);
            self.counters.batches += 1;
            self.counters.changes += load.entries.len() as u64;
            self.flights.launch(seq, load.bytes, load.cargo);
            let batch = Batch { epoch: self.epoch, after, seq, changes: load.entries };
            self.outputs.push_back(Output::Send(Message::Batch(batch)));
            self.arm(now, self.flights.bytes());
        }
    }

    /// How many batches may be in flight now. A reader that lacks documents answers every batch
    /// with a wish, and a wish makes void what is under way: more than one would multiply.
    fn open_window(&self) -> usize {
        if self.wanted.is_empty() { usize::from(self.window) } else { 1 }
    }

    /// Asks a silent reader where it stands: it answers an empty batch with an ack or a hello.
    pub(super) fn send_probe(&mut self, now: Moment) {
        self.counters.probes += 1;
        let (epoch, head) = (self.epoch, self.head);
        let probe = Batch { epoch, after: head, seq: head, changes: Vec::new() };
        self.outputs.push_back(Output::Send(Message::Batch(probe)));
        self.arm(now, 0);
    }

    /// Tells a reader of another history what exists. A reader that takes this over holds nothing
    /// of what was deleted, so that what was known of it is void.
    pub(super) fn send_manifest(&mut self, now: Moment, answers: Epoch) {
        self.halves.values_mut().for_each(|half| half.base = None);
        self.contact = Contact::Manifest(answers);
        self.counters.manifests += 1;
        let parts = self.manifest_parts();
        self.sent = self.head;
        let count = u32::try_from(parts.len()).expect("a manifest has fewer parts than shadows");
        let mut bytes = 0;
        for (part, entries) in (0..).zip(parts) {
            let (epoch, seq) = (self.epoch, self.head);
            let manifest = Manifest { epoch, seq, answers, part, parts: count, entries };
            let message = Message::Manifest(manifest);
            bytes += message.encode().len();
            self.outputs.push_back(Output::Send(message));
        }
        self.arm(now, bytes);
    }

    fn manifest_parts(&self) -> Vec<Vec<ManifestEntry>> {
        let mut parts = vec![Vec::new()];
        let mut room = self.config.max_batch;
        for (key, half) in &self.halves {
            let Some(document) = &half.document else { continue };
            let size = key.to_string().len() + MANIFEST_ENTRY;
            if size > room {
                parts.push(Vec::new());
                room = self.config.max_batch;
            }
            room = room.saturating_sub(size);
            let (version, digest) = (half.version, document.digest());
            let entry = ManifestEntry { key: key.clone(), version, digest };
            parts.last_mut().expect("there is always a part").push(entry);
        }
        parts
    }

    /// The next batch for a reader that will stand at `after`, and where it then stands.
    fn load(&self, after: Seq) -> Option<(Seq, Load)> {
        let mut load = Load { bytes: 0, entries: Vec::new(), cargo: Vec::new() };
        for key in self.repairs(after) {
            if !self.add(&mut load, key, after) {
                return Some((after, load));
            }
        }
        let mut seq = after;
        for (at, key) in self.by_seq.range((Bound::Excluded(after), Bound::Unbounded)) {
            if !self.add(&mut load, key, after) {
                return Some((seq, load));
            }
            seq = *at;
        }
        (!load.entries.is_empty()).then_some((self.head, load))
    }

    /// Halves that are wanted in full although they have not changed after `after`.
    fn repairs(&self, after: Seq) -> impl Iterator<Item = &ShadowKey> {
        self.wanted.iter().filter(move |key| {
            let unchanged = self.halves.get(*key).is_none_or(|half| half.seq <= after);
            unchanged && self.flights.latest(key).is_none()
        })
    }

    /// Adds a half's change, unless the batch is full.
    fn add(&self, load: &mut Load, key: &ShadowKey, after: Seq) -> bool {
        let (entry, cargo) = match self.halves.get(key) {
            Some(half) => self.entry(key, half),
            None => self.unknown(key, after),
        };
        let bytes = entry.encoded_len();
        if !load.entries.is_empty() && load.bytes + bytes > self.config.max_batch {
            return false;
        }
        load.bytes += bytes;
        load.entries.push(entry);
        load.cargo.push(cargo);
        true
    }

    fn entry(&self, key: &ShadowKey, half: &WriterHalf) -> (Entry, Cargo) {
        let body = match &half.document {
            None => (Version::ZERO, Body::Gone),
            Some(document) => self.body(key, half, document),
        };
        let document = half.document.clone();
        let cargo = Cargo { key: key.clone(), version: half.version, seq: half.seq, document };
        let (base, body) = body;
        (Entry { key: key.clone(), base, version: half.version, body }, cargo)
    }

    /// The shorter of a patch and the whole document, where the reader's document is known.
    fn body(&self, key: &ShadowKey, half: &WriterHalf, packed: &Packed) -> (Version, Body) {
        let full = || (Version::ZERO, Body::Full(packed.unpack(), packed.digest()));
        let (version, base) = match self.flights.latest(key) {
            Some(Cargo { version, document: Some(document), .. }) => (*version, document),
            Some(Cargo { document: None, .. }) => return full(),
            None if self.wanted.contains(key) => return full(),
            None => match half.base_at(self.position) {
                Some(base) => (base.version, &base.document),
                None => return full(),
            },
        };
        let patch = diff(&base.unpack(), &packed.unpack());
        if patch.to_cbor().len() < packed.as_cbor().len() {
            (version, Body::Patch(patch, packed.digest()))
        } else {
            full()
        }
    }

    /// The answer to a wish for a half that does not exist here.
    fn unknown(&self, key: &ShadowKey, after: Seq) -> (Entry, Cargo) {
        let version = self.floor.max(Version(1));
        let cargo = Cargo { key: key.clone(), version, seq: after, document: None };
        (Entry { key: key.clone(), base: Version::ZERO, version, body: Body::Gone }, cargo)
    }
}
