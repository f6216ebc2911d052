//! Which process a number means: numbers are used again, so its start time and the boot belong
//! to it. A process that is not provably the meant one is never signalled.

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
        let (_, started) = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { boot: boot()?, pid, started })
    }

    pub(super) const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it still runs; a zombie does not.
    pub(super) fn runs(&self) -> bool {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", self.pid)) else {
            return false;
        };
        let same = parse(&stat).is_some_and(|(state, started)| {
            started == self.started && !matches!(state, 'Z' | 'X' | 'x')
        });
        same && boot().is_ok_and(|boot| boot == self.boot)
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The state and the start time of a line of `/proc/PID/stat`. The name in parentheses may hold
/// anything, so reading begins after the last one.
fn parse(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((state, started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) S 1 2) R 1 7 7 0 -1 4194304 95 0 0 0 0 0 0 0 20 0 1 0 123456 8 9 10";
        assert_eq!(parse(stat), Some(('R', 123_456)));
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
