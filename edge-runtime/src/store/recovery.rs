//! What is tried when a store does not open, in which order, and what is left behind for the next
//! start: marker files, a quarantined copy, a ballast file that frees space in need.
//!
//! A store that panicked once must not be opened a second time: the first attempt has already
//! rewritten parts of it, and a second one can succeed with entries silently missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::StoreError;

/// After this many starts that died while opening, the store is not opened any more.
const OPENINGS: usize = 3;

/// The directory of a store and what lies in it.
#[derive(Debug, Clone)]
pub struct Place {
    root: PathBuf,
}

/// Why one attempt to open failed.
#[derive(Debug)]
pub enum Attempt {
    /// The engine says that its files are damaged; its snapshots may be to blame.
    Corrupt(String),
    /// It panicked, or what it holds does not add up.
    Damaged(String),
    /// The disk is full.
    Full,
    /// The operating system refused for another reason, which says nothing about the files.
    Io(io::Error),
}

impl Place {
    /// The store below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the engine keeps its files; the name carries the layout's version.
    pub fn engine(&self) -> PathBuf {
        self.root.join("db.v1")
    }

    fn poisoned(&self) -> PathBuf {
        self.root.join("POISONED")
    }

    fn opening(&self) -> PathBuf {
        self.root.join("OPENING")
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }

    fn full(&self) -> StoreError {
        StoreError::Full { place: self.root.display().to_string() }
    }

    fn doing(&self, what: &str) -> impl Fn(io::Error) -> StoreError + use<> {
        let place = self.root.display().to_string();
        let what = format!("{what} in {place}");
        move |source| {
            if is_full(&source) {
                StoreError::Full { place: place.clone() }
            } else {
                StoreError::io(what.clone(), source)
            }
        }
    }

    /// Frees the ballast's space; says whether there was any.
    pub fn drop_ballast(&self) -> bool {
        fs::remove_file(self.ballast()).is_ok()
    }

    /// Writes the ballast anew if it is gone and `free` leaves ample room for it.
    pub fn refill_ballast(&self, size: u64, free: u64, keep_free: u64) {
        let path = self.ballast();
        if path.exists() || free < keep_free.saturating_add(size.saturating_mul(2)) {
            return;
        }
        if let Err(error) = write_ballast(&path, size) {
            tracing::debug!(%error, "the ballast file was not written");
            drop(fs::remove_file(path));
        }
    }
}

/// Opens a store with `attempt`, which is given the engine's directory: deletes leftovers first,
/// removes snapshots after a corrupt start, and moves a damaged store aside for a fresh one.
pub fn open<T>(
    place: &Place,
    mut attempt: impl FnMut(&Path) -> Result<T, Attempt>,
) -> Result<T, StoreError> {
    fs::create_dir_all(&place.root).map_err(place.doing("creating the store's directory"))?;
    let mut fresh = false;
    if place.poisoned().exists() {
        quarantine(place, "an earlier run marked it")?;
        fresh = true;
    } else if openings(place) >= OPENINGS {
        quarantine(place, "the last runs died while opening it")?;
        fresh = true;
    }
    let mut snapshots_kept = true;
    loop {
        mark_opening(place)?;
        remove_snapshots(place, |name| name.ends_with(".generating"))?;
        match attempt(&place.engine()) {
            Ok(store) => {
                clear(&place.opening());
                return Ok(store);
            }
            Err(Attempt::Full) if place.drop_ballast() => {}
            Err(Attempt::Full) => {
                clear(&place.opening());
                return Err(place.full());
            }
            Err(Attempt::Io(source)) => {
                clear(&place.opening());
                return Err(place.doing("opening the store")(source));
            }
            Err(Attempt::Corrupt(reason)) if snapshots_kept && !fresh => {
                tracing::warn!(%reason, "the store does not open; trying without its snapshots");
                remove_snapshots(place, |_| true)?;
                snapshots_kept = false;
            }
            Err(Attempt::Corrupt(reason) | Attempt::Damaged(reason)) => {
                if fresh {
                    return Err(StoreError::Corrupt(format!("a fresh store fails too: {reason}")));
                }
                quarantine(place, &reason)?;
                fresh = true;
            }
        }
    }
}

/// Whether an error means that the disk or the quota is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Makes a directory's entries durable.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Moves the engine's directory to `bad-<time>`, of which the newest is kept. The marker makes a
/// start that comes in between finish the move.
fn quarantine(place: &Place, reason: &str) -> Result<(), StoreError> {
    tracing::error!(
        %reason, store = %place.root.display(),
        "the store is damaged and is moved aside; a fresh one starts, running apps stay, and the \
         cloud sends the desired state again"
    );
    let doing = place.doing("moving the damaged store aside");
    if let Err(source) = touch(&place.poisoned())
        && !(is_full(&source) && place.drop_ballast() && touch(&place.poisoned()).is_ok())
    {
        return Err(doing(source));
    }
    let engine = place.engine();
    if engine.exists() {
        for old in entries(place.root(), "bad-").map_err(&doing)? {
            drop(fs::remove_dir_all(old));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let aside = place.root.join(format!("bad-{}", now.as_secs()));
        fs::rename(&engine, aside).map_err(&doing)?;
        sync_dir(&place.root).map_err(&doing)?;
    }
    clear(&place.opening());
    clear(&place.poisoned());
    sync_dir(&place.root).map_err(&doing)
}

fn openings(place: &Place) -> usize {
    fs::read(place.opening()).map_or(0, |text| text.len())
}

fn mark_opening(place: &Place) -> Result<(), StoreError> {
    let path = place.opening();
    let mark = || {
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.write_all(b"x")?;
        file.sync_all()?;
        sync_dir(&place.root)
    };
    match mark() {
        Err(error) if is_full(&error) && place.drop_ballast() => mark(),
        result => result,
    }
    .map_err(place.doing("marking the store as being opened"))
}

fn remove_snapshots(place: &Place, which: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    let engine = place.engine();
    if !engine.exists() {
        return Ok(());
    }
    let doing = place.doing("removing old snapshots");
    for path in entries(&engine, "snap.").map_err(&doing)? {
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&which) {
            fs::remove_file(path).map_err(&doing)?;
        }
    }
    Ok(())
}

fn entries(dir: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn touch(path: &Path) -> io::Result<()> {
    File::create(path)?.sync_all()?;
    path.parent().map_or(Ok(()), sync_dir)
}

fn clear(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a marker file cannot be removed");
    }
}

fn write_ballast(path: &Path, size: u64) -> io::Result<()> {
    let mut file = File::create(path)?;
    let block = vec![0x5a; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let now = left.min(block.len() as u64);
        let part = usize::try_from(now).ok().and_then(|len| block.get(..len)).unwrap_or(&block);
        file.write_all(part)?;
        left -= now;
    }
    file.sync_all()
}

#[cfg(test)]
mod tests;
