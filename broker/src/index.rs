//! Which sessions a message goes to: a map for filters without wildcards, a trie for the rest. Pure.

use std::collections::HashMap;
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
struct Subscriber {
    session: SessionId,
    options: SubscriptionOptions,
}

/// The subscribers of one filter, sorted by session.
#[derive(Debug, Default)]
struct Subscribers(Vec<Subscriber>);

impl Subscribers {
    fn insert(&mut self, new: Subscriber) {
        match self.0.binary_search_by_key(&new.session, |s| s.session) {
            Ok(at) => {
                if let Some(slot) = self.0.get_mut(at) {
                    *slot = new;
                }
            }
            Err(at) => self.0.insert(at, new),
        }
    }

    fn remove(&mut self, session: SessionId) {
        if let Ok(at) = self.0.binary_search_by_key(&session, |s| s.session) {
            self.0.remove(at);
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A session that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) session: SessionId,
    pub(crate) qos: Qos,
    no_local: bool,
}

impl Match {
    /// Whether the session does not want what it published itself.
    pub(crate) fn excludes(&self, origin: Option<SessionId>) -> bool {
        self.no_local && origin == Some(self.session)
    }
}

/// The subscriptions of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<Arc<str>, Subscribers>,
    wildcard: Node,
}

impl Index {
    /// Adds a subscription, or replaces its options.
    pub(crate) fn insert(
        &mut self,
        filter: &TopicFilter,
        session: SessionId,
        options: SubscriptionOptions,
    ) {
        let subscriber = Subscriber { session, options };
        if filter.has_wildcards() {
            self.wildcard.at(filter.levels()).insert(subscriber);
        } else {
            self.exact.entry(filter.shared()).or_default().insert(subscriber);
        }
    }

    /// Removes a subscription and what was kept for it alone.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, session: SessionId) {
        if filter.has_wildcards() {
            self.wildcard.remove(&mut filter.levels(), session);
        } else if let Some(subscribers) = self.exact.get_mut(filter.as_str()) {
            subscribers.remove(session);
            if subscribers.is_empty() {
                self.exact.remove(filter.as_str());
            }
        }
    }

    /// The sessions that a message under `name` goes to, each once, with the best `QoS` of its
    /// matching filters.
    pub(crate) fn matches(&self, name: &TopicName) -> Vec<Match> {
        let mut found = Vec::new();
        if let Some(subscribers) = self.exact.get(name.as_str()) {
            collect(&mut found, subscribers);
        }
        let exact = found.len();
        self.wildcard.visit(name, &mut |subscribers| collect(&mut found, subscribers));
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

fn collect(found: &mut Vec<Match>, subscribers: &Subscribers) {
    found.extend(subscribers.0.iter().map(|s| Match {
        session: s.session,
        qos: s.options.qos,
        no_local: s.options.no_local,
    }));
}

fn merge_overlaps(found: &mut Vec<Match>) {
    found.sort_unstable_by_key(|m| m.session);
    found.dedup_by(|later, kept| {
        let same = later.session == kept.session;
        if same {
            kept.qos = kept.qos.max(later.qos);
            kept.no_local &= later.no_local;
        }
        same
    });
}

type Levels<'a> = dyn Iterator<Item = Level<'a>> + 'a;
