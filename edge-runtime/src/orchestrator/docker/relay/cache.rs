//! The parts of images that have come, on the disk until the image is whole. A file grows at its
//! end only and has one writer; it is removed when it turns out to be another one, when its image
//! is here, when it is old, or to make room.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use gnomon_schemas::hex;
use ring::digest::{Context, SHA256};

use super::manifest;
use crate::orchestrator::files;

/// What nobody wanted for so long is not wanted any more.
const OLDEST: Duration = Duration::from_hours(7 * 24);
/// How many bytes a power cut may take back at most.
const SYNC_EVERY: u64 = 8 << 20;

/// The folder; all clones share what is being written.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
    limit: u64,
    /// The files that have a writer. Readers and writers are tasks of different pulls, so it is
    /// behind a lock, which is held for the moment of a look.
    busy: Arc<Mutex<BTreeSet<String>>>,
}

/// A file with its one writer.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    length: u64,
    synced: u64,
    _claim: Claim,
}

#[derive(Debug)]
struct Claim {
    name: String,
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Cache {
    pub(super) fn new(dir: PathBuf, limit: u64) -> Self {
        Self { dir, limit, busy: Arc::default() }
    }

    /// Opens the file of a blob of `size` bytes; `None` where it has a writer, or there is no room.
    pub(super) fn open(&self, digest: &str, size: u64) -> io::Result<Option<Part>> {
        let name = manifest::hex(digest).to_owned();
        let Some(claim) = self.claim(name) else { return Ok(None) };
        files::make_dir(&self.dir, 0o700)?;
        let path = self.dir.join(&claim.name);
        let has = path.metadata().map_or(0, |it| it.len());
        if !self.make_room(size.saturating_sub(has), &claim.name) {
            return Ok(None);
        }
        let mut options = OpenOptions::new();
        let mut file =
            options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&path)?;
        let mut length = file.metadata()?.len();
        // Whole and not what it should be, as after a power cut, or longer than it can be.
        if length > size || (length == size && digest_of(&mut file)? != claim.name) {
            file.set_len(0)?;
            length = 0;
        }
        Ok(Some(Part { file, path, length, synced: length, _claim: claim }))
    }

    /// Removes the files of blobs that are in images by now.
    pub(super) fn forget<'a>(&self, digests: impl Iterator<Item = &'a str>) {
        for digest in digests {
            self.remove(manifest::hex(digest));
        }
    }

    /// Removes what is old.
    pub(super) fn sweep(&self) {
        for (changed, name, _) in self.list() {
            if changed.elapsed().is_ok_and(|age| age > OLDEST) {
                self.remove(&name);
            }
        }
    }

    /// Removes everything that has no writer.
    pub(super) fn clear(&self) {
        for (_, name, _) in self.list() {
            self.remove(&name);
        }
        // Not empty while something is written.
        drop(fs::remove_dir(&self.dir));
    }

    fn make_room(&self, needed: u64, own: &str) -> bool {
        if needed > self.limit {
            return false;
        }
        let mut found = self.list();
        found.sort();
        let mut total: u64 = found.iter().map(|(_, _, size)| size).sum();
        for (_, name, size) in found {
            if total.saturating_add(needed) <= self.limit {
                break;
            }
            if name != own && self.remove(&name) {
                total = total.saturating_sub(size);
            }
        }
        total.saturating_add(needed) <= self.limit
    }

    /// Whether it is gone.
    fn remove(&self, name: &str) -> bool {
        let Some(_claim) = self.claim(name.to_owned()) else { return false };
        let removed = files::remove_if_there(&self.dir.join(name));
        if let Err(error) = &removed {
            tracing::debug!(name, %error, "a part of an image stays on the disk");
        }
        removed.is_ok()
    }

    fn claim(&self, name: String) -> Option<Claim> {
        let is_new = locked(&self.busy).insert(name.clone());
        is_new.then(|| Claim { name, busy: Arc::clone(&self.busy) })
    }

    /// When each file was changed, its name and its size.
    fn list(&self) -> Vec<(SystemTime, String, u64)> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let found = entries.filter_map(|entry| {
            let (name, about) = (entry.file_name().into_string().ok()?, entry.metadata().ok()?);
            Some((about.modified().ok()?, name, about.len()))
        });
        found.collect()
    }
}

fn locked(busy: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Claim {
    fn drop(&mut self) {
        locked(&self.busy).remove(&self.name);
    }
}

impl Part {
    /// How much has come.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Reads a piece of what has come.
    pub(super) fn read(&mut self, at: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(most);
        let mut bytes = vec![0; left.min(most)];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Writes what comes next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.length))?;
        self.file.write_all(bytes)?;
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.length - self.synced >= SYNC_EVERY {
            self.file.sync_data()?;
            self.synced = self.length;
        }
        Ok(())
    }

    /// Whether a file that has come as a whole is the one that was meant; it is removed if not.
    pub(super) fn is_right(&mut self, digest: &str) -> io::Result<bool> {
        self.file.sync_data()?;
        let is_right = digest_of(&mut self.file)? == manifest::hex(digest);
        if !is_right {
            self.discard()?;
        }
        Ok(is_right)
    }

    /// Gives up what has come.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        files::remove_if_there(&self.path)
    }
}

fn digest_of(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut context = Context::new(&SHA256);
    let mut piece = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex::of(context.finish().as_ref()));
        }
        context.update(piece.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(content: &[u8]) -> String {
        let digest = ring::digest::digest(&SHA256, content);
        format!("sha256:{}", hex::of(digest.as_ref()))
    }

    #[test]
    fn what_has_come_is_there_again_and_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("c"), 1000);
        let of = digest(b"abcdef");
        let mut part = cache.open(&of, 6).unwrap().unwrap();
        part.append(b"abc").unwrap();
        assert!(cache.open(&of, 6).unwrap().is_none(), "it has a writer");
        drop(part);
        let mut part = cache.open(&of, 6).unwrap().unwrap();
        assert_eq!((part.length(), part.read(1, 9).unwrap()), (3, b"bc".to_vec()));
        part.append(b"def").unwrap();
        assert!(part.is_right(&of).unwrap());
        drop(part);
        assert_eq!(cache.open(&of, 6).unwrap().unwrap().length(), 6);
        cache.forget([of.as_str()].into_iter());
        assert_eq!(cache.open(&of, 6).unwrap().unwrap().length(), 0);
    }

    #[test]
    fn what_is_not_what_it_should_be_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_path_buf(), 1000);
        let of = digest(b"abcdef");
        let mut part = cache.open(&of, 6).unwrap().unwrap();
        part.append(b"abcdeX").unwrap();
        assert!(!part.is_right(&of).unwrap());
        drop(part);
        fs::write(dir.path().join(manifest::hex(&of)), b"abcdeY").unwrap();
        assert_eq!(cache.open(&of, 6).unwrap().unwrap().length(), 0, "as after a power cut");
        fs::write(dir.path().join(manifest::hex(&of)), b"too much of it").unwrap();
        assert_eq!(cache.open(&of, 6).unwrap().unwrap().length(), 0);
    }

    #[test]
    fn the_oldest_makes_room_and_what_is_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_path_buf(), 10);
        let fill = |content: &[u8]| {
            let mut part = cache.open(&digest(content), 4).unwrap().unwrap();
            part.append(content).unwrap();
            part
        };
        drop(fill(b"old."));
        let busy = fill(b"busy");
        let part = cache.open(&digest(b"new."), 4).unwrap().unwrap();
        assert!(!dir.path().join(manifest::hex(&digest(b"old."))).exists());
        assert!(dir.path().join(manifest::hex(&digest(b"busy"))).exists());
        assert!(cache.open(&digest(b"more"), 7).unwrap().is_none(), "there is no room for it");
        drop((busy, part));
        assert!(cache.open(&digest(b"large"), 11).unwrap().is_none(), "more than there may be");
        cache.clear();
        assert!(!dir.path().exists() || fs::read_dir(dir.path()).unwrap().count() == 0);
    }
}
