//! Runs services as containers of a Docker daemon, reached at its socket. Labels on the objects
//! are the truth; an object without this node's label is never touched.

mod body;
mod clear;
mod create;
mod error;
mod events;
mod exec;
mod files;
mod image;
mod labels;
mod lifecycle;
mod login;
mod network;
mod observe;
mod progress;
mod relay;
mod volumes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::app::Port;
use gnomon_schemas::id::{AppName, NodeName};
use gnomon_schemas::node::{Credentials, NodeSettings};
use tokio::sync::watch;

use super::images::{Cleared, ImageSurvey};
use super::watch::Watch;
use super::{Capabilities, Kind, LimitKinds};
use crate::local::ExecOutput;
use crate::reconcile::model::{Observed, Slot, Step};

pub use error::DockerError;

/// How long Docker may take to answer a question.
const ANSWER: Duration = Duration::from_secs(15);
/// How long Docker may take to do something to a container.
const WORK: Duration = Duration::from_mins(2);

/// How the Docker orchestrator of a node is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node; objects with the label of another one are not seen.
    pub node: NodeName,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The directory for the files of configs.
    pub files_dir: PathBuf,
    /// The directory for the files of secrets; it should not outlive a power cut.
    pub secrets_dir: PathBuf,
    /// Directories of the node below which a bind mount may point.
    pub bind_prefixes: Vec<PathBuf>,
    /// Devices of the node, or directories of them, that a service may use.
    pub device_prefixes: Vec<PathBuf>,
    /// Where the daemon finds certificates of registries; read for pulls through the agent.
    pub certs_dir: PathBuf,
    /// How many bytes of images may lie below `files_dir` while they are being fetched.
    pub pull_cache_bytes: u64,
    /// How many bytes the log of a container may have before it is rotated.
    pub log_bytes: u64,
    /// How many logs of a container are kept.
    pub log_files: u32,
}

impl Settings {
    /// The usual setup: the system's daemon, secrets in memory, and no bind mount permitted.
    pub fn new(node: NodeName, files_dir: impl Into<PathBuf>) -> Self {
        Self {
            socket: "/var/run/docker.sock".into(),
            files_dir: files_dir.into(),
            secrets_dir: PathBuf::from("/run/gnomon").join(node.as_str()),
            bind_prefixes: Vec::new(),
            device_prefixes: Vec::new(),
            certs_dir: "/etc/docker/certs.d".into(),
            pull_cache_bytes: 2 << 30,
            log_bytes: 10 * 1024 * 1024,
            log_files: 3,
            node,
        }
    }
}

/// The orchestrator of containers. It connects anew for each call and remembers nothing of the
/// daemon, which may come and go.
#[derive(Debug, Clone)]
pub struct Docker {
    settings: Settings,
    /// What the cloud says to the node: shared by all clones, the last word counts.
    told: Arc<watch::Sender<NodeSettings>>,
    relays: relay::Relays,
}

impl Docker {
    /// Uses a daemon; whether it answers shows with the first call.
    pub fn new(mut settings: Settings) -> Self {
        // The daemon has another working directory.
        for dir in [&mut settings.files_dir, &mut settings.secrets_dir] {
            if let Ok(absolute) = std::path::absolute(&*dir) {
                *dir = absolute;
            }
        }
        let cache = settings.files_dir.with_extension("pulls");
        let relays = relay::Relays::new(cache, settings.pull_cache_bytes);
        Self { settings, told: Arc::new(watch::Sender::new(NodeSettings::default())), relays }
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: Kind::Docker,
            images: true,
            tmpfs: true,
            limits: LimitKinds::ALL,
            confines: true,
            hardens: true,
            nested_mounts: true,
            users: true,
            bind_prefixes: self.settings.bind_prefixes.clone(),
            device_prefixes: self.settings.device_prefixes.clone(),
        }
    }

    /// The daemon's version.
    pub async fn version(&self) -> Result<String, DockerError> {
        let version = self.client(ANSWER)?.version().await;
        let version = version.map_err(|error| self.failed("ask for the version", error))?;
        Ok(version.version.unwrap_or_else(|| "unknown".to_owned()))
    }

    /// Reads every object that carries this node's label.
    pub async fn observe(&self) -> Result<Observed, DockerError> {
        observe::observe(self).await
    }

    /// The ports on which something listens that is no container of this node.
    pub async fn taken_ports(&self) -> Result<Vec<Port>, DockerError> {
        observe::taken_ports(self).await
    }

    /// Whether an image is here.
    pub async fn has_image(&self, image: &str) -> Result<bool, DockerError> {
        image::is_present(self, image).await
    }

    /// Takes what the cloud says to this node, for all clones.
    pub fn configure(&self, settings: NodeSettings) {
        self.relays.configure(&settings.pulls);
        self.told.send_replace(settings);
    }

    fn credentials(&self, registry: &str) -> Option<Credentials> {
        self.told.borrow().registries.get(registry).cloned()
    }

    /// Makes sure that an image is here; its id if it had to be fetched.
    /// `came` hears in steps how many percent of it are here.
    pub async fn pull(
        &self,
        image: &str,
        came: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<Option<String>, DockerError> {
        image::pull(self, image, came).await
    }

    /// Every image of the daemon, and the room on its disk.
    pub async fn survey_images(&self) -> Result<ImageSurvey, DockerError> {
        clear::survey(self).await
    }

    /// Removes an image, unless a container uses it or its name means another one by now.
    pub async fn clear_image(&self, image: &str, id: &str) -> Result<Cleared, DockerError> {
        clear::clear(self, image, id).await
    }

    /// Removes the volumes of an app, or of all apps of this node; gives back how many.
    pub async fn remove_volumes(&self, app: Option<&AppName>) -> Result<usize, DockerError> {
        volumes::remove(self, app).await
    }

    /// Does one step.
    pub async fn apply(&self, step: &Step) -> Result<(), DockerError> {
        match step {
            Step::Pull { app: _, image } => image::pull(self, image, &|_| {}).await.map(drop),
            Step::Create { slot, spec } => create::create(self, slot, spec).await,
            Step::Start { id, slot } => lifecycle::start(self, id, slot).await,
            Step::Stop { id, slot, grace } => lifecycle::stop(self, id, slot, *grace).await,
            Step::Remove { id, slot } => lifecycle::remove(self, id, slot).await,
            Step::RemoveApp { app } => {
                network::remove(self, app).await?;
                files::remove_app(&self.settings, app)
            }
        }
    }

    /// Follows the daemon's events.
    pub fn watch(&self) -> Watch {
        events::watch(self)
    }

    /// The last lines that the newest container of a slot wrote.
    pub async fn logs(&self, slot: &Slot, tail: usize) -> Result<String, DockerError> {
        observe::logs(self, slot, tail).await
    }

    /// Runs a command in the running container of a slot.
    pub async fn exec(&self, slot: &Slot, command: &[String]) -> Result<ExecOutput, DockerError> {
        exec::exec(self, slot, command).await
    }

    fn client(&self, timeout: Duration) -> Result<bollard::Docker, DockerError> {
        self.connect(timeout).map_err(|error| self.failed("connect", error))
    }

    fn connect(&self, timeout: Duration) -> Result<bollard::Docker, bollard::errors::Error> {
        let socket = self.settings.socket.to_string_lossy();
        let version = bollard::API_DEFAULT_VERSION;
        bollard::Docker::connect_with_unix(&socket, timeout.as_secs(), version)
    }

    fn failed(&self, doing: impl Into<String>, error: bollard::errors::Error) -> DockerError {
        DockerError::from_client(doing.into(), &self.settings.socket, error)
    }
}
