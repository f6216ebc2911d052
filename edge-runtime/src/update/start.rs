//! What happens before anything else when the agent is started: the installed program looks which
//! program is to run, and becomes it. A program on trial is watched by a thread of its own, which
//! a runtime that hangs cannot hold up.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::busy::Image;
use super::disk::{self, Disk, DiskError};
use super::state::{Release, State};

/// Tells a fetched program that it was chosen, and by what.
const RELEASE: &str = "GNOMON_EDGE_RELEASE";
const INSTALLED: &str = "GNOMON_EDGE_INSTALLED";
/// A program that is no good is followed by the one before; no chain is longer.
const TRIES: u32 = 8;

/// What this process is.
#[derive(Debug)]
pub struct Started {
    /// The installed program.
    pub(super) installed: PathBuf,
    /// What runs, if it is not the installed program.
    pub(super) release: Option<Release>,
    pub(super) disk: Disk,
    /// Tells the watcher of a trial that the cloud was reached.
    pub(super) trial: Option<mpsc::Sender<()>>,
}

/// Runs what is to run for a data directory. It returns in the process that is it; `within` is
/// what a program on trial has to reach the cloud.
pub fn dispatch(data: &Path, within: Duration) -> Started {
    let disk = Disk::new(data);
    if let (Some(digest), Some(installed)) = (env::var_os(RELEASE), env::var_os(INSTALLED)) {
        let state = disk.load();
        let chosen = state.chosen.clone().filter(|it| it.sha256.as_str() == digest);
        let mut started =
            Started { installed: installed.into(), release: chosen, disk, trial: None };
        if started.release.is_some() && state.trial.is_some() {
            started.trial = started.watch(within);
        }
        return started;
    }
    let installed = env::current_exe().unwrap_or_else(|_| PathBuf::from("gnomon-edge"));
    for _ in 0..TRIES {
        let before = disk.load();
        let state = before.clone().started(disk::installed(&installed));
        if state != before
            && let Err(error) = disk.save(&state)
        {
            // A start that cannot be counted must not be that of a program on trial.
            tracing::error!(error = %crate::chain(&error), "the installed program runs");
            break;
        }
        let Some(release) = &state.chosen else { break };
        let reason = become_it(&disk, release, &installed);
        tracing::error!(version = %release.version, %reason, "an updated program cannot run");
        if let Err(error) = disk.save(&state.gave_up(&reason)) {
            tracing::error!(error = %crate::chain(&error), "the installed program runs");
            break;
        }
    }
    Started { installed, release: None, disk, trial: None }
}

/// Returns only when that does not work; says why.
fn become_it(disk: &Disk, release: &Release, installed: &Path) -> String {
    if !disk.is_whole(release) {
        return "its file is missing or damaged".to_owned();
    }
    let marks = [(RELEASE, OsStr::new(&release.sha256)), (INSTALLED, installed.as_os_str())];
    let error = exec(&disk.program(release), installed, &marks);
    format!("it cannot be executed: {error}")
}

/// Becomes a program that is told what this one was told, and the marks. Returns only when that
/// does not work.
fn exec(program: &Path, installed: &Path, marks: &[(&str, &OsStr)]) -> io::Error {
    let args = env::args_os().skip(1);
    let args = std::iter::once(installed.as_os_str().to_owned()).chain(args);
    let kept = env::vars_os().filter(|(name, _)| MARKS.iter().all(|mark| name != mark));
    let marks = marks.iter().map(|(name, value)| (OsString::from(name), (*value).to_owned()));
    match Image::new(program, args, kept.chain(marks)) {
        Ok(image) => image.exec(),
        Err(error) => error,
    }
}

impl Started {
    /// What this program calls itself.
    pub fn version(&self) -> Option<&str> {
        self.release.as_ref().map(|release| release.version.as_str())
    }

    /// Starts anew, with whatever is to run now. Returns only when that does not work.
    pub fn again(&self) -> io::Error {
        again(&self.installed)
    }

    fn watch(&self, within: Duration) -> Option<mpsc::Sender<()>> {
        let (confirm, confirmed) = mpsc::channel();
        let (disk, installed) = (self.disk.clone(), self.installed.clone());
        let watcher = thread::Builder::new().name("trial".to_owned()).spawn(move || {
            let end = Instant::now() + within;
            while let Some(left) = end.checked_duration_since(Instant::now()) {
                match confirmed.recv_timeout(left) {
                    Ok(()) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => break,
                    // Whoever would confirm it is dead; the time runs on.
                    Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(left),
                }
            }
            give_up(&disk, &installed, within);
        });
        match watcher {
            Ok(_) => Some(confirm),
            Err(error) => {
                tracing::error!(%error, "a trial cannot be watched and is given up");
                give_up(&self.disk, &self.installed, Duration::ZERO);
                None
            }
        }
    }
}

fn give_up(disk: &Disk, installed: &Path, within: Duration) {
    let reason = format!("it did not reach the cloud within {} s", within.as_secs());
    tracing::error!(%reason, "this program was on trial; the one before runs again");
    if let Err(error) = disk.save(&disk.load().gave_up(&reason)) {
        tracing::error!(error = %crate::chain(&error), "the next start counts instead");
    }
    tracing::error!(error = %again(installed), "the agent cannot start anew");
}

fn again(installed: &Path) -> io::Error {
    exec(installed, installed, &[])
}

/// Puts a program on trial with the next start.
pub(super) fn choose(started: &Started, release: Release) -> Result<State, DiskError> {
    let state = started.disk.load().try_out(release, disk::installed(&started.installed));
    started.disk.save(&state)?;
    Ok(state)
}

/// What a check of a program runs it without.
pub(super) const MARKS: [&str; 2] = [RELEASE, INSTALLED];
