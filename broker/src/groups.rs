//! Shared subscriptions: groups of sessions of which one gets each message. Pure: `table` has them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::filter::TopicFilter;
use crate::index::Index;
use crate::packet::{Qos, SubscriptionOptions};
use crate::session_id::SessionId;
use crate::topic::TopicName;

#[cfg(test)]
mod tests;

/// Tells the groups of one broker apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupId(u64);

/// A group is known by its name and its filter: one name with two filters is two groups.
type GroupKey = (Arc<str>, TopicFilter);

#[derive(Debug)]
struct Group {
    key: GroupKey,
    members: Vec<Member>,
    /// Whose turn it is; atomic, since messages are routed with the table only read.
    turn: AtomicUsize,
}

/// A session in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) session: SessionId,
    pub(crate) options: SubscriptionOptions,
}

/// All groups of a broker.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    by_key: HashMap<GroupKey, GroupId>,
    by_id: HashMap<GroupId, Group>,
    index: Index<GroupId>,
    last: u64,
}

impl Groups {
    /// Adds a member, or replaces its options.
    pub(crate) fn join(&mut self, key: &GroupKey, member: Member) {
        let id = match self.by_key.get(key) {
            Some(id) => *id,
            None => self.found(key),
        };
        let Some(group) = self.by_id.get_mut(&id) else { return };
        match group.members.iter_mut().find(|m| m.session == member.session) {
            Some(known) => *known = member,
            None => group.members.push(member),
        }
    }

    fn found(&mut self, key: &GroupKey) -> GroupId {
        self.last += 1;
        let id = GroupId(self.last);
        let group = Group { key: key.clone(), members: Vec::new(), turn: AtomicUsize::new(0) };
        self.by_key.insert(key.clone(), id);
        self.by_id.insert(id, group);
        self.index.insert(&key.1, id, ALL);
        id
    }

    /// Removes a member, and the group with its last one.
    pub(crate) fn leave(&mut self, key: &GroupKey, session: SessionId) {
        let Some(&id) = self.by_key.get(key) else { return };
        let Some(group) = self.by_id.get_mut(&id) else { return };
        group.members.retain(|member| member.session != session);
        if group.members.is_empty() {
            self.index.remove(&group.key.1, id);
            self.by_id.remove(&id);
            self.by_key.remove(key);
        }
    }

    /// The groups that a message under `name` goes to.
    pub(crate) fn matches(&self, name: &TopicName) -> impl Iterator<Item = GroupId> {
        let found = if self.by_id.is_empty() { Vec::new() } else { self.index.matches(name, None) };
        found.into_iter().map(|found| found.key)
    }

    /// The members of a group, from the one whose turn it is. The turn passes on.
    pub(crate) fn candidates(&self, id: GroupId) -> impl Iterator<Item = Member> {
        let members = self.by_id.get(&id).map_or(&[][..], |group| {
            group.turn.fetch_add(1, Ordering::Relaxed);
            &group.members
        });
        let turn = self.by_id.get(&id).map_or(1, |group| group.turn.load(Ordering::Relaxed));
        let first = turn.wrapping_sub(1) % members.len().max(1);
        let (after, before) =
            members.split_at_checked(first).map_or((members, &[][..]), |(a, b)| (b, a));
        after.iter().chain(before).copied()
    }
}

/// What the index says of a group; each member has options of its own.
const ALL: SubscriptionOptions = SubscriptionOptions {
    qos: Qos::ExactlyOnce,
    no_local: false,
    retain_as_published: false,
    id: None,
};
