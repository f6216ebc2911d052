//! A store in one redb file. Every commit is synced to the disk before it returns. Beneath a
//! [`super::JournaledStore`] it is the base, and keeps the mark that says how much of the journal
//! it holds; what a mark means is not its business.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use backon::BlockingRetryable as _;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, Table,
    TableDefinition, TableError,
};

use super::system::{FileId, explain_io, file_id};
use super::{Op, Pair, Store, StoreError, after_prefix, lower, upper};
use crate::patience::patience;

mod moment;

pub(super) use moment::Moment;

/// Rows in a redb file.
#[derive(Debug)]
pub struct RedbStore {
    path: PathBuf,
    // A lock because a handle that has seen an I/O error is dead for good and must be exchanged;
    // all others only read it, so that nobody waits for a commit.
    database: RwLock<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    database: Database,
    /// Which file that is, whatever the path names by now.
    file: FileId,
}

/// A row that is to be: its key, and its value unless it goes away.
pub(super) type Change<'a> = (&'a [u8], Option<&'a [u8]>);

const ROWS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
const MARKS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("marks");
const JOURNAL: &str = "journal";
const CACHE_BYTES: usize = 64 * 1024 * 1024;

impl RedbStore {
    /// Opens the file, or creates it when it is not there.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database: RwLock::new(None) };
        store.with(|_| Ok(()))?;
        Ok(store)
    }

    /// Opens the file, which must be there, and checks every page of it.
    pub fn verify(path: &Path) -> Result<Self, StoreError> {
        let store = Self { path: path.to_owned(), database: RwLock::new(None) };
        let metadata = std::fs::metadata(path).map_err(|error| explain_io(path, error))?;
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
        *store.database.write().unwrap_or_else(PoisonError::into_inner) = Some(open);
        Ok(store)
    }

    /// What it holds now, and goes on to hold for whoever looks, while commits go on.
    pub(super) fn moment(&self) -> Result<Moment<'_>, StoreError> {
        let transaction = self.with(|database| Ok(database.begin_read()?))?;
        Ok(Moment::new(self, transaction))
    }

    /// The mark of the last [`Self::commit_marked`].
    pub(super) fn mark(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.with(|database| match database.begin_read()?.open_table(MARKS) {
            Ok(marks) => Ok(marks.get(JOURNAL)?.map(|mark| mark.value().to_vec())),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })
    }

    /// Makes the changes and sets the mark, if one is given, in one commit.
    pub(super) fn commit_marked<'a>(
        &self,
        changes: impl Iterator<Item = Change<'a>>,
        mark: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        self.check_file()?;
        self.write(|transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            for (key, value) in changes {
                match value {
                    Some(value) => drop(rows.insert(key, value)?),
                    None => drop(rows.remove(key)?),
                }
            }
            if let Some(mark) = mark {
                transaction.open_table(MARKS)?.insert(JOURNAL, mark)?;
            }
            Ok(())
        })
    }

    /// Refuses to write into a file that was removed or replaced: it would be gone with the
    /// process. The handle stays, since it may be the last to hold the rows.
    pub(super) fn check_file(&self) -> Result<(), StoreError> {
        let handle = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = handle.as_ref() else { return Ok(()) };
        if file_id(&self.path).is_ok_and(|file| file == open.file) {
            return Ok(());
        }
        Err(StoreError::Gone { path: self.path.clone() })
    }

    fn write(
        &self,
        job: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            job(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    /// Runs `job` on an open handle. After an error the handle is dropped, and the next call
    /// opens the file again: so a disk that was full heals without a restart.
    fn with<T>(
        &self,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        loop {
            let handle = self.database.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(open) = handle.as_ref() {
                return job(&open.database).map_err(|error| {
                    drop(handle);
                    self.drop_handle();
                    self.explain(error)
                });
            }
            drop(handle);
            let mut handle = self.database.write().unwrap_or_else(PoisonError::into_inner);
            if handle.is_none() {
                *handle = Some(self.create()?);
            }
        }
    }

    fn drop_handle(&self) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn create(&self) -> Result<Open, StoreError> {
        let create = || Builder::new().set_cache_size(CACHE_BYTES).create(&self.path);
        let is_taken = |error: &DatabaseError| matches!(error, DatabaseError::DatabaseAlreadyOpen);
        let create = || create.retry(patience()).when(is_taken).call();
        let opened = std::panic::catch_unwind(create).map_err(|_| StoreError::Damaged {
            path: self.path.clone(),
            reason: "it cannot be opened".into(),
        })?;
        let database = opened.map_err(|error| self.explain(error.into()))?;
        let file = file_id(&self.path).map_err(|error| explain_io(&self.path, error))?;
        Ok(Open { database, file })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other errors cannot be told apart")]
    fn explain(&self, error: redb::Error) -> StoreError {
        let path = self.path.clone();
        match error {
            redb::Error::Io(source) => explain_io(&self.path, source),
            redb::Error::Corrupted(reason) => StoreError::Damaged { path, reason: reason.into() },
            redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
            other => StoreError::Internal { path, reason: other.to_string().into() },
        }
    }
}

impl Store for RedbStore {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.check_file()?;
        self.write(|transaction| {
            let mut rows = transaction.open_table(ROWS)?;
            ops.iter().try_for_each(|op| apply(&mut rows, op))
        })
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.moment()?.get(key)
    }

    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = after_prefix(prefix);
        if end.as_deref().is_some_and(|end| after.is_some_and(|after| after >= end)) || limit == 0 {
            return Ok(Vec::new());
        }
        let mut pairs = Vec::new();
        self.moment()?.walk((lower(prefix, after), upper(end.as_deref())), &mut |key, value| {
            pairs.push((key.to_vec(), value.to_vec()));
            pairs.len() < limit
        })?;
        Ok(pairs)
    }

    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        self.moment()?.walk((lower(&[], None), upper(None)), each)
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
    let range = rows.range::<&[u8]>((lower(prefix, None), upper(end.as_deref())))?;
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
