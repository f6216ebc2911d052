//! What waits to be sent to one session: a queue with a bound, and the end of the session.
//! Pure; `hub` shares it between publishers and the connection.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::packet::{Message, Qos};
use crate::reason::DisconnectReason;

/// A message and the `QoS` that this subscriber gets it with.
#[derive(Debug, Clone)]
pub(crate) struct Queued {
    pub(crate) message: Arc<Message>,
    pub(crate) qos: Qos,
}

/// What became of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It waits.
    Queued,
    /// `QoS` 0 and the queue was full: it is gone.
    Dropped,
    /// `QoS` 1 and the queue was full: the session is cut off.
    CutOff,
    /// The session is ending.
    Closed,
}

/// The room that an empty queue keeps.
const KEPT_CAPACITY: usize = 16;

/// The queue of one session.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: VecDeque<Queued>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
    closed: Option<DisconnectReason>,
}

impl Outbox {
    /// An empty queue for at most so many messages and bytes.
    pub(crate) fn new(max_messages: usize, max_bytes: usize) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, max_messages, max_bytes, closed: None }
    }

    /// Offers a message to the session.
    pub(crate) fn offer(&mut self, message: &Arc<Message>, qos: Qos) -> Offer {
        if self.closed.is_some() {
            return Offer::Closed;
        }
        let size = message.size();
        let fits = self.queue.is_empty()
            || (self.queue.len() < self.max_messages && self.bytes + size <= self.max_bytes);
        match (fits, qos) {
            (true, _) => {
                self.bytes += size;
                self.queue.push_back(Queued { message: Arc::clone(message), qos });
                Offer::Queued
            }
            (false, Qos::AtMostOnce) => Offer::Dropped,
            (false, Qos::AtLeastOnce) => {
                self.close(DisconnectReason::QueueFull);
                Offer::CutOff
            }
        }
    }

    /// The oldest message, if `window_open` or it needs no window.
    pub(crate) fn take(&mut self, window_open: bool) -> Option<Queued> {
        let front = self.queue.front()?;
        if front.qos == Qos::AtLeastOnce && !window_open {
            return None;
        }
        let taken = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(taken.message.size());
        if self.queue.is_empty() && self.queue.capacity() > KEPT_CAPACITY {
            self.queue = VecDeque::new();
        }
        Some(taken)
    }

    /// Ends the session; the first reason stays, what waits is let go.
    pub(crate) fn close(&mut self, reason: DisconnectReason) {
        self.closed.get_or_insert(reason);
        self.queue = VecDeque::new();
        self.bytes = 0;
    }

    /// Why the session must end, if it must.
    pub(crate) fn closed(&self) -> Option<DisconnectReason> {
        self.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(payload: &'static [u8]) -> Arc<Message> {
        Arc::new(Message {
            topic: "t".parse().unwrap(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            properties: None,
        })
    }

    #[test]
    fn a_full_queue_drops_what_may_be_lost() {
        let mut outbox = Outbox::new(1, 1_000);
        assert_eq!(outbox.offer(&message(b""), Qos::AtLeastOnce), Offer::Queued);
        assert_eq!(outbox.offer(&message(b""), Qos::AtMostOnce), Offer::Dropped);
        assert_eq!(outbox.closed(), None);
    }

    #[test]
    fn a_full_queue_cuts_the_session_off_and_frees_its_memory() {
        let mut outbox = Outbox::new(1, 1_000);
        assert_eq!(outbox.offer(&message(b""), Qos::AtLeastOnce), Offer::Queued);
        assert_eq!(outbox.offer(&message(b""), Qos::AtLeastOnce), Offer::CutOff);
        assert_eq!(outbox.closed(), Some(DisconnectReason::QueueFull));
        assert!(outbox.take(true).is_none());
        assert_eq!(outbox.offer(&message(b""), Qos::AtLeastOnce), Offer::Closed);
    }

    #[test]
    fn the_bound_in_bytes_holds_but_one_message_always_fits() {
        let mut outbox = Outbox::new(10, 200);
        assert_eq!(outbox.offer(&message(&[0; 500]), Qos::AtMostOnce), Offer::Queued);
        assert_eq!(outbox.offer(&message(b""), Qos::AtMostOnce), Offer::Dropped);
        assert!(outbox.take(true).is_some());
        assert_eq!(outbox.offer(&message(b""), Qos::AtMostOnce), Offer::Queued);
        assert_eq!(outbox.offer(&message(&[0; 500]), Qos::AtMostOnce), Offer::Dropped);
    }

    #[test]
    fn a_closed_window_holds_only_what_needs_it() {
        let mut outbox = Outbox::new(10, 10_000);
        outbox.offer(&message(b""), Qos::AtMostOnce);
        outbox.offer(&message(b""), Qos::AtLeastOnce);
        assert!(outbox.take(false).is_some());
        assert!(outbox.take(false).is_none());
        assert!(outbox.take(true).is_some());
    }

    #[test]
    fn the_first_reason_to_close_stays() {
        let mut outbox = Outbox::new(1, 1);
        outbox.close(DisconnectReason::TakenOver);
        outbox.close(DisconnectReason::ServerShutdown);
        assert_eq!(outbox.closed(), Some(DisconnectReason::TakenOver));
    }
}
