//! The rows of the sessions that nodes had: `sess/<node>/`, the time of the connection and the
//! session's number in eight bytes each.

use gnomon_schemas::id::NodeName;
use serde::{Deserialize, Serialize};

use super::ReadRowError;
use crate::domain::Session;
use crate::store::Op;

/// A session that a node has or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// Which one; sessions are counted anew when the cloud starts.
    #[serde(rename = "s")]
    pub session: u64,
    /// When it began, in milliseconds since 1970.
    #[serde(rename = "c")]
    pub connected_ms: u64,
    /// When it ended; `None`: it has not, or the cloud was not there to see it.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Why it ended.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Every session of a node, the oldest first.
pub(crate) fn of_node(node: &NodeName) -> Vec<u8> {
    format!("sess/{node}/").into_bytes()
}

/// The session as a change of the store.
pub(crate) fn put(node: &NodeName, record: &SessionRecord) -> Op {
    let parts = [record.connected_ms.to_be_bytes(), record.session.to_be_bytes()].concat();
    super::put([of_node(node), parts].concat(), record)
}

/// Reads a session.
pub(crate) fn read(key: &[u8], value: &[u8]) -> Result<SessionRecord, ReadRowError> {
    super::record(key, value)
}

impl SessionRecord {
    /// A session that begins.
    pub(crate) const fn begun(session: Session, connected_ms: u64) -> Self {
        Self { session: session.0, connected_ms, ended_ms: None, reason: None }
    }
}
