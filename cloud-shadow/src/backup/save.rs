//! Making a backup: the keys from the data folder, the rows from the running cloud, or from the
//! store itself when no cloud runs.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use hyper::StatusCode;

use super::{BackupError, Reader, Record, STORE, Writer, failed};
use crate::clock;
use crate::http::BACKUP;
use crate::identity::{Identity, LOCAL_TOKEN};
use crate::local;
use crate::rows;
use crate::server::{DataLock, LockError};
use crate::store::{JournaledStore, Store as _};

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveReport {
    /// How many rows of the store.
    pub rows: u64,
    /// How many files beside it.
    pub files: u64,
    /// How many bytes the backup has.
    pub bytes: u64,
    /// Whether a running cloud gave the rows.
    pub online: bool,
}

/// Writes a backup of the data folder into a file that only its owner may read: it holds keys.
pub async fn save(data: &Path, file: &Path) -> Result<SaveReport, BackupError> {
    if file.exists() {
        return Err(BackupError::Present { path: file.to_owned() });
    }
    let store = data.join(STORE);
    if !store.exists() && !JournaledStore::journal_of(&store).exists() {
        return Err(BackupError::NoStore { path: store });
    }
    let part = part_of(file);
    let saved = write(data, &part).await;
    if saved.is_err() {
        // What is left of it is of no use; that it cannot be removed changes nothing.
        drop(std::fs::remove_file(&part));
    }
    let report = saved?;
    std::fs::rename(&part, file).map_err(failed("writing", file))?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|dir| dir.sync_all()).map_err(failed("writing", folder))?;
    Ok(report)
}

fn part_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

async fn write(data: &Path, part: &Path) -> Result<SaveReport, BackupError> {
    let fail = |source| failed("writing", part)(source);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let out = BufWriter::new(options.open(part).map_err(fail)?);
    let mut writer = Writer::new(out).map_err(fail)?;
    for name in Identity::FILES {
        let path = data.join(name);
        match std::fs::read(&path) {
            Ok(content) => writer.file(name, &content).map_err(fail)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(failed("reading", &path)(source)),
        }
    }
    let (mut out, files) = writer.end().map_err(fail)?;
    let online = match DataLock::take(data) {
        Ok(lock) => {
            copy(data, &mut out, part)?;
            drop(lock);
            false
        }
        Err(LockError::Locked { .. }) => {
            fetch(data, &mut out, part).await?;
            true
        }
        Err(error) => return Err(error.into()),
    };
    let out = out.into_inner().map_err(|error| fail(error.into_error()))?;
    out.sync_all().map_err(fail)?;
    let bytes = out.metadata().map_err(fail)?.len();
    Ok(SaveReport { rows: verify(part)?, files, bytes, online })
}

/// Copies the rows of a store that no cloud uses.
fn copy(data: &Path, out: &mut BufWriter<File>, part: &Path) -> Result<(), BackupError> {
    let store = JournaledStore::look_into(&data.join(STORE))?;
    let mut writer = Writer::new(out).map_err(failed("writing", part))?;
    writer.taken(clock::unix_ms()).map_err(failed("writing", part))?;
    let mut full = None;
    let exported = store.export(&mut |key, value| match writer.row(key, value) {
        Ok(()) => true,
        Err(error) => {
            full = Some(error);
            false
        }
    });
    exported?;
    match full {
        Some(error) => Err(failed("writing", part)(error)),
        None => writer.end().map(drop).map_err(failed("writing", part)),
    }
}

/// Has the running cloud give out its rows.
async fn fetch(data: &Path, out: &mut BufWriter<File>, part: &Path) -> Result<(), BackupError> {
    let busy = || BackupError::Busy { path: data.to_owned() };
    let addr = DataLock::addr(data).ok_or_else(busy)?;
    let token = data.join(LOCAL_TOKEN);
    let token = std::fs::read_to_string(&token).map_err(failed("reading", &token))?;
    let lost = |source| BackupError::Unreachable { addr, source };
    let response = local::get(addr, BACKUP, Some(token.trim())).await;
    let response = response.map_err(|error| lost(error.into()))?;
    let status = response.status();
    if status != StatusCode::OK {
        return Err(BackupError::Refused { addr, reason: status.to_string().into() });
    }
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| lost(error.into()))?.into_data() else { continue };
        out.write_all(&data).map_err(failed("writing", part))?;
    }
    Ok(())
}

/// Reads the backup once from begin to end, and counts the rows.
fn verify(part: &Path) -> Result<u64, BackupError> {
    let broken = |source| BackupError::Broken { path: part.to_owned(), source };
    let file = File::open(part).map_err(failed("reading", part))?;
    let mut files = Reader::new(BufReader::new(file)).map_err(broken)?;
    while files.record().map_err(broken)?.is_some() {}
    let mut archive = Reader::new(files.into_rest()).map_err(broken)?;
    let mut count = 0;
    while let Some(record) = archive.record().map_err(broken)? {
        count += u64::from(!matches!(&record, Record::Row(key, _) if key == rows::TAKEN));
    }
    Ok(count)
}
