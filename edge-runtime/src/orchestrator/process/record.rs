//! What the files of an instance say. They are the orchestrator's label store.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gnomon_schemas::app::{HealthCheck, Revision, StopSignal};
use gnomon_schemas::id::{AppName, NodeName, ServiceName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cgroup::Bounds;
use super::identity::Identity;
use super::user::Owner;
use crate::orchestrator::files;
use crate::reconcile::model::Slot;

/// The file of an [`Instance`]; written once.
const INSTANCE: &str = "instance.json";
/// The file of a [`Run`]; written by the supervisor at each start.
const RUN: &str = "run.json";
/// The file of an [`Exit`]; written by the supervisor at each end.
const EXIT: &str = "exit.json";
/// The file of a [`Verdict`]; written by the supervisor while the service runs.
const HEALTH: &str = "health.json";

/// What an instance is and how it is run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Instance {
    pub(super) node: NodeName,
    pub(super) app: AppName,
    pub(super) service: ServiceName,
    pub(super) replica: u16,
    pub(super) digest: Revision,
    pub(super) revision: Revision,
    pub(super) launch: Launch,
}

/// How to run a service.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) argv: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) dir: PathBuf,
    pub(super) owner: Option<Owner>,
    pub(super) stop_signal: StopSignal,
    pub(super) health: Option<HealthCheck>,
    pub(super) log_bytes: u64,
    #[serde(default)]
    pub(super) bounds: Bounds,
}

/// The process of an instance, as long as no [`Exit`] says otherwise.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) process: Identity,
    /// The session that the supervisor made for itself and the service; `None` if it could not.
    pub(super) session: Option<i32>,
}

/// How the last run of an instance ended.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Exit {
    pub(super) code: i64,
}

/// What the health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Starting,
    Healthy,
    Unhealthy,
}

impl Instance {
    pub(super) fn slot(&self) -> Slot {
        let Self { app, service, replica, .. } = self;
        Slot { app: app.clone(), service: service.clone(), replica: *replica }
    }

    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        read(&dir.join(INSTANCE))
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace(&dir.join(INSTANCE), &bytes(self), 0o600)
    }
}

impl Run {
    /// Whether the service or anything that it started runs.
    pub(super) fn is_alive(&self) -> bool {
        self.process.runs() || !self.left_behind().is_empty()
    }

    /// What runs in the session of the service, itself included, when the supervisor is dead.
    pub(super) fn left_behind(&self) -> Vec<i32> {
        self.session.map(|session| self.process.others_of(session)).unwrap_or_default()
    }

    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        read(&dir.join(RUN))
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace(&dir.join(RUN), &bytes(self), 0o600)
    }
}

impl Exit {
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        read(&dir.join(EXIT))
    }

    pub(super) fn write(&self, dir: &Path) -> io::Result<()> {
        files::replace(&dir.join(EXIT), &bytes(self), 0o600)
    }
}

impl Verdict {
    pub(super) fn read(dir: &Path) -> io::Result<Option<Self>> {
        read(&dir.join(HEALTH))
    }

    /// Not durable: it is worthless after a power cut.
    pub(super) fn write(self, dir: &Path) -> io::Result<()> {
        files::replace_lightly(&dir.join(HEALTH), &bytes(&self))
    }
}

/// Forgets the last run. The order keeps an end from being taken for a loss.
pub(super) fn forget_run(dir: &Path) -> io::Result<()> {
    [HEALTH, RUN, EXIT].into_iter().try_for_each(|file| files::remove_if_there(&dir.join(file)))
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("a record has only text keys")
}

/// `None` if there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
