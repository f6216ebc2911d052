//! The cloud's durable memory behind one seam: an ordered map of bytes whose changes are committed
//! in atomic batches. What the rows mean is not its business ([`crate::rows`] knows).

use std::ops::Bound;
use std::path::PathBuf;

#[cfg(test)]
mod contract;
mod journal;
mod memory;
mod redb;
mod schema;
mod system;
mod ways;

pub use journal::{JournaledStore, Salvaged};
pub use memory::MemoryStore;
pub use redb::RedbStore;
pub use schema::{SCHEMA_VERSION, SchemaError, check_schema, schema_row};
pub use ways::WAY_BACK;

/// A row: its key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// One change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The key gets this value, whatever it had.
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// The key goes away; that it was never there is fine.
    Delete {
        /// The key.
        key: Vec<u8>,
    },
    /// Every key that begins with the prefix goes away.
    DeletePrefix {
        /// The prefix.
        prefix: Vec<u8>,
    },
    /// Of the keys that begin with the prefix, all but the last ones go away.
    Trim {
        /// The prefix.
        prefix: Vec<u8>,
        /// How many stay.
        keep: usize,
    },
}

impl Op {
    /// How many bytes of keys and values it brings.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
            Self::DeletePrefix { prefix } | Self::Trim { prefix, .. } => prefix.len(),
        }
    }
}

/// Keeps rows through crashes and power cuts.
///
/// Every call may block on a disk; callers in async code go through a blocking thread. One store
/// has one caller that commits.
pub trait Store: std::fmt::Debug + Send + Sync + 'static {
    /// Makes the changes in their order: all of them, durably, or none.
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError>;

    /// The same, for one who needs the changes no more: nothing is copied that need not be.
    fn commit_owned(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        self.commit(&ops)
    }

    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The rows whose keys begin with the prefix, in the order of their keys.
    fn scan(&self, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
        self.page(prefix, None, usize::MAX)
    }

    /// At most `limit` of the rows whose keys begin with the prefix: those that follow on the key
    /// `after`, or the first ones.
    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError>;

    /// Shows every row as it is at one moment, in the order of the keys, while commits go on;
    /// until `each` says that it has seen enough.
    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError>;

    /// Brings everything to where it is to stay, so that whoever opens the store next has nothing
    /// to make up for. What was committed is durable without it.
    fn settle(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Why the store could not do what it was asked for. Nothing of a failed commit is in the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, or the quota on it, is used up.
    #[error("no space is left for the store {path}; free some, and the cloud goes on by itself")]
    Full {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("the store {path} is damaged ({reason}) and was left as it is; {}", ways::of_damaged(.path))]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What does not fit.
        reason: Box<str>,
    },
    /// The store's file and its journal are not those that were in use together.
    #[error(
        "the store {path} and its journal {journal} were left as they are: {reason}; put back the \
         one that was moved or replaced, or else {}", ways::of_store(.journal)
    )]
    Mismatch {
        /// The store's file.
        path: PathBuf,
        /// The folder of its journal.
        journal: PathBuf,
        /// What does not fit.
        reason: Box<str>,
    },
    /// Another process has the file open.
    #[error("the store {path} is in use by another process")]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file was removed or replaced while it was open.
    #[error(
        "the store's file {path} was removed or replaced while it was in use, so nothing more is \
         written; put it back and start the cloud again"
    )]
    Gone {
        /// The store's file.
        path: PathBuf,
    },
    /// The system refused to read or write.
    #[error("the store {path} cannot be read or written; check the file's rights and the disk")]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A part that should work regardless of its input did not.
    #[error("the store {path} failed: {reason}")]
    Internal {
        /// The store's file.
        path: PathBuf,
        /// What it said.
        reason: Box<str>,
    },
}

impl StoreError {
    /// Whether what is on the disk is not what was written, or not all of it.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Mismatch { .. })
    }

    /// Whether the disk is full, as opposed to broken.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// The first key after all those that begin with `prefix`; `None` if there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// From which key to which.
type Range<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Where rows begin of which those with a prefix are wanted, behind a key.
fn lower<'a>(prefix: &'a [u8], after: Option<&'a [u8]>) -> Bound<&'a [u8]> {
    match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        Some(_) | None => Bound::Included(prefix),
    }
}

/// Where they end.
fn upper(end: Option<&[u8]>) -> Bound<&[u8]> {
    end.map_or(Bound::Unbounded, Bound::Excluded)
}
