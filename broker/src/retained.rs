//! The last message of each topic that its publisher wants kept, in the order of the topics.
//! Pure; the hub shares it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

use crate::filter::{Level, TopicFilter};
use crate::outbox::Queued;
use crate::packet::{Message, SubscriptionOptions};

#[cfg(test)]
mod tests;

/// Topics that one step of a feed looks at before others have their turn.
const STEP: usize = 256;

#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    number: u64,
}

/// The retained messages of a broker.
#[derive(Debug)]
pub(crate) struct Retained {
    topics: BTreeMap<Arc<str>, Kept>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    /// The number of the message that was kept last.
    last: u64,
    /// No message expires before.
    first_expiry: Option<Instant>,
}

/// The retained messages were full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The retained messages of one new subscription, read while the client takes them.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) filter: TopicFilter,
    pub(crate) options: SubscriptionOptions,
    /// The topic that was looked at last.
    after: Option<Arc<str>>,
    /// What is kept later reaches the subscriber as it is published.
    until: u64,
}

/// One step of a feed.
#[derive(Debug)]
pub(crate) enum Fed {
    /// The next message.
    Message(Queued),
    /// Nothing so far, but there are more topics to look at.
    More,
    /// There is nothing more.
    End,
}

impl Retained {
    /// None so far, and at most so many.
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self {
            topics: BTreeMap::new(),
            bytes: 0,
            max_messages,
            max_bytes,
            last: 0,
            first_expiry: None,
        }
    }

    /// Keeps a message in the place of the topic's earlier one, or, if it is empty, none.
    pub(crate) fn set(&mut self, message: &Arc<Message>, now: Instant) -> Result<(), Full> {
        let topic = message.topic.as_str();
        if message.payload.is_empty() {
            self.remove(topic);
            return Ok(());
        }
        let earlier = self.topics.get(topic).map(|kept| kept.message.size());
        if !self.has_room(message.size(), earlier) {
            self.drop_expired(now);
            if !self.has_room(message.size(), earlier) {
                return Err(Full);
            }
        }
        self.remove(topic);
        self.last += 1;
        self.bytes += message.size();
        self.first_expiry = [self.first_expiry, message.expires].into_iter().flatten().min();
        let kept = Kept { message: Arc::clone(message), number: self.last };
        self.topics.insert(message.topic.shared(), kept);
        Ok(())
    }

    fn has_room(&self, size: usize, earlier: Option<usize>) -> bool {
        let count = self.topics.len() + usize::from(earlier.is_none());
        let bytes = self.bytes - earlier.unwrap_or(0) + size;
        count <= self.max_messages && bytes <= self.max_bytes
    }

    fn remove(&mut self, topic: &str) {
        if let Some(kept) = self.topics.remove(topic) {
            self.bytes -= kept.message.size();
        }
    }

    fn drop_expired(&mut self, now: Instant) {
        if self.first_expiry.is_none_or(|first| first > now) {
            return;
        }
        self.topics.retain(|_, kept| !kept.message.has_expired(now));
        let left = || self.topics.values().map(|kept| &kept.message);
        self.bytes = left().map(|message| message.size()).sum();
        self.first_expiry = left().filter_map(|message| message.expires).min();
    }

    /// Begins to read what a new subscription matches; `None` if there is nothing to read.
    pub(crate) fn feed(&self, filter: &TopicFilter, options: SubscriptionOptions) -> Option<Feed> {
        let feed = Feed { filter: filter.clone(), options, after: None, until: self.last };
        (!self.topics.is_empty()).then_some(feed)
    }

    /// Reads on.
    pub(crate) fn next(&self, feed: &mut Feed, now: Instant) -> Fed {
        let prefix = literal_prefix(&feed.filter);
        let from = match feed.after.as_deref() {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix.as_str()),
        };
        let mut looked_at = None;
        for (topic, kept) in self.topics.range::<str, _>((from, Bound::Unbounded)).take(STEP) {
            if !topic.starts_with(&prefix) {
                return Fed::End;
            }
            looked_at = Some(topic);
            let message = &kept.message;
            if kept.number <= feed.until
                && !message.has_expired(now)
                && feed.filter.matches(&message.topic)
            {
                feed.after = Some(Arc::clone(topic));
                return Fed::Message(Queued {
                    message: Arc::clone(message),
                    qos: message.qos.min(feed.options.qos),
                    retain: true,
                    ids: feed.options.id.into_iter().collect(),
                    group: None,
                });
            }
        }
        match looked_at {
            Some(topic) => {
                feed.after = Some(Arc::clone(topic));
                Fed::More
            }
            None => Fed::End,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }
}

/// What every name that the filter matches begins with.
fn literal_prefix(filter: &TopicFilter) -> String {
    let mut prefix = String::new();
    for (at, level) in filter.levels().enumerate() {
        match level {
            Level::Literal(text) => {
                if at > 0 {
                    prefix.push('/');
                }
                prefix.push_str(text);
            }
            // Also the level above matches.
            Level::Rest => return prefix,
            Level::One => {
                if at > 0 {
                    prefix.push('/');
                }
                return prefix;
            }
        }
    }
    prefix
}
