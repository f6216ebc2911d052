//! Reads what instances do from their directories and the process table.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::time::SystemTime;

use gnomon_schemas::app::Port;

use super::ProcessError;
use super::error::Doing as _;
use super::identity;
use super::layout::{Home, Layout};
use super::record::{Exit, Instance, Run, Verdict};
use crate::orchestrator::ports;
use crate::orchestrator::tail::Tail;
use crate::reconcile::model::{self, Health, InstanceState, Observed, Slot};

/// The exit code of a run whose end nobody saw, as Docker has it after a power cut.
const LOST: i64 = 255;

pub(super) fn observe(layout: &Layout) -> Result<Observed, ProcessError> {
    let mut observed = Observed::default();
    for (id, home, record) in layout.all()? {
        let state = state(&home, &record).doing("read the state in", &home.0)?;
        let slot = record.slot();
        let service_digest = record.digest;
        let instance = model::Instance {
            id: id.clone(),
            slot,
            service_digest,
            image: None,
            state,
            note: None,
            altered: None,
        };
        observed.instances.insert(id, instance);
    }
    Ok(observed)
}

pub(super) fn state(home: &Home, record: &Instance) -> io::Result<InstanceState> {
    let supervised = is_supervised(home)?;
    if let Some(Exit { code }) = Exit::read(&home.0)? {
        return Ok(InstanceState::Exited { code });
    }
    match Run::read(&home.0)? {
        None => Ok(InstanceState::Created),
        Some(_) if supervised => Ok(InstanceState::Running(health(home, record)?)),
        // The supervisor may have written the end and gone since the lines above.
        Some(run) => match Exit::read(&home.0)? {
            Some(Exit { code }) => Ok(InstanceState::Exited { code }),
            None if run.is_alive() => Ok(InstanceState::Stuck),
            None => Ok(InstanceState::Exited { code: LOST }),
        },
    }
}

/// What listens for an instance of this node is told by who has the socket open.
pub(super) fn taken_ports(layout: &Layout) -> Result<Vec<Port>, ProcessError> {
    let before = ports::listeners();
    let runs = layout.all()?.into_iter().filter_map(|(_, home, _)| Run::read(&home.0).ok()?);
    let own = ports::sockets(identity::all_of(runs.map(|run| (run.process, run.session))));
    Ok(ports::steady(&before).filter(|it| !own.contains(&it.inode)).map(|it| it.port).collect())
}

fn health(home: &Home, record: &Instance) -> io::Result<Health> {
    if record.launch.health.is_none() {
        return Ok(Health::Unchecked);
    }
    Ok(match Verdict::read(&home.0)? {
        None | Some(Verdict::Starting) => Health::Starting,
        Some(Verdict::Healthy) => Health::Healthy,
        Some(Verdict::Unhealthy) => Health::Unhealthy,
    })
}

/// Whether a supervisor lives: it holds the lock, which the kernel takes away when it dies.
pub(super) fn is_supervised(home: &Home) -> io::Result<bool> {
    let file = match File::open(home.lock()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(fs::TryLockError::WouldBlock) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether anything of an instance runs, with or without a supervisor.
pub(super) fn runs(home: &Home) -> io::Result<bool> {
    let alive = || Run::read(&home.0).ok().flatten().is_some_and(|run| run.is_alive());
    Ok(is_supervised(home)? || alive())
}

pub(super) fn logs(layout: &Layout, slot: &Slot, tail: usize) -> Result<String, ProcessError> {
    let newest = layout
        .all()?
        .into_iter()
        .filter(|(_, _, record)| record.slot() == *slot)
        .max_by_key(|(_, home, _)| (runs(home).unwrap_or(false), changed(home)));
    let mut kept = Tail::new(tail);
    let Some((_, home, _)) = newest else { return Ok(kept.into_text()) };
    for path in [home.rotated_log(), home.log()] {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).doing("read", &path),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut buffer).doing("read", &path)?;
            if read == 0 {
                break;
            }
            kept.push(buffer.get(..read).unwrap_or_default());
        }
    }
    Ok(kept.into_text())
}

fn changed(home: &Home) -> Option<SystemTime> {
    fs::metadata(home.log()).or_else(|_| fs::metadata(&home.0)).and_then(|of| of.modified()).ok()
}
