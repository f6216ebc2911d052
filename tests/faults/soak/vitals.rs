//! What a process takes, as the kernel says it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::trend::Measure;

/// Each measure of a process and its folder; those that the kernel does not tell are left out: the
/// process may have ended meanwhile.
pub(crate) fn look(pid: i32, data: &Path) -> Vec<(Measure, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|it| it.count() as f64);
    let disk = (field("Threads").is_some()).then(|| taken(data) as f64 / 2.0);
    let measured = |measure| match measure {
        Measure::MemoryKib => field("VmRSS"),
        Measure::Files => files,
        Measure::Threads => field("Threads"),
        Measure::DiskKib => disk,
    };
    Measure::ALL.into_iter().filter_map(|it| Some((it, measured(it)?))).collect()
}

/// The blocks of 512 bytes below a folder. What goes meanwhile is not counted.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let blocks = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => taken(&entry.path()),
        Ok(about) => about.blocks(),
        Err(_) => 0,
    });
    blocks.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_process_that_lives_all_is_told_and_of_another_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![7; 100_000]).unwrap();
        let own = look(std::process::id().try_into().unwrap(), folder.path());
        assert_eq!(own.len(), Measure::ALL.len());
        let disk = own.iter().find(|(measure, _)| *measure == Measure::DiskKib).unwrap().1;
        assert!((90.0..200.0).contains(&disk), "{disk}");
        assert_eq!(look(i32::MAX, folder.path()), []);
    }
}
