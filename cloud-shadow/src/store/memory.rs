//! The store in memory, for tests and simulations: nothing survives the process. Clones share
//! their rows, so a clone is what a reopened store is.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Op, Pair, Store, StoreError, after_prefix};

/// Rows in a map.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    // A lock because `Store` is shared between the owner's blocking threads.
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    fails: Option<std::io::ErrorKind>,
    is_unreadable: bool,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes every later commit fail as a disk would that reports `kind`; `None` heals it.
    pub fn fail(&self, kind: Option<std::io::ErrorKind>) {
        self.state().fails = kind;
    }

    /// Makes every later read fail, until it is told otherwise.
    pub fn fail_reads(&self, is_unreadable: bool) {
        self.state().is_unreadable = is_unreadable;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn readable(&self) -> Result<&BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        if self.is_unreadable {
            let (path, source) = (PathBuf::from(":memory:"), std::io::ErrorKind::Other.into());
            return Err(StoreError::Io { path, source });
        }
        Ok(&self.rows)
    }
}

impl Store for MemoryStore {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        let mut state = self.state();
        if let Some(kind) = state.fails {
            let (path, source) = (PathBuf::from(":memory:"), std::io::Error::from(kind));
            let is_full = kind == std::io::ErrorKind::StorageFull;
            return Err(if is_full {
                StoreError::Full { path, source }
            } else {
                StoreError::Io { path, source }
            });
        }
        for op in ops {
            match op {
                Op::Put { key, value } => {
                    state.rows.insert(key.clone(), value.clone());
                }
                Op::Delete { key } => {
                    state.rows.remove(key);
                }
                Op::DeletePrefix { prefix } => {
                    state.rows.retain(|key, _| !key.starts_with(prefix));
                }
                Op::Trim { prefix, keep } => {
                    let keys = state.rows.keys().filter(|key| key.starts_with(prefix));
                    let surplus: Vec<_> = keys.rev().skip(*keep).cloned().collect();
                    for key in surplus {
                        state.rows.remove(&key);
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().readable()?.get(key).cloned())
    }

    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = after_prefix(prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let lower = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let state = self.state();
        let rows = state.readable()?;
        if end.as_deref().is_some_and(|end| after.is_some_and(|after| after >= end)) {
            return Ok(Vec::new());
        }
        let rows = rows.range::<[u8], _>((lower, upper));
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let rows = self.state().readable()?.clone();
        // It has seen enough, or all.
        let _ = rows.iter().all(|(key, value)| each(key, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;

    #[test]
    fn memory_keeps_the_contract() {
        let disk = MemoryStore::new();
        contract::keeps_it(&mut || {
            let fresh = disk.clone();
            Box::new(fresh)
        });
    }

    #[test]
    fn a_failing_disk_changes_nothing_and_heals() {
        let store = MemoryStore::new();
        let put = [Op::Put { key: b"a".to_vec(), value: b"1".to_vec() }];
        store.fail(Some(std::io::ErrorKind::StorageFull));
        assert!(store.commit(&put).unwrap_err().is_full());
        assert_eq!(store.get(b"a").unwrap(), None);
        store.fail(None);
        store.commit(&put).unwrap();
        assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
    }
}
