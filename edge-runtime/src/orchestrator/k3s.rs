//! Runs services as workloads of a Kubernetes such as k3s: what is kept alive as a Deployment, what
//! ends by itself as a Job, one for each copy and revision, so that the planner's steps have one
//! meaning everywhere ([ADR 0011](../../../docs/adr/0011-k3s.md)). Objects without this node's label
//! are never touched.

mod api;
mod drift;
mod error;
mod events;
mod exec;
mod files;
mod lifecycle;
mod manifests;
mod mirror;
mod names;
mod objects;
mod observe;
mod pull;
mod registries;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::node::NodeSettings;
use tokio::sync::Mutex;

use super::watch::Watch;
use super::{Capabilities, Kind, LimitKinds};
use crate::local::ExecOutput;
use crate::reconcile::model::{Observed, Slot, Step};

use manifests::Manifests;
use mirror::Mirror;
use registries::Registries;

pub use error::K3sError;
pub use manifests::Permitted;
pub(super) use objects::unfit;

/// How long the API server may take to answer.
const ANSWER: Duration = Duration::from_secs(15);
/// How long a pod may take to begin or to be gone, beside its grace.
const WORK: Duration = Duration::from_mins(1);
/// How long what keeps a pod from beginning has to last before it is believed, if it can pass by itself:
/// a scheduler also says that no node can run a pod whose claim it has not seen yet, a controller
/// that a quota or an account is missing, a kubelet that a file is, and all try again at once.
const BELIEVED: Duration = Duration::from_secs(30);

/// How the k3s orchestrator of a node is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node; objects with the label of another one are not seen.
    pub node: NodeName,
    /// How the cluster is reached. `None`: by `KUBECONFIG`, or as what runs in a pod reaches its own.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of all objects.
    pub namespace: String,
    /// Where apps of manifests may go beside that namespace.
    pub manifests: Permitted,
    /// Directories of the cluster's nodes below which a bind mount may point.
    pub bind_prefixes: Vec<PathBuf>,
}

impl Settings {
    /// The usual setup: the namespace `gnomon`, and no bind mount permitted.
    pub fn new(node: NodeName) -> Self {
        Self {
            node,
            kubeconfig: None,
            namespace: "gnomon".to_owned(),
            manifests: Permitted::default(),
            bind_prefixes: Vec::new(),
        }
    }
}

/// The orchestrator of workloads. What it remembers of the cluster is what its watches tell.
#[derive(Clone)]
pub struct K3s {
    settings: Settings,
    /// Made by the first who needs it, and anew when its credentials are not accepted any more; the
    /// lock keeps others waiting meanwhile.
    client: Arc<Mutex<Option<kube::Client>>>,
    mirror: Arc<OnceLock<Mirror>>,
    registries: Arc<Registries>,
    manifests: Arc<Manifests>,
}

impl std::fmt::Debug for K3s {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("K3s").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl K3s {
    /// Uses a cluster; whether it answers shows with the first call.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            client: Arc::default(),
            mirror: Arc::default(),
            registries: Arc::default(),
            manifests: Arc::default(),
        }
    }

    /// Follows the cluster from the first time on; must be called inside a Tokio runtime.
    fn mirror(&self) -> &Mirror {
        self.mirror.get_or_init(|| Mirror::start(&self.alone()))
    }

    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: Kind::K3s,
            images: true,
            tmpfs: true,
            limits: LimitKinds { pids: false, ..LimitKinds::ALL },
            confines: true,
            hardens: true,
            nested_mounts: true,
            users: true,
            bind_prefixes: self.settings.bind_prefixes.clone(),
            device_prefixes: Vec::new(),
        }
    }

    /// The version of the API server.
    pub async fn version(&self) -> Result<String, K3sError> {
        let client = self.client().await?;
        let version = api::within("ask for the version", client.apiserver_version()).await;
        Ok(self.heard(version).await?.git_version)
    }

    /// Reads every workload that carries this node's label.
    pub async fn observe(&self) -> Result<Observed, K3sError> {
        lifecycle::observe(self).await
    }

    /// Does one step.
    pub async fn apply(&self, step: &Step) -> Result<(), K3sError> {
        match step {
            Step::Pull { image, .. } => self.pull(image).await,
            Step::Create { slot, spec } => files::create(self, slot, spec).await,
            Step::Start { id, slot } => lifecycle::start(self, id, slot).await,
            Step::Stop { id, slot, grace } => lifecycle::stop(self, id, slot, *grace).await,
            Step::Remove { id, slot } => lifecycle::remove(self, id, slot).await,
            Step::RemoveApp { app } => files::remove_app(self, app).await,
        }
    }

    /// Whether a pod of this node has run this image.
    pub async fn has_image(&self, image: &str) -> Result<bool, K3sError> {
        pull::has(self, image).await
    }

    /// Makes sure that the cluster can fetch an image, by fetching it on one of its nodes.
    pub async fn pull(&self, image: &str) -> Result<(), K3sError> {
        pull::pull(self, image).await
    }

    /// Takes the credentials for registries, and writes them to the cluster if they are others.
    pub fn configure(&self, settings: NodeSettings) {
        registries::configure(self, settings.registries);
    }

    /// Follows the workloads and pods of this node.
    pub fn watch(&self) -> Watch {
        self.mirror().hints()
    }

    /// The last lines that the newest pod of a slot wrote.
    pub async fn logs(&self, slot: &Slot, tail: usize) -> Result<String, K3sError> {
        exec::logs(self, slot, tail).await
    }

    /// Runs a command in the running pod of a slot.
    pub async fn exec(&self, slot: &Slot, command: &[String]) -> Result<ExecOutput, K3sError> {
        Box::pin(exec::exec(self, slot, command)).await
    }
}
