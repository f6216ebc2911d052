//! Where commits go: into the current file, into a next one when that is full or cannot be trusted,
//! past the journal when they are too large for it.

use std::path::PathBuf;

use super::file::{AppendError, Current, Step};
use super::frame::{self, Head};
use super::overlay::Rows;
use super::recovery::Mark;
use super::{Shared, StoreError};
use crate::store::system::explain_io;

/// The end of the journal.
pub(super) struct Writer {
    /// `None`: none was needed yet, or the last one cannot be trusted.
    pub(super) current: Option<Current>,
    /// The number of the last file.
    pub(super) generation: u64,
    /// The number of the last commit.
    pub(super) last: u64,
    /// The base's mark says that it has everything.
    pub(super) is_whole: bool,
    pub(super) buffer: Vec<u8>,
}

/// Files that are not appended to any more.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// With their last commits.
    pub(super) old: Vec<(PathBuf, u64)>,
    /// One that is needed no more, for the next one to be made of.
    pub(super) spare: Option<PathBuf>,
}

impl Shelf {
    /// The base has everything up to this commit.
    pub(super) fn release(&mut self, last: u64) {
        let (done, old) =
            std::mem::take(&mut self.old).into_iter().partition(|file| file.1 <= last);
        self.old = old;
        let done: Vec<(PathBuf, u64)> = done;
        for (path, _) in done {
            match &self.spare {
                None => self.spare = Some(path),
                // Where it cannot be removed, the next opening finds it and passes over it.
                Some(_) => drop(std::fs::remove_file(path)),
            }
        }
    }
}

impl Writer {
    /// Appends a commit, and shows it when it is durable.
    pub(super) fn append(&mut self, shared: &Shared, rows: Rows) -> Result<(), StoreError> {
        let number = self.last + 1;
        self.make_ready(shared)?;
        let Some(current) = &mut self.current else { return Err(lost(shared)) };
        if !frame::encode(&current.head, number, &rows, &mut self.buffer) {
            return self.bypass(shared, &rows);
        }
        if let Err(AppendError { source, is_suspect }) = current.append(&self.buffer) {
            let error = explain_io(&current.path, source);
            if is_suspect {
                self.give_up(shared);
            }
            return Err(error);
        }
        self.last = number;
        shared.layers_mut().take(number, rows);
        Ok(())
    }

    /// Writes a commit into the base, behind everything that came before it.
    pub(super) fn bypass(&mut self, shared: &Shared, rows: &Rows) -> Result<(), StoreError> {
        shared.flush()?;
        let mark = Mark { id: shared.id, flushed: self.last, is_whole: self.is_whole };
        let changes = rows.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        shared.base.commit_marked(changes, Some(&mark.encode()))
    }

    /// Brings everything to the base, and tells it that it is the whole.
    pub(super) fn settle(&mut self, shared: &Shared) -> Result<(), StoreError> {
        shared.flush()?;
        if !self.is_whole {
            self.mark(shared, true)?;
        }
        Ok(())
    }

    /// Sees to it that there is a file with room, and that the base knows that it is not the whole.
    fn make_ready(&mut self, shared: &Shared) -> Result<(), StoreError> {
        match &self.current {
            Some(current) if !current.is_there() => {
                return Err(StoreError::Gone { path: current.path.clone() });
            }
            Some(current) if current.used() < shared.bounds.file => {}
            Some(_) | None => self.begin_file(shared)?,
        }
        if self.is_whole {
            self.mark(shared, false)?;
        }
        Ok(())
    }

    fn mark(&mut self, shared: &Shared, is_whole: bool) -> Result<(), StoreError> {
        (shared.watch)(Step::Mark).map_err(|source| explain_io(&shared.path, source))?;
        let mark = Mark { id: shared.id, flushed: self.last, is_whole };
        shared.base.commit_marked(std::iter::empty(), Some(&mark.encode()))?;
        self.is_whole = is_whole;
        Ok(())
    }

    /// Begins the next file. What the one before may have beyond the last commit is void with it.
    fn begin_file(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let generation = self.generation + 1;
        let head = Head { id: shared.id, generation, first: self.last + 1 };
        let spare = shared.shelf().spare.take();
        let made = Current::create(&shared.folder, head, spare.as_deref(), &shared.watch);
        let current = made.map_err(|source| explain_io(&shared.folder, source))?;
        self.generation = generation;
        self.put_away(shared);
        self.current = Some(current);
        Ok(())
    }

    fn put_away(&mut self, shared: &Shared) {
        if let Some(old) = self.current.take() {
            shared.shelf().old.push((old.path, self.last));
        }
    }

    /// The current file is not to be trusted: the system may have lost a page of it. Its commits
    /// are brought to the base soon, and what was just refused is void as soon as there is a next
    /// file; until then nothing is accepted.
    fn give_up(&mut self, shared: &Shared) {
        self.put_away(shared);
        shared.ask_for_flush();
        if let Err(error) = self.begin_file(shared) {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "the journal cannot go on in another file yet");
        }
    }
}

fn lost(shared: &Shared) -> StoreError {
    let reason = "there is no journal file to append to".into();
    StoreError::Internal { path: shared.path.clone(), reason }
}
