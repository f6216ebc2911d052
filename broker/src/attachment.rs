//! The application's own connection to the broker: in-process, bounded, with back-pressure.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::filter::TopicFilter;
use crate::hub::Hub;
use crate::packet::{Message, Protocol, Qos};
use crate::principal::Principal;
use crate::reason::DisconnectReason;
use crate::session_id::SessionId;
use crate::topic::{TopicError, TopicLimits, TopicName};

/// What an attachment wants to see.
#[derive(Debug, Clone)]
pub struct AttachConfig {
    /// Messages whose topic one of these matches.
    pub filters: Vec<TopicFilter>,
    /// How many events may wait. When the room is used up, the clients whose messages do not
    /// fit are neither acknowledged nor read from.
    pub capacity: usize,
}

/// Something that happened to a session. The events of one session are in order: `Connected`,
/// its `Publish`es, `Disconnected`.
#[derive(Debug, Clone)]
pub enum AttachmentEvent {
    /// A session began; also told of the sessions that are there when an attachment is made.
    Connected {
        /// The session.
        session: SessionId,
        /// Whose it is.
        principal: Arc<Principal>,
        /// The client id.
        client_id: Arc<str>,
        /// The version of MQTT that it speaks.
        protocol: Protocol,
        /// Where it connected from.
        peer: SocketAddr,
    },
    /// A session ended.
    Disconnected {
        /// The session.
        session: SessionId,
        /// Whose it was.
        principal: Arc<Principal>,
        /// Why it ended.
        reason: DisconnectReason,
    },
    /// A message that matches one of the filters.
    Publish {
        /// The session that it came from; none if another attachment published it.
        session: Option<SessionId>,
        /// Who published it.
        principal: Arc<Principal>,
        /// What it was published under.
        topic: TopicName,
        /// What it says.
        payload: Bytes,
        /// How surely the publisher wants it delivered.
        qos: Qos,
    },
}

impl AttachmentEvent {
    pub(crate) fn publish(
        session: Option<SessionId>,
        principal: &Arc<Principal>,
        message: &Message,
    ) -> Self {
        Self::Publish {
            session,
            principal: Arc::clone(principal),
            topic: message.topic.clone(),
            payload: message.payload.clone(),
            qos: message.qos,
        }
    }
}

/// The broker's end of an attachment.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) id: u64,
    pub(crate) filters: Vec<TopicFilter>,
    pub(crate) events: mpsc::Sender<AttachmentEvent>,
}

impl Attached {
    pub(crate) fn wants(&self, topic: &TopicName) -> bool {
        self.filters.iter().any(|filter| filter.matches(topic))
    }

    /// Waits for room and hands the event over; an attachment that is gone takes anything.
    pub(crate) async fn send(&self, event: AttachmentEvent) {
        if self.events.send(event).await.is_err() {
            tracing::trace!(attachment = self.id, "an event for an attachment that is gone");
        }
    }
}

/// The application's end of an attachment; dropping it detaches.
#[derive(Debug)]
pub struct Attachment {
    events: mpsc::Receiver<AttachmentEvent>,
    publisher: Publisher,
}

impl Attachment {
    pub(crate) fn new(hub: &Arc<Hub>, config: AttachConfig) -> Self {
        let (sender, events) = mpsc::channel(config.capacity.max(1));
        let id = hub.attach(config.filters, sender);
        Self { events, publisher: Publisher { id, hub: Arc::downgrade(hub) } }
    }

    /// The next event; `None` after the broker has shut down and every event was taken.
    pub async fn next(&mut self) -> Option<AttachmentEvent> {
        self.events.recv().await
    }

    /// A handle that sends messages to the broker's clients.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Some(hub) = self.publisher.hub.upgrade() {
            hub.detach(self.publisher.id);
        }
    }
}

/// Sends messages to the broker's clients and ends their sessions.
#[derive(Debug, Clone)]
pub struct Publisher {
    id: u64,
    hub: Weak<Hub>,
}

/// Why a message was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The topic is not a topic name.
    #[error("the message cannot be published under this topic")]
    Topic(#[from] TopicError),
    /// Another attachment that wants the message has no room for it; nobody got it.
    #[error("another attachment has no room for the message: publish it again later")]
    AttachmentFull,
    /// The broker has shut down.
    #[error("the broker has shut down")]
    Stopped,
}

impl Publisher {
    /// Hands a message to every session that is subscribed to it and to every other
    /// attachment that wants it. Returns how many sessions it now waits for.
    pub fn publish(&self, topic: &str, payload: Bytes, qos: Qos) -> Result<usize, PublishError> {
        let topic = TopicName::parse(topic, TopicLimits::MQTT)?;
        let hub = self.hub.upgrade().ok_or(PublishError::Stopped)?;
        let message = Arc::new(Message::new(topic, payload, qos));
        hub.publish_from_attachment(self.id, &message)
    }

    /// Like [`publish`](Self::publish), and keeps the message for later subscribers; an empty
    /// one ends that.
    pub fn retain(&self, topic: &str, payload: Bytes, qos: Qos) -> Result<usize, PublishError> {
        let topic = TopicName::parse(topic, TopicLimits::MQTT)?;
        let hub = self.hub.upgrade().ok_or(PublishError::Stopped)?;
        let message = Message { retain: true, ..Message::new(topic, payload, qos) };
        hub.publish_from_attachment(self.id, &Arc::new(message))
    }

    /// Ends a session; `false` if there is none.
    pub fn disconnect(&self, session: SessionId, reason: DisconnectReason) -> bool {
        self.hub.upgrade().is_some_and(|hub| hub.disconnect(session, reason))
    }

    /// Ends the sessions of a principal, also those that no event has told of yet, but for those of
    /// certificates whose serial numbers `keeps` wants kept; returns how many. Who is not to come in
    /// again is taken from the authenticator before
    /// ([`Authenticator::still_admits`](crate::Authenticator::still_admits)).
    pub fn end_sessions(
        &self,
        principal: &Principal,
        keeps: impl Fn(Option<&[u8]>) -> bool,
    ) -> usize {
        self.hub.upgrade().map_or(0, |hub| hub.end_sessions(principal, keeps))
    }
}
