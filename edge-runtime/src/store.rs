//! The site's durable memory: a small ordered map whose commits are atomic and survive power cuts.
//!
//! Synchronous on purpose: one thread owns the store ([`thread`]) and everything else asks it.

pub mod chunk;
pub mod frame;
pub mod memory;
pub mod recovery;
pub mod sled;
pub mod thread;

#[cfg(test)]
mod contract;

use std::io;

/// A change of one key: the new value, or `None` to delete it.
pub type Op = (Vec<u8>, Option<Vec<u8>>);

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// An ordered map on disk.
pub trait Store: Send {
    /// The value of `key`.
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Visits every entry whose key starts with `prefix`, in the order of the keys.
    fn scan(
        &mut self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError>;

    /// Applies all of `ops` or none, the later of two that name one key. When it returns `Ok` they
    /// survive a power cut. After [`StoreError::Full`] from the space check nothing has changed;
    /// after any other error the caller must read back what is there.
    fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError>;

    /// Whether what is stored is older than what was committed, as after a disk that lied about
    /// its writes; told until the next commit. What was promised since then is void.
    fn went_back(&mut self) -> Result<bool, StoreError>;
}

/// A whole store, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Every entry, in the order of the keys.
    pub entries: Vec<Entry>,
    /// See [`Store::went_back`].
    pub went_back: bool,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk has too little free space; the store works again when there is more.
    #[error("the disk that holds {place} is full; free some space, the agent retries by itself")]
    Full {
        /// The directory of the store.
        place: String,
    },
    /// The engine failed and was closed; the next call opens it anew.
    #[error("the store failed and was closed: {0}")]
    Poisoned(String),
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// The operating system refused.
    #[error("{doing} failed")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The thread that owns the store has ended.
    #[error("the store's thread has ended")]
    Closed,
}

impl StoreError {
    /// Whether free space is all that is missing.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), source }
    }
}
