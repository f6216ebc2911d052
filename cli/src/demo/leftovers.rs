//! What an earlier demo in the same directory left behind when it was killed, and the lock that
//! keeps two demos out of one directory.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

use super::process_table;
use crate::exit::Failure;

/// Says that a directory is a demo's.
const MARK: &str = ".gnomon-demo";

/// Held as long as the demo runs.
pub(super) struct Lock(#[expect(unused, reason = "its drop unlocks")] Flock<File>);

/// Makes the directory and takes it.
pub(super) fn take(dir: &Path) -> anyhow::Result<Lock> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map(Lock).map_err(|_| {
        let text = format!(
            "another demo runs in {}; wait for it, or take another directory with --dir",
            dir.display()
        );
        Failure::Usage(text).into()
    })
}

/// Ends the processes of an earlier demo that kept its data in `state`, and makes that directory
/// anew. Refuses a directory that no demo has made.
pub(super) fn clear(state: &Path, _lock: &Lock) -> anyhow::Result<Vec<String>> {
    let mark = state.join(MARK);
    let mut killed = Vec::new();
    if state.exists() {
        if !mark.is_file() {
            let text = format!(
                "{} was not made by a demo; name another directory with --dir",
                state.display()
            );
            return Err(Failure::Usage(text).into());
        }
        killed = process_table::kill_all(state)?;
        fs::remove_dir_all(state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    fs::create_dir(state).with_context(|| format!("cannot make {}", state.display()))?;
    fs::write(&mark, "gnomon demo removes this directory at its next start\n")?;
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_demo_made_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        let state = dir.path().join("state");
        fs::create_dir(&state).unwrap();
        fs::write(state.join("mine"), "").unwrap();
        assert!(clear(&state, &lock).unwrap_err().to_string().contains("--dir"));
        assert!(state.join("mine").exists());
        fs::write(state.join(MARK), "").unwrap();
        clear(&state, &lock).unwrap();
        assert!(!state.join("mine").exists());
        clear(&state, &lock).unwrap();
    }

    #[test]
    fn a_directory_holds_one_demo_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lock = take(dir.path()).unwrap();
        assert!(take(dir.path()).is_err());
        drop(lock);
        assert!(take(dir.path()).is_ok());
    }
}
