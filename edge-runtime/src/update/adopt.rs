//! A program that took the place of another one in the same process has that one's children: the
//! supervisors of host processes. When they end somebody must take note of it, or the system
//! keeps them as zombies for ever.

use std::fs;

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Takes note of the end of every child that this process has now; call it before it has any of
/// its own.
pub fn reap_inherited() {
    let mut inherited = children();
    if inherited.is_empty() {
        return;
    }
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    tokio::spawn(async move {
        loop {
            inherited.retain(|child| {
                matches!(waitpid(*child, Some(WaitPidFlag::WNOHANG)), Ok(WaitStatus::StillAlive))
            });
            if inherited.is_empty() || ended.recv().await.is_none() {
                return;
            }
        }
    });
}

fn children() -> Vec<Pid> {
    let own = std::process::id();
    let text = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    let text = text.unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}
