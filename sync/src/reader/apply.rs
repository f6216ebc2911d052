//! Judging a batch, and taking it whole or not at all.

use std::collections::BTreeSet;

use gnomon_schemas::document::{Document, Packed};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Digest, Seq, Version};
use gnomon_schemas::wire::{Batch, Body, Entry};

use super::{Reader, ReaderHalf};
use crate::output::{Delivery, Output};

/// What to do with a batch.
pub(super) enum Verdict {
    /// It tells nothing new.
    Nothing,
    /// Some changes do not fit what is held; none is taken.
    Misfit(BTreeSet<ShadowKey>),
    /// It is taken, with these changes.
    Take(Vec<Delivery>),
}

/// What to do with one change.
enum Judgement {
    /// What is held is as new or newer.
    Old,
    /// It does not fit what is held.
    Misfit,
    /// The half becomes this.
    New(Option<Packed>),
}

impl Reader {
    /// Judges a batch of this epoch that starts at or before this reader's position.
    pub(super) fn judge(&self, batch: &Batch) -> Verdict {
        let old = batch.seq <= self.seq;
        if old && !batch.changes.iter().any(|entry| self.missing.contains_key(&entry.key)) {
            return Verdict::Nothing;
        }
        let mut changes = Vec::new();
        let mut misfits = BTreeSet::new();
        for entry in &batch.changes {
            let (key, version) = (entry.key.clone(), entry.version);
            match self.judge_entry(entry, old) {
                Judgement::Old => {}
                Judgement::Misfit => drop(misfits.insert(key)),
                Judgement::New(document) => changes.push(Delivery { key, version, document }),
            }
        }
        if misfits.is_empty() { Verdict::Take(changes) } else { Verdict::Misfit(misfits) }
    }

    /// Judges one change. An old batch can only bring what is missing: of the rest it may even
    /// hold what was deleted since.
    fn judge_entry(&self, entry: &Entry, batch_is_old: bool) -> Judgement {
        let held = self.halves.get(&entry.key);
        let missing = self.missing.get(&entry.key);
        let old = match missing {
            Some(named) => entry.version < *named,
            None => batch_is_old || held.is_some_and(|held| entry.version <= held.version),
        };
        if old {
            return Judgement::Old;
        }
        let missing = missing.is_some();
        match &entry.body {
            Body::Gone if held.is_none() && !missing => Judgement::Old,
            Body::Gone => Judgement::New(None),
            Body::Full(document, digest) => fitting(document, *digest),
            Body::Patch(patch, digest) if !missing => held
                .filter(|held| held.version == entry.base)
                .and_then(|held| held.document.unpack().applied(patch).ok())
                .map_or(Judgement::Misfit, |document| fitting(&document, *digest)),
            Body::Patch(..) => Judgement::Misfit,
        }
    }

    /// Takes changes and moves to `seq`: one transaction, then the answer, then the news.
    pub(super) fn take(&mut self, seq: Seq, changes: Vec<Delivery>) {
        self.seq = seq;
        self.counters.changes += changes.len() as u64;
        let mut rows = Vec::new();
        for change in &changes {
            rows.extend(self.set(&change.key, change.version, change.document.clone()));
        }
        self.persist(rows);
        self.answer();
        self.outputs.extend(changes.into_iter().map(Output::Deliver));
    }

    /// Sets one half in memory; gives back the rows to write.
    pub(super) fn set(
        &mut self,
        key: &ShadowKey,
        version: Version,
        document: Option<Packed>,
    ) -> impl Iterator<Item = crate::output::Row> + use<> {
        let found = self.missing.remove(key).map(|_| super::store::found_row(key));
        let row = if let Some(document) = document {
            let half = ReaderHalf { version, document };
            let row = super::store::half_row(key, &half);
            self.halves.insert(key.clone(), half);
            row
        } else {
            self.halves.remove(key);
            super::store::gone_row(key)
        };
        [Some(row), found].into_iter().flatten()
    }
}

/// A document that is what the writer says that it is, or none.
fn fitting(document: &Document, digest: Digest) -> Judgement {
    let packed = Packed::from(document);
    if packed.digest() == digest { Judgement::New(Some(packed)) } else { Judgement::Misfit }
}
