//! The counters that a node's shadows have beside their halves, and how many there are.

use std::collections::BTreeMap;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Half, Version};

use crate::rows::{self, ShadowRecord};
use crate::store::Op;

/// The counters of every shadow of a node, also of those that were deleted, so that a shadow that
/// comes back goes on counting.
#[derive(Debug, Default)]
pub(super) struct Shadows {
    entries: BTreeMap<ShadowKey, Entry>,
    present: usize,
    /// No shadow that is made from now on starts below this version.
    floor: Version,
}

#[derive(Debug, Default)]
struct Entry {
    record: ShadowRecord,
    present: bool,
}

/// When more deleted shadows than this are remembered, all of them are forgotten: one number, the
/// floor, then stands for them.
const REMEMBERED: usize = 1000;

impl Shadows {
    /// What was read from the store; `is_present` says which shadows have a half.
    pub(super) fn restore(
        records: BTreeMap<ShadowKey, ShadowRecord>,
        floor: Version,
        is_present: impl Fn(&ShadowKey) -> bool,
    ) -> Self {
        let entry = |(key, record)| {
            let present = is_present(&key);
            (key, Entry { record, present })
        };
        let entries: BTreeMap<_, _> = records.into_iter().map(entry).collect();
        let present = entries.values().filter(|entry| entry.present).count();
        Self { entries, present, floor }
    }

    /// How many shadows there are.
    pub(super) const fn present(&self) -> usize {
        self.present
    }

    /// The shadow's counters; those of none if there never was one.
    pub(super) fn get(&self, key: &ShadowKey) -> ShadowRecord {
        self.entries.get(key).map(|entry| entry.record).unwrap_or_default()
    }

    /// The shadows that there are or were.
    pub(super) fn keys(&self) -> impl Iterator<Item = &ShadowKey> {
        self.entries.keys()
    }

    /// Counts an accepted update; `present` says whether the shadow still has a half.
    pub(super) fn count(
        &mut self,
        node: &NodeName,
        key: &ShadowKey,
        half: Half,
        present: bool,
        unix_ms: u64,
    ) -> Vec<Op> {
        let floor = self.floor;
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry {
            record: ShadowRecord { version: floor, reported_ms: None },
            present: false,
        });
        entry.record.version = entry.record.version.next();
        if half == Half::Reported {
            entry.record.reported_ms = Some(unix_ms);
        }
        self.present = self.present - usize::from(entry.present) + usize::from(present);
        entry.present = present;
        let mut ops = vec![rows::put(rows::shadow(node, key), &entry.record)];
        if self.entries.len() - self.present > REMEMBERED {
            ops.extend(self.forget(node));
        }
        ops
    }

    fn forget(&mut self, node: &NodeName) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut floor = self.floor;
        self.entries.retain(|key, entry| {
            if !entry.present {
                floor = floor.max(entry.record.version);
                ops.push(Op::Delete { key: rows::shadow(node, key) });
            }
            entry.present
        });
        self.floor = floor;
        ops.push(rows::put(rows::floor(node), &floor));
        ops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_deleted_shadows_is_bounded_and_no_version_comes_twice() {
        let node: NodeName = "site-1".parse().unwrap();
        let mut shadows = Shadows::default();
        let key = |n: usize| format!("app/a{n}").parse::<ShadowKey>().unwrap();
        for n in 0..5 * REMEMBERED {
            shadows.count(&node, &key(n), Half::Desired, true, 0);
            shadows.count(&node, &key(n), Half::Desired, false, 0);
        }
        assert!(shadows.entries.len() <= REMEMBERED + 1, "{}", shadows.entries.len());
        assert_eq!(shadows.present(), 0);
        shadows.count(&node, &key(0), Half::Desired, true, 0);
        assert!(shadows.get(&key(0)).version > Version(2));
    }
}
