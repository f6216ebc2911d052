//! The life of one run of a service: started, watched, stopped when asked, written down.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getsid};

use super::health::{Checker, command, probe};
use super::launch;
use super::log::Log;
use super::{StartFailure, parse_stop_request};
use crate::orchestrator::process::identity::{Identity, members};
use crate::orchestrator::process::layout::Home;
use crate::orchestrator::process::record::{Exit, Instance, Launch, Run};
use crate::orchestrator::process::signal::{kill_each, signal};

/// How long the log may take to be drained after the end; a process that left the group may keep
/// the pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);
/// How often, and how far apart, to look for what the service left behind.
const SWEEPS: u32 = 20;
const SWEEP: Duration = Duration::from_millis(10);
/// How long to wait for an event when nothing is due.
const IDLE: Duration = Duration::from_hours(1);

enum Event {
    /// The service has ended and is not reaped yet, so its number still means it.
    Ended,
    Stop(Duration),
    Probed(bool),
}

/// A service that runs.
pub(super) struct Service {
    home: Home,
    launch: Arc<Launch>,
    child: Child,
    leader: Pid,
    events: Receiver<Event>,
    sender: Sender<Event>,
    drained: Receiver<()>,
    checker: Option<Checker>,
    kill_at: Option<Instant>,
}

impl Service {
    pub(super) fn start(home: &Home, record: Instance) -> Result<Self, StartFailure> {
        let launch = Arc::new(record.launch);
        let failed = |doing: &str| {
            let doing = doing.to_owned();
            move |error: io::Error| StartFailure::new(doing, &error)
        };
        let log = Log::open(home, launch.log_bytes).map_err(failed("open the log"))?;
        let control = OpenOptions::new().read(true).write(true).open(home.control());
        let control = control.map_err(failed("open the control pipe"))?;
        let (reader, writer) = io::pipe().map_err(failed("make a pipe"))?;
        let copy = writer.try_clone().map_err(failed("make a pipe"))?;
        check_dir(&launch)?;
        let program = launch.argv.first().map_or("", String::as_str);
        let mut child = if launch.bounds.is_empty() {
            let child = command(&launch, &launch.argv).stdout(writer).stderr(copy).spawn();
            child.map_err(failed(&format!("run {program}")))?
        } else {
            launch::spawn(home, &launch, writer, copy)?
        };
        let identity = Identity::of(child.id()).and_then(|process| {
            let run = Run { process: process.clone(), session: own_session() };
            run.write(&home.0).map(|()| process)
        });
        let identity = identity.map_err(|error| {
            child.kill().and_then(|()| child.wait()).ok();
            StartFailure::new("write down the process", &error)
        })?;
        let leader = Pid::from_raw(identity.pid());
        let (sender, events) = mpsc::channel();
        let (drain, drained) = mpsc::channel();
        thread::spawn(move || {
            log.copy(reader);
            drain.send(()).ok();
        });
        let to = sender.clone();
        thread::spawn(move || wait_for_end(leader, &to));
        let to = sender.clone();
        thread::spawn(move || read_requests(control, &to));
        let checker = launch.health.clone().map(|check| Checker::new(check, Instant::now()));
        let home = home.clone();
        let kill_at = None;
        Ok(Self { home, launch, child, leader, events, sender, drained, checker, kill_at })
    }

    /// Stays until the service has ended and its end is written down.
    pub(super) fn supervise(mut self) -> ExitCode {
        loop {
            match self.events.recv_timeout(self.until_due()) {
                Ok(Event::Ended) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(Event::Stop(grace)) => self.stop(grace),
                Ok(Event::Probed(passed)) => self.probed(passed),
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.do_what_is_due();
        }
        self.finish()
    }

    fn until_due(&self) -> Duration {
        let probe = self.checker.as_ref().and_then(Checker::next);
        let due = [probe, self.kill_at].into_iter().flatten().min();
        due.map_or(IDLE, |due| due.saturating_duration_since(Instant::now()))
    }

    fn do_what_is_due(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            killpg(self.leader, Signal::SIGKILL).ok();
        }
        if let Some((test, timeout)) = self.checker.as_mut().and_then(|checker| checker.begin(now))
        {
            let (launch, to) = (Arc::clone(&self.launch), self.sender.clone());
            thread::spawn(move || to.send(Event::Probed(probe(&launch, &test, timeout))).ok());
        }
    }

    /// A second request can only bring the end nearer.
    fn stop(&mut self, grace: Duration) {
        let kill_at = Instant::now() + grace;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
        kill(self.leader, signal(self.launch.stop_signal)).ok();
    }

    fn probed(&mut self, passed: bool) {
        let Some(checker) = &mut self.checker else { return };
        let before = checker.verdict();
        let verdict = checker.finish(passed, Instant::now());
        if verdict != before {
            verdict.write(&self.home.0).ok();
        }
    }

    /// What is left of the service dies with its leader, as in a container.
    fn finish(mut self) -> ExitCode {
        killpg(self.leader, Signal::SIGKILL).ok();
        for _ in 0..SWEEPS {
            let left = own_session().map(members).unwrap_or_default();
            if left.is_empty() {
                break;
            }
            kill_each(&left);
            thread::sleep(SWEEP);
        }
        let code = self.child.wait().map_or(255, exit_code);
        self.launch.bounds.remove_groups();
        self.drained.recv_timeout(DRAIN).ok();
        match (Exit { code }).write(&self.home.0) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}

/// The session that this process leads, if it does.
fn own_session() -> Option<i32> {
    let own = Pid::this();
    getsid(None).ok().filter(|session| *session == own).map(Pid::as_raw)
}

/// The error of a spawn does not say whether the program or the directory is missing.
fn check_dir(launch: &Launch) -> Result<(), StartFailure> {
    let doing = || format!("enter {}", launch.dir.display());
    let metadata =
        std::fs::metadata(&launch.dir).map_err(|error| StartFailure::new(doing(), &error))?;
    if metadata.is_dir() {
        return Ok(());
    }
    Err(StartFailure::new(doing(), &io::ErrorKind::NotADirectory.into()))
}

fn exit_code(status: ExitStatus) -> i64 {
    let signal = || status.signal().map(|number| 128 + i64::from(number));
    status.code().map(i64::from).or_else(signal).unwrap_or(255)
}

fn wait_for_end(leader: Pid, to: &Sender<Event>) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while let Err(Errno::EINTR) = waitid(Id::Pid(leader), flags) {}
    to.send(Event::Ended).ok();
}

fn read_requests(control: std::fs::File, to: &Sender<Event>) {
    for line in BufReader::new(control).lines() {
        let Ok(line) = line else { return };
        let sent = parse_stop_request(&line).map_or(Ok(()), |grace| to.send(Event::Stop(grace)));
        if sent.is_err() {
            return;
        }
    }
}
