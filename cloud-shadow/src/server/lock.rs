//! The claim on a data folder: one process at a time. The file that is locked says where the API
//! of the process listens.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use backon::BlockingRetryable as _;

use crate::patience::patience;

/// A data folder that is ours as long as this lives.
#[derive(Debug)]
pub struct DataLock {
    data: PathBuf,
    file: File,
}

/// Why a data folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It cannot be made or written to.
    #[error("the data folder {path} cannot be used; check that it may be written to")]
    Data {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error("the data folder {path} is in use by another gnomon-cloud")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
}

const FILE: &str = "lock";

impl DataLock {
    /// Makes the data folder, for its owner only, and claims it; waits up to a second for one that
    /// has it.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let take = || Self::try_take(data);
        take.retry(patience()).when(|error| matches!(error, LockError::Locked { .. })).call()
    }

    fn try_take(data: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Data { path: data.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        let file = options.open(data.join(FILE)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(failed)?;
                Ok(Self { data: data.to_owned(), file })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Locked { path: data.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Says where the API listens.
    pub fn announce(&self, addr: SocketAddr) -> Result<(), LockError> {
        let written = writeln!(&self.file, "{addr}");
        written.map_err(|source| LockError::Data { path: self.data.clone(), source })
    }

    /// Where the API of the process listens that has the folder, as far as it has said it.
    pub fn addr(data: &Path) -> Option<SocketAddr> {
        std::fs::read_to_string(data.join(FILE)).ok()?.trim().parse().ok()
    }
}
