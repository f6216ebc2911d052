//! A redb file as it is at one moment, for reading while commits go on. Changes nothing.

use redb::{ReadTransaction, TableError};

use super::{ROWS, RedbStore};
use crate::store::{Range, StoreError};

/// What the file holds at one moment.
pub(in crate::store) struct Moment<'a> {
    store: &'a RedbStore,
    transaction: ReadTransaction,
}

type Rows = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

impl<'a> Moment<'a> {
    pub(super) const fn new(store: &'a RedbStore, transaction: ReadTransaction) -> Self {
        Self { store, transaction }
    }

    /// The value of a key.
    pub(in crate::store) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|rows| Ok(rows.get(key)?.map(|value| value.value().to_vec())))
            .map(Option::flatten)
    }

    /// Shows the rows in the order of their keys, until `each` has seen enough.
    pub(in crate::store) fn walk(
        &self,
        range: Range<'_>,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        self.read(|rows| {
            for row in rows.range::<&[u8]>(range)? {
                let (key, value) = row?;
                if !each(key.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// `None`: there was never a row.
    fn read<T>(
        &self,
        job: impl FnOnce(&Rows) -> Result<T, redb::Error>,
    ) -> Result<Option<T>, StoreError> {
        let read = match self.transaction.open_table(ROWS) {
            Ok(rows) => job(&rows).map(Some),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        };
        read.map_err(|error| {
            self.store.drop_handle();
            self.store.explain(error)
        })
    }
}
