//! The default store: a journal in front of a [`RedbStore`]. A commit is one frame, appended and
//! synced; what it changes lies in memory over the base until a thread of the store brings many
//! commits to the base in one. [`frame`], [`overlay`] and [`recovery`] are pure; [`file`] touches
//! the disk, [`writer`] says when, [`flush`] empties the memory, [`open`] puts it together again.

use std::path::{Path, PathBuf};
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::thread::JoinHandle;
use std::time::Duration;

mod file;
mod flush;
mod frame;
mod open;
mod overlay;
mod recovery;
mod resolve;
mod salvage;
#[cfg(test)]
mod tests;
mod writer;

pub use self::salvage::Salvaged;

use self::file::Watch;
use self::flush::Flushing;
use self::frame::StoreId;
use self::overlay::{Layers, Over, Rows, merged};
use self::writer::{Shelf, Writer};
use super::{Op, Pair, RedbStore, Store, StoreError, after_prefix, lower, upper};

/// A store whose commits are appended to a journal.
#[derive(Debug)]
pub struct JournaledStore {
    shared: Arc<Shared>,
    flusher: Option<JoinHandle<()>>,
}

/// What the store and its thread work on. Whoever holds several of the locks has taken them in the
/// order of the fields.
struct Shared {
    /// The base's file.
    path: PathBuf,
    /// The journal's folder.
    folder: PathBuf,
    id: StoreId,
    bounds: Bounds,
    watch: Watch,
    base: RedbStore,
    /// Held by the commit that is under way.
    writer: Mutex<Writer>,
    /// Held by the flush that is under way.
    turn: Mutex<()>,
    /// Held for as long as it takes to ask for a flush, or to say what became of one.
    flushing: Mutex<Flushing>,
    /// Told when [`Self::flushing`] has changed.
    changed: Condvar,
    // A lock because commits change what everybody reads; held for as long as that takes in memory.
    layers: RwLock<Layers>,
    /// The files that are not appended to any more.
    shelf: Mutex<Shelf>,
}

/// When memory and files are full.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// What a layer may take in memory before it is brought to the base.
    layer: usize,
    /// How long a file may get before the next one is begun.
    file: u64,
    /// The most bytes of one commit that are appended; a larger one goes to the base at once.
    commit: usize,
    /// How much of the layers is brought to the base in one of its commits: what else wants the disk
    /// meanwhile waits for that long.
    part: usize,
    /// How long a commit stays in the journal alone.
    age: Duration,
    /// When to try again what has failed.
    retry: Duration,
}

const BOUNDS: Bounds = Bounds {
    layer: 48 * 1024 * 1024,
    file: 64 * 1024 * 1024,
    commit: 32 * 1024 * 1024,
    part: 2 * 1024 * 1024,
    age: Duration::from_secs(30),
    retry: Duration::from_secs(1),
};

impl JournaledStore {
    /// Opens the store whose base is the file `path`, or makes what is missing of it. Its journal
    /// is the folder beside it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, BOUNDS, Arc::new(|_| Ok(())))
    }

    /// Opens a store that is there, checks every page and frame of it, and changes nothing.
    pub fn verify(path: &Path) -> Result<Self, StoreError> {
        let shared = open::open(path, BOUNDS, Arc::new(|_| Ok(())), RedbStore::verify)?;
        Ok(Self { shared: Arc::new(shared), flusher: None })
    }

    /// Opens a store that is there, to read from it.
    pub fn look_into(path: &Path) -> Result<Self, StoreError> {
        let shared = open::open(path, BOUNDS, Arc::new(|_| Ok(())), RedbStore::open)?;
        Ok(Self { shared: Arc::new(shared), flusher: None })
    }

    fn open_with(path: &Path, bounds: Bounds, watch: Watch) -> Result<Self, StoreError> {
        let shared = Arc::new(open::open(path, bounds, watch, RedbStore::open)?);
        let flusher = flush::start(&shared)?;
        if shared.layers().bytes() > 0 {
            shared.ask_for_flush();
        }
        Ok(Self { shared, flusher: Some(flusher) })
    }

    /// The extension of the folder of a journal.
    pub(super) const JOURNAL: &str = "journal";

    /// Where the journal of the store is whose base is the file `path`.
    pub fn journal_of(path: &Path) -> PathBuf {
        path.with_extension(Self::JOURNAL)
    }
}

/// What is committed is durable, so nothing waits for the end.
impl Drop for JournaledStore {
    fn drop(&mut self) {
        self.shared.flushing().stop();
        self.shared.changed.notify_all();
        if let Some(flusher) = self.flusher.take() {
            // It says itself when it panics.
            drop(flusher.join());
        }
    }
}

impl Shared {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushing(&self) -> MutexGuard<'_, Flushing> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn layers_mut(&self) -> RwLockWriteGuard<'_, Layers> {
        self.layers.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for JournaledStore {
    fn commit(&self, ops: &[Op]) -> Result<(), StoreError> {
        self.commit_owned(ops.to_vec())
    }

    fn commit_owned(&self, ops: Vec<Op>) -> Result<(), StoreError> {
        if ops.is_empty() {
            return Ok(());
        }
        let shared = &*self.shared;
        let mut writer = shared.writer();
        shared.base.check_file()?;
        shared.make_room(self.flusher.is_some())?;
        let bytes = ops.iter().map(Op::bytes).sum::<usize>();
        let rows = shared.resolve(ops)?;
        if rows.is_empty() {
            return Ok(());
        }
        if bytes > shared.bounds.commit {
            return writer.bypass(shared, &rows);
        }
        writer.append(shared, rows)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(value) = self.shared.layers().get(key) {
            return Ok(value.clone());
        }
        self.shared.base.get(key)
    }

    fn page(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Pair>, StoreError> {
        let end = after_prefix(prefix);
        if end.as_deref().is_some_and(|end| after.is_some_and(|after| after >= end)) || limit == 0 {
            return Ok(Vec::new());
        }
        let range = (lower(prefix, after), upper(end.as_deref()));
        let (cut, moment) = {
            let layers = self.shared.layers();
            (layers.cut(range, limit), self.shared.base.moment()?)
        };
        let mut pairs = Vec::new();
        let mut each = |key: &[u8], value: &[u8]| {
            pairs.push((key.to_vec(), value.to_vec()));
            pairs.len() < limit
        };
        let mut over = Over::new(cut.iter().map(|(key, value)| (&**key, value.as_deref())));
        let mut is_enough = false;
        moment.walk(range, &mut |key, value| {
            is_enough = !over.base(key, value, &mut each);
            !is_enough
        })?;
        if !is_enough {
            over.rest(&mut each);
        }
        Ok(pairs)
    }

    fn export(&self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<(), StoreError> {
        let (layers, moment) = {
            let mut layers = self.shared.layers_mut();
            (layers.freeze(), self.shared.base.moment()?)
        };
        let rows: Vec<&Rows> = layers.iter().rev().map(|layer| layer.rows()).collect();
        let range = (lower(&[], None), upper(None));
        let (mut over, mut is_enough) = (Over::new(merged(&rows, range)), false);
        moment.walk(range, &mut |key, value| {
            is_enough = !over.base(key, value, each);
            !is_enough
        })?;
        if !is_enough {
            over.rest(each);
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), StoreError> {
        self.shared.writer().settle(&self.shared)
    }
}
