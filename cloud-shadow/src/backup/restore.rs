//! Putting a backup back: checked as a whole before anything is changed, and in place only when
//! it is durable.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use super::archive::Record;
use super::{BackupError, Reader, STORE, failed};
use crate::aws::domain::lifted;
use crate::identity::{Identity, Window, Windows};
use crate::rows;
use crate::server::DataLock;
use crate::store::{JournaledStore, Op, RedbStore, Store as _};

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// How many rows of the store.
    pub rows: u64,
    /// How many files beside it.
    pub files: u64,
    /// Where the store is that was there before.
    pub aside: Option<PathBuf>,
    /// When the backup was made, in milliseconds since 1970; `None`: it does not say.
    pub taken_ms: Option<u64>,
    /// When certificates were given that are good although the backup does not know them.
    pub window: Option<Window>,
}

/// What is wanted of a restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// A store that is there is moved aside.
    pub replace: bool,
    /// Nodes of the backup are let in with certificates that they got since it was made.
    pub admit_later: bool,
}

/// How many rows share a commit.
const ROWS: usize = 5000;

/// Puts a backup into a data folder that no cloud uses. Keys that are there stay.
pub fn restore(
    file: &Path,
    data: &Path,
    wanted: Wanted,
    now_ms: u64,
) -> Result<RestoreReport, BackupError> {
    verify(file)?;
    let _lock = DataLock::take(data)?;
    let store = data.join(STORE);
    let journal = JournaledStore::journal_of(&store);
    let is_there = std::fs::metadata(&store).is_ok_and(|metadata| metadata.len() > 0);
    if (is_there || journal.exists()) && !wanted.replace {
        return Err(BackupError::Present { path: if is_there { store } else { journal } });
    }
    let fresh = data.join("store.redb.restoring");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(failed("removing", &fresh)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let (files, rest) = put_files(file, data)?;
    let put = put_rows(file, rest, &fresh, wanted, now_ms)?;
    // The journal first: cut short here, the store is refused without it, and never taken for one
    // that lacks nothing.
    if journal.exists() {
        let aside = data.join(format!("store.journal.before-{now_ms}"));
        std::fs::rename(&journal, &aside).map_err(failed("moving aside", &journal))?;
    }
    let aside = is_there.then(|| data.join(format!("store.redb.before-{now_ms}")));
    if let Some(aside) = &aside {
        std::fs::rename(&store, aside).map_err(failed("moving aside", &store))?;
    }
    std::fs::rename(&fresh, &store).map_err(failed("writing", &store))?;
    File::open(data).and_then(|dir| dir.sync_all()).map_err(failed("writing", data))?;
    let Put { rows, taken_ms, window } = put;
    Ok(RestoreReport { rows, files, aside, taken_ms, window })
}

type Rest = BufReader<File>;

/// Reads everything once, so that nothing is begun with half a backup.
fn verify(file: &Path) -> Result<(), BackupError> {
    let broken = |source| BackupError::Broken { path: file.to_owned(), source };
    let mut files = open(file)?;
    while let Some(record) = files.record().map_err(broken)? {
        name_of(&record).map_err(broken)?;
    }
    let mut rows = Reader::new(files.into_rest()).map_err(broken)?;
    while let Some(record) = rows.record().map_err(broken)? {
        row_of(record).map_err(broken)?;
    }
    Ok(())
}

fn open(file: &Path) -> Result<Reader<Rest>, BackupError> {
    let opened = File::open(file).map_err(failed("reading", file))?;
    let broken = |source| BackupError::Broken { path: file.to_owned(), source };
    Reader::new(BufReader::new(opened)).map_err(broken)
}

/// The keys that are missing in the folder.
fn put_files(file: &Path, data: &Path) -> Result<(u64, Rest), BackupError> {
    let broken = |source| BackupError::Broken { path: file.to_owned(), source };
    let mut files = open(file)?;
    let mut count = 0;
    while let Some(record) = files.record().map_err(broken)? {
        let name = name_of(&record).map_err(broken)?;
        let Record::File(_, content) = &record else { continue };
        let path = data.join(name);
        if !path.exists() {
            Identity::put_back(&path, content)
                .map_err(|error| failed("writing", &path)(io::Error::other(error)))?;
            count += 1;
        }
    }
    Ok((count, files.into_rest()))
}

/// The rows as they were put back.
struct Put {
    rows: u64,
    taken_ms: Option<u64>,
    window: Option<Window>,
}

fn put_rows(
    file: &Path,
    rest: Rest,
    fresh: &Path,
    wanted: Wanted,
    now_ms: u64,
) -> Result<Put, BackupError> {
    let broken = |source| BackupError::Broken { path: file.to_owned(), source };
    let mut archive = Reader::new(rest).map_err(broken)?;
    let store = RedbStore::open(fresh)?;
    let (mut ops, mut count) = (vec![rows::restored(now_ms)], 0);
    let (mut taken_ms, mut windows) = (None, Windows::default());
    while let Some(record) = archive.record().map_err(broken)? {
        let (key, value) = row_of(record).map_err(broken)?;
        if key == rows::TAKEN {
            taken_ms = Some(moment(&value).map_err(broken)?);
            continue;
        }
        if key == rows::WINDOWS {
            windows = serde_json::from_slice(&value).map_err(|_| broken(misplaced()))?;
        }
        let value = lifted(&key, value);
        ops.push(Op::Put { key, value });
        count += 1;
        if ops.len() >= ROWS {
            store.commit(&ops)?;
            ops.clear();
        }
    }
    let window = taken_ms.filter(|_| wanted.admit_later);
    let window = window.map(|taken_ms| Window {
        from_s: taken_ms / 1000,
        // The second in which it is made is not over.
        until_s: now_ms / 1000 + 1,
    });
    if let Some(window) = window {
        windows.add(window);
        ops.push(rows::put(rows::WINDOWS.to_vec(), &windows));
    }
    store.commit(&ops)?;
    Ok(Put { rows: count, taken_ms, window })
}

fn moment(value: &[u8]) -> io::Result<u64> {
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or_else(misplaced)
}

/// The name of a file, if it is one that a backup may bring.
fn name_of(record: &Record) -> io::Result<&'static str> {
    let known = |name: &String| Identity::FILES.into_iter().find(|known| known == name);
    let Record::File(name, _) = record else { return Err(misplaced()) };
    known(name).ok_or_else(misplaced)
}

fn row_of(record: Record) -> io::Result<(Vec<u8>, Vec<u8>)> {
    match record {
        Record::Row(key, value) => Ok((key, value)),
        Record::File(..) => Err(misplaced()),
    }
}

fn misplaced() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it holds something that does not belong there")
}
