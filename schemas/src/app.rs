//! The normal form of an app: what a node shall run, with one meaning on every orchestrator.
//!
//! Equal meaning gives equal bytes: defaults are left out, sets are sorted, mounts are keyed by
//! where they go. The authoring format is read by [`crate::compose`].

mod confine;
mod graph;
mod health;
mod manifest;
mod mount;
mod port;
mod problem;
mod revision;
mod schedule;
mod secret;
mod service;
mod status;
mod trial;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ResourceName, ServiceName};

pub use confine::{Access, Capability, Confinement, Device, ParseNameError, Ulimit, UlimitName};
pub use health::{HealthCheck, HealthTest};
pub use manifest::{Manifest, ManifestFlaw, PRUNE};
pub use mount::{FileMount, Mount};
pub use port::{Port, Protocol};
pub use problem::{DocumentError, InvalidApp, Problem, ProblemKind};
pub use revision::{ParseRevisionError, Revision};
pub use schedule::{CronText, Missed, ParseCronError, Schedule};
pub use secret::SecretText;
pub use service::{
    Condition, HostProcess, Reservations, ResourceLimits, Resources, RestartPolicy, ServiceSpec,
    StopSignal, UpdateOrder,
};
pub use status::{AppState, AppStatus, ServiceState, ServiceStatus};
pub use trial::Trial;
pub use validate::limits;

/// What a node shall run as one app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    /// The services by name; at least one.
    pub services: BTreeMap<ServiceName, ServiceSpec>,
    /// The named volumes that services may mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<ResourceName, VolumeSpec>,
    /// The configs that services may mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub configs: BTreeMap<ResourceName, ConfigSpec>,
    /// The secrets that services may mount.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<ResourceName, SecretSpec>,
    /// How a new revision shows that it is good.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trial: Trial,
}

/// A named volume: it outlives the app's revisions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Labels on the volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// A file that services may mount, readable by everyone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigSpec {
    /// What the file holds.
    pub content: String,
}

/// A file that services may mount and that is never printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// What the file holds.
    pub content: SecretText,
}

impl AppSpec {
    /// Reads the normal form out of a shadow's document and checks it with [`Self::validate`].
    pub fn from_document(document: &Value) -> Result<Self, DocumentError> {
        let spec: Self =
            serde_path_to_error::deserialize(document).map_err(DocumentError::shape)?;
        spec.validate()?;
        Ok(spec)
    }

    /// The normal form as a plain JSON object; it holds no `null`.
    pub fn to_value(&self) -> Value {
        plain(self)
    }

    /// The digest of the normal form.
    pub fn revision(&self) -> Revision {
        Revision::of(&self.to_value())
    }

    /// The digest of what the containers of one service depend on; `None` if there is no such
    /// service. See [`ServiceSpec::digest`].
    pub fn service_digest(&self, name: &ServiceName) -> Option<Revision> {
        self.services.get(name).map(|service| service.digest(self))
    }

    /// The services in an order in which each comes after those that it depends on; of equals,
    /// the first by name. In a cycle, which [`Self::validate`] refuses, the order is by name.
    pub fn start_order(&self) -> Vec<&ServiceName> {
        graph::start_order(self)
    }
}

fn plain<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).expect("the app model holds only strings, integers and maps")
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests;
