//! One of Gnomon's programs as a child process, ended by its own pid and never left behind.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A built program: in the folder that `GNOMON_PROGRAMS` names if it is there, else in the folder of
/// the test itself, one up.
pub fn binary(name: &str) -> PathBuf {
    let chosen = std::env::var_os("GNOMON_PROGRAMS").map(|folder| Path::new(&folder).join(name));
    if let Some(program) = chosen.filter(|program| program.is_file()) {
        return program;
    }
    let mut folder = std::env::current_exe().unwrap();
    folder.pop();
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder.pop();
    }
    let path = folder.join(name);
    assert!(path.is_file(), "{} is not built; run: make build", path.display());
    path
}

/// Runs a program to its end.
pub fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(name));
    command.args(args).envs(env.iter().copied()).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A long-running program.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program whose first line on stdout says in JSON that it is ready.
    pub fn start(name: &str, args: &[String], log: &Path) -> (Self, Value) {
        let errors = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut child = Command::new(binary(name))
            .args(args)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let stdout = child.stdout.take().unwrap();
        let program = Self { name: name.to_owned(), child, log: log.to_path_buf() };
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let _sent = send.send(lines.next());
            lines.for_each(drop);
        });
        let line = receive.recv_timeout(Duration::from_secs(30));
        let Ok(Some(Ok(line))) = line else {
            panic!("{name} did not become ready:\n{}", program.tail());
        };
        let ready = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{name}: {line}: {e}"));
        (program, ready)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Ends it as a power cut would.
    pub fn kill9(mut self) {
        self.signal(Signal::SIGKILL);
        self.child.wait().unwrap();
    }

    /// Asks it to end, and gives back its exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.child.wait().unwrap().code()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// The end of what it logged.
    pub fn tail(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = File::open(&self.log) {
            let _read = file.read_to_string(&mut text);
        }
        let lines: Vec<_> = text.lines().rev().take(30).collect();
        let lines: Vec<_> = lines.into_iter().rev().collect();
        format!("{} logged:\n{}", self.name, lines.join("\n"))
    }

    fn signal(&self, signal: Signal) {
        let _gone = kill(Pid::from_raw(self.pid()), signal);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::SIGKILL);
            let _ended = self.child.wait();
        }
    }
}
