//! A new data folder out of one whose store is damaged and has no backup: the keys, and what of the
//! store is whole up to the damage. Like a store that was put back it begins new epochs, so that
//! every site says again what it holds; the old folder stays as it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::backup::STORE;
use crate::core::{AUDIT, read_audit};
use crate::identity::{Identity, Window, Windows};
use crate::rows::{self, ReadRowError};
use crate::server::{DataLock, LockError};
use crate::store::{JournaledStore, RedbStore, Salvaged, Store as _, StoreError};

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvageReport {
    /// What of the store.
    pub store: Salvaged,
    /// When certificates were given that are good although the new store does not know them.
    pub window: Option<Window>,
}

/// Why nothing was saved.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// The data folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is no store.
    #[error("there is no store {path}; say where the data is: --data DIR")]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// Something is there already.
    #[error("{path} is there already; name a folder for --salvage that is not")]
    Present {
        /// What.
        path: PathBuf,
    },
    /// A file could not be copied.
    #[error("copying to {path} failed; check the disk")]
    Copy {
        /// Where to.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The store's file is damaged, too, or the disk fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was saved cannot be read.
    #[error("the audit log of what was saved cannot be read")]
    Audit(#[from] ReadRowError),
}

/// What [`salvage`] would save of a data folder whose store is damaged; `None`: nothing.
pub fn outlook(data: &Path) -> Option<Salvaged> {
    let path = data.join(STORE);
    let _lock = DataLock::take(data).ok().filter(|_| path.exists())?;
    JournaledStore::outlook(&path).ok()
}

/// Saves what can be saved of a data folder that no cloud uses into a new one.
pub fn salvage(data: &Path, into: &Path, now_ms: u64) -> Result<SalvageReport, SalvageError> {
    let path = data.join(STORE);
    if !path.exists() {
        return Err(SalvageError::NoStore { path });
    }
    if into.exists() {
        return Err(SalvageError::Present { path: into.to_owned() });
    }
    let _lock = DataLock::take(data)?;
    std::fs::create_dir_all(into)
        .map_err(|source| SalvageError::Copy { path: into.to_owned(), source })?;
    let saved = save(data, into, now_ms);
    if saved.is_err() {
        // Half of a folder would only be in the way of another attempt.
        drop(std::fs::remove_dir_all(into));
    }
    saved
}

fn save(data: &Path, into: &Path, now_ms: u64) -> Result<SalvageReport, SalvageError> {
    for name in Identity::FILES {
        let (from, to) = (data.join(name), into.join(name));
        if from.exists() {
            let copied = std::fs::copy(&from, &to);
            copied.map_err(|source| SalvageError::Copy { path: to, source })?;
        }
    }
    let saved = into.join(STORE);
    let store = JournaledStore::salvage(&data.join(STORE), &saved)?;
    let window = begin_anew(&RedbStore::open(&saved)?, now_ms)?;
    Ok(SalvageReport { store, window })
}

/// Whatever was given after the last entry of the audit log is lost with what follows on it.
fn begin_anew(store: &RedbStore, now_ms: u64) -> Result<Option<Window>, SalvageError> {
    let mut ops = vec![rows::restored(now_ms)];
    let last = last_deed(store)?;
    let window = last.map(|at_ms| Window { from_s: at_ms / 1000, until_s: now_ms / 1000 + 1 });
    if let Some(window) = window {
        let mut windows: Windows = match store.get(rows::WINDOWS)? {
            Some(value) => rows::record(rows::WINDOWS, &value)?,
            None => Windows::default(),
        };
        windows.add(window);
        ops.push(rows::put(rows::WINDOWS.to_vec(), &windows));
    }
    store.commit(&ops)?;
    Ok(window)
}

/// When something was last done, in milliseconds since 1970.
fn last_deed(store: &RedbStore) -> Result<Option<u64>, SalvageError> {
    let Some((key, value)) = store.page(AUDIT, None, 1)?.pop() else { return Ok(None) };
    Ok(read_audit(&key, &value)?.last().map(|entry| entry.at_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Op;

    #[test]
    fn a_new_folder_has_the_keys_and_a_store_that_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (data, into) = (dir.path().join("old"), dir.path().join("new"));
        assert!(matches!(salvage(&data, &into, 9), Err(SalvageError::NoStore { .. })));
        std::fs::create_dir(&data).unwrap();
        Identity::open(&data, &[], std::time::Duration::from_hours(500_000)).unwrap();
        let store = JournaledStore::open(&data.join(STORE)).unwrap();
        let entry =
            "[{\"n\":1,\"t\":7000,\"b\":\"admin\",\"a\":\"node.put\",\"o\":\"s\",\"r\":\"done\"}]";
        let put = |key: &[u8], value: &str| Op::Put { key: key.to_vec(), value: value.into() };
        store.commit(&[put(b"audit/fffffffffffffffe", entry), put(b"k", "v")]).unwrap();
        drop(store);
        let report = salvage(&data, &into, 9000).unwrap();
        assert_eq!(report.window, Some(Window { from_s: 7, until_s: 10 }));
        assert!(into.join("ca-key.pem").exists() && into.join("token-key").exists());
        let saved = JournaledStore::open(&into.join(STORE)).unwrap();
        assert_eq!(saved.get(b"k").unwrap(), Some(b"v".to_vec()));
        assert!(saved.get(rows::RESTORED).unwrap().is_some());
        assert!(matches!(salvage(&data, &into, 9), Err(SalvageError::Present { .. })));
    }
}
