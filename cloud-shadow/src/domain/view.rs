//! What the outside sees of a node and of a shadow: values that share the documents with the
//! domain instead of copying them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::version::{Epoch, Half, Seq, Version};
use gnomon_sync::WriterCounters;

use super::lazy::LazyDocument;
use super::node::Node;
use super::times::Times;
use crate::access::Home;
use crate::rows::{HalfRecord, Presence, ShadowRecord};

/// A node as it was at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeView {
    /// Its name.
    pub name: NodeName,
    /// Where it belongs, and what its operator calls it by.
    pub home: Arc<Home>,
    /// Whether it is connected.
    pub presence: Presence,
    /// Whether it is known to hold every `desired`.
    pub in_sync: bool,
    /// How many shadows it has.
    pub shadows: usize,
    /// The stream to it.
    pub down: DownView,
    /// The stream from it.
    pub up: UpView,
}

/// The stream of every `desired` to a node.
#[derive(Debug, Clone, PartialEq)]
pub struct DownView {
    /// The identity of its history.
    pub epoch: Epoch,
    /// The position of its last change.
    pub head: Seq,
    /// The node's position, if it has told it since it connected.
    pub acked: Option<Seq>,
    /// What was sent since the cloud started.
    pub counters: WriterCounters,
    /// How many bytes that were.
    pub bytes: u64,
}

/// The stream of every `reported` from a node.
#[derive(Debug, Clone, PartialEq)]
pub struct UpView {
    /// The identity of its history.
    pub epoch: Epoch,
    /// The position up to which the cloud holds it.
    pub seq: Seq,
    /// Batches taken since the cloud started.
    pub batches: u64,
    /// How many bytes were received.
    pub bytes: u64,
}

/// A shadow as it was at some time.
#[derive(Debug, Clone, PartialEq)]
pub struct ShadowView {
    /// Whose shadow.
    pub node: NodeName,
    /// Which shadow.
    pub key: ShadowKey,
    /// How many updates of either half were accepted.
    pub version: Version,
    /// What should be.
    pub desired: Option<HalfView>,
    /// What is.
    pub reported: Option<HalfView>,
    /// What operators note about it.
    pub tags: BTreeMap<String, String>,
}

/// One half of a shadow.
#[derive(Debug, Clone, PartialEq)]
pub struct HalfView {
    /// How many changes it has seen.
    pub version: Version,
    /// Its document.
    pub document: LazyDocument,
    /// When it last changed here, in milliseconds since 1970.
    pub changed_ms: Option<u64>,
    /// When each of its fields was last written.
    pub times: Times,
}

impl ShadowView {
    /// Whether there is anything to see.
    pub const fn is_present(&self) -> bool {
        self.desired.is_some() || self.reported.is_some()
    }

    /// One of the halves.
    pub const fn half(&self, half: Half) -> Option<&HalfView> {
        match half {
            Half::Desired => self.desired.as_ref(),
            Half::Reported => self.reported.as_ref(),
        }
    }

    /// The version of `desired`; zero if there is none.
    pub fn desired_version(&self) -> Version {
        self.desired.as_ref().map_or(Version::ZERO, |half| half.version)
    }
}

impl Node {
    /// The node as it is.
    pub fn view(&self) -> NodeView {
        NodeView {
            name: self.name.clone(),
            home: Arc::clone(&self.home),
            presence: self.presence,
            in_sync: self.writer.is_in_sync(),
            shadows: self.shadows.present(),
            down: DownView {
                epoch: self.writer.epoch(),
                head: self.writer.head(),
                acked: self.writer.acked(),
                counters: *self.writer.counters(),
                bytes: self.sent_bytes,
            },
            up: UpView {
                epoch: self.reader.epoch(),
                seq: self.reader.seq(),
                batches: self.reader.counters().applied,
                bytes: self.received_bytes,
            },
        }
    }

    /// The shadow as it is, also one that has nothing to see.
    pub fn shadow(&self, key: &ShadowKey) -> ShadowView {
        self.shadow_knowing(key, None)
    }

    /// The same, where the document of a version of a half is at hand.
    pub(super) fn shadow_knowing(
        &self,
        key: &ShadowKey,
        known: Option<&(Half, Version, LazyDocument)>,
    ) -> ShadowView {
        let nothing = ShadowRecord::default();
        let record = self.shadows.get(key).unwrap_or(&nothing);
        let document = |which: Half, held: gnomon_sync::Held<'_>| match known {
            Some((half, version, document)) if *half == which && *version == held.version => {
                document.clone()
            }
            Some(_) | None => held.document.clone().into(),
        };
        let half = |which: Half, held: gnomon_sync::Held<'_>, record: &HalfRecord| HalfView {
            version: held.version,
            document: document(which, held),
            changed_ms: record.changed_ms,
            times: record.times.clone(),
        };
        ShadowView {
            node: self.name.clone(),
            key: key.clone(),
            version: record.version,
            desired: self.writer.get(key).map(|held| half(Half::Desired, held, &record.desired)),
            reported: self.reader.get(key).map(|held| half(Half::Reported, held, &record.reported)),
            tags: record.tags.clone(),
        }
    }

    /// The shadows that there are, by key.
    pub fn shadows(&self) -> impl Iterator<Item = ShadowView> {
        self.shadows_after(None)
    }

    /// The shadows that there are behind a key.
    pub fn shadows_after(&self, after: Option<&ShadowKey>) -> impl Iterator<Item = ShadowView> {
        self.shadows.keys_from(after).map(|key| self.shadow(key)).filter(ShadowView::is_present)
    }
}
