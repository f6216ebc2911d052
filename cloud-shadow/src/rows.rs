//! What the rows of the store mean: their keys and the small records in them. A record is JSON
//! whose unknown fields are ignored.
//!
//! `node/<node>` says that a node exists. Below `at/<node>/` are `p` (presence), `f` (the version
//! that no new shadow starts below), `v/<shadow>` (a shadow's own counters), `t/<hash>` (join
//! tokens), `c/<serial>` (certificates), `d/…` and `u/…` (the machines of the two streams). What
//! is read only when someone asks is not below it: versions ([`history`]) and sessions
//! ([`session`]). `restored` says that a backup was put back and the streams have to begin anew,
//! `windows` when certificates were given that the store does not know for that reason.

use std::collections::BTreeMap;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Version;
use serde::{Deserialize, Serialize};

use crate::access::Home;
use crate::domain::Times;
use crate::identity::TokenHash;
use crate::store::Op;

pub mod history;
pub mod session;

/// The prefix of the rows that list the nodes.
pub const NODES: &[u8] = b"node/";

/// That a node exists, and where it belongs.
pub type NodeRecord = Home;

/// Whether a node is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Presence {
    /// Whether it was connected when this was written.
    pub online: bool,
    /// When that last changed, in milliseconds since 1970; `None`: it was never connected.
    pub since_ms: Option<u64>,
    /// When it was last heard of.
    pub last_seen_ms: Option<u64>,
    /// Up to when a certificate of the node must be in its rows to be good, in seconds since 1970.
    /// One that was made later may be learnt after a restore.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub void_s: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What a shadow has beside its two halves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ShadowRecord {
    /// How many updates of either half were accepted.
    #[serde(rename = "v")]
    pub version: Version,
    /// Of `desired`.
    #[serde(rename = "d", default)]
    pub desired: HalfRecord,
    /// Of `reported`.
    #[serde(rename = "r", default)]
    pub reported: HalfRecord,
    /// What operators note about it; no site ever sees it.
    #[serde(rename = "g", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// When `reported` last changed, as schema 1 has it.
    #[serde(rename = "t", default, skip_serializing)]
    pub(crate) reported_ms: Option<u64>,
}

/// What a half has beside its document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HalfRecord {
    /// When it last changed, in milliseconds since 1970.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub changed_ms: Option<u64>,
    /// When each of its fields was last written.
    #[serde(rename = "m", default, skip_serializing_if = "Times::is_empty")]
    pub times: Times,
    /// How many versions went into the history since it was last cut.
    #[serde(rename = "n", default)]
    pub uncut: u8,
}

/// A join token that was not used yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// Its fingerprint.
    pub hash: TokenHash,
    /// When it runs out, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// A certificate that was given to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRecord {
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// When it runs out, in seconds since 1970.
    pub not_after_s: u64,
    /// The serial number of the one that it was given for, and that goes when it is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<String>,
}

/// That a backup was put back, and the streams have not begun anew yet.
pub(crate) const RESTORED: &[u8] = b"restored";

/// When certificates were given that the store cannot know ([`crate::identity::Windows`]).
pub(crate) const WINDOWS: &[u8] = b"windows";

/// In a backup, and in no store: when it was made, in milliseconds since 1970.
pub(crate) const TAKEN: &[u8] = b"taken";

/// Says that a backup was put back.
pub(crate) fn restored(now_ms: u64) -> Op {
    Op::Put { key: RESTORED.to_vec(), value: now_ms.to_string().into_bytes() }
}

/// A row of a node, taken apart. The bytes are relative to their machine.
pub(crate) enum NodeRow<'a> {
    Presence(Presence),
    Floor(Version),
    Shadow(ShadowKey, ShadowRecord),
    Token(TokenRecord),
    Certificate(CertificateRecord),
    Machine(Stream, &'a [u8], &'a [u8]),
}

/// Why a row could not be read.
#[derive(Debug, thiserror::Error)]
#[error("the row {key:?} of the store cannot be read")]
pub struct ReadRowError {
    key: String,
    #[source]
    source: Option<serde_json::Error>,
}

/// The name in a row that lists a node, and the record.
pub(crate) fn read_node(key: &[u8], value: &[u8]) -> Result<(NodeName, NodeRecord), ReadRowError> {
    let name = key.strip_prefix(NODES).and_then(|name| std::str::from_utf8(name).ok());
    let name = name.and_then(|name| name.parse().ok()).ok_or_else(|| unreadable(key))?;
    Ok((name, record(key, value)?))
}

/// Reads a row from below `at/<node>/`; `key` without that prefix.
pub(crate) fn read_row<'a>(key: &'a [u8], value: &'a [u8]) -> Result<NodeRow<'a>, ReadRowError> {
    Ok(match key {
        b"p" => NodeRow::Presence(record(key, value)?),
        b"f" => NodeRow::Floor(record(key, value)?),
        [b'v', b'/', name @ ..] => {
            let name = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
            NodeRow::Shadow(name.ok_or_else(|| unreadable(key))?, record(key, value)?)
        }
        [b't', b'/', ..] => NodeRow::Token(record(key, value)?),
        [b'c', b'/', ..] => NodeRow::Certificate(record(key, value)?),
        [b'd', b'/', rest @ ..] => NodeRow::Machine(Stream::Down, rest, value),
        [b'u', b'/', rest @ ..] => NodeRow::Machine(Stream::Up, rest, value),
        _ => return Err(unreadable(key)),
    })
}

/// Where everything of a node is.
pub(crate) fn at(node: &NodeName) -> Vec<u8> {
    [b"at/", node.as_str().as_bytes(), b"/"].concat()
}

pub(crate) fn node(node: &NodeName) -> Vec<u8> {
    [NODES, node.as_str().as_bytes()].concat()
}

pub(crate) fn presence(node: &NodeName) -> Vec<u8> {
    below(node, "p")
}

pub(crate) fn floor(node: &NodeName) -> Vec<u8> {
    below(node, "f")
}

pub(crate) fn shadow(node: &NodeName, key: &ShadowKey) -> Vec<u8> {
    below(node, &format!("v/{key}"))
}

pub(crate) fn token(node: &NodeName, hash: TokenHash) -> Vec<u8> {
    below(node, &format!("t/{hash}"))
}

pub(crate) fn certificate(node: &NodeName, serial: &str) -> Vec<u8> {
    below(node, &format!("c/{serial}"))
}

/// A row of one of the machines as a change of the store.
pub(crate) fn machine(node: &NodeName, stream: Stream, row: gnomon_sync::Row) -> Op {
    let part: &[u8] = match stream {
        Stream::Down => b"d/",
        Stream::Up => b"u/",
    };
    let key = [b"at/", node.as_str().as_bytes(), b"/", part, &row.key].concat();
    match row.value {
        Some(value) => Op::Put { key, value },
        None => Op::Delete { key },
    }
}

pub(crate) fn put<T: Serialize>(key: Vec<u8>, record: &T) -> Op {
    let value = serde_json::to_vec(record).expect("a record holds only texts and numbers");
    Op::Put { key, value }
}

fn below(node: &NodeName, name: &str) -> Vec<u8> {
    [b"at/", node.as_str().as_bytes(), b"/", name.as_bytes()].concat()
}

pub(crate) fn record<'a, T: Deserialize<'a>>(
    key: &[u8],
    value: &'a [u8],
) -> Result<T, ReadRowError> {
    serde_json::from_slice(value)
        .map_err(|source| ReadRowError { source: Some(source), ..unreadable(key) })
}

pub(crate) fn unreadable(key: &[u8]) -> ReadRowError {
    ReadRowError { key: String::from_utf8_lossy(key).into_owned(), source: None }
}
