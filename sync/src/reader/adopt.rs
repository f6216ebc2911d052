//! Taking over another history: what the manifest does not name goes, what is equal stays, and
//! the rest is asked for.

use std::collections::BTreeMap;

use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::limits;
use gnomon_schemas::version::{Digest, Epoch, Seq, Version};
use gnomon_schemas::wire::{Manifest, ManifestEntry};

use super::Reader;
use crate::output::{Delivery, Output};

/// The parts of a manifest that have come so far.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    epoch: Epoch,
    seq: Seq,
    parts: u32,
    entries: BTreeMap<u32, Vec<ManifestEntry>>,
}

/// A whole manifest.
pub(super) type Entries = BTreeMap<ShadowKey, (Version, Digest)>;

impl Collection {
    /// Adds a part; gives back the whole manifest when it was the last one missing. A part of
    /// another manifest than the one being collected begins a new collection.
    pub(super) fn add(slot: &mut Option<Self>, part: &Manifest) -> Option<Entries> {
        let same =
            |it: &Self| it.epoch == part.epoch && it.seq == part.seq && it.parts == part.parts;
        let mut collection = slot.take().filter(same).unwrap_or_else(|| Self {
            epoch: part.epoch,
            seq: part.seq,
            parts: part.parts,
            entries: BTreeMap::new(),
        });
        if part.part < part.parts {
            collection.entries.insert(part.part, part.entries.clone());
        }
        let held: usize = collection.entries.values().map(Vec::len).sum();
        if held > limits::SHADOWS_PER_NODE || collection.entries.len() > limits::SHADOWS_PER_NODE {
            return None;
        }
        if collection.entries.len() < part.parts as usize || part.parts == 0 {
            *slot = Some(collection);
            return None;
        }
        let entries = collection.entries.into_values().flatten();
        Some(entries.map(|entry| (entry.key, (entry.version, entry.digest))).collect())
    }
}

impl Reader {
    /// Takes over the history of a manifest: one transaction, then the answer, then the news.
    pub(super) fn adopt(&mut self, epoch: Epoch, seq: Seq, entries: Entries) {
        self.epoch = epoch;
        self.seq = seq;
        let gone: Vec<_> =
            self.halves.keys().filter(|key| !entries.contains_key(*key)).cloned().collect();
        let stale: Vec<_> =
            self.missing.keys().filter(|key| !entries.contains_key(*key)).cloned().collect();
        let mut rows = Vec::new();
        let mut news = Vec::new();
        for key in gone {
            let version = self.halves.get(&key).map_or(Version::ZERO, |half| half.version);
            rows.extend(self.set(&key, version, None));
            news.push(Output::Deliver(Delivery { key, version, document: None }));
        }
        for key in stale {
            self.missing.remove(&key);
            rows.push(super::store::found_row(&key));
        }
        for (key, (version, digest)) in entries {
            let held = self.halves.get(&key).map(|half| half.document.clone());
            if let Some(document) = held.filter(|document| document.digest() == digest) {
                rows.extend(self.set(&key, version, Some(document)));
            } else {
                rows.push(super::store::missing_row(&key, version));
                self.missing.insert(key, version);
            }
        }
        self.persist(rows);
        self.answer();
        self.outputs.extend(news);
    }
}
