//! The default store: one redb file. Every commit is synced to the disk before it returns.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{
    Builder, Database, Durability, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
};
use redb::{Table, TableDefinition, TableError};

use super::{Op, Pair, Store, StoreError, after_prefix};

/// Rows in a redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    // A lock because a handle that has seen an I/O error is dead for good and must be exchanged.
    database: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    database: Database,
    /// Which file that is, whatever the path names by now.
    file: FileId,
}

/// A file's device and number.
type FileId = (u64, u64);

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const CACHE_BYTES: usize = 64 * 1024 * 1024;

impl RedbStore {
    /// Opens the file, or creates it when it is not there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database: Mutex::new(None) };
        store.with(|_| Ok(()))?;
        Ok(store)
    }

    /// Opens the file, which must be there, and checks every page of it.
    pub fn verify(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database: Mutex::new(None) };
        let metadata = std::fs::metadata(path).map_err(|error| store.explain_io(error))?;
        if metadata.len() == 0 {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                reason: "it is empty".into(),
            });
        }
        let mut open = store.create()?;
        let check = std::panic::AssertUnwindSafe(|| open.database.check_integrity());
        let checked = std::panic::catch_unwind(check).unwrap_or(Ok(false));
        if !checked.map_err(|error| store.explain(error.into()))? {
            let reason = "its pages do not fit together".into();
            return Err(StoreError::Damaged { path: path.to_owned(), reason });
        }
        *store.database.lock().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(store)
    }

    /// Runs `job` on an open handle. After an error the handle is dropped, and the next call
    /// opens the file again: so a disk that was full heals without a restart.
    fn with<T>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut handle = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match handle.take() {
            Some(open) => open,
            None => self.create()?,
        };
        match job(&open.database) {
            Ok(value) => {
                *handle = Some(open);
                Ok(value)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Runs `job` on what is there at this moment, without keeping commits waiting meanwhile.
    fn read<T>(
        &self,
        job: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let moment = self.with(|database| Ok(database.begin_read()?))?;
        let read = job(&moment);
        drop(moment);
        read.map_err(|error| {
            drop(self.database.lock().unwrap_or_else(PoisonError::into_inner).take());
            self.explain(error)
        })
    }

    /// Refuses to write into a file that was removed or replaced: it would be gone with the
    /// process. The handle stays, since it may be the last to hold the rows.
    fn check_file(&self) -> Result<(), StoreError> {
        let handle = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = handle.as_ref() else { return Ok(()) };
        if self.file_id().is_ok_and(|file| file == open.file) {
            return Ok(());
        }
        Err(StoreError::Gone { path: self.path.clone() })
    }

    fn file_id(&self) -> io::Result<FileId> {
        std::fs::metadata(&self.path).map(|file| (file.dev(), file.ino()))
    }

    fn create(&self) -> Result<Open, StoreError> {
        let create = || Builder::new().set_cache_size(CACHE_BYTES).create(&self.path);
        let opened = std::panic::catch_unwind(create).map_err(|_| StoreError::Damaged {
            path: self.path.clone(),
            reason: "it cannot be opened".into(),
        })?;
        let database = opened.map_err(|error| self.explain(error.into()))?;
        let file = self.file_id().map_err(|error| self.explain_io(error))?;
        Ok(Open { database, file })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other errors cannot be told apart")]
    fn explain(&self, error: redb::Error) -> StoreError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(source) => self.explain_io(source),
            redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason: reason.into() },
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
            other => StoreError::Internal { path, reason: other.to_string().into() },
        }
    }

    fn explain_io(&self, source: io::Error) -> StoreError {
        let (path, kind) = (self.path.clone(), source.kind());
        if FULL.contains(&kind) {
            StoreError::Full { path, source }
        } else if DAMAGED.contains(&kind) {
            StoreError::Damaged { path, reason: source.to_string().into() }
        } else {
            StoreError::Io { path, source }
        }
    }
}

/// What the system says when there is no room: on the disk, for the user, for the process.
const FULL: [ErrorKind; 3] =
    [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];

/// What redb says when the file is not its own, or too short.
const DAMAGED: [ErrorKind; 2] = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];

impl Store for RedbStore {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.check_file()?;
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut rows = transaction.open_table(ROWS)?;
                ops.iter().try_for_each(|op| apply(&mut rows, op))?;
            }
            Ok(transaction.commit()?)
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|moment| match moment.open_table(ROWS) {
            Ok(rows) => Ok(rows.get(key)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = after_prefix(prefix);
        if end.as_deref().is_some_and(|end| after.is_some_and(|after| after >= end)) {
            return Ok(Vec::new());
        }
        self.read(|moment| {
            let rows = match moment.open_table(ROWS) {
                Ok(rows) => rows,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
            let lower = match after {
                Some(after) if after >= prefix => Bound::Excluded(after),
                Some(_) | None => Bound::Included(prefix),
            };
            let range = rows.range::<&[u8]>((lower, upper))?;
            let pair = |row: Result<(_, _), redb::StorageError>| {
                let (key, value): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) =
                    row?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            };
            range.take(limit).map(pair).collect()
        })
    }

    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        // A transaction lives on without the lock, so that commits need not wait for it.
        let moment = self.with(|database| Ok(database.begin_read()?))?;
        let explain = |error: redb::Error| self.explain(error);
        let rows = match moment.open_table(ROWS) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            Err(error) => return Err(explain(error.into())),
        };
        for row in rows.iter().map_err(|error| explain(error.into()))? {
            let (key, value) = row.map_err(|error| explain(error.into()))?;
            if !each(key.value(), value.value()) {
                break;
            }
        }
        Ok(())
    }
}

fn apply(rows: &mut Table<'_, &[u8], &[u8]>, op: &Op) -> Result<(), redb::Error> {
    match op {
        Op::Put { key, value } => {
            rows.insert(key.as_slice(), value.as_slice())?;
        }
        Op::Delete { key } => {
            rows.remove(key.as_slice())?;
        }
        Op::DeletePrefix { prefix } => match after_prefix(prefix) {
            Some(end) => rows.retain_in(prefix.as_slice()..end.as_slice(), |_, _| false)?,
            None => rows.retain_in(prefix.as_slice().., |_, _| false)?,
        },
        Op::Trim { prefix, keep } => trim(rows, prefix, *keep)?,
    }
    Ok(())
}

fn trim(rows: &mut Table<'_, &[u8], &[u8]>, prefix: &[u8], keep: usize) -> Result<(), redb::Error> {
    let end = after_prefix(prefix);
    let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let range = rows.range::<&[u8]>((Bound::Included(prefix), upper))?;
    let surplus: Vec<Vec<u8>> = range
        .rev()
        .skip(keep)
        .map(|row| row.map(|(key, _)| key.value().to_vec()))
        .collect::<Result<_, _>>()?;
    for key in surplus {
        rows.remove(key.as_slice())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
