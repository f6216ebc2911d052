//! What a process uses while nothing happens, as the kernel counts it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

pub(crate) const DAY: f64 = 86_400.0;
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process uses at rest.
#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) resident_mb: f64,
    pub(crate) cpu_percent: f64,
    pub(crate) written_mb_a_day: f64,
}

impl Rest {
    /// Watches a process for a while.
    pub(crate) fn of(pid: i32, time: Duration) -> anyhow::Result<Self> {
        let before = used(pid)?;
        std::thread::sleep(time);
        let resident_mb = resident_mb(pid)?;
        let after = used(pid)?;
        let seconds = time.as_secs_f64();
        Ok(Self {
            resident_mb,
            cpu_percent: (after.cpu_s - before.cpu_s) / seconds * 100.0,
            written_mb_a_day: (after.written - before.written) * DAY / seconds / 1e6,
        })
    }
}

/// What a process has used so far.
struct Used {
    cpu_s: f64,
    written: f64,
}

fn used(pid: i32) -> anyhow::Result<Used> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(2).flat_map(str::parse).collect();
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    Ok(Used {
        cpu_s: ticks.iter().sum::<f64>() / TICKS_PER_SECOND,
        written: written.context("write_bytes")?.trim().parse()?,
    })
}

/// The memory that a process has resident, in megabytes.
pub(crate) fn resident_mb(pid: i32) -> anyhow::Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).unwrap_or_default();
    Ok(kib.parse::<f64>().context("reading the resident memory")? * 1024.0 / 1e6)
}
