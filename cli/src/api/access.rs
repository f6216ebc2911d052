//! Tokens, nodes that wait, and the audit log, as the cloud's API says them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A token of the API, or a join token for several nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// What it is called by.
    pub(crate) id: String,
    /// The secret, when it was just made.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "token")]
    pub(crate) secret: Option<String>,
    /// What its holder may; a join token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<String>,
    /// Nodes of this tenant.
    pub(crate) tenant: Option<String>,
    /// Nodes in this pool.
    pub(crate) pool: Option<String>,
    /// Nodes with these labels.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    /// When it runs out, in Unix milliseconds; `None`: never.
    pub(crate) expires_ms: Option<u64>,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// A node that waits to be let in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What to approve or deny it by.
    pub(crate) id: String,
    /// What it calls itself.
    pub(crate) node: String,
    /// The SHA-256 of its public key.
    pub(crate) key_sha256: String,
    /// Where it asks from.
    pub(crate) peer: String,
    /// Since when, in Unix milliseconds.
    pub(crate) since_ms: u64,
    /// What was decided.
    pub(crate) state: String,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AuditEntry {
    /// Counts the entries.
    pub(crate) number: u64,
    /// When, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// Who.
    pub(crate) by: String,
    /// What.
    pub(crate) action: String,
    /// To what.
    pub(crate) target: String,
    /// How it ended.
    pub(crate) outcome: String,
    /// What this build does not know.
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}
