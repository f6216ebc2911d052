//! Why an orchestrator could not do what it was asked.

use super::docker::DockerError;
use super::fake::FakeError;
use super::process::ProcessError;

/// Why an orchestrator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OrchestratorError {
    /// Docker could not.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The process orchestrator could not.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A test said so.
    #[error(transparent)]
    Fake(#[from] FakeError),
}

impl OrchestratorError {
    /// Whether the same step may succeed later with nothing changed; else only another desired
    /// state or a person can help.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Docker(error) => error.is_transient(),
            Self::Process(error) => error.is_transient(),
            Self::Fake(error) => error.is_transient(),
        }
    }

    /// Whether there was no room on the disk.
    pub const fn is_disk_full(&self) -> bool {
        matches!(self, Self::Docker(DockerError::DiskFull { .. }))
    }
}
