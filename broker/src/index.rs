//! Which sessions a message goes to: a map for filters without wildcards, a trie for the rest. Pure.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::filter::{Level, TopicFilter};
use crate::packet::{Qos, SubscriptionOptions};
use crate::session_id::SessionId;
use crate::topic::TopicName;

mod node;
#[cfg(test)]
mod tests;

use node::Node;

/// One subscriber of one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subscriber<K> {
    key: K,
    options: SubscriptionOptions,
}

/// The subscribers of one filter, sorted by their key.
#[derive(Debug)]
struct Subscribers<K>(Vec<Subscriber<K>>);

impl<K> Default for Subscribers<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Copy + Ord> Subscribers<K> {
    fn insert(&mut self, new: Subscriber<K>) {
        match self.0.binary_search_by_key(&new.key, |s| s.key) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    *slot = new;
                }
            }
            Err(at) => {
                if self.0.is_empty() {
                    // Many filters never have a second one.
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, new);
            }
        }
    }

    fn remove(&mut self, key: K) {
        if let Ok(at) = self.0.binary_search_by_key(&key, |s| s.key) {
            self.0.remove(at);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A subscriber that a message goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Match<K> {
    pub(crate) key: K,
    pub(crate) qos: Qos,
    pub(crate) retain_as_published: bool,
    /// The identifiers of all its subscriptions that match.
    pub(crate) ids: Vec<NonZeroU32>,
}

/// The subscriptions of all sessions, or of all groups.
#[derive(Debug)]
pub(crate) struct Index<K = SessionId> {
    exact: HashMap<Arc<str>, Subscribers<K>>,
    wildcard: Node<K>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { exact: HashMap::new(), wildcard: Node::default() }
    }
}

impl<K: Copy + Ord> Index<K> {
    /// Adds a subscription, or replaces its options.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, key: K, options: SubscriptionOptions) {
        let subscriber = Subscriber { key, options };
        if filter.has_wildcards() {
            self.wildcard.at(filter.levels()).insert(subscriber);
        } else {
            self.exact.entry(filter.shared()).or_default().insert(subscriber);
        }
    }

    /// Removes a subscription and what was kept for it alone.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, key: K) {
        if filter.has_wildcards() {
            self.wildcard.remove(&mut filter.levels(), key);
        } else if let Some(subscribers) = self.exact.get_mut(filter.as_str()) {
            subscribers.remove(key);
            if subscribers.is_empty() {
                self.exact.remove(filter.as_str());
            }
        }
    }

    /// The subscribers that a message of `origin` under `name` goes to, each once, with the best
    /// `QoS` of its matching filters.
    pub(crate) fn matches(&self, name: &TopicName, origin: Option<K>) -> Vec<Match<K>> {
        let mut found = Vec::new();
        if let Some(subscribers) = self.exact.get(name.as_str()) {
            collect(&mut found, subscribers, origin);
        }
        let exact = found.len();
        self.wildcard.visit(name, &mut |subscribers| collect(&mut found, subscribers, origin));
        if found.len() > exact {
            merge_overlaps(&mut found);
        }
        found
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_bare()
    }
}

fn collect<K: Copy + Ord>(
    found: &mut Vec<Match<K>>,
    subscribers: &Subscribers<K>,
    origin: Option<K>,
) {
    let wants = |s: &&Subscriber<K>| !(s.options.no_local && origin == Some(s.key));
    found.extend(subscribers.0.iter().filter(wants).map(|s| Match {
        key: s.key,
        qos: s.options.qos,
        retain_as_published: s.options.retain_as_published,
        ids: s.options.id.into_iter().collect(),
    }));
}

fn merge_overlaps<K: Copy + Ord>(found: &mut Vec<Match<K>>) {
    found.sort_unstable_by_key(|m| m.key);
    found.dedup_by(|later, kept| {
        let same = later.key == kept.key;
        if same {
            kept.qos = kept.qos.max(later.qos);
            kept.retain_as_published |= later.retain_as_published;
            kept.ids.append(&mut later.ids);
        }
        same
    });
}

type Levels<'a> = dyn Iterator<Item = Level<'a>> + 'a;
