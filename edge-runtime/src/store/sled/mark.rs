//! How far a store was, in a file of its own that is never synced. After a crash the file may be
//! behind the store; only a store that lost what it had acknowledged is behind the file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use uuid::Uuid;

use super::head::Head;

const LEN: usize = 16 + 8;

/// The mark; without a file it knows and keeps nothing.
#[derive(Debug)]
pub(super) struct Mark(Option<File>);

impl Mark {
    /// Opens the file, made if it is missing.
    pub(super) fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        Self(file.inspect_err(told("opened")).ok())
    }

    /// Whether the store that is found here was further once; `None`: an empty one.
    pub(super) fn is_beyond(&self, found: Option<&Head>) -> bool {
        let is_older =
            |(store, commit)| found.is_none_or(|head| head.store == store && head.commit < commit);
        self.read().is_some_and(is_older)
    }

    /// Notes how far the store is.
    pub(super) fn set(&self, store: Uuid, commit: u64) {
        let Some(file) = &self.0 else { return };
        let mut bytes = [0; LEN];
        let (id, at) = bytes.split_at_mut(16);
        id.copy_from_slice(store.as_bytes());
        at.copy_from_slice(&commit.to_be_bytes());
        drop(file.write_all_at(&bytes, 0).inspect_err(told("written")));
    }

    fn read(&self) -> Option<(Uuid, u64)> {
        let mut bytes = [0; LEN];
        self.0.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        let (store, commit) = bytes.split_first_chunk::<16>()?;
        Some((Uuid::from_bytes(*store), u64::from_be_bytes(commit.try_into().ok()?)))
    }
}

fn told(what: &'static str) -> impl Fn(&io::Error) {
    move |error| tracing::debug!(%error, "the mark of the store was not {what}")
}
