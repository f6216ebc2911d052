//! One agent per data directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backon::{BlockingRetryable as _, ConstantBuilder};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The right to use a data directory; given up when dropped, and by death of any kind.
#[derive(Debug)]
pub struct DataLock(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

/// How a lock is asked for that somebody has: for a second. It outlives its owner for a moment
/// where a child was between `fork` and `exec` when the owner gave it up or died.
pub fn patience() -> ConstantBuilder {
    ConstantBuilder::new().with_delay(Duration::from_millis(10)).with_max_times(100)
}

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
    /// Takes the directory; waits up to a second for one that has it.
    pub fn take(data: &Path) -> Result<Self, LockError> {
        let take = || Self::try_take(data);
        take.retry(patience()).when(|error| matches!(error, LockError::Taken(_))).call()
    }

    fn try_take(data: &Path) -> Result<Self, LockError> {
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

    #[test]
    fn a_lock_that_outlives_its_owner_for_a_moment_is_waited_for() {
        let mut asked = 0;
        let take = || {
            asked += 1;
            if asked < 4 { Err("taken") } else { Ok(()) }
        };
        take.retry(patience()).call().unwrap();
        assert_eq!(asked, 4);
    }
}
