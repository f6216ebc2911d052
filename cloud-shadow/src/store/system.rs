//! What the system says of files, in the words of the store.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::StoreError;

/// A file's device and number.
pub(super) type FileId = (u64, u64);

pub(super) fn file_id(path: &Path) -> io::Result<FileId> {
    std::fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// What an error of the system means for a store.
pub(super) fn explain_io(path: &Path, source: io::Error) -> StoreError {
    let path = path.to_owned();
    if is_full(&source) {
        StoreError::Full { path, source }
    } else if DAMAGED.contains(&source.kind()) {
        StoreError::Damaged { path, reason: source.to_string().into() }
    } else {
        StoreError::Io { path, source }
    }
}

/// Whether there is no room: on the disk, for the user, for the process.
pub(super) fn is_full(error: &io::Error) -> bool {
    FULL.contains(&error.kind())
}

const FULL: [ErrorKind; 3] =
    [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::FileTooLarge];

/// What redb says when the file is not its own, or too short.
const DAMAGED: [ErrorKind; 2] = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
