//! Starts, stops and removes instances.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::error::Doing as _;
use super::layout::Home;
use super::record::{Exit, Instance, Run};
use super::shim::Greeting;
use super::{Process, ProcessError, blocking, shim, signal, state};
use crate::orchestrator::files;
use crate::reconcile::model::{InstanceId, InstanceState, Slot};

/// How long a supervisor may take to say whether the service started.
const GREETING: Duration = Duration::from_secs(20);
/// How long a killed process may take to be gone.
const DEATH: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);
const SLOWEST_POLL: Duration = Duration::from_millis(200);

pub(super) async fn start(
    this: &Process,
    id: &InstanceId,
    slot: &Slot,
) -> Result<(), ProcessError> {
    let deadline = Instant::now() + DEATH;
    let home = loop {
        match look(this, id, slot).await? {
            Some(Found { state: InstanceState::Running(_), .. }) => return Ok(()),
            Some(Found { state: InstanceState::Stuck, .. }) => {
                return Err(ProcessError::Orphan(id.clone()));
            }
            Some(Found { supervised: true, .. }) if Instant::now() < deadline => {
                tokio::time::sleep(POLL).await;
            }
            Some(Found { home, .. }) => break home,
            None => return Err(ProcessError::Gone(id.clone())),
        }
    };
    match greet(this, id, &home).await? {
        Greeting::Started | Greeting::Busy => Ok(()),
        Greeting::Failed(failure) => Err(ProcessError::Start(failure)),
    }
}

async fn greet(this: &Process, id: &InstanceId, home: &Home) -> Result<Greeting, ProcessError> {
    let failed = |source| ProcessError::Supervisor { program: this.shim.clone(), source };
    let mut child = Command::new(&this.shim)
        .arg0("gnomon-edge")
        .arg(shim::SUBCOMMAND)
        .arg(&home.0)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    tokio::spawn(async move { child.wait().await });
    let Some(stdout) = stdout else { return Err(ProcessError::Silent(id.clone())) };
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout);
    match tokio::time::timeout(GREETING, stdout.read_line(&mut line)).await {
        Ok(Ok(_)) => serde_json::from_str(&line).map_err(|_| ProcessError::Silent(id.clone())),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(ProcessError::Silent(id.clone())),
    }
}

pub(super) async fn stop(
    this: &Process,
    id: &InstanceId,
    slot: &Slot,
    grace: Duration,
) -> Result<(), ProcessError> {
    let asked = Instant::now();
    let mut was_asked = false;
    let mut poll = POLL;
    loop {
        let Some(found) = look(this, id, slot).await? else { return Ok(()) };
        let run = match found.state {
            InstanceState::Created | InstanceState::Exited { .. } if !found.supervised => {
                return Ok(());
            }
            InstanceState::Created | InstanceState::Exited { .. } => None,
            InstanceState::Running(_) | InstanceState::Stuck => found.run,
        };
        if let Some(run) = run {
            let is_orphan = found.state == InstanceState::Stuck;
            if is_orphan && !was_asked {
                signal::ask(&run.process, found.record.launch.stop_signal);
            } else if !was_asked {
                ask_supervisor(&found.home, grace).doing("ask for the end in", &found.home.0)?;
            }
            was_asked = true;
            let patience = if is_orphan { grace } else { grace + DEATH / 2 };
            let is_leaderless = is_orphan && !run.process.runs();
            if is_leaderless || asked.elapsed() >= patience {
                signal::kill_all(&run);
            }
        }
        if asked.elapsed() > grace + DEATH {
            return Err(ProcessError::Unkillable(id.clone()));
        }
        tokio::time::sleep(poll).await;
        poll = (poll * 2).min(SLOWEST_POLL);
    }
}

/// Writes the request into the supervisor's pipe. That nobody reads it is no error: the next look
/// shows what became of the supervisor.
fn ask_supervisor(home: &Home, grace: Duration) -> io::Result<()> {
    let pipe =
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(home.control());
    match pipe {
        Ok(mut pipe) => pipe.write_all(shim::stop_request(grace).as_bytes()),
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn remove(this: &Process, id: &InstanceId, slot: &Slot) -> Result<(), ProcessError> {
    let Some((home, record)) = this.layout.find(id, slot)? else { return Ok(()) };
    let deadline = Instant::now() + DEATH;
    while state::is_supervised(&home).doing("look at", &home.0)? {
        // A supervisor that has written the end down, or that could not start it, is about to go.
        let has_ended = Exit::read(&home.0).doing("read the state in", &home.0)?.is_some();
        let was_begun = Run::read(&home.0).doing("read the state in", &home.0)?.is_some();
        if (was_begun && !has_ended) || Instant::now() >= deadline {
            return Err(ProcessError::StillRuns(id.clone()));
        }
        std::thread::sleep(POLL);
    }
    end_orphan(id, &home)?;
    record.launch.bounds.remove_groups();
    let gone = this.layout.aside(id, "gone");
    files::remove_tree(&gone).doing("remove", &gone)?;
    fs::rename(&home.0, &gone).doing("remove", &home.0)?;
    files::remove_tree(&gone).doing("remove", &gone)
}

/// What lost its supervisor can only be removed by force.
fn end_orphan(id: &InstanceId, home: &Home) -> Result<(), ProcessError> {
    let run = Run::read(&home.0).doing("read the state in", &home.0)?;
    let Some(run) = run else { return Ok(()) };
    let deadline = Instant::now() + DEATH;
    while run.is_alive() {
        if Instant::now() >= deadline {
            return Err(ProcessError::Unkillable(id.clone()));
        }
        signal::kill_all(&run);
        std::thread::sleep(POLL);
    }
    Ok(())
}

struct Found {
    home: Home,
    record: Instance,
    run: Option<Run>,
    state: InstanceState,
    supervised: bool,
}

async fn look(this: &Process, id: &InstanceId, slot: &Slot) -> Result<Option<Found>, ProcessError> {
    let (layout, id, slot) = (this.layout.clone(), id.clone(), slot.clone());
    blocking(move || {
        let Some((home, record)) = layout.find(&id, &slot)? else { return Ok(None) };
        let supervised = state::is_supervised(&home).doing("look at", &home.0)?;
        let state = state::state(&home, &record).doing("read the state in", &home.0)?;
        let run = Run::read(&home.0).doing("read the state in", &home.0)?;
        Ok(Some(Found { home, record, run, state, supervised }))
    })
    .await
}
