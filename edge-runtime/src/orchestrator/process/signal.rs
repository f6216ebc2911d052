//! Sends signals to processes that are provably the meant ones, and sees to it that services do
//! not begin deaf to some.

use std::fs;
use std::io;

use gnomon_schemas::app::StopSignal;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::signal::unix;

use super::identity::Identity;
use super::record::Run;

/// The standard library ignores the first itself, and gives it back to whatever it starts; the others
/// are the C library's own, which lets nobody else touch them.
const OTHERS: [i32; 3] = [nix::libc::SIGPIPE, 32, 33];

/// Lets no program that is started from here inherit that a signal is ignored, as whoever started
/// the agent may have it (`nohup`, a background job). A signal that is caught, be it to do nothing, is
/// ignored here all the same, and begins as usual in another program. The mask is cleared by the
/// standard library.
pub(super) fn hand_on_no_ignored() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let ignored: Vec<_> = ignored(&status).filter(|number| !OTHERS.contains(number)).collect();
    if ignored.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for number in ignored {
        if let Err(error) = unix::signal(unix::SignalKind::from_raw(number)) {
            tracing::debug!(number, %error, "services begin with this signal ignored");
        }
    }
    Ok(())
}

/// The numbers in the line `SigIgn` of a process's status.
fn ignored(status: &str) -> impl Iterator<Item = i32> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    (1..=64).filter(move |number| mask >> (number - 1) & 1 == 1)
}

pub(super) const fn signal(of: StopSignal) -> Signal {
    match of {
        StopSignal::Hup => Signal::SIGHUP,
        StopSignal::Int => Signal::SIGINT,
        StopSignal::Quit => Signal::SIGQUIT,
        StopSignal::Kill => Signal::SIGKILL,
        StopSignal::Usr1 => Signal::SIGUSR1,
        StopSignal::Usr2 => Signal::SIGUSR2,
        StopSignal::Term => Signal::SIGTERM,
        StopSignal::Winch => Signal::SIGWINCH,
    }
}

/// Asks a process to stop. That it is gone is success.
pub(super) fn ask(process: &Identity, how: StopSignal) {
    if process.runs() && kill(Pid::from_raw(process.pid()), signal(how)).is_err() {
        tracing::debug!(pid = process.pid(), "a process was gone before it was asked to stop");
    }
}

/// Kills the service and all that it started, when its supervisor is dead or does not answer.
pub(super) fn kill_all(run: &Run) {
    if run.process.runs() && killpg(Pid::from_raw(run.process.pid()), Signal::SIGKILL).is_err() {
        tracing::debug!(pid = run.process.pid(), "a process was gone before it was killed");
    }
    kill_each(&run.left_behind());
}

pub(super) fn kill_each(pids: &[i32]) {
    for pid in pids {
        if kill(Pid::from_raw(*pid), Signal::SIGKILL).is_err() {
            tracing::debug!(pid, "a process was gone before it was killed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signals_that_are_ignored_are_read_from_a_mask() {
        let status = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001003\nSigCgt:\tffff\n";
        assert_eq!(ignored(status).collect::<Vec<_>>(), [1, 2, 13]);
        assert_eq!(ignored("Name:\tx\n").count(), 0);
    }
}
