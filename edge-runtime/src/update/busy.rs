//! A program whose file was written a moment ago cannot be executed while anybody holds that file
//! open for writing: so does a child that another thread forks meanwhile, until it becomes a program
//! of its own. That passes, so it is waited for; only what lasts is a failure.

use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::execve;

/// What lasts longer is a failure.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// A program that is to take this one's place.
pub(super) struct Image {
    program: CString,
    args: Vec<CString>,
    environment: Vec<CString>,
}

impl Image {
    /// A program with its arguments, its own name first, and all of its environment.
    pub(super) fn new(
        program: &Path,
        args: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> io::Result<Self> {
        let args = args.into_iter().map(|arg| Ok(CString::new(arg.into_vec())?));
        let environment = environment.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            Ok(CString::new(name.into_vec())?)
        });
        Ok(Self {
            program: CString::new(program.as_os_str().as_bytes())?,
            args: args.collect::<io::Result<_>>()?,
            environment: environment.collect::<io::Result<_>>()?,
        })
    }

    /// Becomes the program. Returns only when that does not work, and then nothing is changed:
    /// `CommandExt::exec` lets SIGPIPE kill the process first, and leaves it so when it fails.
    pub(super) fn exec(&self) -> io::Error {
        let began = Instant::now();
        loop {
            let Err(error) = execve(&self.program, &self.args, &self.environment);
            let error = io::Error::from(error);
            let Some(pause) = pause(&error, began.elapsed()) else { return error };
            thread::sleep(pause);
        }
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
    use std::io::Write as _;
    use std::process::Command;
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

    #[test]
    fn after_a_program_that_cannot_be_run_a_closed_pipe_is_an_error_and_not_the_end() {
        let image = Image::new(Path::new("/nowhere/agent"), ["agent".into()], []).unwrap();
        assert_eq!(image.exec().kind(), io::ErrorKind::NotFound);
        assert!(ignores_sigpipe(), "the next write to a closed pipe would end this process");
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_cannot_be_an_argument_is_said() {
        let text = || OsString::from("a\0b");
        for image in [
            Image::new(Path::new("a\0b"), [], []),
            Image::new(Path::new("agent"), [text()], []),
            Image::new(Path::new("agent"), [], [("NAME".into(), text())]),
        ] {
            assert_eq!(image.err().unwrap().kind(), io::ErrorKind::InvalidInput);
        }
    }

    fn ignores_sigpipe() -> bool {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
        (ignored >> (nix::libc::SIGPIPE - 1)) & 1 == 1
    }
}
