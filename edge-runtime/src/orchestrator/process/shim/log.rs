//! A log file that is rotated before it grows beyond its bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use crate::orchestrator::process::layout::Home;

/// Appends to a log; the full one becomes the rotated one, which is replaced.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    rotated: PathBuf,
    most: u64,
    file: File,
    size: u64,
}

impl Log {
    pub(super) fn open(home: &Home, most: u64) -> io::Result<Self> {
        let (path, rotated) = (home.log(), home.rotated_log());
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, rotated, most, file, size })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.size > 0 && self.size.saturating_add(length) > self.most {
            fs::rename(&self.path, &self.rotated)?;
            self.file = append(&self.path)?;
            self.size = 0;
        }
        self.file.write_all(bytes)?;
        self.size += length;
        Ok(())
    }

    /// Copies all that is written into a pipe. What cannot be stored is dropped, so that a full
    /// disk does not hold up the service.
    pub(super) fn copy(mut self, mut from: impl Read) {
        let mut buffer = vec![0; 8 * 1024];
        loop {
            match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => {
                    let bytes = buffer.get(..read).unwrap_or_default();
                    if let Err(error) = self.write(bytes) {
                        tracing::debug!(%error, "output is dropped");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_the_newest_output_within_twice_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().to_owned());
        let text = (0..20_000).map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
        Log::open(&home, 64 * 1024).unwrap().copy(text.as_bytes());
        let read = |path| fs::read_to_string(path).unwrap();
        let kept = read(home.rotated_log()) + &read(home.log());
        assert!(text.ends_with(&kept) && kept.len() > 64 * 1024, "{} bytes kept", kept.len());
        for path in [home.log(), home.rotated_log()] {
            assert!(fs::metadata(path).unwrap().len() <= 64 * 1024);
        }
    }

    #[test]
    fn a_log_is_continued_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().to_owned());
        for text in ["one\n", "two\n"] {
            Log::open(&home, 1024).unwrap().copy(text.as_bytes());
        }
        assert_eq!(fs::read_to_string(home.log()).unwrap(), "one\ntwo\n");
    }
}
