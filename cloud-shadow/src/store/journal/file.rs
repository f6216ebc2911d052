//! The files of a journal: made, grown, appended to, used again. Decides nothing about what is in
//! them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::frame::{HEAD, Head};
use crate::store::system::{FileId, file_id, is_full};

/// What is about to happen to a disk; for tests, which look at the disk there, or fail it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A journal file is made, or a spare one used again.
    Create,
    /// Its head is in it, and not synced.
    Named,
    /// The file grows.
    Grow,
    /// A frame is written.
    Append,
    /// It is written and not synced.
    Sync,
    /// It is durable.
    Synced,
    /// The base takes the layers.
    Flush,
    /// It has a part of them.
    Part,
    /// It has them; what the journal has of them is not needed.
    Flushed,
    /// The base is told that it is not, or that it is, the whole.
    Mark,
}

/// Is asked before each step, and may fail it.
pub(super) type Watch = Arc<dyn Fn(Step) -> io::Result<()> + Send + Sync>;

/// A file that is in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    /// As its name says.
    pub(super) generation: u64,
    /// `None`: its head is not one, or another one's.
    pub(super) head: Option<Head>,
}

impl Found {
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        std::fs::read(&self.path)
    }
}

/// The files of a folder, from the earliest to the last. Without a folder there are none.
pub(super) fn list(folder: &Path) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(generation) = generation_of(name) else { continue };
        let mut bytes = Vec::with_capacity(HEAD);
        File::open(&path)?.take(HEAD as u64).read_to_end(&mut bytes)?;
        let head = Head::decode(&bytes).filter(|head| head.generation == generation);
        files.push(Found { path, generation, head });
    }
    files.sort_by_key(|file| file.generation);
    Ok(files)
}

fn generation_of(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

fn path_of(folder: &Path, generation: u64) -> PathBuf {
    folder.join(format!("{generation:016x}"))
}

/// The file that commits are appended to.
pub(super) struct Current {
    pub(super) path: PathBuf,
    pub(super) head: Head,
    file: File,
    id: FileId,
    /// Where the next frame goes.
    at: u64,
    /// How long the file is: what lies behind `at` is of no meaning, and only there so that a sync
    /// need not write where the file's blocks are.
    len: u64,
    /// The disk had no room when the file was to grow. Until it grows again nothing is taken, so that
    /// small commits do not make a full disk look like one that is not.
    is_full: bool,
    watch: Watch,
}

/// Why a frame was not appended.
#[derive(Debug)]
pub(super) struct AppendError {
    pub(super) source: io::Error,
    /// What the disk holds is uncertain: the file must not be appended to again, because a page
    /// that could not be written counts as written to whoever syncs next.
    pub(super) is_suspect: bool,
}

/// By how much a file grows.
const CHUNK: u64 = 4 * 1024 * 1024;
/// By how much it grows when there is no room for that.
const BLOCK: u64 = 4096;

impl Current {
    /// Makes a file, out of a spare one if there is one; it is durable when this returns.
    pub(super) fn create(
        folder: &Path,
        head: Head,
        spare: Option<&Path>,
        watch: &Watch,
    ) -> io::Result<Self> {
        let path = path_of(folder, head.generation);
        let made = Self::make(folder, head, spare, &path, watch);
        if made.is_err() {
            // It is of no use, and of no harm where it cannot be removed.
            drop(std::fs::remove_file(&path));
        }
        made
    }

    fn make(
        folder: &Path,
        head: Head,
        spare: Option<&Path>,
        path: &Path,
        watch: &Watch,
    ) -> io::Result<Self> {
        watch(Step::Create)?;
        make_folder(folder)?;
        if let Some(spare) = spare {
            std::fs::rename(spare, path)?;
        }
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(spare.is_none()).mode(0o600);
        let file = options.open(path)?;
        file.write_all_at(&head.encode(), 0)?;
        watch(Step::Named)?;
        file.sync_all()?;
        sync_folder(folder)?;
        let (id, len) = (file_id(path)?, file.metadata()?.len());
        let (path, at, watch) = (path.to_owned(), HEAD as u64, Arc::clone(watch));
        Ok(Self { path, head, file, id, at, len, is_full: false, watch })
    }

    /// Goes on behind the last frame of a file. What is in it is durable when this returns.
    pub(super) fn resume(path: &Path, head: Head, at: usize, watch: &Watch) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        file.sync_all()?;
        let (id, len) = (file_id(path)?, file.metadata()?.len());
        let (path, at, watch) = (path.to_owned(), at as u64, Arc::clone(watch));
        Ok(Self { path, head, file, id, at, len, is_full: false, watch })
    }

    /// How much of it is used.
    pub(super) const fn used(&self) -> u64 {
        self.at
    }

    /// Whether its path still names it.
    pub(super) fn is_there(&self) -> bool {
        file_id(&self.path).is_ok_and(|id| id == self.id)
    }

    /// Appends a frame; it is durable when this returns.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<(), AppendError> {
        self.reserve(frame.len() as u64)?;
        let write = || {
            (self.watch)(Step::Append)?;
            self.file.write_all_at(frame, self.at)
        };
        // Cut short, a frame is nothing: its checksum does not fit.
        write().map_err(|source| AppendError { is_suspect: !is_full(&source), source })?;
        let sync = || {
            (self.watch)(Step::Sync)?;
            self.file.sync_data()
        };
        sync().map_err(AppendError::suspect)?;
        (self.watch)(Step::Synced).map_err(AppendError::suspect)?;
        self.at += frame.len() as u64;
        Ok(())
    }

    /// Makes the file long enough.
    fn reserve(&mut self, more: u64) -> Result<(), AppendError> {
        let end = self.at + more;
        if end <= self.len && !self.is_full {
            return Ok(());
        }
        let end = end.max(self.len + 1);
        let mut grown = self.grow(end.next_multiple_of(CHUNK));
        let lacks_room = |grown: &Result<(), AppendError>| {
            grown.as_ref().is_err_and(|error| !error.is_suspect && is_full(&error.source))
        };
        if lacks_room(&grown) {
            grown = self.grow(end.next_multiple_of(BLOCK));
        }
        self.is_full = lacks_room(&grown);
        grown
    }

    fn grow(&mut self, len: u64) -> Result<(), AppendError> {
        let zeros = vec![0; 256 * 1024];
        let fill = || {
            (self.watch)(Step::Grow)?;
            let mut at = self.len;
            while at < len {
                let room = usize::try_from(len - at).unwrap_or(usize::MAX);
                let part = zeros.get(..room).unwrap_or(&zeros);
                self.file.write_all_at(part, at)?;
                at += part.len() as u64;
            }
            Ok(())
        };
        if let Err(source) = fill() {
            // What it got is given back; where that fails, too, it is only longer than it must be.
            drop(self.file.set_len(self.len));
            return Err(AppendError { is_suspect: !is_full(&source), source });
        }
        self.file.sync_all().map_err(AppendError::suspect)?;
        self.len = len;
        Ok(())
    }
}

impl AppendError {
    const fn suspect(source: io::Error) -> Self {
        Self { source, is_suspect: true }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => folder.parent().map_or(Ok(()), sync_folder),
    }
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}
