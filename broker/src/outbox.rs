//! What waits to be sent to one session: a queue with a bound in messages and bytes. Pure.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::groups::GroupId;
use crate::packet::{Message, Qos};

/// A message for one subscriber, and how this subscriber gets it.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
    /// The retain flag that the subscriber sees.
    pub(crate) retain: bool,
    /// The identifiers of the subscriptions that match.
    pub(crate) ids: Box<[NonZeroU32]>,
    /// The group of subscribers that it is meant for one member of.
    pub(crate) group: Option<GroupId>,
}

impl Queued {
    /// A message for a subscriber without wishes.
    #[cfg(test)]
    pub(crate) fn new(message: Arc<Message>, qos: Qos) -> Self {
        Self { message, qos, retain: false, ids: Box::default(), group: None }
    }
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// The room that an empty queue keeps.
const KEPT_CAPACITY: usize = 4;

/// The queue of one session.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    bytes: usize,
}

impl Outbox {
    /// An empty queue.
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new(), bytes: 0 }
    }

    /// Whether a message may be added; a single one always may.
    pub(crate) fn has_room_for(&self, message: &Message, bounds: Bounds) -> bool {
        self.bytes == 0
            || (self.queue.len() < bounds.messages && self.bytes + message.size() <= bounds.bytes)
    }

    /// Whether there is more than the bounds allow.
    pub(crate) fn is_over(&self, bounds: Bounds) -> bool {
        self.queue.len() > bounds.messages || self.bytes > bounds.bytes
    }

    /// Whether more than a `share` of the bounds is used, such as one half for 2.
    pub(crate) fn uses_more_than_one_in(&self, share: usize, bounds: Bounds) -> bool {
        self.queue.len() > bounds.messages / share || self.bytes > bounds.bytes / share
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, queued: Queued) {
        self.bytes += queued.message.size();
        self.queue.push_back(queued);
    }

    /// The `QoS` of the oldest message.
    pub(crate) fn next_qos(&self) -> Option<Qos> {
        self.queue.front().map(|queued| queued.qos)
    }

    /// Takes the oldest message.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let taken = self.queue.pop_front()?;
        self.free(&taken.message);
        if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
            self.queue = VecDeque::new();
        }
        Some(taken)
    }

    /// Counts a message that was taken and that is still kept in memory.
    pub(crate) fn hold(&mut self, message: &Message) {
        self.bytes += message.size();
    }

    /// Counts a message no longer.
    pub(crate) fn free(&mut self, message: &Message) {
        self.bytes = self.bytes.saturating_sub(message.size());
    }

    /// The bytes that count.
    pub(crate) fn held(&self) -> usize {
        self.bytes
    }

    /// Of these, the bytes that are counted and do not wait.
    pub(crate) fn in_flight(&self) -> usize {
        let waiting: usize = self.queue.iter().map(|queued| queued.message.size()).sum();
        self.bytes.saturating_sub(waiting)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes out what is meant for one member of a group, for another.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        if self.queue.iter().all(|queued| queued.group.is_none()) {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.queue);
        let (shared, own): (VecDeque<_>, VecDeque<_>) =
            all.into_iter().partition(|queued| queued.group.is_some());
        self.queue = own;
        for queued in &shared {
            self.free(&queued.message);
        }
        shared.into()
    }

    /// Lets everything go but what other members of a group can have.
    pub(crate) fn keep_shared(&mut self) {
        self.queue.retain(|queued| queued.group.is_some());
        self.queue.shrink_to_fit();
        self.bytes = self.queue.iter().map(|queued| queued.message.size()).sum();
    }
}
