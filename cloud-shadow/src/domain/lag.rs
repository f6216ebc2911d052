//! Which nodes lack something that is desired, and since when.

use std::collections::{BTreeMap, BTreeSet};

use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;

use super::Domain;
use super::command::Now;
use super::node::Node;
use crate::rows::{Presence, ShadowRecord};

#[cfg(test)]
mod tests;

/// The nodes that lack something, by the time since when they do.
#[derive(Debug, Default)]
pub struct Lags {
    behind: BTreeSet<(u64, NodeName)>,
    /// How long the node of the last command had been behind, if that command ended it.
    caught_up: Option<u64>,
}

/// A node that lacks something.
#[derive(Debug, Clone, Copy)]
pub struct Behind<'a> {
    /// The node.
    pub node: &'a Node,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
}

impl Lags {
    /// Takes out a node that was behind since then, if it was.
    pub(super) fn remove(&mut self, since_ms: Option<u64>, node: &NodeName) {
        if let Some(since) = since_ms {
            self.behind.remove(&(since, node.clone()));
        }
    }

    /// Puts in one that is behind since then, if it is.
    pub(super) fn insert(&mut self, since_ms: Option<u64>, node: &NodeName) {
        if let Some(since) = since_ms {
            self.behind.insert((since, node.clone()));
        }
    }
}

impl Domain {
    /// The nodes that lack something that is desired, those first that have waited the longest.
    pub fn behind(&self) -> impl Iterator<Item = Behind<'_>> {
        let behind = |(since_ms, name): &(u64, NodeName)| {
            Some(Behind { node: self.nodes.get(name)?, since_ms: *since_ms })
        };
        self.lags.behind.iter().filter_map(behind)
    }

    /// How many milliseconds the node of the last command had lacked something, if that command
    /// has shown that it has everything.
    pub const fn caught_up(&self) -> Option<u64> {
        self.lags.caught_up
    }

    /// Takes note of what a command has changed.
    pub(super) fn keep_pace(&mut self, name: &NodeName, now: Now) {
        let node = self.nodes.get_mut(name);
        self.lags.caught_up = node.and_then(|node| node.keep_pace(now.unix_ms));
    }
}

impl Node {
    /// How long it was behind, if it is no longer. What is only believed after a restart holds until
    /// the node says where it stands.
    fn keep_pace(&mut self, unix_ms: u64) -> Option<u64> {
        if self.writer.owes() {
            self.behind_since.get_or_insert(unix_ms);
            return None;
        }
        self.writer.acked()?;
        let since = self.behind_since.take()?;
        Some(unix_ms.saturating_sub(since))
    }
}

/// Since when a node that was just read from the store lacks something, as far as its rows say:
/// what became desired after it was last heard of has not reached it.
pub(super) fn believed(
    presence: Presence,
    shadows: &BTreeMap<ShadowKey, ShadowRecord>,
    is_desired: impl Fn(&ShadowKey) -> bool,
) -> Option<u64> {
    let seen_ms = presence.last_seen_ms.unwrap_or(0);
    let missed = |(key, record): (&ShadowKey, &ShadowRecord)| {
        let changed = record.desired.changed_ms.filter(|changed| *changed > seen_ms)?;
        is_desired(key).then_some(changed)
    };
    shadows.iter().filter_map(missed).min()
}
