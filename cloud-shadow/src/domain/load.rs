//! A node as its rows describe it: at the start, and after a commit that failed.

use std::collections::BTreeMap;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::Version;
use gnomon_sync::{Reader, RestoreError, Writer};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::node::{Link, Node};
use super::shadows::Shadows;
use super::{Domain, Effect, Now, Session};
use crate::rows::{self, NodeRecord, NodeRow, Presence, ReadRowError};
use crate::store::Pair;

/// Why a node could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row of the cloud is malformed.
    #[error("the store's rows of the node {node} cannot be read")]
    Row {
        /// The node.
        node: NodeName,
        /// Which row.
        #[source]
        source: ReadRowError,
    },
    /// The rows of a stream are malformed.
    #[error("the store's rows of a stream of the node {node} cannot be read")]
    Stream {
        /// The node.
        node: NodeName,
        /// Which row.
        #[source]
        source: RestoreError,
    },
    /// The stream to the node has no rows at all.
    #[error("the store has lost the stream to the node {0}")]
    NoStream(NodeName),
}

/// The rows of a node, sorted by what they are of.
#[derive(Default)]
struct Sorted {
    presence: Presence,
    floor: Version,
    shadows: BTreeMap<gnomon_schemas::key::ShadowKey, rows::ShadowRecord>,
    tokens: BTreeMap<crate::identity::TokenHash, u64>,
    certificates: BTreeMap<String, rows::CertificateRecord>,
    down: Vec<Pair>,
    up: Vec<Pair>,
}

impl Domain {
    /// Replaces what is known of a node by what its rows say (their keys relative to
    /// `at/<node>/`). Without a record there is no such node. A node that is connected keeps its
    /// session, and the effects make both ends say again where they stand.
    pub fn load(
        &mut self,
        name: &NodeName,
        record: Option<NodeRecord>,
        rows: Vec<Pair>,
        now: Now,
    ) -> Result<Vec<Effect>, LoadError> {
        self.unsettle(name);
        let before = self.nodes.get(name).map(|node| (node.link, node.latest));
        self.unload(name);
        let Some(record) = record else { return Ok(Vec::new()) };
        let mut node = self.restore(name, record, rows)?;
        let (link, latest) = before.unwrap_or((Link::Down, None));
        let effects = node.resume(link, latest, now);
        self.tokens.extend(node.tokens.keys().map(|hash| (*hash, name.clone())));
        self.nodes.insert(name.clone(), node);
        self.census.nodes += 1;
        self.settle(name);
        Ok(effects)
    }

    fn restore(
        &mut self,
        name: &NodeName,
        record: NodeRecord,
        rows: Vec<Pair>,
    ) -> Result<Node, LoadError> {
        let sorted = sort(rows).map_err(|source| LoadError::Row { node: name.clone(), source })?;
        let stream = |source| LoadError::Stream { node: name.clone(), source };
        let rng = StdRng::from_rng(&mut self.rng);
        let writer = Writer::restore(sorted.down, self.config.writer, rng).map_err(stream)?;
        let writer = writer.ok_or_else(|| LoadError::NoStream(name.clone()))?;
        let reader = Reader::restore(sorted.up, self.config.reader).map_err(stream)?;
        let reader = reader.unwrap_or_else(|| Reader::new(self.config.reader));
        let shadows = Shadows::restore(sorted.shadows, sorted.floor, |key| {
            writer.get(key).is_some() || reader.get(key).is_some()
        });
        Ok(Node {
            name: name.clone(),
            labels: record.labels,
            presence: sorted.presence,
            link: Link::Down,
            latest: None,
            writer,
            reader,
            shadows,
            tokens: sorted.tokens,
            certificates: sorted.certificates,
            vain_wishes: 0,
            sent_bytes: 0,
            received_bytes: 0,
        })
    }
}

impl Node {
    fn resume(&mut self, link: Link, latest: Option<Session>, now: Now) -> Vec<Effect> {
        (self.link, self.latest) = (link, latest);
        let online = self.session().is_some();
        if self.presence.online != online {
            self.presence.online = online;
            self.presence.since_ms = Some(now.unix_ms);
        }
        if matches!(link, Link::Up(_)) {
            self.writer.link_up(now.moment);
            self.reader.link_up(now.moment);
        }
        self.drain(now, Vec::new())
    }
}

fn sort(rows: Vec<Pair>) -> Result<Sorted, ReadRowError> {
    let mut sorted = Sorted::default();
    for (key, value) in rows {
        match rows::read_row(&key, value)? {
            NodeRow::Presence(presence) => sorted.presence = presence,
            NodeRow::Floor(floor) => sorted.floor = floor,
            NodeRow::Shadow(key, record) => {
                sorted.shadows.insert(key, record);
            }
            NodeRow::Token(token) => {
                sorted.tokens.insert(token.hash, token.expires_ms);
            }
            NodeRow::Certificate(record) => {
                sorted.certificates.insert(record.serial.clone(), record);
            }
            NodeRow::Machine(Stream::Down, key, value) => sorted.down.push((key, value)),
            NodeRow::Machine(Stream::Up, key, value) => sorted.up.push((key, value)),
        }
    }
    Ok(sorted)
}
