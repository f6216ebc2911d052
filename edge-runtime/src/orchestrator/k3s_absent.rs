//! Stands for the k3s orchestrator in a program that was built without it. Nobody can have one, so
//! nothing here is ever called, and none of it is in the program.

use gnomon_schemas::app::ServiceSpec;
use gnomon_schemas::node::NodeSettings;

use super::Capabilities;
use super::watch::Watch;
use crate::local::ExecOutput;
use crate::reconcile::model::{Observed, Slot, Step};

/// The orchestrator of workloads, which this program does not have.
#[derive(Debug, Clone)]
pub enum K3s {}

/// Why the k3s orchestrator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum K3sError {}

impl K3sError {
    /// Whether the same step may succeed later with nothing changed.
    pub const fn is_transient(&self) -> bool {
        match *self {}
    }
}

/// What Kubernetes cannot do for a service; there is none to ask.
pub(super) const fn unfit(_service: &ServiceSpec) -> Option<String> {
    None
}

#[expect(clippy::unused_async, reason = "as the orchestrator that it stands for")]
impl K3s {
    /// What it can do.
    pub fn capabilities(&self) -> Capabilities {
        match *self {}
    }

    /// The version of the API server.
    pub async fn version(&self) -> Result<String, K3sError> {
        match *self {}
    }

    /// Reads every workload that carries this node's label.
    pub async fn observe(&self) -> Result<Observed, K3sError> {
        match *self {}
    }

    /// Does one step.
    pub async fn apply(&self, _step: &Step) -> Result<(), K3sError> {
        match *self {}
    }

    /// Whether a pod of this node has run this image.
    pub async fn has_image(&self, _image: &str) -> Result<bool, K3sError> {
        match *self {}
    }

    /// Makes sure that the cluster can fetch an image.
    pub async fn pull(&self, _image: &str) -> Result<(), K3sError> {
        match *self {}
    }

    /// Takes the credentials for registries.
    pub fn configure(&self, _settings: NodeSettings) {
        match *self {}
    }

    /// Follows the workloads and pods of this node.
    pub fn watch(&self) -> Watch {
        match *self {}
    }

    /// The last lines that the newest pod of a slot wrote.
    pub async fn logs(&self, _slot: &Slot, _tail: usize) -> Result<String, K3sError> {
        match *self {}
    }

    /// Runs a command in the running pod of a slot.
    pub async fn exec(&self, _slot: &Slot, _command: &[String]) -> Result<ExecOutput, K3sError> {
        match *self {}
    }
}
