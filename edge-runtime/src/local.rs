//! What people at the node may ask the agent, over a Unix socket in its data directory: one JSON
//! request on a line, one JSON response on a line.

mod client;
pub mod http;
mod server;

use std::path::{Path, PathBuf};

use gnomon_schemas::app::AppStatus;
use gnomon_schemas::id::{AppName, NodeName, ServiceName};
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Seq, Version};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::link::Quality;

pub use client::{AskError, ask};
pub use server::{Asked, Server};

/// The socket of the agent with this data directory.
pub fn socket(data: &Path) -> PathBuf {
    data.join("agent.sock")
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Keep the revision that runs, whatever is desired, until it is released.
    Hold {
        /// The app.
        app: AppName,
    },
    /// End a hold, try a revision again that was rolled back, begin an update that waits for its
    /// window.
    Release {
        /// The app.
        app: AppName,
    },
    /// Stop what runs and start it again, now.
    Restart {
        /// The app.
        app: AppName,
        /// One of its services; all of them if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
    },
    /// Run a command where a copy of a service runs.
    Exec {
        /// The app.
        app: AppName,
        /// The service.
        service: ServiceName,
        /// The copy, from 0.
        #[serde(default)]
        replica: u16,
        /// The program and its arguments.
        command: Vec<String>,
        /// How long it may take.
        timeout_s: u64,
    },
    /// Run this app, or this revision of it, until the cloud's next version of it.
    Apply {
        /// The app.
        app: AppName,
        /// The normal form.
        spec: Value,
    },
    /// Take back what was applied here.
    Discard {
        /// The app.
        app: AppName,
    },
    /// Fetch the images of an app now, whatever the time of the day.
    Pull {
        /// The app.
        app: AppName,
    },
    /// Remove the named volumes of an app that is not desired any more.
    RemoveVolumes {
        /// The app.
        app: AppName,
    },
    /// Merge a value into what this node, or a device behind it, reports.
    Report {
        /// `node` or `device/<id>[/<shadow>]`.
        key: ShadowKey,
        /// A JSON object; null takes a member away.
        value: Value,
    },
    /// Both halves of a shadow, as this node knows them, without secrets.
    Shadow {
        /// Which one.
        key: ShadowKey,
    },
    /// What the agent knows, for support, without secrets.
    Diag,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Logs`].
    Logs(Vec<Log>),
    /// It was done, or is being done: what, for people.
    Done(String),
    /// To [`Request::Exec`].
    Exec(ExecOutput),
    /// To [`Request::Shadow`].
    Shadow(Box<Shadow>),
    /// To [`Request::Diag`].
    Diag(Value),
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

impl Refusal {
    pub(crate) fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
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
    /// The agent is stopping or busy, or its store takes no changes; ask again.
    Unavailable,
    /// What was sent cannot be used.
    Invalid,
    /// As things are this makes no sense.
    Conflict,
    /// It was tried and did not work.
    Failed,
    /// There is no such shadow here.
    UnknownShadow,
}

/// What a command wrote and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutput {
    /// The exit code; 128 + n after signal n.
    pub code: i64,
    /// What it wrote, at most the last megabyte.
    pub stdout: String,
    /// What it complained about, at most the last megabyte.
    pub stderr: String,
}

/// A shadow as this node knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shadow {
    /// Which one.
    pub key: ShadowKey,
    /// What is desired of it; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Half>,
    /// What is reported of it; absent if nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Half>,
    /// Whether the cloud is known to hold what is reported.
    pub reported_in_sync: bool,
}

/// One half of a shadow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Half {
    /// Its version.
    pub version: Version,
    /// Its document.
    pub document: Value,
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
    /// The shadows whose reports the cloud is not known to hold yet.
    #[serde(default)]
    pub pending: Vec<ShadowKey>,
    /// What was written and sent, and what may be.
    #[serde(default)]
    pub budget: BudgetReport,
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
    /// The bytes received since the agent started, with what TLS and MQTT add.
    pub bytes_in: u64,
    /// The bytes sent since the agent started, with what TLS and MQTT add.
    pub bytes_out: u64,
    /// Those of them that are messages about what is desired, both ways.
    #[serde(default)]
    pub desired: u64,
    /// Those of them that are messages about what is reported, both ways.
    #[serde(default)]
    pub reported: u64,
    /// How good it is.
    #[serde(default)]
    pub quality: Quality,
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

/// What was written to the store and sent over the link, in bytes, and what may be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetReport {
    /// Given to the store since the agent started.
    pub written: u64,
    /// Given to the store in the last hour.
    pub written_last_hour: u64,
    /// Beyond this, what can wait does.
    pub write_limit_per_hour: u64,
    /// Carried by the link in this day (UTC).
    pub link_today: u64,
    /// Carried by the link in this month.
    pub link_this_month: u64,
    /// The most in a day, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_limit_per_day: Option<u64>,
    /// The most in a month, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_limit_per_month: Option<u64>,
    /// Whether reports wait for one of them.
    pub reports_wait: bool,
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
