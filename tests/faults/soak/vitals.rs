//! What a process takes, as the kernel says it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::trend::Measure;

/// The folder of the cloud's journal.
const JOURNAL: &str = "store.journal";

/// Each measure of a process and its folder; those that the kernel does not tell are left out: the
/// process may have ended meanwhile.
pub(crate) fn look(pid: i32, data: &Path) -> Vec<(Measure, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok().map(|it| size(it.count()));
    let [journal, disk] = if field("Threads").is_some() { taken(data) } else { [0, 0] };
    let kib = |blocks: u64| (blocks > 0).then(|| size(blocks / 2));
    let measured = |measure| match measure {
        Measure::MemoryKib => field("VmRSS"),
        Measure::Files => files,
        Measure::Threads => field("Threads"),
        Measure::DiskKib => kib(disk),
        Measure::JournalKib => kib(journal),
    };
    Measure::ALL.into_iter().filter_map(|it| Some((it, measured(it)?))).collect()
}

fn size(number: impl TryInto<u32>) -> f64 {
    number.try_into().map_or(f64::INFINITY, f64::from)
}

/// The blocks of 512 bytes below a folder, of journals and of all else. What goes meanwhile is not
/// counted.
fn taken(folder: &Path) -> [u64; 2] {
    let mut all = [0, 0];
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let [journal, other] = match entry.metadata() {
            Ok(about) if about.is_dir() => taken(&entry.path()),
            Ok(about) => [0, about.blocks()],
            Err(_) => [0, 0],
        };
        let is_journal = entry.file_name() == JOURNAL;
        all[0] += if is_journal { journal + other } else { journal };
        all[1] += if is_journal { 0 } else { other };
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_process_that_lives_all_is_told_and_of_another_nothing() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/file"), vec![7; 100_000]).unwrap();
        let journal = folder.path().join("deep").join(JOURNAL);
        fs::create_dir(&journal).unwrap();
        fs::write(journal.join("0000000000000001"), vec![7; 300_000]).unwrap();
        let own = look(std::process::id().try_into().unwrap(), folder.path());
        assert_eq!(own.len(), Measure::ALL.len());
        let of = |wanted| own.iter().find(|(measure, _)| *measure == wanted).unwrap().1;
        let (disk, journal) = (of(Measure::DiskKib), of(Measure::JournalKib));
        assert!((90.0..200.0).contains(&disk), "{disk}");
        assert!((290.0..400.0).contains(&journal), "{journal}");
        assert_eq!(look(i32::MAX, folder.path()), []);
    }
}
