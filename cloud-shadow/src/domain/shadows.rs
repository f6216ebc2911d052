//! The counters that a node's shadows have beside their halves, and how many there are.

use std::collections::BTreeMap;
use std::ops::Bound;

use gnomon_schemas::document::{Document, Packed, Patch};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Half, Version};

use super::command::{Author, Now};
use super::history::Entry as Past;
use super::lazy::LazyDocument;
use super::times::{Stamp, Times};
use crate::rows::{self, HalfRecord, ShadowRecord};
use crate::store::Op;

/// The counters of every shadow of a node, also of those that were deleted, so that a shadow that
/// comes back goes on counting.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    entries: BTreeMap<ShadowKey, Entry>,
    present: usize,
    /// No shadow that is made from now on starts below this version.
    floor: Version,
    /// How many versions of each half are kept.
    keep: usize,
}

#[derive(Debug, Default)]
struct Entry {
    record: ShadowRecord,
    present: bool,
    /// The `reported` that was last counted: the reader gives only the next one.
    reported: Option<Packed>,
}

/// An accepted change of a half.
#[derive(Debug)]
pub(super) struct Accepted<'a> {
    pub(super) key: &'a ShadowKey,
    pub(super) half: Half,
    /// The half's version with it.
    pub(super) version: Version,
    pub(super) before: Option<&'a Document>,
    pub(super) after: Option<&'a LazyDocument>,
    /// What was asked for, if that was a patch.
    pub(super) named: Option<&'a Patch>,
    pub(super) by: &'a Author,
    pub(super) unix_ms: u64,
    /// Whether the shadow has a half with it.
    pub(super) present: bool,
}

/// When more deleted shadows than this are remembered, all of them are forgotten: one number, the
/// floor, then stands for them.
const REMEMBERED: usize = 1000;

/// The history of a half is cut when this many versions came on top.
const CUT: u8 = 16;

impl Shadows {
    /// Those of a node that never was, which keep so many versions of each half.
    pub(super) fn new(keep: usize) -> Self {
        Self { keep, ..Self::default() }
    }

    /// What was read from the store; `is_present` says which shadows have a half, `reported` what
    /// is reported of them.
    pub(super) fn restore(
        keep: usize,
        records: BTreeMap<ShadowKey, ShadowRecord>,
        floor: Version,
        is_present: impl Fn(&ShadowKey) -> bool,
        reported: impl Fn(&ShadowKey) -> Option<Packed>,
    ) -> Self {
        let entry = |(key, record)| {
            let (present, reported) = (is_present(&key), reported(&key));
            (key, Entry { record, present, reported })
        };
        let entries: BTreeMap<_, _> = records.into_iter().map(entry).collect();
        let present = entries.values().filter(|entry| entry.present).count();
        Self { entries, present, floor, keep }
    }

    /// How many shadows there are.
    pub(super) const fn present(&self) -> usize {
        self.present
    }

    /// What is known of a shadow, if there ever was one.
    pub(super) fn get(&self, key: &ShadowKey) -> Option<&ShadowRecord> {
        self.entries.get(key).map(|entry| &entry.record)
    }

    /// The shadows that there are or were, from a key on.
    pub(super) fn keys_from(&self, after: Option<&ShadowKey>) -> impl Iterator<Item = &ShadowKey> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(key, _)| key)
    }

    /// Remembers what is reported now, and gives back what was before.
    pub(super) fn exchange_reported(
        &mut self,
        key: &ShadowKey,
        now: Option<Packed>,
    ) -> Option<Packed> {
        std::mem::replace(&mut self.entry(key).reported, now)
    }

    /// Counts an accepted update, and gives back the rows that it changes.
    pub(super) fn count(&mut self, node: &NodeName, change: &Accepted<'_>) -> Vec<Op> {
        let keep = self.keep;
        let entry = self.entry(change.key);
        entry.record.version = entry.record.version.next();
        let shadow_version = entry.record.version;
        let is_full = half_of(&mut entry.record, change.half).note(change);
        if !change.present {
            entry.record.tags.clear();
        }
        let was_present = std::mem::replace(&mut entry.present, change.present);
        let record = rows::put(rows::shadow(node, change.key), &entry.record);
        let past = rows::history::put(node, change.key, change.half, &change.past(shadow_version));
        let mut ops = vec![record, past];
        if is_full {
            let prefix = rows::history::of_half(node, change.key, change.half);
            ops.push(Op::Trim { prefix, keep });
        }
        self.present = self.present - usize::from(was_present) + usize::from(change.present);
        if self.entries.len() - self.present > REMEMBERED {
            ops.extend(self.forget(node));
        }
        ops
    }

    /// Sets the tags of a shadow.
    pub(super) fn tag(
        &mut self,
        node: &NodeName,
        key: &ShadowKey,
        tags: BTreeMap<String, String>,
    ) -> Op {
        let record = &mut self.entry(key).record;
        record.tags = tags;
        rows::put(rows::shadow(node, key), record)
    }

    /// Begins the history of a half that has none with what it is.
    pub(super) fn begin(
        &mut self,
        node: &NodeName,
        key: &ShadowKey,
        half: Half,
        version: Version,
        document: &LazyDocument,
        now: Now,
    ) -> [Op; 2] {
        let record = &mut self.entry(key).record;
        let since = record.reported_ms.filter(|_| half == Half::Reported);
        let by = Author::cloud();
        let first = Accepted {
            key,
            half,
            version,
            before: None,
            after: Some(document),
            named: None,
            by: &by,
            unix_ms: since.unwrap_or(now.unix_ms),
            present: true,
        };
        half_of(record, half).note(&first);
        let past = rows::history::put(node, key, half, &first.past(record.version));
        [rows::put(rows::shadow(node, key), record), past]
    }

    fn entry(&mut self, key: &ShadowKey) -> &mut Entry {
        let floor = self.floor;
        self.entries.entry(key.clone()).or_insert_with(|| Entry {
            record: ShadowRecord { version: floor, ..ShadowRecord::default() },
            ..Entry::default()
        })
    }

    fn forget(&mut self, node: &NodeName) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut floor = self.floor;
        self.entries.retain(|key, entry| {
            if !entry.present {
                floor = floor.max(entry.record.version);
                ops.push(Op::Delete { key: rows::shadow(node, key) });
                ops.push(Op::DeletePrefix { prefix: rows::history::of_shadow(node, key) });
            }
            entry.present
        });
        self.floor = floor;
        ops.push(rows::put(rows::floor(node), &floor));
        ops
    }
}

const fn half_of(record: &mut ShadowRecord, half: Half) -> &mut HalfRecord {
    match half {
        Half::Desired => &mut record.desired,
        Half::Reported => &mut record.reported,
    }
}

impl HalfRecord {
    /// Stamps what has changed; whether the history is due to be cut.
    fn note(&mut self, change: &Accepted<'_>) -> bool {
        let stamp = Stamp { version: change.version, unix_ms: change.unix_ms };
        self.times = match (change.before, change.after) {
            (_, None) => Times::default(),
            (None, Some(after)) => Times::all(after, stamp),
            (Some(before), Some(after)) => self.times.written(before, after, change.named, stamp),
        };
        self.changed_ms = Some(change.unix_ms);
        self.uncut += 1;
        let is_full = self.uncut >= CUT;
        if is_full {
            self.uncut = 0;
        }
        is_full
    }
}

impl Accepted<'_> {
    fn past(&self, shadow_version: Version) -> Past {
        Past {
            shadow_version,
            version: self.version,
            at_ms: self.unix_ms,
            by: self.by.clone(),
            digest: self.after.map(|after| after.packed().digest()),
            undo: Past::undo(self.before, self.after.map(|after| &**after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_deleted_shadows_is_bounded_and_no_version_comes_twice() {
        let node: NodeName = "site-1".parse().unwrap();
        let mut shadows = Shadows::new(10);
        let key = |n: usize| format!("app/a{n}").parse::<ShadowKey>().unwrap();
        let (by, document) = (Author::cloud(), LazyDocument::from(Document::new()));
        let count = |shadows: &mut Shadows, n: usize, present: bool| {
            let after = present.then_some(&document);
            shadows.count(
                &node,
                &Accepted {
                    key: &key(n),
                    half: Half::Desired,
                    version: Version(1),
                    before: None,
                    after,
                    named: None,
                    by: &by,
                    unix_ms: 0,
                    present,
                },
            )
        };
        for n in 0..5 * REMEMBERED {
            count(&mut shadows, n, true);
            count(&mut shadows, n, false);
        }
        assert!(shadows.entries.len() <= REMEMBERED + 1, "{}", shadows.entries.len());
        assert_eq!(shadows.present(), 0);
        count(&mut shadows, 0, true);
        assert!(shadows.get(&key(0)).unwrap().version > Version(2));
    }
}
