//! What runs apps on a node: Docker, host processes, a Kubernetes, or a fake for tests. Every step is
//! idempotent, and the truth is read from the real objects each time, never remembered.

pub mod capabilities;
pub mod docker;
mod error;
pub mod fake;
mod files;
pub mod images;
#[cfg(feature = "k3s")]
pub mod k3s;
#[cfg(not(feature = "k3s"))]
#[path = "orchestrator/k3s_absent.rs"]
pub mod k3s;
mod ports;
pub mod process;
mod tail;
mod watch;

use std::fmt;

use gnomon_schemas::app::Port;
use gnomon_schemas::id::AppName;
use gnomon_schemas::node::NodeSettings;
use serde::{Deserialize, Serialize};

use crate::local::ExecOutput;
use crate::reconcile::model::{Observed, Slot, Step};
use images::{Cleared, ImageSurvey};

pub use capabilities::{Capabilities, LimitKinds, Unsupported};
pub use error::OrchestratorError;
pub use watch::Watch;

/// One of the ways to run apps. Steps of different apps may be applied at the same time, and pulls
/// of different images, and stops beside whatever is done in other slots; the other steps of one
/// app one after the other.
#[derive(Debug, Clone)]
pub enum Orchestrator {
    /// Containers of a Docker daemon.
    Docker(docker::Docker),
    /// Processes of the host.
    Process(process::Process),
    /// Workloads of a Kubernetes.
    K3s(k3s::K3s),
    /// Nothing real; a test says how it behaves.
    Fake(fake::Fake),
}

/// The name of a way to run apps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Containers of a Docker daemon.
    Docker,
    /// Processes of the host.
    Process,
    /// Workloads of a Kubernetes.
    K3s,
    /// Nothing real.
    Fake,
}

impl Kind {
    /// The name as a report shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Process => "process",
            Self::K3s => "k3s",
            Self::Fake => "fake",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Orchestrator {
    /// Which one it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Docker(_) => Kind::Docker,
            Self::Process(_) => Kind::Process,
            Self::K3s(_) => Kind::K3s,
            Self::Fake(_) => Kind::Fake,
        }
    }

    /// What it can do, for the check that comes before anything is touched.
    pub fn capabilities(&self) -> Capabilities {
        match self {
            Self::Docker(docker) => docker.capabilities(),
            Self::Process(process) => process.capabilities(),
            Self::K3s(k3s) => k3s.capabilities(),
            Self::Fake(fake) => fake.capabilities(),
        }
    }

    /// The version of what runs the apps; an error when it does not answer.
    pub async fn version(&self) -> Result<String, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.version().await?),
            Self::K3s(k3s) => Ok(k3s.version().await?),
            Self::Process(_) | Self::Fake(_) => Ok(env!("CARGO_PKG_VERSION").to_owned()),
        }
    }

    /// Reads what this node runs now.
    pub async fn observe(&self) -> Result<Observed, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.observe().await?),
            Self::Process(process) => Ok(process.observe().await?),
            Self::K3s(k3s) => Ok(k3s.observe().await?),
            Self::Fake(fake) => Ok(fake.observe()?),
        }
    }

    /// The ports of the node on which something listens that is none of this node's instances. A
    /// cluster gives out its ports itself.
    pub async fn taken_ports(&self) -> Result<Vec<Port>, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.taken_ports().await?),
            Self::Process(process) => Ok(process.taken_ports().await?),
            Self::K3s(_) | Self::Fake(_) => Ok(Vec::new()),
        }
    }

    /// Whether an image is on this node; always where nothing has to be fetched.
    pub async fn has_image(&self, image: &str) -> Result<bool, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.has_image(image).await?),
            Self::Process(_) => Ok(true),
            Self::K3s(k3s) => Ok(k3s.has_image(image).await?),
            Self::Fake(fake) => Ok(fake.has_image(image)?),
        }
    }

    /// Takes what the cloud says to this node; it holds until it says something else.
    pub fn configure(&self, settings: NodeSettings) {
        match self {
            Self::Docker(docker) => docker.configure(settings),
            Self::Process(_) => {}
            Self::K3s(k3s) => k3s.configure(settings),
            Self::Fake(fake) => fake.configure(settings),
        }
    }

    /// Makes sure that an image is here for an app; its id if it had to be fetched. `came` hears
    /// in steps how many percent of it are here.
    pub async fn pull(
        &self,
        app: &AppName,
        image: &str,
        came: &(dyn Fn(u8) + Send + Sync),
    ) -> Result<Option<String>, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.pull(image, came).await?),
            Self::Process(_) => Ok(None),
            Self::K3s(k3s) => k3s.pull(image).await.map(|()| None).map_err(Into::into),
            Self::Fake(fake) => Ok(fake.pull(app, image)?),
        }
    }

    /// Every image on this node, whoever brought it; none where nothing has to be fetched, or where
    /// somebody else, such as the kubelet, removes what nothing needs.
    pub async fn survey_images(&self) -> Result<ImageSurvey, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.survey_images().await?),
            Self::Process(_) | Self::K3s(_) => Ok(ImageSurvey::default()),
            Self::Fake(fake) => Ok(fake.survey_images()?),
        }
    }

    /// Removes an image, unless something uses it or its name means another one by now.
    pub async fn clear_image(&self, image: &str, id: &str) -> Result<Cleared, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.clear_image(image, id).await?),
            Self::Process(_) | Self::K3s(_) => Ok(Cleared::Gone),
            Self::Fake(fake) => Ok(fake.clear_image(image, id)?),
        }
    }

    /// Removes the named volumes of an app, or of all apps of this node, which nothing else does;
    /// gives back how many. Those of a Kubernetes are its operator's.
    pub async fn remove_volumes(&self, app: Option<&AppName>) -> Result<usize, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.remove_volumes(app).await?),
            Self::Process(process) => Ok(process.remove_volumes(app).await?),
            Self::K3s(_) | Self::Fake(_) => Ok(0),
        }
    }

    /// Does one step. A step that is already done succeeds.
    pub async fn apply(&self, step: &Step) -> Result<(), OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.apply(step).await?),
            Self::Process(process) => Ok(process.apply(step).await?),
            Self::K3s(k3s) => Ok(k3s.apply(step).await?),
            Self::Fake(fake) => Ok(fake.apply(step)?),
        }
    }

    /// Begins to watch for changes; must be called inside a Tokio runtime.
    pub fn watch(&self) -> Watch {
        match self {
            Self::Docker(docker) => docker.watch(),
            Self::Process(process) => process.watch(),
            Self::K3s(k3s) => k3s.watch(),
            Self::Fake(fake) => fake.watch(),
        }
    }

    /// The last `tail` lines that the newest instance of a slot wrote, at most a megabyte of them.
    pub async fn logs(&self, slot: &Slot, tail: usize) -> Result<String, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.logs(slot, tail).await?),
            Self::Process(process) => Ok(process.logs(slot, tail).await?),
            Self::K3s(k3s) => Ok(k3s.logs(slot, tail).await?),
            Self::Fake(fake) => Ok(fake.logs(slot, tail)?),
        }
    }

    /// Runs a command where the running instance of a slot runs, to its end.
    pub async fn exec(
        &self,
        slot: &Slot,
        command: &[String],
    ) -> Result<ExecOutput, OrchestratorError> {
        match self {
            Self::Docker(docker) => Ok(docker.exec(slot, command).await?),
            Self::Process(process) => Ok(process.exec(slot, command).await?),
            Self::K3s(k3s) => Ok(Box::pin(k3s.exec(slot, command)).await?),
            Self::Fake(fake) => Ok(fake.exec(slot, command)?),
        }
    }
}
