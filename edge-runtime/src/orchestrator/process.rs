//! Runs services as processes of the host. Each instance is a directory that holds its record,
//! its files and its log; a small supervisor of its own keeps it, so that it outlives the agent
//! and is adopted again. A target such as `/etc/app.toml` appears below the directory that
//! `GNOMON_ROOT` names, which is also where the service starts.

mod cgroup;
mod create;
mod error;
mod exec;
mod identity;
mod layout;
mod lifecycle;
mod record;
pub mod shim;
mod signal;
mod state;
mod user;

use std::path::PathBuf;
use std::time::Duration;

use gnomon_schemas::app::Port;
use gnomon_schemas::id::{AppName, NodeName};

use super::watch::{Hinter, Watch};
use super::{Capabilities, Kind};
use crate::local::ExecOutput;
use crate::reconcile::model::{Observed, Slot, Step};
use cgroup::Cgroups;
use layout::Layout;

pub use error::ProcessError;

/// How often the directories are looked at for the sake of [`Process::watch`].
const WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// How the process orchestrator of a node is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node; instances of another one are not seen.
    pub node: NodeName,
    /// The directory that holds everything: records, logs, volumes.
    pub dir: PathBuf,
    /// The program to run as `PROGRAM __shim DIR`; it must call [`shim::dispatch`].
    pub shim: PathBuf,
    /// Directories of the node below which a bind mount may point.
    pub bind_prefixes: Vec<PathBuf>,
    /// Devices of the node, or directories of them, that a service may name.
    pub device_prefixes: Vec<PathBuf>,
    /// Where the kernel's control groups are mounted.
    pub cgroups: PathBuf,
    /// How many bytes a log may have before it is rotated; one rotated log is kept.
    pub log_bytes: u64,
}

impl Settings {
    /// The usual setup: this very program is the supervisor, even after its file was replaced,
    /// and no bind mount is permitted.
    pub fn new(node: NodeName, dir: impl Into<PathBuf>) -> Self {
        Self {
            node,
            dir: dir.into(),
            shim: "/proc/self/exe".into(),
            bind_prefixes: Vec::new(),
            device_prefixes: Vec::new(),
            cgroups: "/sys/fs/cgroup".into(),
            log_bytes: 10 * 1024 * 1024,
        }
    }
}

/// The orchestrator of host processes. It remembers nothing: the directories are the truth.
#[derive(Debug, Clone)]
pub struct Process {
    layout: Layout,
    shim: PathBuf,
    bind_prefixes: Vec<PathBuf>,
    device_prefixes: Vec<PathBuf>,
    log_bytes: u64,
    cgroups: Cgroups,
}

impl Process {
    /// Opens the directories of a node, made if they are missing.
    pub fn open(settings: Settings) -> Result<Self, ProcessError> {
        let Settings { node, dir, shim, bind_prefixes, device_prefixes, cgroups, log_bytes } =
            settings;
        let cgroups = Cgroups::find(&cgroups, &node);
        let layout = Layout::open(node, &dir)?;
        Ok(Self { layout, shim, bind_prefixes, device_prefixes, log_bytes, cgroups })
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: Kind::Process,
            images: false,
            tmpfs: false,
            limits: self.cgroups.limits(),
            confines: false,
            hardens: true,
            nested_mounts: false,
            users: nix::unistd::geteuid().is_root(),
            bind_prefixes: self.bind_prefixes.clone(),
            device_prefixes: self.device_prefixes.clone(),
        }
    }

    /// Reads the directories and what of it runs.
    pub async fn observe(&self) -> Result<Observed, ProcessError> {
        let layout = self.layout.clone();
        blocking(move || state::observe(&layout)).await
    }

    /// The ports on which something listens that no instance of this node started.
    pub async fn taken_ports(&self) -> Result<Vec<Port>, ProcessError> {
        let layout = self.layout.clone();
        blocking(move || state::taken_ports(&layout)).await
    }

    /// Does one step.
    pub async fn apply(&self, step: &Step) -> Result<(), ProcessError> {
        match step {
            Step::Pull { .. } | Step::RemoveApp { .. } => Ok(()),
            Step::Create { slot, spec } => {
                let (this, slot, spec) = (self.clone(), slot.clone(), spec.clone());
                blocking(move || create::create(&this, &slot, &spec)).await
            }
            Step::Start { id, slot } => lifecycle::start(self, id, slot).await,
            Step::Stop { id, slot, grace } => lifecycle::stop(self, id, slot, *grace).await,
            Step::Remove { id, slot } => {
                let (this, id, slot) = (self.clone(), id.clone(), slot.clone());
                blocking(move || lifecycle::remove(&this, &id, &slot)).await
            }
        }
    }

    /// Removes the volumes of an app, or of all apps; gives back how many.
    pub async fn remove_volumes(&self, app: Option<&AppName>) -> Result<usize, ProcessError> {
        let (layout, app) = (self.layout.clone(), app.cloned());
        blocking(move || layout.remove_volumes(app.as_ref())).await
    }

    /// Looks at the directories again and again and hints when what it sees differs.
    pub fn watch(&self) -> Watch {
        let hinter = Hinter::new();
        let watch = hinter.watch();
        let this = self.clone();
        let task = tokio::spawn(async move {
            let mut seen = this.observe().await.ok();
            loop {
                tokio::time::sleep(WATCH_INTERVAL).await;
                let now = this.observe().await.ok();
                if now != seen {
                    seen = now;
                    hinter.hint();
                }
            }
        });
        watch.until_dropped(task.abort_handle())
    }

    /// The last lines that the newest instance of a slot wrote.
    pub async fn logs(&self, slot: &Slot, tail: usize) -> Result<String, ProcessError> {
        let (layout, slot) = (self.layout.clone(), slot.clone());
        blocking(move || state::logs(&layout, &slot, tail)).await
    }
}

impl Process {
    /// Runs a command in the place, with the environment and as the user of the running instance
    /// of a slot. It ends with the call.
    pub async fn exec(&self, slot: &Slot, command: &[String]) -> Result<ExecOutput, ProcessError> {
        exec::exec(self, slot, command).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProcessError> + Send + 'static,
) -> Result<T, ProcessError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ProcessError::Interrupted)?
}
