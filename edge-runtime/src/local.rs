//! What people at the node may ask the agent, over a Unix socket in its data directory: one JSON
//! request on a line, one JSON response on a line.

mod client;
mod server;

use std::path::{Path, PathBuf};

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::id::{AppName, NodeName, ServiceName};
use gnomon_schemas::version::{Seq, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use client::{AskError, ask};
pub use server::{Asked, Server};

/// The socket of the agent with this data directory.
pub fn socket(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the agent is.
    Status,
    /// What an app wrote.
    Logs {
        /// The app.
        app: AppName,
        /// One of its services; all of them if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
        /// The most lines of each copy.
        tail: usize,
    },
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Logs`].
    Logs(Vec<Log>),
    /// It was refused.
    #[serde(rename = "error")]
    Refused(Refusal),
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// For programs.
    pub code: RefusalCode,
    /// For people.
    pub message: String,
}

/// The kinds of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The request is not one of [`Request`].
    BadRequest,
    /// The node has no such app, or it was refused.
    UnknownApp,
    /// The app has no such service.
    UnknownService,
    /// The agent is stopping or busy; ask again.
    Unavailable,
}

/// What one copy of a service wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The service.
    pub service: ServiceName,
    /// The copy, from 0.
    pub replica: u16,
    /// The last lines; absent if they could not be read.
    pub text: Option<String>,
    /// Why they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How the agent is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The node.
    pub node: NodeName,
    /// The agent's version.
    pub agent: String,
    /// The link to the cloud.
    pub link: LinkReport,
    /// The orchestrator, as the node reports it; null before it was asked.
    pub orchestrator: Value,
    /// The store.
    pub store: StoreReport,
    /// Whether all that should run is known here.
    pub desired_complete: bool,
    /// The stream of what should be.
    pub down: Option<StreamReport>,
    /// The stream of what is.
    pub up: Option<StreamReport>,
    /// The apps.
    pub apps: Vec<AppReport>,
}

/// The link to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkReport {
    /// Whether the cloud can be reached.
    pub up: bool,
    /// For how many seconds it has been so.
    pub for_s: u64,
    /// Why it is down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The bytes of messages received since the agent started.
    pub bytes_in: u64,
    /// The bytes of messages sent since the agent started.
    pub bytes_out: u64,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreReport {
    /// `ok` or `failing`.
    pub state: String,
    /// Why it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamReport {
    /// The writer's history.
    pub epoch: String,
    /// The position here.
    pub seq: Seq,
    /// The position that the cloud is known to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<Seq>,
    /// Whether both ends are known to be equal.
    pub in_sync: bool,
}

/// One app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppReport {
    /// Its name.
    pub app: AppName,
    /// The version of its desired half; absent: it is being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_version: Option<Version>,
    /// The version of its reported half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_version: Option<Version>,
    /// How it is; absent before the orchestrator was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AppStatus>,
    /// Whether something is being done about it right now.
    pub busy: bool,
}
