//! One connected client: moves bytes, time and messages between its socket, its
//! session and the hub. Decides nothing itself.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::attachment::{Attached, AttachmentEvent};
use crate::codec::{self, Dialect, EncodeError};
use crate::crew::{Farewell, Served};
use crate::hub::{Attachments, Departure, Registration};
use crate::listener::Stay;
use crate::mailbox::Next;
use crate::metrics::{Denial, Drop as DropReason};
use crate::outlet::Outlet;
use crate::packet::{Incoming, Message, Outgoing, Qos, SubscribeAnswer};
use crate::reason::DisconnectReason;
use crate::retained::Fed;
use crate::session::{Effect, Session};
use crate::topic::TopicName;
use crate::wire::{Progress, Wire};

mod gate;
pub(crate) mod opening;

use gate::{Gate, Told};

/// Bytes that may wait for the socket before no more messages are taken from the queue.
const MESSAGES_AHEAD: usize = 32 * 1024;

/// Bytes of answers that may wait for the socket before the client is not read any more. Messages
/// do not count: a client that writes much before it reads must not block itself.
const ANSWERS_AHEAD: u32 = 32 * 1024;

/// Packets, in and out, after which other connections have their turn.
const PACKETS_A_TURN: u16 = 256;

/// Bytes, in and out, that count as one packet: long packets are work as well.
const BYTES_A_PACKET: usize = 512;

/// Packets in one turn from which on a connection is one of those that have much to do.
const MUCH: u16 = 64;

/// Reads and writes after which other connections have their turn.
const STEPS_A_TURN: u8 = 32;

/// One connected client.
struct Connection<S> {
    wire: Wire<S>,
    session: Session,
    registration: Registration,
    stay: Stay,
    /// The attachments that were told of this session.
    announced: Attachments,
    gate: Option<Box<Gate>>,
    /// When it will be polled for keep-alive and such.
    alarm: Option<Instant>,
    /// Since when bytes wait for the peer to take the first of them.
    writing_since: Option<Instant>,
    /// Bytes of answers in the output since it was empty last.
    unsent_answers: u32,
    has_logged_denial: bool,
    /// A search for retained messages goes on once others had their turn.
    is_searching: bool,
    /// Packets that were taken and messages that were sent since others had their turn.
    packets_of_turn: u16,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Served for Connection<S> {
    fn poll_serve(&mut self, cx: &mut Context<'_>) -> Poll<DisconnectReason> {
        self.packets_of_turn = 0;
        for _ in 0..STEPS_A_TURN {
            match self.poll_step(cx, now()) {
                Ok(Poll::Ready(())) if self.packets_of_turn < PACKETS_A_TURN => {}
                Ok(Poll::Ready(())) => break,
                Ok(Poll::Pending) => return Poll::Pending,
                Err(reason) => return Poll::Ready(reason),
            }
        }
        self.packets_of_turn = PACKETS_A_TURN;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn has_much_to_do(&self) -> bool {
        self.packets_of_turn >= MUCH
    }

    fn outlet(&self) -> &Arc<Outlet> {
        &self.registration.outlet
    }

    fn deadline(&self) -> Option<Instant> {
        let write = self
            .writing_since
            .map(|since| since + self.registration.hub.policy.limits.write_timeout);
        [self.session.deadline(), write, self.throttled_until()].into_iter().flatten().min()
    }

    fn alarm(&mut self) -> &mut Option<Instant> {
        &mut self.alarm
    }

    fn finish(self: Box<Self>, reason: DisconnectReason) -> Farewell {
        Box::pin(self.end(reason))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Does what there is to do, and then one thing that may have to wait.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Result<Poll<()>, DisconnectReason> {
        self.step(now)?;
        if std::mem::take(&mut self.is_searching) {
            self.packets_of_turn = PACKETS_A_TURN;
            cx.waker().wake_by_ref();
        }
        let wants_input = self.wants_input();
        self.check_deadline(wants_input, now)?;
        if let Poll::Ready(progress) = self.wire.poll_progress(cx, wants_input) {
            return self.moved(progress, now).map(Poll::Ready);
        }
        if let Poll::Ready(then) = gate::poll_opened(&mut self.gate, cx) {
            return then.map_or(Ok(()), |packet| self.send(packet)).map(Poll::Ready);
        }
        Ok(Poll::Pending)
    }

    /// Does everything that needs no waiting.
    fn step(&mut self, now: Instant) -> Result<(), DisconnectReason> {
        self.registration.outlet.mailbox().check()?;
        self.greet_attachments(None)?;
        while self.wire.has_input() && self.wants_input() {
            let protocol = self.session.agreement.dialect.protocol;
            let limit = self.registration.hub.policy.limits.packet;
            match codec::decode(protocol, self.wire.input(), limit) {
                Ok(Some(packet)) => {
                    self.work(1);
                    self.take(packet, now)?;
                }
                Ok(None) => break,
                Err(error) => {
                    let client = &self.session.agreement.key.client_id;
                    tracing::debug!(%error, %client, peer = %self.stay.peer(), "a packet is refused");
                    return Err(error.reason());
                }
            }
        }
        self.wire.release_input();
        let mut is_relieved = false;
        while self.wire.unwritten() < MESSAGES_AHEAD {
            let (next, has_feed) = {
                let mut mailbox = self.registration.outlet.mailbox();
                let next = mailbox.next(now)?;
                is_relieved |= mailbox.is_relieved();
                (next, mailbox.feed().is_some())
            };
            match next {
                Next::Send(packet) => {
                    self.send(packet)?;
                    // However many live messages there are, retained ones have their turn.
                    if has_feed {
                        self.feed_retained(now)?;
                    }
                }
                Next::Expired => self.registration.hub.metrics.drop(DropReason::Expired),
                Next::Idle if has_feed && self.feed_retained(now)? => {}
                Next::Idle => break,
            }
        }
        if is_relieved {
            self.registration.outlet.relieve();
        }
        Ok(())
    }

    /// Sends one retained message; `false` if there is none for now.
    fn feed_retained(&mut self, now: Instant) -> Result<bool, DisconnectReason> {
        let packet = {
            let mut mailbox = self.registration.outlet.mailbox();
            let Some(feed) = mailbox.feed() else { return Ok(false) };
            let step = self.registration.hub.retained().next(feed, now);
            match step {
                Fed::Message(queued) => mailbox.send(queued, now),
                Fed::End => {
                    mailbox.end_feed();
                    return Ok(true);
                }
                Fed::More => {
                    self.is_searching = true;
                    return Ok(false);
                }
            }
        };
        match packet {
            Next::Send(packet) => self.send(packet).map(|()| true),
            Next::Expired | Next::Idle => Ok(false),
        }
    }

    /// Counts packets, or what is as much work, of this turn.
    fn work(&mut self, packets: usize) {
        let packets = u16::try_from(packets).unwrap_or(u16::MAX);
        self.packets_of_turn = self.packets_of_turn.saturating_add(packets);
    }

    fn wants_input(&self) -> bool {
        self.gate.is_none()
            && self.unsent_answers < ANSWERS_AHEAD
            && self.throttled_until().is_none()
    }

    fn throttled_until(&self) -> Option<Instant> {
        if self.session.has_rate() { self.session.throttled_until(now()) } else { None }
    }

    fn take(&mut self, packet: Incoming, now: Instant) -> Result<(), DisconnectReason> {
        match self.session.handle(packet, now)? {
            Effect::Send(packet) => self.send(packet),
            Effect::Acknowledge(ack) => {
                let answer = self.registration.outlet.mailbox().acknowledge(ack)?;
                answer.map_or(Ok(()), |packet| self.send(packet))
            }
            Effect::Publish { message, pkid } => self.publish(&message, pkid),
            Effect::Subscribe { pkid, requests } => {
                let answers = self.registration.subscribe(&requests);
                for _ in answers.iter().filter(|a| **a == SubscribeAnswer::NotAuthorized) {
                    self.note_denial(Denial::Subscribe, None);
                }
                self.send(Outgoing::SubAck { pkid, answers })
            }
            Effect::Unsubscribe { pkid, filters } => {
                let existed = self.registration.unsubscribe(&filters);
                self.send(Outgoing::UnsubAck { pkid, existed })
            }
            Effect::Denied { topic, answer } => {
                self.note_denial(Denial::Publish, Some(&topic));
                answer?.map_or(Ok(()), |packet| self.send(packet))
            }
        }
    }

    fn publish(&mut self, message: &Arc<Message>, pkid: u16) -> Result<(), DisconnectReason> {
        let ack = match message.qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce => Some(Outgoing::PubAck { pkid, denied: false }),
            Qos::ExactlyOnce => {
                let is_new = self.registration.outlet.mailbox().receive(pkid)?;
                let answer = Outgoing::PubRec { pkid, denied: false };
                if !is_new {
                    return self.send(answer);
                }
                Some(answer)
            }
        };
        self.registration.hub.metrics.messages.incoming.inc();
        let routed = self.registration.hub.route(message, Some(self.registration.id));
        self.work(routed.reached.saturating_sub(1));
        // QoS 0 is dropped when there is no room, so that it never holds its publisher up.
        let congested = routed.congested.filter(|_| ack.is_some());
        let pause = self.registration.hub.policy.limits.congestion_pause;
        let told = gate::tell(self.publish_events(message), ack);
        self.pass(told.after(congested, pause))
    }

    /// Goes on now, or waits until the attachments have room.
    fn pass(&mut self, told: Told) -> Result<(), DisconnectReason> {
        match told {
            Told::Now(then) => then.map_or(Ok(()), |packet| self.send(packet)),
            Told::Later(gate) => {
                self.gate = Some(Box::new(gate));
                Ok(())
            }
        }
    }

    /// Tells attachments that are new since the last time that this session is there; `then`
    /// goes to the client after that.
    fn greet_attachments(&mut self, then: Option<Outgoing>) -> Result<(), DisconnectReason> {
        if self.gate.is_some() {
            return Ok(());
        }
        let current = self.registration.hub.attachments();
        if Arc::ptr_eq(&current, &self.announced) && then.is_none() {
            return Ok(());
        }
        let is_new = |a: &&Arc<Attached>| !self.announced.iter().any(|known| known.id == a.id);
        let events: Vec<_> =
            current.iter().filter(is_new).map(|a| (Arc::clone(a), self.connected())).collect();
        self.announced = current;
        self.pass(gate::tell(events, then))
    }

    fn connected(&self) -> AttachmentEvent {
        let agreement = &self.session.agreement;
        AttachmentEvent::Connected {
            session: self.registration.id,
            principal: Arc::clone(&agreement.key.principal),
            client_id: Arc::from(&*agreement.key.client_id),
            protocol: agreement.dialect.protocol,
            peer: self.stay.peer(),
        }
    }

    fn publish_events(&self, message: &Message) -> Vec<(Arc<Attached>, AttachmentEvent)> {
        let principal = &self.session.agreement.key.principal;
        let event = || AttachmentEvent::publish(Some(self.registration.id), principal, message);
        let wanting = self.announced.iter().filter(|a| a.wants(&message.topic));
        wanting.map(|a| (Arc::clone(a), event())).collect()
    }

    /// Encodes a packet for the client.
    fn send(&mut self, packet: Outgoing) -> Result<(), DisconnectReason> {
        let agreement = &self.session.agreement;
        let message = packet.message_pkid();
        let before = self.wire.unwritten();
        match (codec::encode(agreement.dialect, packet, self.wire.output()), message) {
            (Ok(()), Some(_)) => {
                self.work(1);
                self.registration.hub.metrics.messages.outgoing.inc();
                Ok(())
            }
            (Ok(()), None) => {
                let added = u32::try_from(self.wire.unwritten() - before).unwrap_or(u32::MAX);
                self.unsent_answers = self.unsent_answers.saturating_add(added);
                Ok(())
            }
            // The standard: the server goes on as if it had sent the message.
            (Err(EncodeError::TooLarge { .. }), Some(pkid)) => {
                self.registration.outlet.mailbox().forget(pkid);
                self.registration.hub.metrics.drop(DropReason::TooLarge);
                Ok(())
            }
            (Err(error), _) => {
                tracing::debug!(%error, client = %agreement.key.client_id, "an answer cannot be sent");
                Err(DisconnectReason::PacketTooLarge)
            }
        }
    }

    fn moved(
        &mut self,
        progress: io::Result<Progress>,
        now: Instant,
    ) -> Result<(), DisconnectReason> {
        match progress {
            Ok(Progress::Read(count)) => {
                self.registration.hub.metrics.bytes.incoming.inc_by(count as u64);
                self.work(count / BYTES_A_PACKET);
                self.session.received(now);
                Ok(())
            }
            Ok(Progress::Wrote(count)) => {
                self.registration.hub.metrics.bytes.outgoing.inc_by(count as u64);
                self.work(count / BYTES_A_PACKET);
                self.writing_since = None;
                if self.wire.unwritten() == 0 {
                    self.unsent_answers = 0;
                }
                Ok(())
            }
            Ok(Progress::Closed) => Err(DisconnectReason::ConnectionLost),
            Err(error) => {
                tracing::trace!(%error, peer = %self.stay.peer(), "the connection broke");
                Err(DisconnectReason::ConnectionLost)
            }
        }
    }

    /// Fails if a deadline has passed.
    fn check_deadline(&mut self, wants_input: bool, now: Instant) -> Result<(), DisconnectReason> {
        if !wants_input {
            // The client may well be sending: it is us who do not listen.
            self.session.received(now);
        }
        if self.wire.is_writing() {
            self.writing_since.get_or_insert(now);
        }
        self.check_time(now)
    }

    fn check_time(&self, now: Instant) -> Result<(), DisconnectReason> {
        self.session.check_time(now)?;
        let limit = self.registration.hub.policy.limits.write_timeout;
        match self.writing_since {
            Some(since) if since + limit <= now => Err(DisconnectReason::WriteTimeout),
            _ => Ok(()),
        }
    }

    /// Counts what the access rules refused; one log line per session, one a second in all.
    fn note_denial(&mut self, denial: Denial, topic: Option<&TopicName>) {
        self.registration.hub.metrics.denial(denial);
        if std::mem::replace(&mut self.has_logged_denial, true) {
            return;
        }
        if let Some(held_back) = self.registration.hub.denial_log.allows(now()) {
            let agreement = &self.session.agreement;
            tracing::warn!(
                principal = %agreement.key.principal,
                client = %agreement.key.client_id,
                ?denial,
                topic = topic.map(TopicName::as_str),
                held_back,
                "the access rules refuse a client; further refusals of this session are only counted",
            );
        }
    }

    /// Ends the session: out of the table, goodbye to the client, will and farewell to the
    /// attachments, which may make us wait.
    async fn end(self: Box<Self>, reason: DisconnectReason) {
        let Self { wire, mut session, registration, announced, gate, stay, .. } = *self;
        let hub = Arc::clone(&registration.hub);
        let id = registration.id;
        let dialect = session.agreement.dialect;
        let principal = Arc::clone(&session.agreement.key.principal);
        let will = registration.leave(Departure {
            reason,
            expiry: session.agreement.expiry,
            will: session.take_will(reason),
            now: now(),
        });
        hub.metrics.session_ended(dialect.protocol, reason);
        tracing::debug!(session = %id, %principal, %reason, "a session ended");
        let wire = Some(wire).filter(|_| reason.code().is_some());
        let farewell = async {
            if let Some(gate) = gate {
                gate.wait().await;
            }
            if let Some(will) = will.map(|will| will.message(now())) {
                hub.route(&will, Some(id));
                for attached in announced.iter().filter(|a| a.wants(&will.topic)) {
                    let event = AttachmentEvent::publish(Some(id), &principal, &will);
                    attached.send(event).await;
                }
            }
            for attached in announced.iter() {
                let principal = Arc::clone(&principal);
                attached
                    .send(AttachmentEvent::Disconnected { session: id, principal, reason })
                    .await;
            }
        };
        tokio::join!(farewell, say_goodbye(wire, dialect, reason, hub.policy.limits.close_timeout));
        drop(stay);
    }
}

/// Tells the client why, if it can be told.
async fn say_goodbye<S: AsyncRead + AsyncWrite + Unpin>(
    wire: Option<Wire<S>>,
    dialect: Dialect,
    reason: DisconnectReason,
    limit: Duration,
) {
    let Some(mut wire) = wire else { return };
    if codec::encode(dialect, Outgoing::Disconnect(reason), wire.output()).is_ok() {
        wire.close(limit).await;
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
