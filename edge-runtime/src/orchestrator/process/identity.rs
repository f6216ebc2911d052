//! Which process a number means: numbers are used again, so its start time and the boot belong
//! to it. A process that is not provably the meant one is never signalled.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// A process, told apart from any other that gets the same number later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    boot: String,
    pid: i32,
    started: u64,
}

impl Identity {
    /// The process that has this number now; it must not have been reaped.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let Stat { started, .. } = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { boot: boot()?, pid, started })
    }

    pub(super) const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it still runs; a zombie does not.
    pub(super) fn runs(&self) -> bool {
        let same = |stat: Stat| stat.started == self.started && stat.runs;
        read(&self.pid.to_string()).is_some_and(same) && self.is_of_this_boot()
    }

    fn is_of_this_boot(&self) -> bool {
        boot().is_ok_and(|boot| boot == self.boot)
    }

    /// The running processes of a session in which this process was started. The number of a
    /// session is not used again while it has members.
    pub(super) fn others_of(&self, session: i32) -> Vec<i32> {
        if self.is_of_this_boot() { members(session) } else { Vec::new() }
    }
}

/// The running processes of a session, without the one that leads it.
pub(super) fn members(session: i32) -> Vec<i32> {
    members_of(&BTreeSet::from([session]))
}

/// The processes of this boot that are meant, and those of the sessions in which they were started.
pub(super) fn all_of(of: impl Iterator<Item = (Identity, Option<i32>)>) -> Vec<i32> {
    let of: Vec<_> = of.filter(|(process, _)| process.is_of_this_boot()).collect();
    if of.is_empty() {
        return Vec::new();
    }
    let mut found = members_of(&of.iter().filter_map(|(_, session)| *session).collect());
    found.extend(of.iter().map(|(process, _)| process.pid));
    found
}

fn members_of(sessions: &BTreeSet<i32>) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let belongs =
        |name: &str| read(name).is_some_and(|stat| sessions.contains(&stat.session) && stat.runs);
    let found =
        names.filter(|name| name.starts_with(|c: char| c.is_ascii_digit()) && belongs(name));
    found.filter_map(|name| name.parse().ok()).filter(|pid| !sessions.contains(pid)).collect()
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn read(pid: &str) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// What a line of `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    runs: bool,
    session: i32,
    started: u64,
}

/// The name in parentheses may hold anything, so reading begins after the last one.
fn parse(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let runs = !matches!(fields.next()?, "Z" | "X" | "x");
    let session = fields.nth(2)?.parse().ok()?;
    let started = fields.nth(15)?.parse().ok()?;
    Some(Stat { runs, session, started })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) S 1 2) R 1 7 6 0 -1 4194304 95 0 0 0 0 0 0 0 20 0 1 0 123456 8 9 10";
        assert_eq!(parse(stat), Some(Stat { runs: true, session: 6, started: 123_456 }));
        assert_eq!(parse("7 (a) R 1"), None);
    }

    #[test]
    fn this_process_runs_and_one_with_another_start_does_not() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.runs());
        assert!(!Identity { started: me.started + 1, ..me.clone() }.runs());
        assert!(!Identity { boot: "another".into(), ..me }.runs());
    }

    #[test]
    fn a_zombie_does_not_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while identity.runs() {
            assert!(std::time::Instant::now() < deadline, "`true` still runs");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}
