//! Tests of the table of sessions.

use super::*;
use crate::packet::{Qos, RetainHandling};
use crate::principal::Role;

fn key(principal: &str, client_id: &str) -> Arc<ClientKey> {
    Arc::new(ClientKey {
        principal: Arc::new(Principal::new(principal, Role::Node)),
        client_id: client_id.into(),
    })
}

fn subscription(filter: &str, qos: Qos) -> Subscription {
    let filter: TopicFilter = filter.parse().unwrap();
    let options =
        SubscriptionOptions { qos, no_local: false, retain_as_published: false, id: None };
    let shared = filter.shared_parts();
    Subscription { filter, shared, options, retain_handling: RetainHandling::Always }
}

fn message(topic: &str) -> Arc<Message> {
    Arc::new(Message::new(topic.parse().unwrap(), bytes::Bytes::new(), Qos::AtLeastOnce))
}

fn reached(table: &Table<&'static str>, topic: &str) -> Vec<(&'static str, Qos)> {
    let message = message(topic);
    let routed = table.route(&message, None);
    routed.map(|(outlet, queued)| (*outlet, queued.qos)).collect()
}

fn with(sessions: &[(u64, &str, &'static str)]) -> Table<&'static str> {
    let mut table = Table::default();
    for (id, principal, outlet) in sessions {
        table.insert(SessionId(*id), key(principal, outlet), None, *outlet);
    }
    table
}

fn after(start: Instant, seconds: u64) -> Instant {
    start + std::time::Duration::from_secs(seconds)
}

#[test]
fn a_client_id_means_something_only_within_its_principal() {
    let table = with(&[(1, "a", "c"), (2, "b", "c")]);
    assert_eq!(table.of_client(&key("a", "c")).map(|(id, _)| id), Some(SessionId(1)));
    assert_eq!(table.of_client(&key("b", "c")).map(|(id, _)| id), Some(SessionId(2)));
    assert!(table.of_client(&key("a", "d")).is_none());
}

#[test]
fn what_a_session_subscribed_to_leaves_with_it() {
    let mut table = with(&[(1, "a", "one")]);
    let sub = |filter, qos| subscription(filter, qos);
    assert_eq!(table.subscribe(SessionId(1), &sub("x/+", Qos::AtMostOnce), 2), Some(true));
    assert_eq!(table.subscribe(SessionId(1), &sub("x/y", Qos::AtLeastOnce), 2), Some(true));
    assert_eq!(reached(&table, "x/y"), [("one", Qos::AtLeastOnce)]);
    table.remove(SessionId(1));
    assert_eq!(reached(&table, "x/y"), []);
    assert_eq!(table.count_of(&Principal::new("a", Role::Node)), (0, 0));
}

#[test]
fn the_number_of_subscriptions_is_bounded_but_one_can_be_replaced() {
    let mut table = with(&[(1, "a", "one")]);
    let x = |qos| subscription("x", qos);
    assert_eq!(table.subscribe(SessionId(1), &x(Qos::AtLeastOnce), 1), Some(true));
    let other = subscription("y", Qos::AtLeastOnce);
    assert_eq!(table.subscribe(SessionId(1), &other, 1), None);
    assert_eq!(table.subscribe(SessionId(1), &x(Qos::AtMostOnce), 1), Some(false));
    assert_eq!(reached(&table, "x"), [("one", Qos::AtMostOnce)]);
    assert_eq!(reached(&table, "y"), []);
}

#[test]
fn unsubscribing_says_whether_there_was_something() {
    let mut table = with(&[(1, "a", "one")]);
    for filter in ["x", "$share/g/x"] {
        table.subscribe(SessionId(1), &subscription(filter, Qos::AtLeastOnce), 9);
        assert!(table.unsubscribe(SessionId(1), &filter.parse().unwrap()));
        assert!(!table.unsubscribe(SessionId(1), &filter.parse().unwrap()));
    }
    assert_eq!(reached(&table, "x"), []);
    assert_eq!(table.groups(&message("x")).count(), 0);
}

#[test]
fn a_resumed_session_has_its_subscriptions_under_its_new_id() {
    let mut table = with(&[(1, "a", "c")]);
    table.subscribe(SessionId(1), &subscription("x", Qos::AtLeastOnce), 9);
    table.subscribe(SessionId(1), &subscription("$share/g/y", Qos::AtLeastOnce), 9);
    let now = Instant::now();
    table.leave(SessionId(1), Away { ends: after(now, 5), will: None });
    assert_eq!(table.count_of(&Principal::new("a", Role::Node)), (0, 1));
    table.resume(SessionId(1), SessionId(2), None, "new");
    assert_eq!(table.count_of(&Principal::new("a", Role::Node)), (1, 0));
    assert_eq!(reached(&table, "x"), [("new", Qos::AtLeastOnce)]);
    assert!(table.unsubscribe(SessionId(2), &"x".parse().unwrap()));
    let group = table.groups(&message("y")).next().unwrap();
    let message = message("y");
    let members: Vec<_> = table.candidates(group, &message).map(|(e, _)| e.outlet).collect();
    assert_eq!(members, ["new"]);
    assert_eq!(table.next_due(), None);
}

#[test]
fn first_the_will_is_due_and_then_the_end() {
    let mut table = with(&[(1, "a", "one"), (2, "a", "two")]);
    let now = Instant::now();
    let will = Arc::new(Will {
        message: Message::clone(&message("will")),
        delay: std::time::Duration::from_secs(2),
        expiry: None,
    });
    table.leave(SessionId(1), Away { ends: after(now, 5), will: Some((after(now, 2), will)) });
    table.leave(SessionId(2), Away { ends: after(now, 3), will: None });
    assert_eq!(table.away(), 2);
    assert!(table.take_due(after(now, 1)).is_none());
    let due = table.take_due(after(now, 2)).unwrap();
    assert!(due.id == SessionId(1) && due.will.is_some() && due.ended.is_none());
    assert!(table.take_due(after(now, 2)).is_none());
    let due = table.take_due(after(now, 9)).unwrap();
    assert!(due.id == SessionId(2) && due.ended.is_some());
    let due = table.take_due(after(now, 9)).unwrap();
    assert!(due.id == SessionId(1) && due.will.is_none() && due.ended.is_some());
    assert_eq!((table.next_due(), table.away()), (None, 0));
}

#[test]
fn a_session_that_is_ended_early_has_its_will_due_at_once() {
    let mut table = with(&[(1, "a", "one")]);
    let now = Instant::now();
    let message = Message::clone(&message("will"));
    let delay = std::time::Duration::from_secs(2);
    let will = Arc::new(Will { message, delay, expiry: None });
    table.leave(SessionId(1), Away { ends: after(now, 5), will: Some((after(now, 2), will)) });
    table.end(SessionId(1));
    let due = table.take_due(now).unwrap();
    assert!(due.will.is_some() && due.ended.is_some());
    assert!(table.take_due(after(now, 9)).is_none());
}
