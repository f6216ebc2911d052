//! From memory to the base: many commits in one, on a thread of the store, so that a commit waits
//! for it only where memory has no more room.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use super::Shared;
use super::file::Step;
use super::overlay::{Rows, merged};
use super::recovery::Mark;
use crate::store::redb::{lower, upper};
use crate::store::StoreError;
use crate::store::system::explain_io;

/// What is asked of the thread, and what became of the last flush.
#[derive(Debug, Default)]
pub(super) struct Flushing {
    is_wanted: bool,
    is_stopped: bool,
    failure: Option<Failure>,
}

/// Why the last flush failed, to be told to every commit that finds no room.
#[derive(Debug)]
enum Failure {
    Full(std::io::ErrorKind),
    Other(Box<str>),
}

impl Flushing {
    pub(super) const fn stop(&mut self) {
        self.is_stopped = true;
    }
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
            flushing.failure = failure;
            self.changed.notify_all();
        }
    }

    fn try_flush(&self) -> Option<Failure> {
        match catch_unwind(AssertUnwindSafe(|| self.flush())) {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                let failure = match &error {
                    StoreError::Full { source, .. } => Failure::Full(source.kind()),
                    other => Failure::Other(other.to_string().into()),
                };
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the journal could not be brought to the store");
                Some(failure)
            }
            Err(_) => Some(Failure::Other("a flush ended by a panic".into())),
        }
    }

    /// Brings everything that is committed to the base.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let layers = self.layers_mut().freeze();
        let Some(last) = layers.last().map(|layer| layer.last()) else { return Ok(()) };
        let failed = |source| explain_io(&self.path, source);
        (self.watch)(Step::Flush).map_err(failed)?;
        let rows: Vec<&Rows> = layers.iter().rev().map(|layer| layer.rows()).collect();
        let mark = Mark { id: self.id, flushed: last, is_whole: false };
        self.base.commit_marked(merged(&rows, (lower(&[], None), upper(None))), &mark.encode())?;
        (self.watch)(Step::Flushed).map_err(failed)?;
        self.layers_mut().forget(last);
        self.shelf().release(last);
        Ok(())
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
