//! The part of a session that may outlive its connection: what waits for the client, what it
//! has not acknowledged, and which `QoS` 2 messages of its own are under way. Pure; `outlet`
//! shares it between publishers and the connection.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::outbox::{Bounds, Outbox, Queued};
use crate::packet::{Ack, Delivery, Message, Outgoing, Qos};
use crate::reason::DisconnectReason;
use crate::retained::Feed;
use crate::stored::{Store, Stored};
use crate::window::{Resend, Window};

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;

/// What became of a message that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It waits.
    Queued,
    /// It waits, and whoever publishes so much should slow down.
    Congested,
    /// `QoS` 0 and the queue was full: it is gone.
    Dropped,
    /// `QoS` 1 or 2 and the queue was full: the session is cut off.
    CutOff,
    /// `QoS` 0 for a client that is away: it is gone.
    Away,
    /// It waits for a client that is away; so many older ones had to go for it.
    Displaced(usize),
    /// No more bytes may wait for clients that are away: it is gone, and so many older ones.
    AwayRefused(usize),
    /// The session is ending.
    Closed,
}

/// What the connection does next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send this.
    Send(Outgoing),
    /// A message waited longer than it was worth something, and is gone.
    Expired,
    /// Nothing waits, or the client takes nothing more for now.
    Idle,
}

/// The bounds of a mailbox while its client is there and while it is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) present: Bounds,
    pub(crate) away: Bounds,
    /// `QoS` 2 messages of the client that may be under way.
    pub(crate) received: usize,
}

/// What few sessions have, and few at a time.
#[derive(Debug, Default)]
struct Rare {
    /// The packet ids of the client's `QoS` 2 messages that it has not released, sorted.
    received: Vec<u16>,
    feeds: VecDeque<Feed>,
}

/// The mailbox of one session.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Debug)]
pub(crate) struct Mailbox {
    outbox: Outbox,
    window: Window,
    /// Most sessions have none of it.
    rare: Option<Box<Rare>>,
    room: Arc<Room>,
    /// Why the connection must end or has ended.
    closed: Option<DisconnectReason>,
    /// Whether it outlives the connection.
    durable: bool,
    was_handed_over: bool,
    is_away: bool,
    is_congested: bool,
    /// What it takes of the store for clients that are away, while its client is.
    stored: Option<Box<Stored>>,
}

impl Mailbox {
    /// An empty one for a client that takes `inflight` messages at once.
    pub(crate) fn new(room: impl Into<Arc<Room>>, inflight: u16, durable: bool) -> Self {
        let room = room.into();
        Self {
            outbox: Outbox::new(),
            window: Window::new(inflight),
            rare: None,
            room,
            closed: None,
            durable,
            was_handed_over: false,
            is_away: false,
            is_congested: false,
            stored: None,
        }
    }

    /// Offers a message to the session.
    pub(crate) fn offer(&mut self, queued: Queued) -> Offer {
        match (self.closed.is_some(), self.durable) {
            (true, true) => return self.offer_away(queued),
            (true, false) => return Offer::Closed,
            (false, _) => {}
        }
        if self.outbox.has_room_for(&queued.message, self.bounds()) {
            self.outbox.push(queued);
            self.is_congested |= self.outbox.uses_more_than_one_in(2, self.bounds());
            return if self.is_congested { Offer::Congested } else { Offer::Queued };
        }
        if queued.qos == Qos::AtMostOnce {
            return Offer::Dropped;
        }
        self.close(DisconnectReason::QueueFull);
        if self.durable {
            self.offer_away(queued);
        }
        Offer::CutOff
    }

    fn offer_away(&mut self, queued: Queued) -> Offer {
        if queued.qos == Qos::AtMostOnce {
            return Offer::Away;
        }
        let mut displaced = 0;
        while !self.outbox.has_room_for(&queued.message, self.bounds())
            && self.outbox.pop().is_some()
        {
            displaced += 1;
        }
        let bytes = self.outbox.held() + queued.message.size();
        if self.stored.as_ref().is_some_and(|stored| !stored.can_be(bytes)) {
            self.settle_stored();
            return Offer::AwayRefused(displaced);
        }
        self.outbox.push(queued);
        self.settle_stored();
        Offer::Displaced(displaced)
    }

    fn bounds(&self) -> Bounds {
        if self.is_away { self.room.away } else { self.room.present }
    }

    fn settle_stored(&mut self) {
        if let Some(stored) = &mut self.stored {
            stored.set(self.outbox.held());
        }
    }

    /// Whether a member of a group would take a message without losing anything.
    pub(crate) fn has_room_for(&self, message: &Message) -> bool {
        self.closed.is_none() && self.outbox.has_room_for(message, self.bounds())
    }

    /// What the connection does next; the reason if it must end.
    pub(crate) fn next(&mut self, now: Instant) -> Result<Next, DisconnectReason> {
        self.check()?;
        if let Some(resend) = self.window.next_resend() {
            return Ok(Next::Send(match resend {
                Resend::Message(pkid, queued) => delivery(queued, pkid, true, now),
                Resend::Release(pkid) => Outgoing::PubRel { pkid, found: true },
            }));
        }
        match self.outbox.next_qos() {
            Some(qos) if self.can_send(qos) => {}
            _ => return Ok(Next::Idle),
        }
        let Some(queued) = self.outbox.pop() else { return Ok(Next::Idle) };
        if queued.message.has_expired(now) {
            return Ok(Next::Expired);
        }
        Ok(self.send(queued, now))
    }

    /// Sends a message past the queue, if [`can_send`](Self::can_send).
    pub(crate) fn send(&mut self, queued: Queued, now: Instant) -> Next {
        if queued.qos == Qos::AtMostOnce {
            return Next::Send(delivery(queued, 0, false, now));
        }
        let keep = self.durable || queued.group.is_some();
        let Some(pkid) = self.window.acquire(&queued, keep) else { return Next::Idle };
        if keep {
            self.outbox.hold(&queued.message);
        }
        Next::Send(delivery(queued, pkid, false, now))
    }

    /// Whether the client takes one more message.
    pub(crate) fn can_send(&self, qos: Qos) -> bool {
        qos == Qos::AtMostOnce || self.window.is_open()
    }

    /// Takes an acknowledgement of the client; returns the answer.
    pub(crate) fn acknowledge(&mut self, ack: Ack) -> Result<Option<Outgoing>, DisconnectReason> {
        self.check()?;
        match ack {
            Ack::Taken { pkid } => {
                let kept = self.window.taken(pkid)?;
                self.let_go(kept);
                Ok(None)
            }
            Ack::Received { pkid, refused: true } => {
                self.forget(pkid);
                Ok(None)
            }
            Ack::Received { pkid, refused: false } => {
                let (found, kept) = self.window.received(pkid)?;
                self.let_go(kept);
                Ok(Some(Outgoing::PubRel { pkid, found }))
            }
            Ack::Release { pkid } => {
                let found = self.release(pkid);
                Ok(Some(Outgoing::PubComp { pkid, found }))
            }
            Ack::Complete { pkid } => {
                self.window.completed(pkid)?;
                Ok(None)
            }
        }
    }

    /// Notes a `QoS` 2 message of the client; `false` if it was sent before.
    pub(crate) fn receive(&mut self, pkid: u16) -> Result<bool, DisconnectReason> {
        self.check()?;
        let received = &mut self.rare.get_or_insert_default().received;
        match received.binary_search(&pkid) {
            Ok(_) => Ok(false),
            Err(_) if received.len() >= self.room.received => {
                Err(DisconnectReason::ReceiveMaximumExceeded)
            }
            Err(at) => {
                received.insert(at, pkid);
                Ok(true)
            }
        }
    }

    /// Forgets a `QoS` 2 message of the client; `false` if it is not known.
    fn release(&mut self, pkid: u16) -> bool {
        let Some(rare) = &mut self.rare else { return false };
        let at = rare.received.binary_search(&pkid);
        if let Ok(at) = at {
            rare.received.remove(at);
            self.tidy();
        }
        at.is_ok()
    }

    /// Gives the memory back of what there is none of any more.
    fn tidy(&mut self) {
        let is_needed = |rare: &Rare| !(rare.received.is_empty() && rare.feeds.is_empty());
        if !self.rare.as_deref().is_some_and(is_needed) {
            self.rare = None;
        }
    }

    /// Forgets a message in flight, because the client cannot take it.
    pub(crate) fn forget(&mut self, pkid: u16) {
        let kept = self.window.forget(pkid);
        self.let_go(kept);
    }

    fn let_go(&mut self, kept: Option<Queued>) {
        if let Some(queued) = kept {
            self.outbox.free(&queued.message);
        }
    }

    /// Whether publishers that were slowed down may go on; says so once.
    pub(crate) fn is_relieved(&mut self) -> bool {
        let relieved = self.is_congested && !self.outbox.uses_more_than_one_in(4, self.bounds());
        if relieved {
            self.is_congested = false;
        }
        relieved
    }

    /// Adds retained messages that the client is to get.
    pub(crate) fn add_feed(&mut self, feed: Feed) {
        let feeds = &mut self.rare.get_or_insert_default().feeds;
        feeds.retain(|earlier| earlier.filter != feed.filter);
        feeds.push_back(feed);
    }

    /// Ends a subscription's retained messages.
    pub(crate) fn remove_feed(&mut self, filter: &str) {
        if let Some(rare) = &mut self.rare {
            rare.feeds.retain(|feed| feed.filter.as_str() != filter);
            self.tidy();
        }
    }

    /// The retained messages to go on with, if the client takes one more.
    pub(crate) fn feed(&mut self) -> Option<&mut Feed> {
        let is_open = self.window.is_open();
        self.rare
            .as_mut()?
            .feeds
            .front_mut()
            .filter(|feed| is_open || feed.options.qos == Qos::AtMostOnce)
    }

    /// The first feed has come to its end.
    pub(crate) fn end_feed(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.feeds.pop_front();
            self.tidy();
        }
    }

    /// Ends the connection; the first reason stays. For a client that is not known any more
    /// once it is gone, nothing waits but what others can have.
    pub(crate) fn close(&mut self, reason: DisconnectReason) {
        self.closed.get_or_insert(reason);
        if !self.durable {
            self.outbox.keep_shared();
        }
    }

    /// Says why the connection must end.
    pub(crate) fn check(&self) -> Result<(), DisconnectReason> {
        self.closed.map_or(Ok(()), Err)
    }

    /// The client is away. Returns how many messages had to go.
    pub(crate) fn leave(&mut self, reason: DisconnectReason, store: &Store) -> usize {
        self.closed.get_or_insert(reason);
        self.is_congested = false;
        self.is_away = true;
        let mut dropped = 0;
        while (self.outbox.is_over(self.bounds()) || !store.has_room_for(self.outbox.held()))
            && self.outbox.pop().is_some()
        {
            dropped += 1;
        }
        self.stored = Some(Box::new(store.part(self.outbox.held())));
        dropped
    }

    /// The messages that wait and the bytes of those and of what is in flight.
    pub(crate) fn depth(&self) -> (usize, usize) {
        (self.outbox.len(), self.outbox.held())
    }

    /// The bytes that the client has not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    /// Gives the content to a connection that takes the session over; what stays is closed.
    pub(crate) fn hand_over(&mut self, inflight: u16, durable: bool) -> Self {
        let mut husk = Self::new(Arc::clone(&self.room), 0, false);
        husk.closed = Some(self.closed.unwrap_or(DisconnectReason::TakenOver));
        husk.was_handed_over = true;
        let mut taken = std::mem::replace(self, husk);
        taken.closed = None;
        taken.stored = None;
        taken.durable = durable;
        taken.is_away = false;
        taken.window.resume(inflight);
        taken
    }

    /// Whether another connection goes on with the session.
    pub(crate) fn was_handed_over(&self) -> bool {
        self.was_handed_over
    }

    /// Whether it outlives the connection.
    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Takes out what other members of a group can have.
    pub(crate) fn take_shared(&mut self) -> Vec<Queued> {
        let mut shared = self.window.take_shared();
        for queued in &shared {
            self.outbox.free(&queued.message);
        }
        shared.extend(self.outbox.take_shared());
        self.settle_stored();
        shared
    }
}

fn delivery(queued: Queued, pkid: u16, dup: bool, now: Instant) -> Outgoing {
    let Queued { message, qos, retain, ids, group: _ } = queued;
    let expiry = message.seconds_left(now);
    Outgoing::Publish(Delivery { message, qos, pkid, dup, retain, ids, expiry })
}
