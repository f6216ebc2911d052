//! One agent per data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The right to use a data directory; given up when dropped, and by death of any kind.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// Why a data directory could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another agent has it.
    #[error("another agent uses {}; stop it first, or give this one its own --data", .0.display())]
    Taken(PathBuf),
    /// The lock file cannot be used.
    #[error("the lock file {} cannot be used", at.display())]
    Unusable {
        /// The file.
        at: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl DataLock {
    /// Takes the directory.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let at = data.join("agent.lock");
        let unusable = |source| LockError::Unusable { at: at.clone(), source };
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).write(true).mode(0o600).open(&at);
        match Flock::lock(file.map_err(unusable)?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Err(LockError::Taken(data.to_path_buf())),
            Err((_, errno)) => Err(unusable(errno.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_agents_cannot_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataLock::take(dir.path()).unwrap();
        assert!(matches!(DataLock::take(dir.path()), Err(LockError::Taken(_))));
        drop(first);
        DataLock::take(dir.path()).unwrap();
    }
}
