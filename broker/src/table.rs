//! Which sessions there are, whose they are and what they are subscribed to. Pure: `hub` shares it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::filter::TopicFilter;
use crate::index::Index;
use crate::packet::{Message, Qos, Subscription};
use crate::principal::Principal;
use crate::session_id::SessionId;

#[cfg(test)]
mod tests;

/// What a session is known by: a client id means something only within its principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey {
    pub(crate) principal: Arc<Principal>,
    pub(crate) client_id: Arc<str>,
}

/// Where a session's messages go, `O`, and what to clean up after it.
#[derive(Debug)]
struct Entry<O> {
    outlet: O,
    key: ClientKey,
    filters: Vec<TopicFilter>,
}

/// All sessions of a broker and their subscriptions.
#[derive(Debug)]
pub(crate) struct Table<O> {
    sessions: HashMap<SessionId, Entry<O>>,
    by_client: HashMap<ClientKey, SessionId>,
    index: Index,
}

impl<O> Default for Table<O> {
    fn default() -> Self {
        Self { sessions: HashMap::new(), by_client: HashMap::new(), index: Index::default() }
    }
}

impl<O> Table<O> {
    /// Adds a session. Returns the outlet of the client's earlier session, which must now end.
    pub(crate) fn register(&mut self, id: SessionId, key: ClientKey, outlet: O) -> Option<&O> {
        let earlier = self.by_client.insert(key.clone(), id);
        self.sessions.insert(id, Entry { outlet, key, filters: Vec::new() });
        earlier.and_then(|earlier| self.outlet(earlier))
    }

    /// Removes a session and its subscriptions.
    pub(crate) fn unregister(&mut self, id: SessionId) {
        let Some(entry) = self.sessions.remove(&id) else { return };
        for filter in &entry.filters {
            self.index.remove(filter, id);
        }
        if self.by_client.get(&entry.key) == Some(&id) {
            self.by_client.remove(&entry.key);
        }
    }

    /// Adds or replaces a subscription; `false` if the session has `max` others already.
    pub(crate) fn subscribe(
        &mut self,
        id: SessionId,
        subscription: &Subscription,
        max: usize,
    ) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else { return false };
        let filter = &subscription.filter;
        if !entry.filters.contains(filter) {
            if entry.filters.len() >= max {
                return false;
            }
            entry.filters.push(filter.clone());
        }
        self.index.insert(filter, id, subscription.options);
        true
    }

    /// Removes a subscription; `false` if there was none.
    pub(crate) fn unsubscribe(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else { return false };
        let Some(at) = entry.filters.iter().position(|f| f == filter) else { return false };
        entry.filters.swap_remove(at);
        self.index.remove(filter, id);
        true
    }

    /// Where a message goes, and with which `QoS`.
    pub(crate) fn route(
        &self,
        message: &Message,
        origin: Option<SessionId>,
    ) -> impl Iterator<Item = (&O, Qos)> {
        let publish_qos = message.qos;
        let found = self.index.matches(&message.topic).into_iter();
        found
            .filter(move |m| !m.excludes(origin))
            .filter_map(move |m| Some((self.outlet(m.session)?, m.qos.min(publish_qos))))
    }

    /// The outlet of a session.
    pub(crate) fn outlet(&self, id: SessionId) -> Option<&O> {
        self.sessions.get(&id).map(|entry| &entry.outlet)
    }

    /// The outlets of all sessions, in no order.
    pub(crate) fn outlets(&self) -> impl Iterator<Item = &O> {
        self.sessions.values().map(|entry| &entry.outlet)
    }
}
