//! The mailbox: bounds, acknowledgements, what a resumed session finds.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;

use super::*;

const ROOM: Room = Room {
    present: Bounds { messages: 4, bytes: 10_000 },
    away: Bounds { messages: 2, bytes: 10_000 },
    received: 2,
};

fn mailbox(durable: bool) -> Mailbox {
    Mailbox::new(ROOM, 2, durable)
}

fn store() -> Store {
    Store::new(usize::MAX, Gauge::default())
}

fn queued(payload: &'static str, qos: Qos) -> Queued {
    Queued::new(Arc::new(Message::new("t".parse().unwrap(), payload.into(), qos)), qos)
}

fn offer(mailbox: &mut Mailbox, payloads: &[&'static str]) -> Vec<Offer> {
    payloads.iter().map(|payload| mailbox.offer(queued(payload, Qos::AtLeastOnce))).collect()
}

/// What is sent until nothing more is: payload, packet id, duplicate.
fn sent(mailbox: &mut Mailbox) -> Vec<(String, u16, bool)> {
    let mut all = Vec::new();
    loop {
        match mailbox.next(Instant::now()).unwrap() {
            Next::Send(Outgoing::Publish(d)) => {
                let payload = String::from_utf8(d.message.payload.to_vec()).unwrap();
                all.push((payload, d.pkid, d.dup));
            }
            Next::Send(Outgoing::PubRel { pkid, .. }) => all.push(("PUBREL".into(), pkid, false)),
            Next::Send(other) => panic!("{other:?}"),
            Next::Expired => all.push(("expired".into(), 0, false)),
            Next::Idle => return all,
        }
    }
}

fn found(payload: &str, pkid: u16, dup: bool) -> (String, u16, bool) {
    (payload.into(), pkid, dup)
}

#[test]
fn a_full_queue_drops_what_may_be_lost() {
    let mut mailbox = mailbox(false);
    assert_eq!(
        offer(&mut mailbox, &["1", "2", "3", "4"]),
        [Offer::Queued, Offer::Queued, Offer::Congested, Offer::Congested]
    );
    assert_eq!(mailbox.offer(queued("5", Qos::AtMostOnce)), Offer::Dropped);
    assert_eq!(mailbox.check(), Ok(()));
}

#[test]
fn a_full_queue_cuts_the_session_off_and_frees_its_memory() {
    let mut mailbox = mailbox(false);
    assert_eq!(offer(&mut mailbox, &["1", "2", "3", "4", "5"]).last(), Some(&Offer::CutOff));
    assert_eq!(mailbox.check(), Err(DisconnectReason::QueueFull));
    assert!(mailbox.next(Instant::now()).is_err());
    assert_eq!(offer(&mut mailbox, &["6"]), [Offer::Closed]);
    assert!(mailbox.outbox.pop().is_none());
}

#[test]
fn the_bound_in_bytes_holds_but_one_message_always_fits() {
    let room = Room { present: Bounds { messages: 9, bytes: 200 }, ..ROOM };
    let mut mailbox = Mailbox::new(room, 2, false);
    let large = || queued("x", Qos::AtMostOnce);
    assert_eq!(mailbox.offer(large()), Offer::Congested);
    assert_eq!(mailbox.offer(large()), Offer::Dropped);
    assert_eq!(sent(&mut mailbox).len(), 1);
    assert_eq!(mailbox.offer(large()), Offer::Congested);
}

#[test]
fn a_kept_message_counts_until_it_is_acknowledged() {
    let room = Room { present: Bounds { messages: 9, bytes: 200 }, ..ROOM };
    let mut mailbox = Mailbox::new(room, 2, true);
    offer(&mut mailbox, &["1"]);
    assert_eq!(sent(&mut mailbox), [found("1", 1, false)]);
    assert_eq!(mailbox.offer(queued("2", Qos::AtMostOnce)), Offer::Dropped);
    mailbox.acknowledge(Ack::Taken { pkid: 1 }).unwrap();
    assert_eq!(offer(&mut mailbox, &["3"]), [Offer::Congested]);
}

#[test]
fn publishers_are_relieved_once_when_a_quarter_is_left() {
    let mut mailbox = mailbox(false);
    offer(&mut mailbox, &["1", "2", "3"]);
    sent(&mut mailbox);
    assert!(mailbox.is_relieved());
    assert!(!mailbox.is_relieved());
}

#[test]
fn a_closed_window_holds_only_what_needs_it() {
    let mut mailbox = mailbox(false);
    offer(&mut mailbox, &["1", "2"]);
    mailbox.offer(queued("zero", Qos::AtMostOnce));
    offer(&mut mailbox, &["3"]);
    let first = [found("1", 1, false), found("2", 2, false), found("zero", 0, false)];
    assert_eq!(sent(&mut mailbox), first);
    mailbox.acknowledge(Ack::Taken { pkid: 2 }).unwrap();
    assert_eq!(sent(&mut mailbox), [found("3", 3, false)]);
}

#[test]
fn what_has_expired_is_not_sent() {
    let mut mailbox = mailbox(false);
    let message = Message {
        expires: Some(Instant::now()),
        ..Message::new("t".parse().unwrap(), "late".into(), Qos::AtMostOnce)
    };
    mailbox.offer(Queued::new(Arc::new(message), Qos::AtMostOnce));
    offer(&mut mailbox, &["good"]);
    assert_eq!(sent(&mut mailbox), [found("expired", 0, false), found("good", 1, false)]);
}

#[test]
fn the_first_reason_to_close_stays() {
    let mut mailbox = mailbox(false);
    mailbox.close(DisconnectReason::TakenOver);
    mailbox.close(DisconnectReason::ServerShutdown);
    assert_eq!(mailbox.check(), Err(DisconnectReason::TakenOver));
}

#[test]
fn a_message_of_qos_2_is_new_until_it_is_released() {
    let mut mailbox = mailbox(false);
    assert_eq!(mailbox.receive(7), Ok(true));
    assert_eq!(mailbox.receive(7), Ok(false));
    assert_eq!(mailbox.receive(3), Ok(true));
    assert_eq!(mailbox.receive(9), Err(DisconnectReason::ReceiveMaximumExceeded));
    for expected in [true, false] {
        let answer = mailbox.acknowledge(Ack::Release { pkid: 7 }).unwrap();
        assert!(matches!(answer, Some(Outgoing::PubComp { pkid: 7, found }) if found == expected));
    }
    assert_eq!(mailbox.receive(7), Ok(true));
}

#[test]
fn a_resumed_session_gets_what_it_did_not_acknowledge_and_then_what_waited() {
    let mut first = mailbox(true);
    first.offer(queued("two", Qos::ExactlyOnce));
    offer(&mut first, &["one"]);
    assert_eq!(sent(&mut first), [found("two", 1, false), found("one", 2, false)]);
    first.receive(5).unwrap();
    assert_eq!(first.leave(DisconnectReason::ConnectionLost, &store()), 0);
    assert_eq!(first.offer(queued("lost", Qos::AtMostOnce)), Offer::Away);
    assert_eq!(offer(&mut first, &["later"]), [Offer::Displaced(0)]);

    let mut second = first.hand_over(2, true);
    assert!(first.was_handed_over() && first.check().is_err());
    assert_eq!(sent(&mut second), [found("two", 1, true), found("one", 2, true)]);
    second.acknowledge(Ack::Received { pkid: 1, refused: false }).unwrap();
    assert_eq!(second.receive(5), Ok(false), "the client's own QoS 2 message");

    let mut third = second.hand_over(2, true);
    assert_eq!(sent(&mut third), [found("PUBREL", 1, false), found("one", 2, true)]);
    third.acknowledge(Ack::Complete { pkid: 1 }).unwrap();
    third.acknowledge(Ack::Taken { pkid: 2 }).unwrap();
    assert_eq!(sent(&mut third), [found("later", 3, false)]);
}

#[test]
fn while_the_client_is_away_the_oldest_goes_first() {
    let mut away = mailbox(true);
    offer(&mut away, &["1", "2", "3"]);
    assert_eq!(away.leave(DisconnectReason::ConnectionLost, &store()), 1);
    assert_eq!(offer(&mut away, &["4", "5"]), [Offer::Displaced(1), Offer::Displaced(1)]);
    let mut back = away.hand_over(9, true);
    assert_eq!(sent(&mut back), [found("4", 1, false), found("5", 2, false)]);
}

#[test]
fn a_durable_session_that_is_cut_off_keeps_the_newest() {
    let mut mailbox = mailbox(true);
    assert_eq!(offer(&mut mailbox, &["1", "2", "3", "4", "5"]).last(), Some(&Offer::CutOff));
    let mut back = mailbox.hand_over(9, true);
    let payloads: Vec<_> = sent(&mut back).into_iter().map(|(payload, ..)| payload).collect();
    assert_eq!(payloads, ["2", "3", "4", "5"]);
}

#[test]
fn what_waits_for_all_clients_together_that_are_away_has_a_bound() {
    let used = Gauge::default();
    let one = queued("1", Qos::AtLeastOnce).message.size();
    let store = Store::new(3 * one, used.clone());
    let [mut first, mut second] = [mailbox(true), mailbox(true)];
    offer(&mut first, &["1", "2"]);
    assert_eq!(first.leave(DisconnectReason::ConnectionLost, &store), 0);
    offer(&mut second, &["1", "2"]);
    assert_eq!(second.leave(DisconnectReason::ConnectionLost, &store), 1);
    assert_eq!(used.get(), 3 * i64::try_from(one).unwrap());
    assert_eq!(offer(&mut second, &["3"]), [Offer::AwayRefused(0)]);
    let mut back = first.hand_over(9, true);
    assert_eq!(sent(&mut back).len(), 2);
    assert_eq!(offer(&mut second, &["4"]), [Offer::Displaced(0)]);
    drop(second);
    assert_eq!(used.get(), 0);
}
