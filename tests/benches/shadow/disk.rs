//! The machine's own limit: bytes appended to a file and synced, a batch at a time.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::load::Outcome;

/// How many writes of so many bytes a second are durable, when `batch` of them share a sync.
pub(crate) fn limit(
    folder: &Path,
    bytes: usize,
    batch: usize,
    lasts: Duration,
) -> anyhow::Result<Outcome> {
    let mut file = OpenOptions::new().create(true).append(true).open(folder.join("limit"))?;
    let batch_bytes = vec![0x55; bytes * batch];
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < lasts {
        let began = Instant::now();
        file.write_all(&batch_bytes)?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    let per_second = (times.len() * batch) as f64 / start.elapsed().as_secs_f64();
    std::fs::remove_file(folder.join("limit"))?;
    Ok(Outcome::new(per_second, times))
}
