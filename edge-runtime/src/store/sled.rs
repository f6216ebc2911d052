//! The store on sled 0.34.7: the one file that names it. Each rule here answers a measured fault
//! of that engine: its `flush` is not an fsync, it panics on damage, drops keys silently, and is
//! dead after a full disk until it is opened anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use ::sled::{Batch, Config, Db};
use backon::BlockingRetryable as _;
use uuid::Uuid;

use super::recovery::{self, Attempt, Place};
use super::{Entry, Op, Store, StoreError, chunk, frame};
use crate::lock;

mod head;
mod mark;
mod verify;

use head::Head;
use mark::Mark;

const CACHE_BYTES: u64 = 8 << 20;
const FLUSH_EVERY_MS: u64 = 1000;

/// Where a sled store lies and how much of the disk it leaves alone.
#[derive(Debug, Clone)]
pub struct SledConfig {
    /// The store's own directory.
    pub dir: PathBuf,
    /// Below this much free space commits are refused as full.
    pub min_free_bytes: u64,
    /// The size of the file that is given up to reopen on a full disk.
    pub ballast_bytes: u64,
}

impl SledConfig {
    /// The store below `dir`, with the limits that suit a site.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), min_free_bytes: 16 << 20, ballast_bytes: 4 << 20 }
    }
}

/// A store on sled. It opens itself with the first call, and again after a failure.
#[derive(Debug)]
pub struct SledStore {
    config: SledConfig,
    place: Place,
    open: Option<Engine>,
}

#[derive(Debug)]
struct Engine {
    db: Db,
    /// Our own handle on the engine's file: an fsync through it is what makes a commit durable.
    file: File,
    head: Head,
    mark: Mark,
    went_back: bool,
}

/// What a call on the open engine may end with.
enum Fault {
    Engine(::sled::Error),
    System(io::Error),
    Corrupt(String),
    Panic(String),
}

impl SledStore {
    /// A store that opens with its first use.
    pub fn new(config: SledConfig) -> Self {
        let place = Place::new(&config.dir);
        Self { config, place, open: None }
    }

    /// Opens it now, to say early what is wrong.
    pub fn ensure_open(&mut self) -> Result<(), StoreError> {
        self.engine().map(drop)
    }

    fn engine(&mut self) -> Result<&mut Engine, StoreError> {
        if self.open.is_none() {
            let engine = recovery::open(&self.place, open_engine)?;
            tracing::debug!(store = %engine.head.store, entries = engine.head.count, "store open");
            self.place.refill_ballast(
                self.config.ballast_bytes,
                self.free_bytes(),
                self.config.min_free_bytes,
            );
            self.open = Some(engine);
        }
        self.open.as_mut().ok_or(StoreError::Closed)
    }

    /// Runs `call` on the open engine; any failure closes it.
    fn guarded<T>(
        &mut self,
        call: impl FnOnce(&mut Engine) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        let engine = self.engine()?;
        match catching(|| call(engine)) {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.close_after(fault)),
        }
    }

    fn close_after(&mut self, fault: Fault) -> StoreError {
        let closing = self.open.take();
        let close = || {
            drop(closing);
            Ok(())
        };
        if catching(close).is_err() {
            tracing::warn!("the store panicked while it was closed after a failure");
        }
        match Attempt::from(fault) {
            Attempt::Full => {
                self.place.drop_ballast();
                StoreError::Full { place: self.place.root().display().to_string() }
            }
            Attempt::Corrupt(reason) => StoreError::Corrupt(reason),
            Attempt::Damaged(reason) => StoreError::Poisoned(reason),
            Attempt::Io(source) => StoreError::io("using the store", source),
        }
    }

    #[expect(clippy::useless_conversion, reason = "the numbers are narrower on 32-bit systems")]
    fn free_bytes(&self) -> u64 {
        // A system that cannot tell must not stop the agent.
        nix::sys::statvfs::statvfs(self.place.root()).map_or(u64::MAX, |stat| {
            u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()))
        })
    }
}

impl Store for SledStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.guarded(|engine| engine.get(key))
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let entries = self.guarded(|engine| engine.scan(prefix))?;
        for (key, value) in &entries {
            visit(key, value);
        }
        Ok(())
    }

    fn commit(&mut self, ops: &[Op]) -> Result<(), StoreError> {
        self.engine()?;
        let free = self.free_bytes();
        if free < self.config.min_free_bytes {
            return Err(StoreError::Full { place: self.place.root().display().to_string() });
        }
        self.place.refill_ballast(self.config.ballast_bytes, free, self.config.min_free_bytes);
        let last: BTreeMap<&[u8], Option<&[u8]>> =
            ops.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        self.guarded(|engine| engine.commit(&last))
    }

    fn went_back(&mut self) -> Result<bool, StoreError> {
        Ok(self.engine()?.went_back)
    }
}

impl Engine {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        let first_key = chunk::first_key(key);
        match self.db.get(&first_key)? {
            Some(sealed) => self.whole(key, &first_key, &sealed).map(Some),
            None => Ok(None),
        }
    }

    fn scan(&self, prefix: &[u8]) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        for entry in self.db.scan_prefix(chunk::first_key(prefix)) {
            let (first_key, sealed) = entry?;
            let key = first_key.get(chunk::FIRST.len()..).unwrap_or_default().to_vec();
            let value = self.whole(&key, &first_key, &sealed)?;
            entries.push((key, value));
        }
        Ok(entries)
    }

    fn whole(&self, key: &[u8], first_key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Fault> {
        verify::value(key, first_key, sealed, |key| Ok(self.db.get(key)?))
    }

    fn commit(&mut self, ops: &BTreeMap<&[u8], Option<&[u8]>>) -> Result<(), Fault> {
        let mut head = self.head.next();
        let mut batch = Batch::default();
        for (key, value) in ops {
            let records = value.map(|value| chunk::split(key, value)).unwrap_or_default();
            let mut kept = 0u32;
            for (record_key, payload) in records {
                let sealed = frame::seal(&record_key, head.commit, &payload);
                if let Some(old) = self.db.get(&record_key)? {
                    head.forget(&record_key, &old);
                }
                head.count(&record_key, &sealed);
                batch.insert(record_key, sealed);
                kept += 1;
            }
            self.remove_from(key, kept, &mut head, &mut batch)?;
        }
        batch.insert(head::KEY, head.seal());
        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.file.sync_data().map_err(Fault::System)?;
        self.mark.set(head.store, head.commit);
        self.went_back = false;
        self.head = head;
        Ok(())
    }

    /// Removes the records of the stored value of `key` from the record `index` on.
    fn remove_from(
        &self,
        key: &[u8],
        mut index: u32,
        head: &mut Head,
        batch: &mut Batch,
    ) -> Result<(), Fault> {
        loop {
            let record_key =
                if index == 0 { chunk::first_key(key) } else { chunk::rest_key(key, index) };
            let Some(old) = self.db.get(&record_key)? else { return Ok(()) };
            head.forget(&record_key, &old);
            batch.remove(record_key);
            index += 1;
        }
    }
}

fn open_engine(dir: &Path) -> Result<Engine, Attempt> {
    catching(|| {
        let is_new = !dir.exists();
        let config = Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS));
        let db = (|| config.open()).retry(lock::patience()).when(is_locked).call()?;
        let file = File::open(dir.join("db")).map_err(Fault::System)?;
        file.sync_all().map_err(Fault::System)?;
        recovery::sync_dir(dir).map_err(Fault::System)?;
        if is_new && let Some(parent) = dir.parent() {
            recovery::sync_dir(parent).map_err(Fault::System)?;
        }
        let records = db.iter().map(|entry| Ok(entry?));
        let head = verify::all(records, |key| Ok(db.get(key)?))?;
        if dir.join("blobs").read_dir().is_ok_and(|mut files| files.next().is_some()) {
            tracing::warn!("the store has spilled into files that are not synced");
        }
        let mark = Mark::open(&dir.join("mark"));
        let went_back = mark.is_beyond(head.as_ref());
        let head = head.unwrap_or_else(|| Head::new(Uuid::new_v4()));
        if went_back {
            tracing::error!(
                commit = head.commit,
                "the store has lost its last commits; does the \
                disk keep what it says it has written? The cloud is asked, and told, anew"
            );
        }
        Ok(Engine { db, file, head, mark, went_back })
    })
    .map_err(Attempt::from)
}

/// Whether somebody has the engine's files: a child of this process on its way to its program, or
/// a thread of an engine that was closed and has not ended yet. sled says it only in words.
fn is_locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(error) if error.to_string().contains("WouldBlock"))
}

fn catching<T>(call: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(Fault::Panic(text.unwrap_or("the engine panicked").to_owned()))
    })
}

impl From<::sled::Error> for Fault {
    fn from(error: ::sled::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Fault> for Attempt {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Engine(::sled::Error::Io(error)) | Fault::System(error) => {
                if recovery::is_full(&error) { Self::Full } else { Self::Io(error) }
            }
            Fault::Engine(error) => Self::Corrupt(error.to_string()),
            Fault::Corrupt(reason) => Self::Damaged(reason),
            Fault::Panic(text) => Self::Damaged(format!("it panicked: {text}")),
        }
    }
}

#[cfg(test)]
mod tests;
