//! A program whose file was written a moment ago cannot be executed while anybody holds that file
//! open for writing: so does a child that another thread forks meanwhile, until it becomes a program
//! of its own. That passes, so it is waited for; only what lasts is a failure.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

/// What lasts longer is a failure.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Becomes a program. Returns only when that does not work.
pub(super) fn exec(command: &mut Command) -> io::Error {
    let began = Instant::now();
    loop {
        let error = command.exec();
        let Some(pause) = pause(&error, began.elapsed()) else { return error };
        thread::sleep(pause);
    }
}

/// Runs a program and gives back how it ended.
pub(super) async fn status(command: &mut tokio::process::Command) -> io::Result<ExitStatus> {
    let began = Instant::now();
    loop {
        let error = match command.status().await {
            Ok(status) => return Ok(status),
            Err(error) => error,
        };
        let Some(pause) = pause(&error, began.elapsed()) else { return Err(error) };
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait before another attempt; `None`: there is none.
fn pause(error: &io::Error, since: Duration) -> Option<Duration> {
    let is_busy = error.kind() == io::ErrorKind::ExecutableFileBusy;
    (is_busy && since < PATIENCE).then_some(PAUSE)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::path::Path;
    use std::sync::mpsc;

    use super::*;

    /// Holds a file open for writing until it is told, and at most for so long.
    fn hold(file: &Path, longest: Duration) -> mpsc::Sender<()> {
        let (release, released) = mpsc::channel();
        let held = OpenOptions::new().append(true).open(file).unwrap();
        thread::spawn(move || {
            let _released = released.recv_timeout(longest);
            drop(held);
        });
        release
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    #[test]
    fn a_program_that_is_still_being_written_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::copy("/bin/true", &program).unwrap();
        let release = hold(&program, Duration::from_mins(1));
        let busy = Command::new(&program).status().unwrap_err();
        assert_eq!(busy.kind(), io::ErrorKind::ExecutableFileBusy, "else this shows nothing");
        let ended = runtime().block_on(async {
            let mut command = tokio::process::Command::new(&program);
            let later = async {
                tokio::task::yield_now().await;
                release.send(()).unwrap();
            };
            tokio::join!(status(&mut command), later).0
        });
        assert!(ended.unwrap().success());
    }

    #[test]
    fn a_program_that_stays_busy_and_one_that_is_not_there_are_failures() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        fs::copy("/bin/true", &program).unwrap();
        let release = hold(&program, Duration::from_mins(1));
        let run = |program: &Path| {
            runtime().block_on(status(&mut tokio::process::Command::new(program))).unwrap_err()
        };
        assert_eq!(run(&program).kind(), io::ErrorKind::ExecutableFileBusy);
        release.send(()).unwrap();
        assert_eq!(run(&folder.path().join("none")).kind(), io::ErrorKind::NotFound);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert_eq!(pause(&missing, Duration::ZERO), None, "it is not waited for");
    }
}
