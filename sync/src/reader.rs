//! The reading end of a stream: follows the writer's halves, takes every change once, never goes
//! back, and says where it stands whenever it is lost (protocol.md, section 3).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Seq, Version};
use gnomon_schemas::wire::{Ack, Batch, Fetch, Hello, Manifest, Message};

use crate::moment::Moment;
use crate::output::Output;
use crate::writer::Held;

mod adopt;
mod apply;
mod store;
#[cfg(test)]
mod tests;

use adopt::Collection;
use apply::Verdict;

/// The most halves asked for in one message; the rest are asked for as these arrive.
const FETCH_KEYS: usize = 256;

/// What an operator may tune about a reader.
#[derive(Debug, Clone, Copy)]
pub struct ReaderConfig {
    /// The most batches that the writer should have in flight.
    pub window: u8,
}

impl Default for ReaderConfig {
    /// One batch in flight: right for a metered link.
    fn default() -> Self {
        Self { window: 1 }
    }
}

/// What a reader has received, since it was made or restored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReaderCounters {
    /// Batches that changed something.
    pub applied: u64,
    /// Changes taken from them.
    pub changes: u64,
    /// Batches that told nothing new.
    pub duplicates: u64,
    /// Batches that started after this reader's position.
    pub gaps: u64,
    /// Batches and manifests of another history.
    pub strangers: u64,
    /// Times that a change did not fit, and whole documents were asked for.
    pub fetches: u64,
    /// Manifests taken over.
    pub adopted: u64,
}

/// The reading end of a stream. See the crate's documentation for how to drive it.
#[derive(Debug, Clone)]
pub struct Reader {
    epoch: Epoch,
    seq: Seq,
    halves: BTreeMap<ShadowKey, ReaderHalf>,
    /// Halves that a manifest named and whose documents have not come yet, with the versions that
    /// it named: an older document may still be under way, and is not the one that is missing.
    missing: BTreeMap<ShadowKey, Version>,
    collection: Option<Collection>,
    config: ReaderConfig,
    outputs: VecDeque<Output>,
    counters: ReaderCounters,
}

/// A half as the reader holds it.
#[derive(Debug, Clone)]
struct ReaderHalf {
    version: Version,
    document: Packed,
}

impl Reader {
    /// A reader that has never heard of its writer.
    pub fn new(config: ReaderConfig) -> Self {
        Self {
            epoch: Epoch::NONE,
            seq: Seq::ZERO,
            halves: BTreeMap::new(),
            missing: BTreeMap::new(),
            collection: None,
            config,
            outputs: VecDeque::new(),
            counters: ReaderCounters::default(),
        }
    }

    /// The link is up: says where this reader stands.
    pub fn link_up(&mut self, _now: Moment) {
        self.announce();
    }

    /// The link is down: what was collected of an unfinished manifest is void.
    pub fn link_down(&mut self) {
        self.collection = None;
    }

    /// What this reader holds may be older than what it once held: its store went back. It gives up
    /// its position, so that the writer says by a manifest what exists; until then, and after a
    /// restart too, what is held is in doubt.
    pub fn give_up_position(&mut self) {
        self.epoch = Epoch::NONE;
        self.seq = Seq::ZERO;
        self.collection = None;
        let missing = std::mem::take(&mut self.missing);
        self.persist(missing.keys().map(store::found_row).collect());
    }

    /// Takes a message of the writer. Others are ignored.
    pub fn receive(&mut self, _now: Moment, message: &Message) {
        match message {
            Message::Batch(batch) => self.on_batch(batch),
            Message::Manifest(manifest) => self.on_manifest(manifest),
            Message::Hello(_) | Message::Ack(_) | Message::Fetch(_) => {}
        }
    }

    /// The next effect.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The half's state here, if it exists.
    pub fn get(&self, key: &ShadowKey) -> Option<Held<'_>> {
        self.halves.get(key).map(ReaderHalf::held)
    }

    /// Every half that exists here, by key.
    pub fn halves(&self) -> impl Iterator<Item = (&ShadowKey, Held<'_>)> {
        self.halves.iter().map(|(key, half)| (key, half.held()))
    }

    /// The history that this reader follows; [`Epoch::NONE`] before the first.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Everything up to here is held.
    pub const fn seq(&self) -> Seq {
        self.seq
    }

    /// Whether documents that a manifest named are still to come.
    pub fn is_incomplete(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Whether all that is held is in doubt, since the position was given up.
    pub fn is_in_doubt(&self) -> bool {
        self.epoch == Epoch::NONE && !self.halves.is_empty()
    }

    /// Whether what is held of a half is known not to be the newest, or not known to be.
    pub fn doubts(&self, key: &ShadowKey) -> bool {
        self.is_in_doubt() || self.missing.contains_key(key)
    }

    /// What was received so far.
    pub const fn counters(&self) -> &ReaderCounters {
        &self.counters
    }

    fn on_batch(&mut self, batch: &Batch) {
        if batch.epoch != self.epoch {
            self.counters.strangers += 1;
            return self.announce();
        }
        if batch.after > self.seq {
            self.counters.gaps += 1;
            return self.announce();
        }
        match self.judge(batch) {
            Verdict::Nothing => {
                self.counters.duplicates += 1;
                self.answer();
            }
            Verdict::Misfit(keys) => {
                self.counters.fetches += 1;
                self.send_fetch(&keys);
            }
            Verdict::Take(changes) => {
                self.counters.applied += 1;
                self.take(batch.seq.max(self.seq), changes);
            }
        }
    }

    /// A manifest that tells nothing new, or is not meant for where this reader stands, is answered
    /// once, and not for each of its parts: the writer sends them all together, also again.
    fn on_manifest(&mut self, manifest: &Manifest) {
        let is_first = manifest.part == 0;
        if manifest.epoch == self.epoch && manifest.seq <= self.seq {
            self.counters.duplicates += 1;
            if is_first {
                self.answer();
            }
            return;
        }
        if manifest.answers != self.epoch {
            self.counters.strangers += 1;
            if is_first {
                self.announce();
            }
            return;
        }
        if let Some(entries) = Collection::add(&mut self.collection, manifest) {
            self.counters.adopted += 1;
            self.adopt(manifest.epoch, manifest.seq, entries);
        }
    }

    /// Tells the writer that everything up to here is durable, or what is still missing.
    fn answer(&mut self) {
        if self.missing.is_empty() {
            let ack = Ack { epoch: self.epoch, seq: self.seq };
            self.outputs.push_back(Output::Send(Message::Ack(ack)));
        } else {
            self.send_fetch(&BTreeSet::new());
        }
    }

    /// Says where this reader stands; while documents are missing, by asking for them, so that
    /// the writer cannot take the position for the whole truth.
    fn announce(&mut self) {
        if self.missing.is_empty() {
            let hello = Hello { epoch: self.epoch, seq: self.seq, window: self.config.window };
            self.outputs.push_back(Output::Send(Message::Hello(hello)));
        } else {
            self.send_fetch(&BTreeSet::new());
        }
    }

    /// Asks for whole documents: those that did not fit, then those that are missing.
    fn send_fetch(&mut self, misfits: &BTreeSet<ShadowKey>) {
        let missing = self.missing.keys().filter(|key| !misfits.contains(*key));
        let keys: Vec<_> = misfits.iter().chain(missing).take(FETCH_KEYS).cloned().collect();
        let fetch = Fetch { epoch: self.epoch, seq: self.seq, keys };
        self.outputs.push_back(Output::Send(Message::Fetch(fetch)));
    }
}

impl ReaderHalf {
    const fn held(&self) -> Held<'_> {
        Held { document: &self.document, version: self.version, seq: Seq::ZERO }
    }
}
