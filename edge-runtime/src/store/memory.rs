//! A store in memory, for tests and simulations: it outlives its handles as a disk outlives a
//! process, and fails on request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Op, Store, StoreError};

/// What stands for the disk: handles that are opened on it see what earlier ones committed.
///
/// The lock stands between a test, which plays the disk, and the store's thread.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    full: bool,
    torn: bool,
    went_back: bool,
    commits: u64,
}

/// What a [`MemoryDisk`] held at one time.
#[derive(Debug, Clone)]
pub struct Backup(BTreeMap<Vec<u8>, Vec<u8>>);

/// A handle on a [`MemoryDisk`].
#[derive(Debug, Clone)]
pub struct MemoryStore(MemoryDisk);

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a store on it.
    pub fn open(&self) -> MemoryStore {
        MemoryStore(self.clone())
    }

    /// Makes every commit fail for lack of space, or ends that.
    pub fn set_full(&self, full: bool) {
        self.lock().full = full;
    }

    /// Makes the next commit happen and still answer with an error, as when a power cut comes
    /// between the write and its answer.
    pub fn fail_next_after_write(&self) {
        self.lock().torn = true;
    }

    /// Forgets everything, as a quarantined store does.
    pub fn wipe(&self) {
        self.lock().entries.clear();
    }

    /// What it holds now.
    pub fn backup(&self) -> Backup {
        Backup(self.lock().entries.clone())
    }

    /// Goes back to what it held before, as a disk does that lied about its writes.
    pub fn go_back(&self, backup: &Backup) {
        let mut disk = self.lock();
        disk.entries.clone_from(&backup.0);
        disk.went_back = true;
    }

    /// How many commits have succeeded.
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.lock().entries.get(key).cloned())
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let disk = self.0.lock();
        let from = disk.entries.range(prefix.to_vec()..);
        from.take_while(|(key, _)| key.starts_with(prefix)).for_each(|(k, v)| visit(k, v));
        Ok(())
    }

    fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        let mut disk = self.0.lock();
        if disk.full {
            return Err(StoreError::Full { place: "memory".to_owned() });
        }
        for (key, value) in ops {
            match value {
                Some(value) => disk.entries.insert(key.clone(), value.clone()),
                None => disk.entries.remove(key),
            };
        }
        disk.went_back = false;
        if std::mem::take(&mut disk.torn) {
            return Err(StoreError::Poisoned("asked to fail".to_owned()));
        }
        disk.commits += 1;
        Ok(())
    }

    fn went_back(&mut self) -> Result<bool, StoreError> {
        Ok(self.0.lock().went_back)
    }
}

#[cfg(test)]
mod tests {
    use super::super::contract;
    use super::*;

    #[test]
    fn memory_keeps_the_contract() {
        contract::check(&mut || {
            let disk = MemoryDisk::new();
            Box::new(move || Box::new(disk.open()) as Box<dyn Store>)
        });
    }
}
