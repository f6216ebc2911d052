//! What a site reports about an app.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Revision, is_default, plain};
use crate::id::ServiceName;
use crate::version::Version;

/// The reported half of an app's shadow. A field that this build does not know is ignored, so a
/// newer site can report to an older cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStatus {
    /// The desired version that this report reflects.
    pub desired_version: Version,
    /// The revision that runs, or that is being brought up; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The revision that should run, where that is another one; see `rolled_back_from`, `held`,
    /// `local` and `state` for why it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Revision>,
    /// The revision that turned out to be bad and gave way to `revision`, the last good one; it is
    /// not tried again before another one is desired, or somebody at the node asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back_from: Option<Revision>,
    /// `revision` has shown that it is good: everything was as desired for its settle time.
    #[serde(default, skip_serializing_if = "is_default")]
    pub good: bool,
    /// Somebody at the node holds `revision`, whatever is desired.
    #[serde(default, skip_serializing_if = "is_default")]
    pub held: bool,
    /// What runs, or what should, was applied at the node itself, over what is desired.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local: bool,
    /// How the app is as a whole.
    pub state: AppState,
    /// Why it is so, for people; `None` when there is nothing to explain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How each service is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceName, ServiceStatus>,
}

/// How an app is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Known, and nothing was done yet.
    Pending,
    /// Images are being fetched.
    Pulling,
    /// Services are being started, or are not healthy yet.
    Starting,
    /// Every service is as desired, and healthy where it has a health check.
    Running,
    /// Some services are as desired and some are not.
    Degraded,
    /// It cannot be brought to what is desired; the reason says why.
    Failed,
    /// It is being removed.
    Stopping,
    /// It was refused before anything was touched; the reason says why.
    Refused,
}

/// How one service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// What it does.
    pub state: ServiceState,
    /// The revision of the service ([`super::ServiceSpec::digest`]) that its copies have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Whether its health check passes; `None`: it has none, or none has run yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy: Option<bool>,
    /// How many copies run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub running: u32,
    /// How many copies are desired.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replicas: u32,
    /// How often it was started again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub restarts: u32,
    /// The exit code of its last end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it is so, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceState {
    /// Nothing was done yet, or it waits for the services that it depends on.
    Pending,
    /// Its image is being fetched.
    Pulling,
    /// It starts, or is not healthy yet.
    Starting,
    /// It runs.
    Running,
    /// It runs and its health check fails.
    Unhealthy,
    /// It ended and waits to be started again.
    Waiting,
    /// It is a job that ended with exit code 0.
    Completed,
    /// It ended and is not started again, or cannot be started.
    Failed,
    /// It is being stopped.
    Stopping,
}

impl AppStatus {
    /// A status without services.
    pub const fn new(desired_version: Version, state: AppState) -> Self {
        Self {
            desired_version,
            revision: None,
            wanted: None,
            rolled_back_from: None,
            good: false,
            held: false,
            local: false,
            state,
            reason: None,
            services: BTreeMap::new(),
        }
    }

    /// Reads a status out of a shadow's document.
    pub fn from_document(document: &Value) -> Result<Self, serde_json::Error> {
        Self::deserialize(document)
    }

    /// The status as a plain JSON object; it holds no `null`.
    pub fn to_value(&self) -> Value {
        plain(self)
    }
}

impl ServiceStatus {
    /// A status with nothing but its state.
    pub const fn new(state: ServiceState) -> Self {
        Self {
            state,
            revision: None,
            healthy: None,
            running: 0,
            replicas: 0,
            restarts: 0,
            exit_code: None,
            reason: None,
        }
    }
}
