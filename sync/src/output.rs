//! What a machine wants done.

use gnomon_schemas::document::Packed;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::Version;
use gnomon_schemas::wire::Message;

/// One effect. See the crate's documentation for the order in which effects are carried out.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Write these rows in one transaction; durable before any later output is carried out.
    Persist(Vec<Row>),
    /// Send this to the other end; it may be lost, repeated and overtaken.
    Send(Message),
    /// Tell the application of a new version; comes once per version.
    Deliver(Delivery),
}

/// One row of the machine's part of the store; keys are relative to that part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The new value; `None` deletes the row.
    pub value: Option<Vec<u8>>,
}

/// A half that changed at a reader.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Whose half.
    pub key: ShadowKey,
    /// Its version now; of a deleted half, the last known.
    pub version: Version,
    /// Its document now; `None` if it was deleted.
    pub document: Option<Packed>,
}
