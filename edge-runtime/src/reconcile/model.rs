//! What the planner sees and what it decides: the seam between it and the orchestrators.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::app::{AppSpec, Port, Revision};
use gnomon_schemas::id::{AppName, ServiceName};

/// The orchestrator's own id of an instance: a container id, a process record's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub Box<str>);

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which copy of which service an instance is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The app.
    pub app: AppName,
    /// The service of the app.
    pub service: ServiceName,
    /// The copy, from 0.
    pub replica: u16,
}

/// One container or process that carries this node's label, as the orchestrator sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// The orchestrator's id.
    pub id: InstanceId,
    /// What it is an instance of, from its labels.
    pub slot: Slot,
    /// The digest of the service that it was made from, from its labels: unequal to the wanted
    /// one means outdated.
    pub service_digest: Revision,
    /// The id of the image that it was made from, where the orchestrator runs images.
    pub image: Option<Box<str>>,
    /// What it is doing.
    pub state: InstanceState,
    /// What the orchestrator knows of its end beside the exit code, such as `OOMKilled`.
    pub note: Option<Box<str>>,
    /// What somebody else changed of it and [`Step::Create`] sets right without making it anew.
    pub altered: Option<Box<str>>,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Made and never started.
    Created,
    /// Running.
    Running(Health),
    /// Ended by itself or by force.
    Exited {
        /// The exit code; 128 + n after signal n.
        code: i64,
    },
    /// In a state that the orchestrator cannot act on (being removed, dead, paused by a person).
    Stuck,
}

/// What the health check says of a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// The service has no check: running is enough.
    Unchecked,
    /// Within the start period, or no verdict yet.
    Starting,
    /// The check passes.
    Healthy,
    /// The check failed its retries.
    Unhealthy,
}

/// The whole truth about this node's instances, read anew from the orchestrator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Every instance that carries this node's label, foreign ones never.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// Apps that still have a network or another leftover object of their own.
    pub app_resources: Vec<AppName>,
    /// The ports of the node on which something listens that no instance of this node is; what the
    /// shell adds where the orchestrator shares the node's ports.
    pub taken_ports: Vec<Port>,
}

impl Observed {
    /// The apps of which anything is left on this node; some more than once.
    pub fn apps(&self) -> impl Iterator<Item = &AppName> {
        self.instances.values().map(|instance| &instance.slot.app).chain(&self.app_resources)
    }
}

impl InstanceState {
    /// Whether it runs, in whatever health.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Running(_))
    }
}

/// One thing to do; idempotent: doing it twice is doing it once.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Make sure that the image is present.
    Pull {
        /// The app that needs it.
        app: AppName,
        /// The image reference.
        image: String,
    },
    /// Make what the slot needs (network, volumes, config files) and the instance, not started;
    /// of one that is there, set right what somebody else altered.
    Create {
        /// Where it belongs.
        slot: Slot,
        /// The app that the service is part of.
        spec: Arc<AppSpec>,
    },
    /// Start an instance that is created or has exited.
    Start {
        /// The instance.
        id: InstanceId,
        /// Where it belongs.
        slot: Slot,
    },
    /// Stop an instance: its stop signal, then force after the grace.
    Stop {
        /// The instance.
        id: InstanceId,
        /// Where it belongs.
        slot: Slot,
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// Remove an instance that does not run.
    Remove {
        /// The instance.
        id: InstanceId,
        /// Where it belonged.
        slot: Slot,
    },
    /// Remove what an app without instances leaves behind (network, config files; never volumes).
    RemoveApp {
        /// The app.
        app: AppName,
    },
}

impl Step {
    /// The app that the step is for.
    pub const fn app(&self) -> &AppName {
        match self {
            Self::Pull { app, .. } | Self::RemoveApp { app } => app,
            Self::Create { slot, .. }
            | Self::Start { slot, .. }
            | Self::Stop { slot, .. }
            | Self::Remove { slot, .. } => &slot.app,
        }
    }

    /// The slot that the step is for; `None`: the app as a whole.
    pub const fn slot(&self) -> Option<&Slot> {
        match self {
            Self::Pull { .. } | Self::RemoveApp { .. } => None,
            Self::Create { slot, .. }
            | Self::Start { slot, .. }
            | Self::Stop { slot, .. }
            | Self::Remove { slot, .. } => Some(slot),
        }
    }
}
