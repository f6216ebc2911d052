//! Which sessions there are, whose they are, what they are subscribed to, and until when those
//! are kept whose client is away. Pure: `hub` shares it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::filter::TopicFilter;
use crate::groups::{GroupId, Groups, Member};
use crate::index::{Index, Match};
use crate::outbox::Queued;
use crate::packet::{Message, Subscription, SubscriptionOptions, Will};
use crate::principal::Principal;
use crate::session_id::SessionId;

#[cfg(test)]
mod tests;

/// What a session is known by: a client id means something only within its principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey {
    pub(crate) principal: Arc<Principal>,
    pub(crate) client_id: Box<str>,
}

/// What is done for a client that is away.
#[derive(Debug, Clone)]
pub(crate) struct Away {
    /// When the session ends.
    pub(crate) ends: Instant,
    /// What is published if the client does not come back before.
    pub(crate) will: Option<(Instant, Arc<Will>)>,
}

impl Away {
    fn due(&self) -> Instant {
        self.will.as_ref().map_or(self.ends, |(at, _)| self.ends.min(*at))
    }
}

/// Where a session's messages go, `O`, and what to clean up after it.
#[derive(Debug)]
pub(crate) struct Entry<O> {
    pub(crate) outlet: O,
    pub(crate) key: Arc<ClientKey>,
    /// Apart, since a table has room for more entries than it holds.
    more: Option<Box<More>>,
}

/// What many sessions have nothing of.
#[derive(Debug, Default)]
struct More {
    /// The serial number of the certificate that the client showed.
    serial: Option<Box<[u8]>>,
    subscriptions: Vec<Subscription>,
    away: Option<Box<Away>>,
}

impl<O> Entry<O> {
    /// Whether its client is away.
    pub(crate) fn is_away(&self) -> bool {
        self.away().is_some()
    }

    /// The serial number of the certificate that the client showed.
    pub(crate) fn serial(&self) -> Option<&[u8]> {
        self.more.as_ref()?.serial.as_deref()
    }

    fn away(&self) -> Option<&Away> {
        self.more.as_ref()?.away.as_deref()
    }

    fn subscriptions(&self) -> &[Subscription] {
        self.more.as_ref().map_or(&[], |more| &more.subscriptions)
    }

    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }
}

/// All sessions of a broker and their subscriptions.
#[derive(Debug)]
pub(crate) struct Table<O> {
    sessions: HashMap<SessionId, Entry<O>>,
    by_client: HashMap<Arc<ClientKey>, SessionId>,
    /// Connected sessions and those away, per principal.
    counts: HashMap<Arc<Principal>, (usize, usize)>,
    due: BTreeSet<(Instant, SessionId)>,
    overdue: VecDeque<Due<O>>,
    index: Index,
    groups: Groups,
}

impl<O> Default for Table<O> {
    fn default() -> Self {
        Self {
            sessions: HashMap::new(),
            by_client: HashMap::new(),
            counts: HashMap::new(),
            due: BTreeSet::new(),
            overdue: VecDeque::new(),
            index: Index::default(),
            groups: Groups::default(),
        }
    }
}

/// What has become due for a client that is away.
#[derive(Debug)]
pub(crate) struct Due<O> {
    pub(crate) id: SessionId,
    pub(crate) principal: Arc<Principal>,
    pub(crate) will: Option<Arc<Will>>,
    /// The session, if it has ended.
    pub(crate) ended: Option<Entry<O>>,
}

impl<O> Table<O> {
    /// The session that a client has.
    pub(crate) fn of_client(&self, key: &ClientKey) -> Option<(SessionId, &Entry<O>)> {
        let id = *self.by_client.get(key)?;
        self.sessions.get(&id).map(|entry| (id, entry))
    }

    /// Adds a session of a client that has none.
    pub(crate) fn insert(
        &mut self,
        id: SessionId,
        key: Arc<ClientKey>,
        serial: Option<Box<[u8]>>,
        outlet: O,
    ) {
        self.by_client.insert(Arc::clone(&key), id);
        self.counts.entry(Arc::clone(&key.principal)).or_default().0 += 1;
        let more = serial.map(|serial| More { serial: Some(serial), ..More::default() });
        let entry = Entry { outlet, key, more: more.map(Box::new) };
        self.sessions.insert(id, entry);
    }

    /// Removes a session and its subscriptions.
    pub(crate) fn remove(&mut self, id: SessionId) -> Option<Entry<O>> {
        let entry = self.sessions.remove(&id)?;
        for subscription in entry.subscriptions() {
            unlink(&mut self.index, &mut self.groups, id, subscription);
        }
        self.by_client.remove(&entry.key);
        if let Some(away) = entry.away() {
            self.due.remove(&(away.due(), id));
        }
        self.count_down(&entry.key.principal, entry.is_away(), false);
        Some(entry)
    }

    /// Gives a session and its subscriptions to the client's new connection.
    pub(crate) fn resume(
        &mut self,
        earlier: SessionId,
        id: SessionId,
        serial: Option<Box<[u8]>>,
        outlet: O,
    ) {
        let Some(old) = self.remove(earlier) else { return };
        self.insert(id, old.key, serial, outlet);
        let subscriptions = old.more.map(|more| more.subscriptions).unwrap_or_default();
        for subscription in &subscriptions {
            link(&mut self.index, &mut self.groups, id, subscription);
        }
        if let Some(entry) = self.sessions.get_mut(&id).filter(|_| !subscriptions.is_empty()) {
            entry.more().subscriptions = subscriptions;
        }
    }

    /// Keeps a session whose client is away; `false` if there is none.
    pub(crate) fn leave(&mut self, id: SessionId, away: Away) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else { return false };
        if entry.is_away() {
            return false;
        }
        self.due.insert((away.due(), id));
        entry.more().away = Some(Box::new(away));
        let principal = Arc::clone(&entry.key.principal);
        self.count_down(&principal, false, true);
        self.counts.entry(principal).or_default().1 += 1;
        true
    }

    /// How many sessions of a principal are connected, and how many are kept for it.
    pub(crate) fn count_of(&self, principal: &Principal) -> (usize, usize) {
        self.counts.get(principal).copied().unwrap_or_default()
    }

    /// How many sessions are kept whose client is away.
    pub(crate) fn away(&self) -> usize {
        self.due.len()
    }

    fn count_down(&mut self, principal: &Arc<Principal>, away: bool, keep: bool) {
        if let Some((connected, kept)) = self.counts.get_mut(principal) {
            let count = if away { kept } else { &mut *connected };
            *count = count.saturating_sub(1);
            if !keep && self.counts.get(principal) == Some(&(0, 0)) {
                self.counts.remove(principal);
            }
        }
    }

    /// When [`take_due`](Self::take_due) has something.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Ends a session whose client is away; its will is due at once.
    pub(crate) fn end(&mut self, id: SessionId) {
        let Some(mut ended) = self.remove(id) else { return };
        let away = ended.more.as_mut().and_then(|more| more.away.take());
        let will = away.and_then(|away| away.will).map(|(_, will)| will);
        let principal = Arc::clone(&ended.key.principal);
        self.overdue.push_back(Due { id, principal, will, ended: Some(ended) });
    }

    /// What is due next, if anything is.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Due<O>> {
        if let Some(overdue) = self.overdue.pop_front() {
            return Some(overdue);
        }
        let (at, id) = *self.due.first()?;
        if at > now {
            return None;
        }
        let entry = self.sessions.get_mut(&id)?;
        let principal = Arc::clone(&entry.key.principal);
        let away = entry.more.as_mut()?.away.as_mut()?;
        self.due.remove(&(at, id));
        let will = away.will.take().map(|(_, will)| will);
        self.due.insert((away.due(), id));
        let ended = if away.ends <= now { self.remove(id) } else { None };
        Some(Due { id, principal, will, ended })
    }

    /// Adds or replaces a subscription; `None` if the session has `max` others already,
    /// otherwise whether it is new.
    pub(crate) fn subscribe(
        &mut self,
        id: SessionId,
        subscription: &Subscription,
        max: usize,
    ) -> Option<bool> {
        let entry = self.sessions.get_mut(&id)?;
        let subscriptions = &mut entry.more().subscriptions;
        let is_full = subscriptions.len() >= max;
        let mut known = subscriptions.iter_mut();
        let is_new = match known.find(|s| s.filter == subscription.filter) {
            Some(known) => {
                *known = subscription.clone();
                false
            }
            None if is_full => return None,
            None => {
                if subscriptions.is_empty() {
                    // Many clients never have a second one.
                    subscriptions.reserve_exact(1);
                }
                subscriptions.push(subscription.clone());
                true
            }
        };
        link(&mut self.index, &mut self.groups, id, subscription);
        Some(is_new)
    }

    /// Removes a subscription; `false` if there was none.
    pub(crate) fn unsubscribe(&mut self, id: SessionId, filter: &TopicFilter) -> bool {
        let Some(entry) = self.sessions.get_mut(&id) else { return false };
        let at = entry.subscriptions().iter().position(|s| &s.filter == filter);
        let Some(at) = at else { return false };
        let subscription = entry.more().subscriptions.swap_remove(at);
        unlink(&mut self.index, &mut self.groups, id, &subscription);
        true
    }

    /// Where a message goes, other than to groups, and how.
    pub(crate) fn route(
        &self,
        message: &Arc<Message>,
        origin: Option<SessionId>,
    ) -> impl Iterator<Item = (&O, Queued)> {
        let found = self.index.matches(&message.topic, origin).into_iter();
        found.filter_map(move |found| {
            let outlet = self.outlet(found.key)?;
            let Match { qos, retain_as_published, ids, .. } = found;
            let queued = Queued {
                message: Arc::clone(message),
                qos: qos.min(message.qos),
                retain: message.retain && retain_as_published,
                ids: ids.into(),
                group: None,
            };
            Some((outlet, queued))
        })
    }

    /// The groups that a message goes to.
    pub(crate) fn groups(&self, message: &Message) -> impl Iterator<Item = GroupId> {
        self.groups.matches(&message.topic)
    }

    /// The members of a group that one message may go to, in the order to try them.
    pub(crate) fn candidates(
        &self,
        group: GroupId,
        message: &Arc<Message>,
    ) -> impl Iterator<Item = (&Entry<O>, Queued)> {
        self.groups.candidates(group).filter_map(move |Member { session, options }| {
            let SubscriptionOptions { qos, retain_as_published, id, .. } = options;
            let queued = Queued {
                message: Arc::clone(message),
                qos: qos.min(message.qos),
                retain: message.retain && retain_as_published,
                ids: id.into_iter().collect(),
                group: Some(group),
            };
            Some((self.sessions.get(&session)?, queued))
        })
    }

    /// The principal as its sessions hold it, if it has any.
    pub(crate) fn known(&self, principal: &Principal) -> Option<Arc<Principal>> {
        self.counts.get_key_value(principal).map(|(known, _)| Arc::clone(known))
    }

    /// Whose a session is.
    pub(crate) fn principal(&self, id: SessionId) -> Option<Arc<Principal>> {
        self.sessions.get(&id).map(|entry| Arc::clone(&entry.key.principal))
    }

    /// The outlet of a session.
    pub(crate) fn outlet(&self, id: SessionId) -> Option<&O> {
        self.sessions.get(&id).map(|entry| &entry.outlet)
    }

    /// The sessions for which something holds.
    pub(crate) fn find(&self, holds: impl Fn(&Entry<O>) -> bool) -> Vec<SessionId> {
        self.entries().filter(|(_, entry)| holds(entry)).map(|(id, _)| id).collect()
    }

    /// The entry of a session.
    pub(crate) fn entry(&self, id: SessionId) -> Option<&Entry<O>> {
        self.sessions.get(&id)
    }

    /// All sessions, in no order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (SessionId, &Entry<O>)> {
        self.sessions.iter().map(|(id, entry)| (*id, entry))
    }
}

fn link(index: &mut Index, groups: &mut Groups, id: SessionId, subscription: &Subscription) {
    let options = subscription.options;
    match &subscription.shared {
        Some(key) => groups.join(key, Member { session: id, options }),
        None => index.insert(&subscription.filter, id, options),
    }
}

fn unlink(index: &mut Index, groups: &mut Groups, id: SessionId, subscription: &Subscription) {
    match &subscription.shared {
        Some(key) => groups.leave(key, id),
        None => index.remove(&subscription.filter, id),
    }
}
