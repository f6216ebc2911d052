//! What the machine is and what processes use, from `/proc`.

use std::fs;

use crate::report::Machine;

/// Ticks of a second in `/proc/PID/stat`: the same on every Linux that the programs run on.
const TICKS: f64 = 100.0;

/// What a process has used until now.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Resident memory.
    pub(super) bytes: u64,
    /// CPU time, in seconds.
    pub(super) cpu_s: f64,
}

/// What a process has used; none if there is no such process.
pub(super) fn usage(pid: u32) -> Option<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = field(&status, "VmRSS:")?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split_whitespace();
    let user: f64 = fields.nth(11)?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(Usage { bytes: resident * 1024, cpu_s: (user + system) / TICKS })
}

/// The machine as it is now; whether the cloud is on it is for others to say.
pub(super) fn machine() -> Machine {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let processor = cpus.lines().find(|line| line.starts_with("model name"));
    let processor = processor.and_then(|line| line.split_once(": "));
    let load = read("/proc/loadavg");
    Machine {
        processor: processor.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_bytes: field(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() * 1024,
        load_before: load.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0),
        is_shared: false,
        is_release: !cfg!(debug_assertions),
        handshakes: None,
    }
}

/// The most files that a process may have open.
pub(super) fn open_files_of(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Lets this process, and those that it starts, open as many files as its user may ask for. What
/// cannot be raised stays as it is; who needs more says so.
pub fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_the_machine_has_more() {
        let used = usage(std::process::id()).unwrap();
        assert!(used.bytes > 1_000_000, "{used:?}");
        assert!(machine().memory_bytes > used.bytes);
        assert!(open_files_of(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_process_that_is_not_there_uses_nothing() {
        assert!(usage(u32::MAX).is_none());
    }
}
