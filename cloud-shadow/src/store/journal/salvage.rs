//! What can be saved of a store whose journal is damaged: the base and every commit up to the
//! damage, in a new file. Changes nothing that is there; what the rows mean is not its business.

use std::path::{Path, PathBuf};

use super::file::{self, Found};
use super::frame::{self, Head};
use super::overlay::Rows;
use super::recovery::{Mark, Mismatch, Replay};
use super::{JournaledStore, RedbStore, StoreError};
use crate::store::system::explain_io;

/// What was saved, and what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Salvaged {
    /// The commits of the journal that are in the new file.
    pub commits: u64,
    /// The commits that are not: those that are damaged, and those behind them. There may have been
    /// more, of which nothing is left.
    pub lost_commits: u64,
    /// The bytes of the journal from the damage to the last commit that can be made out.
    pub lost_bytes: u64,
    /// Where the damage begins, and what it is; `None`: there is none.
    pub damage: Option<(PathBuf, String)>,
}

impl JournaledStore {
    /// Makes a store at `into`, where nothing is, out of the one whose base is the file `path`. It
    /// needs no journal.
    pub fn salvage(path: &Path, into: &Path) -> Result<Salvaged, StoreError> {
        std::fs::copy(path, into).map_err(|source| explain_io(path, source))?;
        let base = RedbStore::verify(into).map_err(|error| about(path, error))?;
        let found = go_through(path, &base, true)?;
        let whole = Mark { id: rand::random(), flushed: 0, is_whole: true };
        base.commit_marked(std::iter::empty(), Some(&whole.encode()))?;
        Ok(found)
    }

    /// What [`Self::salvage`] would save.
    pub fn outlook(path: &Path) -> Result<Salvaged, StoreError> {
        go_through(path, &RedbStore::verify(path)?, false)
    }
}

/// What is wrong with a copy is wrong with what was copied.
fn about(path: &Path, error: StoreError) -> StoreError {
    let StoreError::Damaged { reason, .. } = error else { return error };
    StoreError::Damaged { path: path.to_owned(), reason }
}

/// Goes through the journal of the store at `path`; where that is wanted, the base gets what it lacks.
fn go_through(path: &Path, base: &RedbStore, keeps: bool) -> Result<Salvaged, StoreError> {
    let folder = JournaledStore::journal_of(path);
    let files = file::list(&folder).map_err(|source| explain_io(&folder, source))?;
    let mark = match base.mark()? {
        Some(bytes) => Mark::decode(&bytes).ok_or_else(|| StoreError::Damaged {
            path: path.to_owned(),
            reason: "what it says of its journal cannot be read".into(),
        })?,
        None => Mark { id: rand::random(), flushed: 0, is_whole: true },
    };
    let into = keeps.then_some(base);
    let mut saving = Saving { into, replay: Replay::new(mark), mark, found: Salvaged::default() };
    for (at, file) in files.iter().enumerate() {
        let later = files.iter().skip(at + 1).filter_map(|file| file.head);
        let later = later.filter(|later| later.id == mark.id).map(|later| later.first).next();
        saving.file(file, later.unwrap_or(u64::MAX))?;
    }
    if saving.found.damage.is_none()
        && let Err(mismatch) = saving.replay.done()
    {
        saving.found.damage = Some((folder, mismatch.to_string()));
    }
    Ok(saving.found)
}

struct Saving<'a> {
    /// What gets the commits, if they are wanted.
    into: Option<&'a RedbStore>,
    mark: Mark,
    replay: Replay,
    found: Salvaged,
}

impl Saving<'_> {
    /// Takes the commits of a file that the base lacks, or counts them as lost.
    fn file(&mut self, file: &Found, until: u64) -> Result<(), StoreError> {
        let bytes = file.read().map_err(|source| explain_io(&file.path, source))?;
        // With another head the checksums of its frames would not fit either.
        let head = Head { id: self.mark.id, generation: file.generation, first: 0 };
        let head = file.head.unwrap_or(head);
        if file.head.is_none() && !frame::has_frame(&bytes, &head, self.replay.next()) {
            return Ok(());
        }
        if self.found.damage.is_some() {
            self.lose(&bytes, &head, 0);
            return Ok(());
        }
        if file.head.is_none() {
            self.damaged(file, "its head is not whole".to_owned());
            self.lose(&bytes, &head, 0);
            return Ok(());
        }
        if let Err(mismatch) = self.replay.file(&head) {
            if mismatch != Mismatch::Foreign || frame::has_frame(&bytes, &head, head.first) {
                self.damaged(file, mismatch.to_string());
                self.lose(&bytes, &head, 0);
            }
            return Ok(());
        }
        let (mut all, mut commits) = (Rows::new(), 0);
        let end = frame::read(&bytes, &head, until, &mut |number, rows| {
            if self.replay.wants(number) {
                all.extend(rows);
                commits += 1;
            }
        });
        if let Some(base) = self.into {
            let changes = all.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
            base.commit_marked(changes, Some(&self.mark.encode()))?;
        }
        self.found.commits += commits;
        if self.replay.ended(end).is_err() {
            self.damaged(file, format!("a commit cannot be read, at byte {}", end.at));
            self.lose(&bytes, &head, end.at);
        }
        Ok(())
    }

    fn damaged(&mut self, file: &Found, what: String) {
        self.found.damage = Some((file.path.clone(), what));
    }

    /// Nothing of a file is taken from this byte on.
    fn lose(&mut self, bytes: &[u8], head: &Head, from: usize) {
        let Some((number, end)) = frame::last(bytes, head, from) else { return };
        self.found.lost_bytes += end.saturating_sub(from) as u64;
        let lost = (number + 1).saturating_sub(self.replay.next());
        self.found.lost_commits = self.found.lost_commits.max(lost);
    }
}
