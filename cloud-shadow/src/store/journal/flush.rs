//! From memory to the base: many commits in one, on a thread of the store, so that a commit waits
//! for it only where memory has no more room.

use std::io;
use std::iter::Peekable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::Shared;
use super::file::Step;
use super::overlay::{Row, Rows, merged, size};
use super::recovery::Mark;
use crate::store::system::explain_io;
use crate::store::{StoreError, lower, upper};

/// What is asked of the thread, and what became of the last flush.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    is_wanted: bool,
    is_stopped: bool,
    /// How many wait for a flush, so that it goes on without a pause.
    waiting: usize,
    failure: Option<Failure>,
}

/// Why the last flush failed, to be told to every commit that finds no room.
#[derive(Debug)]
enum Failure {
    Full(io::ErrorKind),
    Other(Box<str>),
}

impl Failure {
    fn reason(&self) -> &str {
        match self {
            Self::Full(_) => "there is too little room on the disk",
            Self::Other(reason) => reason,
        }
    }
}

/// The room that the base must find on the disk beyond what it gets: it writes pages anew before it
/// frees the old ones. Tried with less, it would take the last of it, and fail.
fn has_room(path: &Path, bytes: usize) -> bool {
    const LEAST: u64 = 1024 * 1024;
    let needed = LEAST.saturating_add(2 * u64::try_from(bytes).unwrap_or(u64::MAX / 2));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Of a disk that does not say, the attempt will.
    let Ok(disk) = statvfs(folder.unwrap_or(Path::new("."))) else { return true };
    disk.blocks_available().saturating_mul(disk.fragment_size()) >= needed
}

fn no_room() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

impl Flushing {
    pub(super) const fn stop(&mut self) {
        self.is_stopped = true;
    }
}

/// How a flush shares the machine with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Fast,
    Slow,
}

/// The next rows, up to so many bytes, and one at least.
fn take_part<'a>(rows: &mut Peekable<impl Iterator<Item = Row<'a>>>, most: usize) -> Vec<Row<'a>> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next_if(|row| bytes == 0 || bytes + size(*row) <= most) {
        bytes += size(row);
        part.push(row);
    }
    part
}

/// Starts the thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
    let own = Arc::clone(shared);
    let thread = thread::Builder::new().name("store-flush".to_owned()).spawn(move || own.run());
    thread.map_err(|source| explain_io(&shared.path, source))
}

impl Shared {
    /// Flushes when that is asked for, or it is time, until it is stopped.
    fn run(&self) {
        let mut flushing = self.flushing();
        while !flushing.is_stopped {
            let wait = if flushing.failure.is_some() { self.bounds.retry } else { self.bounds.age };
            let is_due = |flushing: &mut Flushing| !flushing.is_wanted && !flushing.is_stopped;
            let waited = self.changed.wait_timeout_while(flushing, wait, is_due);
            flushing = waited.unwrap_or_else(PoisonError::into_inner).0;
            if flushing.is_stopped {
                break;
            }
            flushing.is_wanted = false;
            drop(flushing);
            let failure = self.try_flush();
            flushing = self.flushing();
            match (&flushing.failure, &failure) {
                (None, Some(failure)) => {
                    let reason = failure.reason();
                    tracing::error!(
                        reason,
                        "the journal cannot be brought to the store's file yet"
                    );
                }
                (Some(_), None) => {
                    tracing::info!("the journal is brought to the store's file again");
                }
                (None, None) | (Some(_), Some(_)) => {}
            }
            flushing.failure = failure;
            self.changed.notify_all();
        }
    }

    fn try_flush(&self) -> Option<Failure> {
        match catch_unwind(AssertUnwindSafe(|| self.flush_parts(Pace::Slow))) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                if let StoreError::Full { source, .. } = &error {
                    return Some(Failure::Full(source.kind()));
                }
                Some(Failure::Other(crate::chain(&error).into()))
            }
            Err(_) => Some(Failure::Other("a flush ended by a panic".into())),
        }
    }

    /// Brings everything that is committed to the base, at once.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.flushing().waiting += 1;
        self.changed.notify_all();
        let flushed = self.flush_parts(Pace::Fast);
        self.flushing().waiting -= 1;
        flushed
    }

    /// Brings everything that is committed to the base, a part after the other. Only with the last
    /// one the base says that it has it: until then the journal tells whoever opens the store all
    /// of it again, over what the base has of it.
    fn flush_parts(&self, pace: Pace) -> Result<(), StoreError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = self.layers_mut().freeze();
        let Some(last) = layers.last().map(|layer| layer.last()) else { return Ok(()) };
        let failed = |source| explain_io(&self.path, source);
        let needed = self.layers().bytes();
        let has_room = || if has_room(&self.path, needed) { Ok(()) } else { Err(no_room()) };
        (self.watch)(Step::Flush).and_then(|()| has_room()).map_err(failed)?;
        let rows: Vec<&Rows> = layers.iter().rev().map(|layer| layer.rows()).collect();
        let mut rows = merged(&rows, (lower(&[], None), upper(None))).peekable();
        let mark = Mark { id: self.id, flushed: last, is_whole: false }.encode();
        loop {
            let began = Instant::now();
            let part = take_part(&mut rows, self.bounds.part);
            let is_last = rows.peek().is_none();
            self.base.commit_marked(part.into_iter(), is_last.then_some(&*mark))?;
            if is_last {
                break;
            }
            (self.watch)(Step::Part).map_err(failed)?;
            if pace == Pace::Slow && self.pause(began.elapsed()) {
                return Ok(());
            }
        }
        (self.watch)(Step::Flushed).map_err(failed)?;
        self.layers_mut().forget(last);
        self.shelf().release(last);
        Ok(())
    }

    /// Leaves processor and disk to others for as long as it had them itself, unless somebody waits
    /// for it or memory gets full; whether the store ends meanwhile.
    fn pause(&self, took: Duration) -> bool {
        let is_late = self.layers().bytes() > self.bounds.layer + self.bounds.layer / 2;
        let flushing = self.flushing();
        if is_late {
            return flushing.is_stopped;
        }
        let goes_on = |flushing: &mut Flushing| !flushing.is_stopped && flushing.waiting == 0;
        let waited = self.changed.wait_timeout_while(flushing, took, goes_on);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopped
    }

    /// Has the thread flush soon.
    pub(super) fn ask_for_flush(&self) {
        self.flushing().is_wanted = true;
        self.changed.notify_all();
    }

    /// Waits until there is room in memory for a commit, or says why there is none.
    pub(super) fn make_room(&self, has_flusher: bool) -> Result<(), StoreError> {
        let (active, all) = {
            let layers = self.layers();
            (layers.active_bytes(), layers.bytes())
        };
        if active < self.bounds.layer && all < 2 * self.bounds.layer {
            return Ok(());
        }
        if !has_flusher {
            return self.flush();
        }
        self.ask_for_flush();
        let mut flushing = self.flushing();
        while self.layers().bytes() >= 2 * self.bounds.layer {
            if let Some(failure) = &flushing.failure {
                return Err(self.explain(failure));
            }
            flushing = self.changed.wait(flushing).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn explain(&self, failure: &Failure) -> StoreError {
        let path = self.path.clone();
        match failure {
            Failure::Full(kind) => StoreError::Full { path, source: (*kind).into() },
            Failure::Other(reason) => StoreError::Internal { path, reason: reason.clone() },
        }
    }
}
