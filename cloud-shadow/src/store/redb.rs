//! The default store: one redb file. Every commit is synced to the disk before it returns.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::{Builder, Database, Durability, ReadableDatabase as _};
use redb::{Table, TableDefinition, TableError};

use super::{Op, Pair, Store, StoreError, after_prefix};

/// Rows in a redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    // A lock because a handle that has seen an I/O error is dead for good and must be exchanged.
    database: Mutex<Option<Database>>,
}

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const CACHE_BYTES: usize = 64 * 1024 * 1024;

impl RedbStore {
    /// Opens the file, or creates it when it is not there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database: Mutex::new(None) };
        store.with(|_| Ok(()))?;
        Ok(store)
    }

    /// Runs `job` on an open handle. After an error the handle is dropped, and the next call
    /// opens the file again: so a disk that was full heals without a restart.
    fn with<T>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let mut handle = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match handle.take() {
            Some(database) => database,
            None => self.create()?,
        };
        match job(&database) {
            Ok(value) => {
                *handle = Some(database);
                Ok(value)
            }
            Err(error) => Err(self.explain(error)),
        }
    }

    fn create(&self) -> Result<Database, StoreError> {
        let create = || Builder::new().set_cache_size(CACHE_BYTES).create(&self.path);
        let opened = std::panic::catch_unwind(create).map_err(|_| StoreError::Damaged {
            path: self.path.clone(),
            reason: "it cannot be opened".into(),
        })?;
        opened.map_err(|error| self.explain(error.into()))
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
        self.with(|database| match database.begin_read()?.open_table(ROWS) {
            Ok(rows) => Ok(rows.get(key)?.map(|value| value.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.with(|database| {
            let rows = match database.begin_read()?.open_table(ROWS) {
                Ok(rows) => rows,
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error.into()),
            };
            let range = match after_prefix(prefix) {
                Some(end) => rows.range(prefix..end.as_slice())?,
                None => rows.range(prefix..)?,
            };
            let pair = |row: Result<(_, _), redb::StorageError>| {
                let (key, value): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) =
                    row?;
                Ok((key.value().to_vec(), value.value().to_vec()))
            };
            range.map(pair).collect()
        })
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
    }
    Ok(())
}

#[cfg(test)]
mod tests;
