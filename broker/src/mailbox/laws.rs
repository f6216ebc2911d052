//! A mailbox and a client over a link that breaks at any point: what each promises of each `QoS`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;

use prometheus_client::metrics::gauge::Gauge;

use super::*;

const ROOM: Room = Room {
    present: Bounds { messages: 10_000, bytes: 100_000_000 },
    away: Bounds { messages: 10_000, bytes: 100_000_000 },
    received: 10,
};

#[derive(Debug, Clone)]
enum Step {
    Offer(Qos),
    /// The mailbox sends one packet.
    Send,
    /// The client takes one packet and answers.
    Take,
    /// The mailbox takes one answer.
    Answer,
    /// The connection breaks with all that is under way, and the client comes back.
    Break(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let qos = prop::sample::select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce]);
    prop_oneof![
        4 => qos.prop_map(Step::Offer),
        5 => Just(Step::Send),
        5 => Just(Step::Take),
        5 => Just(Step::Answer),
        1 => (1..5_u16).prop_map(Step::Break),
    ]
}

/// Both ends and what is between them.
struct World {
    mailbox: Mailbox,
    max: u16,
    down: VecDeque<Outgoing>,
    up: VecDeque<Ack>,
    /// The packet ids of `QoS` 2 messages that the client has and that are not released.
    open: BTreeSet<u16>,
    /// How often the client was given each message.
    seen: BTreeMap<u32, u32>,
    order: Vec<u32>,
    offered: Vec<(u32, Qos)>,
}

impl World {
    fn new() -> Self {
        Self {
            mailbox: Mailbox::new(ROOM, 3, true),
            max: 3,
            down: VecDeque::new(),
            up: VecDeque::new(),
            open: BTreeSet::new(),
            seen: BTreeMap::new(),
            order: Vec::new(),
            offered: Vec::new(),
        }
    }

    fn offer(&mut self, qos: Qos) {
        let number = u32::try_from(self.offered.len()).unwrap();
        self.offered.push((number, qos));
        let payload = bytes::Bytes::copy_from_slice(&number.to_be_bytes());
        let message = Message::new("t".parse().unwrap(), payload, qos);
        self.mailbox.offer(Queued::new(Arc::new(message), qos));
    }

    fn send(&mut self) -> bool {
        match self.mailbox.next(Instant::now()) {
            Ok(Next::Send(packet)) => {
                self.down.push_back(packet);
                let in_flight = self.mailbox.window.unresolved();
                assert!(in_flight <= usize::from(self.max), "{in_flight} at once");
                true
            }
            Ok(Next::Expired | Next::Idle) => false,
            Err(reason) => panic!("{reason}"),
        }
    }

    fn take(&mut self) -> bool {
        match self.down.pop_front() {
            Some(Outgoing::Publish(Delivery { message, qos, pkid, .. })) => {
                if qos != Qos::ExactlyOnce || self.open.insert(pkid) {
                    let number = u32::from_be_bytes(message.payload[..].try_into().unwrap());
                    *self.seen.entry(number).or_default() += 1;
                    self.order.push(number);
                }
                match qos {
                    Qos::AtMostOnce => {}
                    Qos::AtLeastOnce => self.up.push_back(Ack::Taken { pkid }),
                    Qos::ExactlyOnce => self.up.push_back(Ack::Received { pkid, refused: false }),
                }
            }
            Some(Outgoing::PubRel { pkid, .. }) => {
                self.open.remove(&pkid);
                self.up.push_back(Ack::Complete { pkid });
            }
            Some(other) => panic!("{other:?}"),
            None => return false,
        }
        true
    }

    fn answer(&mut self) -> bool {
        let Some(ack) = self.up.pop_front() else { return false };
        self.down.extend(self.mailbox.acknowledge(ack).unwrap());
        true
    }

    fn reconnect(&mut self, max: u16) {
        self.down.clear();
        self.up.clear();
        let store = Store::new(usize::MAX, Gauge::default());
        self.mailbox.leave(DisconnectReason::ConnectionLost, &store);
        self.max = max;
        self.mailbox = self.mailbox.hand_over(max, true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn each_qos_keeps_its_promise_however_often_the_connection_breaks(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new();
        let mut has_broken = false;
        for step in steps {
            match step {
                Step::Offer(qos) => world.offer(qos),
                Step::Send => drop(world.send()),
                Step::Take => drop(world.take()),
                Step::Answer => drop(world.answer()),
                Step::Break(max) => {
                    world.reconnect(max);
                    has_broken = true;
                }
            }
        }
        while world.send() || world.take() || world.answer() {}
        for (number, qos) in &world.offered {
            let count = world.seen.get(number).copied().unwrap_or(0);
            match qos {
                Qos::AtMostOnce => prop_assert!(count <= 1),
                Qos::AtLeastOnce => prop_assert!(count >= 1, "{number} is lost"),
                Qos::ExactlyOnce => prop_assert_eq!(count, 1, "{}", number),
            }
        }
        if !has_broken {
            prop_assert!(world.order.is_sorted(), "{:?}", world.order);
        }
        prop_assert!(world.open.is_empty());
        prop_assert_eq!(world.mailbox.outbox.held(), 0);
        prop_assert!(world.mailbox.window.unresolved() == 0);
    }

    #[test]
    fn acknowledgements_of_any_kind_end_the_session_at_worst(
        acks in prop::collection::vec((0..5_u8, 1..6_u16), 0..60),
    ) {
        let mut world = World::new();
        for (kind, pkid) in acks {
            world.offer(Qos::ExactlyOnce);
            world.offer(Qos::AtLeastOnce);
            while matches!(world.mailbox.next(Instant::now()), Ok(Next::Send(_))) {}
            let ack = match kind {
                0 => Ack::Taken { pkid },
                1 => Ack::Received { pkid, refused: false },
                2 => Ack::Received { pkid, refused: true },
                3 => Ack::Release { pkid },
                _ => Ack::Complete { pkid },
            };
            match world.mailbox.acknowledge(ack) {
                Ok(_) => prop_assert!(world.mailbox.window.unresolved() <= 3),
                Err(reason) => prop_assert_eq!(reason, DisconnectReason::ProtocolError),
            }
        }
    }
}
