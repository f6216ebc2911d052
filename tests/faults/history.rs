//! What is written down while things break: the one input of the checker.. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fault::Fault;

/// Something that happened, and when: milliseconds since the campaign began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at_ms: u64,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// Which half of a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Half {
    Desired,
    Reported,
}

/// Whose copy of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Holder {
    Cloud,
    Site,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Accepted as this version.
    Answered { version: u64 },
    /// Refused: nothing has changed.
    Refused { status: u16 },
    /// Nobody knows: no answer, or one that promises nothing.
    Unknown,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// An operator wrote `desired`. Each value is written once.
    Wrote { node: String, key: String, value: u64, condition: Option<u64>, outcome: Outcome },
    /// A device gave its site a value to report; each is higher than the last.
    Given { node: String, key: String, value: u64, taken: bool },
    /// Somebody looked at a half. An era ends when the cloud is put back to a backup.
    Seen {
        era: u64,
        holder: Holder,
        node: String,
        key: String,
        half: Half,
        version: u64,
        value: Option<u64>,
    },
    /// An instance of a service began to run.
    Started { node: String, service: String, revision: String, instance: String },
    /// A fault began; at one service, if only that one is touched.
    Broke { fault: Fault, node: Option<String>, service: Option<String> },
    /// The agent of a site was ended, at whatever it was doing.
    AgentEnded { node: String },
    /// A fault is over.
    Mended { fault: Fault, node: Option<String> },
    /// The cloud was put back to what it was in the last peace. The era that begins.
    Restored { era: u64 },
    /// A site lost its store, or shared its identity.
    Forgot { node: String },
    /// After a burst all is as it should be.
    Peace { burst: u32, ends: Vec<End> },
    /// After a burst it did not become so.
    Unrest { burst: u32, after_ms: u64, differences: Vec<String> },
}

/// How a site is in the end, seen from both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) node: String,
    /// By key.
    pub(crate) shadows: Vec<Shadow>,
    pub(crate) instances: Vec<Instance>,
    /// The agent's own word: it knows all that is desired, and its store works.
    pub(crate) is_complete: bool,
    /// The keys of what the cloud has not got yet, in the agent's own word.
    pub(crate) pending: Vec<String>,
}

/// A version and the document at it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) version: u64,
    pub(crate) document: Value,
}

/// All four copies of a shadow's halves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shadow {
    pub(crate) key: String,
    pub(crate) desired_cloud: Option<Held>,
    pub(crate) desired_site: Option<Held>,
    pub(crate) reported_cloud: Option<Held>,
    pub(crate) reported_site: Option<Held>,
}

/// An instance of a service, made to run with a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) service: String,
    pub(crate) value: u64,
    pub(crate) runs: bool,
}

/// The services of the app that each site runs.
pub(crate) const SERVICES: [&str; 2] = ["first", "second"];

/// The key of that app's shadow.
pub(crate) const APP: &str = "app/probe";

/// The number by which a document is told from others, where it has one.
pub(crate) fn value(key: &str, half: Half, document: &Value) -> Option<u64> {
    match half {
        Half::Desired if key == APP => {
            document["services"][SERVICES[0]]["environment"]["VALUE"].as_str()?.parse().ok()
        }
        Half::Desired => document["n"].as_u64(),
        Half::Reported => document["count"].as_u64(),
    }
}
