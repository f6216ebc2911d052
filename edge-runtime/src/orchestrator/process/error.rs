//! Why the process orchestrator could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use gnomon_schemas::app::Revision;
use gnomon_schemas::id::{ResourceName, ServiceName};

use super::shim::StartFailure;
use crate::orchestrator::Unsupported;
use crate::reconcile::model::{InstanceId, Slot};

/// Why the process orchestrator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The file system refused.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The service asks for what host processes cannot have.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
    /// The app has no such service.
    #[error("the app has no service {0}")]
    NoSuchService(ServiceName),
    /// The app declares no such config or secret.
    #[error("the app declares no config or secret {0}")]
    NoSuchFile(ResourceName),
    /// A target is not an absolute plain path.
    #[error("{0} is not an absolute path without `.` and `..`")]
    BadTarget(String),
    /// A bind mount leads, through a symbolic link, outside what the node permits.
    #[error("the bind mount of {0} leads outside the directories that this node permits")]
    BindOutside(String),
    /// The user or group is not known on this machine.
    #[error("there is no user or group {0} on this machine")]
    NoSuchUser(String),
    /// No instance of the slot runs.
    #[error("no instance of {0} runs")]
    NotRunning(Slot),
    /// The command could not be run.
    #[error("cannot run {program}")]
    Command {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The instance was removed by somebody else.
    #[error("instance {0} is gone; it will be made again")]
    Gone(InstanceId),
    /// The instance is not the one that the step was meant for.
    #[error("instance {0} belongs to another slot; nothing was done to it")]
    AnotherSlot(InstanceId),
    /// A running instance cannot be removed.
    #[error("instance {0} still runs; stop it first")]
    StillRuns(InstanceId),
    /// The process runs on without its supervisor.
    #[error("instance {0} lost its supervisor; stop and remove it")]
    Orphan(InstanceId),
    /// The process did not end although it was killed.
    #[error("instance {0} did not end after it was killed")]
    Unkillable(InstanceId),
    /// The service could not be started.
    #[error("cannot start the service: {0}")]
    Start(StartFailure),
    /// The supervisor could not be run.
    #[error("cannot run the supervisor {program}; is it this program's file?")]
    Supervisor {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The supervisor did not say in time whether the service started.
    #[error("the supervisor of instance {0} did not answer in time")]
    Silent(InstanceId),
    /// Two digests of the same slot share the short form that names the directory.
    #[error("another digest than {0} already has the directory of this instance")]
    DigestTaken(Revision),
    /// The agent is shutting down.
    #[error("the agent is shutting down")]
    Interrupted,
}

impl ProcessError {
    /// Whether the same step may succeed later with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Io { .. }
            | Self::NotRunning(_)
            | Self::Gone(_)
            | Self::StillRuns(_)
            | Self::Orphan(_)
            | Self::Unkillable(_)
            | Self::Supervisor { .. }
            | Self::Silent(_)
            | Self::Interrupted => true,
            Self::Start(failure) => failure.transient,
            Self::Command { .. }
            | Self::Unsupported(_)
            | Self::NoSuchService(_)
            | Self::NoSuchFile(_)
            | Self::BadTarget(_)
            | Self::BindOutside(_)
            | Self::NoSuchUser(_)
            | Self::AnotherSlot(_)
            | Self::DigestTaken(_) => false,
        }
    }
}

/// Names what was being done to which path when the system refused.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, ProcessError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, ProcessError> {
        self.map_err(|source| ProcessError::Io { doing, path: path.to_owned(), source })
    }
}
