//! Sends signals to processes that are provably the meant ones.

use gnomon_schemas::app::StopSignal;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::identity::Identity;
use super::record::Run;

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
