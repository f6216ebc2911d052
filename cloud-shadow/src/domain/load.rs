//! A node as its rows describe it: at the start, and after a commit that failed.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::Stream;
use gnomon_schemas::version::{Half, Version};
use gnomon_sync::{Reader, RestoreError, Writer};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::lag;
use super::node::{Link, Node};
use super::shadows::Shadows;
use super::{Domain, DomainConfig, Effect, Now, Session};
use crate::rows::{self, NodeRecord, NodeRow, Presence, ReadRowError};
use crate::store::{Op, Pair, WAY_BACK};

/// Why a node could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A row of the cloud is malformed.
    #[error("the store's rows of the node {node} cannot be read; {}", WAY_BACK)]
    Row {
        /// The node.
        node: NodeName,
        /// Which row.
        #[source]
        source: ReadRowError,
    },
    /// The rows of a stream are malformed.
    #[error("the store's rows of a stream of the node {node} cannot be read; {}", WAY_BACK)]
    Stream {
        /// The node.
        node: NodeName,
        /// Which row.
        #[source]
        source: RestoreError,
    },
    /// The stream to the node has no rows at all.
    #[error("the store has lost the stream to the node {}; {}", .0, WAY_BACK)]
    NoStream(NodeName),
}

/// The rows of a node, sorted by what they are of.
#[derive(Default)]
struct Sorted<'a> {
    presence: Presence,
    floor: Version,
    shadows: BTreeMap<ShadowKey, rows::ShadowRecord>,
    tokens: BTreeMap<crate::identity::TokenHash, u64>,
    certificates: BTreeMap<String, rows::CertificateRecord>,
    down: Vec<(&'a [u8], &'a [u8])>,
    up: Vec<(&'a [u8], &'a [u8])>,
}

impl Domain {
    /// Replaces what is known of a node by what its rows say (their keys relative to
    /// `at/<node>/`). Without a record there is no such node. A node that is connected keeps its
    /// session, and the effects make both ends say again where they stand.
    pub fn load(
        &mut self,
        name: &NodeName,
        record: Option<NodeRecord>,
        rows: &[Pair],
        now: Now,
    ) -> Result<Vec<Effect>, LoadError> {
        let Some(record) = record else {
            self.drop_node(name);
            return Ok(Vec::new());
        };
        let rng = StdRng::from_rng(&mut self.rng);
        match Node::restore(&self.config, rng, name, record, rows) {
            Ok(node) => Ok(self.take_over(node, now)),
            Err(error) => {
                self.drop_node(name);
                Err(error)
            }
        }
    }

    /// A number that nobody can guess, for a node that is restored elsewhere.
    pub fn seed(&mut self) -> u64 {
        self.rng.random()
    }

    /// Puts a node that [`Node::restore`] has made in the place of what is known of it.
    pub fn take_over(&mut self, mut node: Node, now: Now) -> Vec<Effect> {
        let name = node.name.clone();
        let stood = self.standing(&name);
        let before = self.nodes.get(&name).map(|node| (node.link, node.latest, node.open.clone()));
        self.unload(&name);
        let (link, latest, open) = before.unwrap_or((Link::Down, None, None));
        node.open = open;
        let effects = node.resume(link, latest, now);
        self.tokens.extend(node.tokens.keys().map(|hash| (*hash, name.clone())));
        self.nodes.insert(name.clone(), node);
        self.census.nodes += 1;
        self.settle(&name, stood);
        effects
    }

    fn drop_node(&mut self, name: &NodeName) {
        let stood = self.standing(name);
        self.unload(name);
        self.settle(name, stood);
    }
}

impl Node {
    /// A node without a session, as its rows describe it (their keys relative to `at/<node>/`).
    /// Needs nothing of the other nodes, so that many can be restored at once.
    pub fn restore(
        config: &DomainConfig,
        rng: StdRng,
        name: &NodeName,
        record: NodeRecord,
        rows: &[Pair],
    ) -> Result<Self, LoadError> {
        let sorted = sort(rows).map_err(|source| LoadError::Row { node: name.clone(), source })?;
        let stream = |source| LoadError::Stream { node: name.clone(), source };
        let writer = Writer::restore(sorted.down, config.writer, rng).map_err(stream)?;
        let writer = writer.ok_or_else(|| LoadError::NoStream(name.clone()))?;
        let reader = Reader::restore(sorted.up, config.reader).map_err(stream)?;
        let reader = reader.unwrap_or_else(|| Reader::new(config.reader));
        let is_desired = |key: &ShadowKey| writer.get(key).is_some();
        let behind_since = lag::believed(sorted.presence, &sorted.shadows, is_desired);
        let shadows = Shadows::restore(
            config.history.versions,
            sorted.shadows,
            sorted.floor,
            |key| writer.get(key).is_some() || reader.get(key).is_some(),
            |key| reader.get(key).map(|held| held.document.clone()),
        );
        Ok(Self {
            name: name.clone(),
            home: Arc::new(record),
            presence: sorted.presence,
            link: Link::Down,
            latest: None,
            open: None,
            trim_in: 0,
            writer,
            reader,
            shadows,
            tokens: sorted.tokens,
            certificates: sorted.certificates,
            vain_wishes: 0,
            sent_bytes: 0,
            received_bytes: 0,
            behind_since,
        })
    }

    /// The rows of a history that begins with what the halves are: since when is not known, so the
    /// beginning is now, or, of `reported`, when it came.
    pub(super) fn begin_history(&mut self, now: Now) -> Vec<Op> {
        let keys: Vec<_> = self.shadows.keys_from(None).cloned().collect();
        let mut ops = Vec::new();
        for key in keys {
            for half in [Half::Desired, Half::Reported] {
                let held = match half {
                    Half::Desired => self.writer.get(&key),
                    Half::Reported => self.reader.get(&key),
                };
                let Some(held) = held else { continue };
                let (version, document) = (held.version, held.document.clone().into());
                ops.extend(self.shadows.begin(&self.name, &key, half, version, &document, now));
            }
        }
        ops
    }

    fn resume(&mut self, link: Link, latest: Option<Session>, now: Now) -> Vec<Effect> {
        (self.link, self.latest) = (link, latest);
        let online = self.session().is_some();
        if self.presence.online != online {
            self.presence.online = online;
            self.presence.since_ms = Some(now.unix_ms);
        }
        if online {
            self.writer.link_up(now.moment);
        }
        if matches!(link, Link::Up(_)) {
            self.reader.link_up(now.moment);
        }
        self.drain(now, Vec::new())
    }
}

fn sort(rows: &[Pair]) -> Result<Sorted<'_>, ReadRowError> {
    let mut sorted = Sorted::default();
    for (key, value) in rows {
        match rows::read_row(key, value)? {
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
