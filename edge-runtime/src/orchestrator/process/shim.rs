//! The supervisor: one small process per running instance. It leads a session of its own, so it
//! outlives the agent; it starts the service, keeps its log, runs its health check, stops it when
//! asked, and writes down how it ended. It decides nothing about restarts.

mod health;
mod launch;
mod log;
mod supervise;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::layout::Home;
use super::record::{self, Instance};
use super::signal;

/// The hidden subcommand that runs the supervisor.
pub const SUBCOMMAND: &str = "__shim";

/// How long to wait for the lock: whoever looks whether it is free holds it for a moment.
const LOCK: Duration = Duration::from_secs(2);

/// What the supervisor says on its standard output, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Greeting {
    /// The service runs.
    Started,
    /// Another supervisor has the instance.
    Busy,
    /// The service could not be started.
    Failed(StartFailure),
}

/// Why a service could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// What was tried and what the system said.
    pub message: String,
    /// Whether it may succeed later with nothing changed.
    pub transient: bool,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StartFailure {
    fn new(doing: impl fmt::Display, error: &io::Error) -> Self {
        let permanent = matches!(
            error.kind(),
            io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::ArgumentListTooLong
        ) || error.raw_os_error() == Some(nix::libc::ENOEXEC);
        Self { message: format!("{doing}: {error}"), transient: !permanent }
    }
}

/// Runs the supervisor if that is what the arguments of the program ask for. Every program that
/// [`super::Settings::shim`] names must call it before anything else.
pub fn dispatch(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    let command = args.next()?;
    let run = if command == OsStr::new(SUBCOMMAND) {
        run_shim
    } else if command == OsStr::new(launch::SUBCOMMAND) {
        launch::run
    } else {
        return None;
    };
    Some(args.next().map_or(ExitCode::FAILURE, |dir| run(Path::new(&dir))))
}

/// Runs the supervisor of the instance in a directory until its service has ended.
pub fn run_shim(dir: &Path) -> ExitCode {
    let home = Home(dir.to_owned());
    let lock = match take_lock(&home) {
        Ok(Some(lock)) => lock,
        Ok(None) => return greet(&Greeting::Busy),
        Err(error) => return greet(&Greeting::Failed(StartFailure::new("lock", &error))),
    };
    let code = match prepare(&home).and_then(|record| supervise::Service::start(&home, record)) {
        Ok(service) => {
            greet(&Greeting::Started);
            service.supervise()
        }
        Err(failure) => greet(&Greeting::Failed(failure)),
    };
    drop(lock);
    code
}

fn prepare(home: &Home) -> Result<Instance, StartFailure> {
    let doing = |error| StartFailure::new(format_args!("prepare {}", home.0.display()), &error);
    signal::hand_on_no_ignored().map_err(doing)?;
    // Fails only where this process leads a group already, as when a person runs it by hand.
    if nix::unistd::setsid().is_err() {
        tracing::debug!("the supervisor stays in the session that it was started in");
    }
    let record = Instance::read(&home.0).map_err(doing)?;
    let record = record.ok_or_else(|| doing(io::ErrorKind::NotFound.into()))?;
    record::forget_run(&home.0).map_err(doing)?;
    Ok(record)
}

fn take_lock(home: &Home) -> io::Result<Option<File>> {
    let file = File::open(home.lock())?;
    let deadline = Instant::now() + LOCK;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// The agent may be gone; then nobody hears it, and the files say the same.
fn greet(greeting: &Greeting) -> ExitCode {
    let line = serde_json::to_string(greeting).unwrap_or_default() + "\n";
    let mut stdout = io::stdout().lock();
    let heard = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
    match (greeting, heard) {
        (Greeting::Started, Ok(())) => ExitCode::SUCCESS,
        (Greeting::Started | Greeting::Busy | Greeting::Failed(_), _) => ExitCode::FAILURE,
    }
}

/// A line for the control pipe that asks for the end of the service.
pub(super) fn stop_request(grace: Duration) -> String {
    format!("stop {}\n", grace.as_millis())
}

fn parse_stop_request(line: &str) -> Option<Duration> {
    line.trim_end().strip_prefix("stop ")?.parse().ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_request_is_read_as_it_was_written() {
        let grace = Duration::from_millis(1500);
        assert_eq!(parse_stop_request(&stop_request(grace)), Some(grace));
        assert_eq!(parse_stop_request("stop soon\n"), None);
    }

    #[test]
    fn only_the_hidden_subcommand_is_taken() {
        let args = |list: &[&str]| list.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(dispatch(args(&["gnomon-edge", "run"])).is_none());
        assert!(dispatch(args(&["gnomon-edge"])).is_none());
    }
}
