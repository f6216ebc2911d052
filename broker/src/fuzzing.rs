//! What the fuzz targets of `fuzz/` drive, since it is not public: the codec, and a session with
//! its mailbox. Each panics if a law does not hold.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::acl::{Acl, Rule};
use crate::codec::{self, Dialect};
use crate::limits::Limits;
use crate::mailbox::{Mailbox, Next, Room};
use crate::outbox::{Bounds, Queued};
use crate::packet::{
    Ack, Delivery, Incoming, IncomingPublish, Message, Outgoing, Protocol, Qos, SubscribeAnswer,
    Will,
};
use crate::principal::{Principal, Role};
use crate::reason::DisconnectReason;
use crate::session::{Agreement, Effect, Policy, Session};
use crate::stored::Store;
use crate::table::ClientKey;
use crate::topic::TopicName;

/// The largest packet.
const PACKET: usize = 64 * 1024;

/// Bytes as a client sends them. What decodes is sent on in the same version and must decode to
/// the same.
pub fn codec(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let protocol = version(*first);
    let mut buffer = BytesMut::from(rest);
    // Whether it is taken or refused is for the rest of the broker.
    let _connect = codec::decode_connect(&mut BytesMut::from(rest), PACKET);
    while let Ok(Some(packet)) = codec::decode(protocol, &mut buffer, PACKET) {
        match packet {
            Incoming::Publish(publish) => passes_on(protocol, publish),
            Incoming::Ack(Ack::Taken { pkid }) => {
                let outgoing = Outgoing::PubAck { pkid, denied: false };
                let again = sent(protocol, outgoing);
                assert!(matches!(again, Some(Incoming::Ack(Ack::Taken { pkid: p })) if p == pkid));
            }
            Incoming::Ack(_)
            | Incoming::Subscribe(_)
            | Incoming::Unsubscribe { .. }
            | Incoming::Ping
            | Incoming::Disconnect { .. } => {}
        }
    }
}

fn version(byte: u8) -> Protocol {
    if byte & 1 == 0 { Protocol::V4 } else { Protocol::V5 }
}

fn sent(protocol: Protocol, packet: Outgoing) -> Option<Incoming> {
    let mut buffer = BytesMut::new();
    codec::encode(Dialect::of(protocol), packet, &mut buffer).ok()?;
    let again = codec::decode(protocol, &mut buffer, 2 * PACKET);
    let again = again.expect("what we send can be read");
    assert!(buffer.is_empty(), "a packet is as long as it says");
    again
}

fn passes_on(protocol: Protocol, publish: IncomingPublish) {
    let limits = Limits::default().topic;
    let Ok(topic) = TopicName::from_bytes(&publish.topic, limits) else { return };
    let Some(qos) = Qos::of(publish.qos) else { return };
    let IncomingPublish { payload, properties, expiry, pkid, .. } = publish;
    for protocol in [protocol, Protocol::V4, Protocol::V5] {
        let message = Message {
            properties: properties.clone(),
            ..Message::new(topic.clone(), payload.clone(), qos)
        };
        let delivery = Delivery {
            message: Arc::new(message),
            qos,
            pkid,
            dup: false,
            retain: false,
            ids: Box::default(),
            expiry,
        };
        let Some(Incoming::Publish(again)) = sent(protocol, Outgoing::Publish(delivery)) else {
            // Properties that came in 64 KiB may not fit with what we add.
            continue;
        };
        assert_eq!(again.topic, topic.as_str().as_bytes());
        assert_eq!((again.qos, &again.payload), (qos.number(), &payload));
        assert_eq!(again.pkid, if qos == Qos::AtMostOnce { 0 } else { pkid });
        if protocol == Protocol::V5 {
            assert_eq!(again.expiry, expiry);
            let size = |properties: &Option<Box<codec::Properties>>| {
                properties.as_ref().map_or(0, |properties| properties.size())
            };
            assert_eq!(size(&again.properties), size(&properties));
        }
    }
}

/// A session that hears itself: what it publishes waits for it, it breaks off and comes back. The
/// bounds of its limits hold.
pub fn session(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let protocol = version(*first);
    let mut state = State::new(protocol, first & 2 != 0);
    let mut buffer = BytesMut::from(rest);
    loop {
        match codec::decode(protocol, &mut buffer, PACKET) {
            Ok(Some(packet)) => state.take(packet),
            // As if the client came back with what follows.
            Err(_) if !buffer.is_empty() => {
                let _skipped = buffer.split_to(1);
                state.reconnect();
            }
            Ok(None) | Err(_) => return,
        }
        state.check();
    }
}

struct State {
    protocol: Protocol,
    durable: bool,
    policy: Arc<Policy>,
    session: Session,
    mailbox: Mailbox,
    store: Store,
    now: Instant,
}

/// Small, so that they are reached.
fn limits() -> Limits {
    Limits {
        queue_messages: 8,
        queue_bytes: 4_096,
        away_messages: 4,
        away_bytes: 2_048,
        inflight: 4,
        receive_maximum: 4,
        received_v4: 6,
        topic_aliases: 2,
        subscriptions: 4,
        publish_rate: 100,
        ..Limits::default()
    }
}

impl State {
    fn new(protocol: Protocol, durable: bool) -> Self {
        let rules = Rule::new(Role::Anonymous, &["#"], &["#"]).into_iter().collect();
        let policy = Arc::new(Policy { acl: Acl::new(rules), limits: limits() });
        let now = Instant::now();
        let limits = &policy.limits;
        let room = Room {
            present: Bounds { messages: limits.queue_messages, bytes: limits.queue_bytes },
            away: Bounds { messages: limits.away_messages, bytes: limits.away_bytes },
            received: limits.received_v4.into(),
        };
        let mailbox = Mailbox::new(room, limits.inflight, durable);
        let session = Session::new(agreement(protocol), Arc::clone(&policy), now);
        let store = Store::new(3_000, prometheus_client::metrics::gauge::Gauge::default());
        Self { protocol, durable, policy, session, mailbox, store, now }
    }

    fn take(&mut self, packet: Incoming) {
        self.now += Duration::from_millis(10);
        self.session.received(self.now);
        if self.serve(packet).is_err() {
            self.reconnect();
        }
    }

    fn serve(&mut self, packet: Incoming) -> Result<(), DisconnectReason> {
        self.session.check_time(self.now)?;
        match self.session.handle(packet, self.now)? {
            Effect::Send(packet) => self.send(packet),
            Effect::Acknowledge(ack) => {
                if let Some(answer) = self.mailbox.acknowledge(ack)? {
                    self.send(answer);
                }
            }
            Effect::Publish { message, pkid } => {
                if message.qos != Qos::ExactlyOnce || self.mailbox.receive(pkid)? {
                    let qos = message.qos;
                    let ids = Box::default();
                    let queued = Queued { message, qos, retain: false, ids, group: None };
                    self.mailbox.offer(queued);
                }
            }
            Effect::Subscribe { pkid, requests } => {
                let answers = requests.iter().map(|request| match request {
                    Ok(granted) => SubscribeAnswer::Granted(granted.options.qos),
                    Err(refused) => *refused,
                });
                let answers = answers.collect();
                self.send(Outgoing::SubAck { pkid, answers });
            }
            Effect::Unsubscribe { pkid, filters } => {
                let existed = filters.iter().map(Option::is_some).collect();
                self.send(Outgoing::UnsubAck { pkid, existed });
            }
            Effect::Denied { answer, .. } => {
                if let Some(packet) = answer? {
                    self.send(packet);
                }
            }
        }
        loop {
            match self.mailbox.next(self.now)? {
                Next::Send(packet) => self.send(packet),
                Next::Expired => {}
                Next::Idle => return Ok(()),
            }
        }
    }

    fn send(&self, packet: Outgoing) {
        let encoded = codec::encode(Dialect::of(self.protocol), packet, &mut BytesMut::new());
        assert!(encoded.is_ok(), "this client takes packets of any size");
    }

    fn reconnect(&mut self) {
        let _will = self.session.take_will(DisconnectReason::ConnectionLost);
        let lost = DisconnectReason::ConnectionLost;
        if self.durable {
            self.mailbox.leave(lost, &self.store);
            let limits = &self.policy.limits;
            let (messages, _) = self.mailbox.depth();
            assert!(messages <= limits.away_messages, "{messages} wait for one who is away");
            self.mailbox = self.mailbox.hand_over(limits.inflight, true);
        } else {
            *self = Self::new(self.protocol, false);
        }
        self.session = Session::new(agreement(self.protocol), Arc::clone(&self.policy), self.now);
    }

    fn check(&self) {
        let limits = &self.policy.limits;
        let (messages, bytes) = self.mailbox.depth();
        assert!(messages <= limits.queue_messages, "{messages} messages wait");
        // A single one may be larger.
        assert!(bytes <= limits.queue_bytes.max(2 * PACKET), "{bytes} bytes wait");
        assert!(self.mailbox.in_flight() <= bytes);
    }
}

fn agreement(protocol: Protocol) -> Agreement {
    let topic = TopicName::from_bytes(b"will", Limits::default().topic);
    let message = topic.map(|topic| Message::new(topic, Bytes::new(), Qos::AtMostOnce));
    let will = message.map(|message| Will { message, delay: Duration::ZERO, expiry: None });
    Agreement {
        dialect: Dialect::of(protocol),
        key: Arc::new(ClientKey {
            principal: Arc::new(Principal::anonymous()),
            client_id: "c".into(),
        }),
        clean_start: false,
        keep_alive: NonZeroU16::new(60),
        expiry: Duration::from_mins(1),
        inflight: limits().inflight,
        will: will.ok().map(Arc::new),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn each(target: &str, run: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
        let mut seen = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
            seen += 1;
        }
        assert!(seen > 10, "{target}: only {seen}");
    }

    #[test]
    fn the_laws_hold_for_the_corpus() {
        each("mqtt_codec", codec);
        each("mqtt_session", session);
    }

    #[test]
    fn the_laws_hold_for_a_session_that_publishes_without_end() {
        let one = [0x32, 5, 0, 1, b'a', 0, 1];
        for flags in 0..4_u8 {
            let mut bytes = vec![flags];
            (0..200_u8).for_each(|_| bytes.extend(one));
            session(&bytes);
            codec(&bytes);
        }
    }
}
