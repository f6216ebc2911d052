//! Why an app is refused: every reason with the path of what is wrong.

use std::fmt;

use super::ManifestFlaw;
use super::validate::limits;
use crate::id::ServiceName;

/// An app that cannot be run anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidApp {
    problems: Vec<Problem>,
}

/// One thing that is wrong with an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {kind}")]
pub struct Problem {
    /// Where, such as `services.web.depends_on.db`.
    pub path: String,
    /// What.
    pub kind: ProblemKind,
}

/// What can be wrong with an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The app has no services.
    #[error("an app needs at least one service")]
    NoServices,
    /// A service has neither image nor command.
    #[error("needs an image, or a command for the process orchestrator")]
    NothingToRun,
    /// A program or value is the empty text.
    #[error("must not be empty")]
    Empty,
    /// A dependency is not a service of the app.
    #[error("there is no service named {0}")]
    UnknownService(ServiceName),
    /// A dependency shall be healthy and has no health check.
    #[error("waits for {0} to be healthy, but {0} has no healthcheck")]
    NeverHealthy(ServiceName),
    /// A dependency shall end and is always restarted.
    #[error(
        "waits for {0} to complete, but {0} is restarted whenever it ends; use `no` or `on-failure`"
    )]
    NeverCompletes(ServiceName),
    /// A dependency runs at times of its own.
    #[error("waits for {0}, which runs by a schedule; nothing can wait for that")]
    Scheduled(ServiceName),
    /// A service that is restarted whenever it ends has a schedule.
    #[error("a schedule is for a service with `restart: no` or `on-failure`, which ends by itself")]
    NotAJob,
    /// Services wait for each other in a circle; the first is repeated at the end.
    #[error("the services wait for each other: {}", Chain(.0))]
    Cycle(Vec<ServiceName>),
    /// Two services, or two ports of one, want the same port of the node.
    #[error("the host port {port} is already taken by {by}")]
    HostPortTaken {
        /// The port.
        port: u16,
        /// The path of the other one.
        by: String,
    },
    /// Several copies of a service want the same port of the node.
    #[error("{replicas} replicas cannot share the host port {port}")]
    HostPortShared {
        /// The port.
        port: u16,
        /// How many copies there are.
        replicas: u32,
    },
    /// A volume, config or secret is mounted and not declared.
    #[error("the {what} {name} is not declared at the top level")]
    Undeclared {
        /// `volume`, `config` or `secret`.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A path would not mean the same everywhere, or could escape.
    #[error("must be an absolute path without `.`, `..`, `//` or a final `/`")]
    BadPath,
    /// Two mounts have the same place.
    #[error("{by} is already mounted there")]
    TargetTaken {
        /// The path of the other one.
        by: String,
    },
    /// There are too many of something.
    #[error("has {found} entries, at most {limit} are allowed")]
    TooMany {
        /// The most that are allowed.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// A text is too long.
    #[error("has {found} bytes, at most {limit} are allowed")]
    TooLong {
        /// The most bytes that are allowed.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// A number is outside what makes sense.
    #[error("is {found}{unit}, must be from {min} to {max}{unit}")]
    OutOfRange {
        /// The least that is allowed.
        min: u64,
        /// The most that is allowed.
        max: u64,
        /// What was given.
        found: u64,
        /// The unit of the three, such as ` ms`; empty for a count.
        unit: &'static str,
    },
    /// More is reserved than the limit lets it use.
    #[error("is more than the limit of {limit}{unit}")]
    AboveLimit {
        /// The limit of the same resource.
        limit: u64,
        /// The unit, such as ` bytes`.
        unit: &'static str,
    },
    /// A text holds a NUL character.
    #[error("must not hold a NUL character")]
    Nul,
    /// It is not the name of an image.
    #[error("is not an image reference such as `registry.example/name:tag`")]
    BadImage,
    /// It is not a user.
    #[error("is not a user such as `1000`, `1000:1000` or `app`")]
    BadUser,
    /// It is not the name of an environment variable.
    #[error("is not a name for an environment variable")]
    BadVariable,
    /// Two copies would have to share a port of the node while one replaces the other.
    #[error("the new copy starts before the old one stops, so it cannot have a fixed host port")]
    StartsFirst,
    /// A capability is given and taken at once.
    #[error("is in `cap_add` too")]
    BothWays,
    /// The label is kept for the orchestrators.
    #[error("labels that begin with `io.gnomon.` are reserved")]
    ReservedLabel,
    /// A Kubernetes object is none, or has what it may not have.
    #[error("{0}")]
    Manifest(ManifestFlaw),
    /// A service of Kubernetes objects has settings of containers.
    #[error(
        "consists of Kubernetes manifests, and they alone say how they run: beside `depends_on` it has no settings"
    )]
    NotOnlyManifests,
}

/// Why a shadow's document is not an app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// It does not have the form of an app.
    #[error("the app does not have the expected form at {path}: {reason}")]
    Shape {
        /// Where, such as `services.web.ports[0]`.
        path: String,
        /// What was expected there.
        reason: String,
    },
    /// It has the form of an app that cannot run.
    #[error(transparent)]
    Invalid(#[from] InvalidApp),
}

impl DocumentError {
    pub(super) fn shape(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        let path = error.path().to_string();
        let reason = if path.starts_with("secrets") {
            "not the form of a secret".to_owned()
        } else {
            error.into_inner().to_string()
        };
        Self::Shape { path, reason }
    }
}

impl InvalidApp {
    /// `None` when there is nothing wrong; of many problems the first [`limits::PROBLEMS`] are
    /// kept.
    pub(super) fn from_problems(mut problems: Vec<Problem>) -> Option<Self> {
        problems.truncate(limits::PROBLEMS);
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// What is wrong; at least one thing.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for InvalidApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidApp {}

struct Chain<'a>(&'a [ServiceName]);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" -> ")?;
            }
            write!(f, "{name}")?;
        }
        Ok(())
    }
}
