//! The version of what the rows mean, kept in the store itself.

use super::{Op, Store, StoreError};

/// The version that this build writes. Since 2 there is a history; since 3 the store's file may have
/// a journal beside it, without which it is not the whole: older builds must not open it. Since 4 a thing
/// belongs to a tenant, of which older builds know nothing.
pub const SCHEMA_VERSION: u32 = 4;

const KEY: &[u8] = b"schema";

/// Why a store that opened is not used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A newer build has written it.
    #[error(
        "the store has schema version {found}, this gnomon-cloud knows versions up to {known}; \
         start the newer gnomon-cloud that wrote it, or put back a backup made before the upgrade \
         (gnomon-cloud restore FILE --data DIR --replace)"
    )]
    Newer {
        /// What the store says.
        found: u32,
        /// What this build knows.
        known: u32,
    },
    /// The version cannot be read.
    #[error(
        "the store's schema version is unreadable: it is not a store of gnomon-cloud, or damaged; {}",
        super::WAY_BACK
    )]
    Unreadable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Marks an empty store with the current version, refuses a store of a newer one, and gives back
/// the version of what is there.
pub fn check_schema(store: &dyn Store) -> Result<u32, SchemaError> {
    let Some(value) = store.get(KEY)? else {
        if !store.page(b"", None, 1)?.is_empty() {
            return Err(SchemaError::Unreadable);
        }
        store.commit(&[schema_row()])?;
        store.settle()?;
        return Ok(SCHEMA_VERSION);
    };
    let text = std::str::from_utf8(&value).map_err(|_| SchemaError::Unreadable)?;
    let found: u32 = text.parse().map_err(|_| SchemaError::Unreadable)?;
    if found == 0 {
        return Err(SchemaError::Unreadable);
    }
    if found > SCHEMA_VERSION {
        return Err(SchemaError::Newer { found, known: SCHEMA_VERSION });
    }
    Ok(found)
}

/// What marks a store as one of this version.
pub fn schema_row() -> Op {
    Op::Put { key: KEY.to_vec(), value: SCHEMA_VERSION.to_string().into_bytes() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    #[test]
    fn a_fresh_store_is_marked_and_accepted_again() {
        let store = MemoryStore::new();
        check_schema(&store).unwrap();
        check_schema(&store).unwrap();
        assert_eq!(store.get(KEY).unwrap(), Some(b"4".to_vec()));
    }

    #[test]
    fn a_newer_store_is_refused_with_both_versions() {
        let store = MemoryStore::new();
        store.commit(&[Op::Put { key: KEY.to_vec(), value: b"7".to_vec() }]).unwrap();
        let error = check_schema(&store).unwrap_err();
        assert!(error.to_string().contains("schema version 7"), "{error}");
    }

    #[test]
    fn rows_without_a_version_are_not_ours() {
        let store = MemoryStore::new();
        store.commit(&[Op::Put { key: b"x".to_vec(), value: vec![] }]).unwrap();
        assert!(matches!(check_schema(&store), Err(SchemaError::Unreadable)));
    }
}
