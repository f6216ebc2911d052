//! A store that remembers what became of its last commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::store::{Op, Pair, Store, StoreError};

/// What became of the last commit; cheap to clone.
#[derive(Debug, Clone)]
pub struct Outcomes(Arc<Mutex<Last>>);

// Behind a lock, because requests read what the thread of the store writes; held for one look.
#[derive(Debug)]
struct Last {
    failure: Option<&'static str>,
    at: Instant,
}

/// The store, watched.
#[derive(Debug)]
struct Watched {
    store: Arc<dyn Store>,
    outcomes: Outcomes,
}

impl Outcomes {
    /// Watches a store from now on.
    pub fn watch(store: Arc<dyn Store>) -> (Arc<dyn Store>, Self) {
        let last = Last { failure: None, at: Instant::now() };
        let outcomes = Self(Arc::new(Mutex::new(last)));
        (Arc::new(Watched { store, outcomes: outcomes.clone() }), outcomes)
    }

    /// Why the last commit failed; `None`: it did not.
    pub fn last(&self) -> Option<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure
    }

    /// How long ago that was.
    pub fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).at.elapsed()
    }

    fn note(&self, done: &Result<(), StoreError>) {
        let failure = done.as_ref().err();
        let failure =
            failure.map(|error| if error.is_full() { "store_full" } else { "store_failed" });
        let last = Last { failure, at: Instant::now() };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

impl Store for Watched {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        let done = self.store.commit(ops);
        self.outcomes.note(&done);
        done
    }

    fn commit_owned(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        let done = self.store.commit_owned(ops);
        self.outcomes.note(&done);
        done
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(key)
    }

    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        self.store.page(prefix, after, limit)
    }

    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        self.store.export(each)
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.store.settle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn the_last_commit_counts() {
        let memory = MemoryStore::new();
        let (store, outcomes) = Outcomes::watch(Arc::new(memory.clone()));
        let op = || [Op::Put { key: b"a".to_vec(), value: b"1".to_vec() }];
        store.commit(&op()).unwrap();
        assert_eq!(outcomes.last(), None);
        memory.fail(Some(std::io::ErrorKind::StorageFull));
        store.commit(&op()).unwrap_err();
        assert_eq!(outcomes.last(), Some("store_full"));
        memory.fail(Some(std::io::ErrorKind::PermissionDenied));
        store.commit(&op()).unwrap_err();
        assert_eq!(outcomes.last(), Some("store_failed"));
        memory.fail(None);
        store.commit(&op()).unwrap();
        assert_eq!(outcomes.last(), None);
        assert_eq!(store.get(b"a").unwrap(), Some(b"1".to_vec()));
    }
}
