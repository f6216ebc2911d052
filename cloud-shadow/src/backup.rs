//! Backups: a copy of the store and of the keys in one file, made while the cloud runs, and the
//! way back. A store that was put back starts new epochs, so that every site says again what it
//! holds and reports what the backup does not have.

mod archive;
mod restore;
mod save;
#[cfg(test)]
mod tests;

pub use archive::{Reader, Record, Writer};
pub use restore::{RestoreReport, Wanted, restore};
pub use save::{SaveReport, save};

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::server::LockError;
use crate::store::StoreError;

/// The store's file in the data folder.
pub(crate) const STORE: &str = "store.redb";

/// Why there is no backup, or no way back from one.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file could not be read or written.
    #[error("{doing} {path} failed; check the file's rights and the disk")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is no backup, or not a whole one.
    #[error("{path} is not a whole backup, so nothing was changed; take another one")]
    Broken {
        /// The file.
        path: PathBuf,
        /// Where it ends.
        #[source]
        source: io::Error,
    },
    /// There is something already that would be lost.
    #[error("{path} is there already; with --replace it is moved aside")]
    Present {
        /// What.
        path: PathBuf,
    },
    /// There is nothing to copy.
    #[error("there is no store {path}; say where the data is: --data DIR")]
    NoStore {
        /// Where it should be.
        path: PathBuf,
    },
    /// The data folder cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The running cloud does not say where its API is.
    #[error("a cloud that starts or stops uses the data folder {path}; try again in a moment")]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The running cloud did not give the copy out.
    #[error("the running cloud at {addr} gave no copy of its store: {reason}")]
    Refused {
        /// Where its API is.
        addr: SocketAddr,
        /// What it said.
        reason: Box<str>,
    },
    /// The running cloud cannot be reached.
    #[error("the running cloud at {addr} cannot be reached")]
    Unreachable {
        /// Where its API should be.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File { doing, path: path.to_owned(), source }
}
