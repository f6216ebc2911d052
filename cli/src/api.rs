//! What the cloud's HTTP API says, as types. A field that this build does not know is kept, so
//! that `-o json` prints all of an answer.

mod access;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use access::{AuditEntry, Pending, Token};

/// A node and how its two streams stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// What the operator wrote about it.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether it is connected.
    pub(crate) online: bool,
    /// When that last changed, in Unix milliseconds.
    pub(crate) since_ms: Option<u64>,
    /// When it was last heard, in Unix milliseconds.
    pub(crate) last_seen_ms: Option<u64>,
    /// Whether it holds everything that it should, and the cloud everything that it said.
    pub(crate) in_sync: bool,
    /// How many shadows it has.
    pub(crate) shadows: u64,
    /// The stream to it.
    pub(crate) down: Down,
    /// The stream from it.
    pub(crate) up: Up,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The stream of desired state to a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Down {
    /// The position of the newest change.
    pub(crate) head: u64,
    /// The position that the node has made durable; `None` before its first word.
    pub(crate) acked: Option<u64>,
    /// How many batches were sent.
    pub(crate) batches: u64,
    /// How many changes were in them.
    pub(crate) changes: u64,
    /// How many of the batches were sent again.
    pub(crate) retries: u64,
    /// How many bytes were sent.
    pub(crate) bytes: u64,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The stream of reported state from a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Up {
    /// The position that the cloud has made durable.
    pub(crate) seq: u64,
    /// How many batches arrived.
    pub(crate) batches: u64,
    /// How many bytes arrived.
    pub(crate) bytes: u64,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A shadow: what should be and what is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shadow {
    /// Its node.
    pub(crate) node: String,
    /// Its key, such as `app/web`.
    pub(crate) key: String,
    /// Counts the accepted changes of either half.
    pub(crate) version: u64,
    /// What should be.
    pub(crate) desired: Option<Part>,
    /// What is.
    pub(crate) reported: Option<Part>,
    /// What differs between the two.
    pub(crate) delta: Option<Value>,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// One half of a shadow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Part {
    /// Counts the accepted changes of this half.
    pub(crate) version: u64,
    /// Its content.
    pub(crate) document: Value,
    /// When it arrived, in Unix milliseconds; only of the reported half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) updated_ms: Option<u64>,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Shadow {
    /// The version of the desired half; 0 when there is none.
    pub(crate) fn desired_version(&self) -> u64 {
        self.desired.as_ref().map_or(0, |half| half.version)
    }
}

/// An app on a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct App {
    /// Its node.
    pub(crate) node: String,
    /// Its name.
    #[serde(rename = "app")]
    pub(crate) name: String,
    /// The version of its desired half.
    pub(crate) desired_version: u64,
    /// The revision that is desired; `None`: the app is being removed.
    pub(crate) revision: Option<String>,
    /// What the node reports about it, as `AppStatus`.
    pub(crate) status: Option<Value>,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A ticket with which one node can join once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JoinToken {
    /// The secret; the cloud keeps only its hash.
    pub(crate) token: String,
    /// Who may join with it.
    pub(crate) node: String,
    /// When it stops working, in Unix milliseconds.
    pub(crate) expires_ms: u64,
}

/// What a watch says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum WatchEvent {
    /// A shadow as it stands; `raw` is the event as it came.
    Shadow {
        /// The shadow.
        shadow: Box<Shadow>,
        /// The event's JSON.
        raw: Value,
    },
    /// A node's presence changed.
    Node(Box<Node>),
    /// A node was deleted with all its shadows.
    NodeDeleted {
        /// Its name.
        name: String,
    },
    /// Everything that was there at the start was sent; from here on come changes.
    Synced,
    /// The watcher was too slow and the cloud cut it off.
    Lagged,
}
