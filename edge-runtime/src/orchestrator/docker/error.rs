//! Why the Docker orchestrator could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};

use bollard::errors::Error as ClientError;
use gnomon_schemas::id::{ResourceName, ServiceName};

use crate::orchestrator::Unsupported;
use crate::reconcile::model::{InstanceId, Slot};

/// Why the Docker orchestrator could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// Nobody answers at the socket.
    #[error(
        "cannot reach the Docker daemon at {socket}; check that it runs and that this user may use it"
    )]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: Box<ClientError>,
    },
    /// The daemon says something that Docker does not say, such as a state that podman passes through.
    #[error("the answer of the Docker daemon when asked to {doing} is not understood")]
    Strange {
        /// What was being done.
        doing: String,
        /// What was not understood.
        source: Box<ClientError>,
    },
    /// The daemon took too long.
    #[error("the Docker daemon did not answer in time when asked to {doing}")]
    Slow {
        /// What was being done.
        doing: String,
    },
    /// The daemon said no.
    #[error("Docker refused to {doing}: {message}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The status of its answer.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The registry has no such image.
    #[error(
        "there is no image {image} for this node, or the registry does not let it be seen: {message}"
    )]
    ImageNotFound {
        /// The image.
        image: String,
        /// What the daemon said.
        message: String,
    },
    /// The registry asks for credentials.
    #[error(
        "the registry does not permit this node to pull {image}; set its credentials in `registries` \
         of the node's desired shadow: {message}"
    )]
    ImageForbidden {
        /// The image.
        image: String,
        /// What the daemon said.
        message: String,
    },
    /// The image could not be fetched.
    #[error("pulling {image} failed: {message}")]
    Pull {
        /// The image.
        image: String,
        /// What the daemon said.
        message: String,
    },
    /// There is no room for the image.
    #[error(
        "no space left on the disk of the Docker daemon for {image}; images that nothing needs are \
         removed, and it is tried again"
    )]
    DiskFull {
        /// The image.
        image: String,
    },
    /// The service asks for what this node does not permit.
    #[error(transparent)]
    Unsupported(#[from] Box<Unsupported>),
    /// The app has no such service.
    #[error("the app has no service {0}")]
    NoSuchService(ServiceName),
    /// The app declares no such config or secret.
    #[error("the app declares no config or secret {0}")]
    NoSuchFile(ResourceName),
    /// A bind mount leads, through a symbolic link, outside what the node permits.
    #[error("the bind mount of {0} leads outside the directories that this node permits")]
    BindOutside(String),
    /// A device leads, through a symbolic link, to one that the node does not permit.
    #[error("the device {0} leads to one that this node does not permit")]
    DeviceOutside(String),
    /// What should be a device is none.
    #[error("{0} is no device")]
    NoDevice(String),
    /// An object that somebody else made has the name of one of ours.
    #[error("a {what} named {name} exists and is not Gnomon's; rename or remove it")]
    Foreign {
        /// What kind of object.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// No container of the slot runs.
    #[error("no container of {0} runs")]
    NotRunning(Slot),
    /// The container was removed by somebody else.
    #[error("container {0} is gone; it will be made again")]
    Gone(InstanceId),
    /// The container is not the one that the step was meant for.
    #[error("container {0} does not belong to this slot; nothing was done to it")]
    AnotherSlot(InstanceId),
    /// A running container cannot be removed.
    #[error("container {0} still runs; stop it first")]
    StillRuns(InstanceId),
    /// The container cannot be started any more, so it was removed.
    #[error("container {id} lost its {what}, was removed, and will be made again")]
    Lost {
        /// The container.
        id: InstanceId,
        /// What is gone.
        what: &'static str,
    },
    /// A file could not be written or removed.
    #[error("cannot {doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl DockerError {
    /// Whether the same step may succeed later with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { status, .. } => !matches!(status, 400 | 401 | 405 | 501),
            Self::Unreachable { .. }
            | Self::Strange { .. }
            | Self::Slow { .. }
            | Self::Pull { .. }
            | Self::DiskFull { .. }
            | Self::NotRunning(_)
            | Self::Gone(_)
            | Self::StillRuns(_)
            | Self::Lost { .. }
            | Self::File { .. } => true,
            Self::ImageNotFound { .. }
            | Self::ImageForbidden { .. }
            | Self::Unsupported(_)
            | Self::NoSuchService(_)
            | Self::NoSuchFile(_)
            | Self::BindOutside(_)
            | Self::DeviceOutside(_)
            | Self::NoDevice(_)
            | Self::Foreign { .. }
            | Self::AnotherSlot(_) => false,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the client has many ways not to reach it")]
    pub(super) fn from_client(doing: String, socket: &Path, error: ClientError) -> Self {
        match error {
            ClientError::DockerResponseServerError { status_code, message } => {
                Self::Refused { doing, status: status_code, message: message.trim().to_owned() }
            }
            ClientError::DockerStreamError { error } => {
                Self::Refused { doing, status: 500, message: error }
            }
            ClientError::RequestTimeoutError => Self::Slow { doing },
            error @ (ClientError::JsonDataError { .. } | ClientError::JsonSerdeError { .. }) => {
                Self::Strange { doing, source: Box::new(error) }
            }
            other => Self::Unreachable { socket: socket.to_owned(), source: Box::new(other) },
        }
    }

    /// The status of the daemon's answer, if that is what went wrong.
    pub(super) const fn status(&self) -> Option<u16> {
        if let Self::Refused { status, .. } = self { Some(*status) } else { None }
    }
}

/// Names what was being done to which path when the system refused.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DockerError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, DockerError> {
        self.map_err(|source| DockerError::File { doing, path: path.to_owned(), source })
    }
}
