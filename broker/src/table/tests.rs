//! Tests of the table of sessions.

use super::*;
use crate::packet::SubscriptionOptions;
use crate::principal::Role;

fn key(principal: &str, client_id: &str) -> ClientKey {
    ClientKey {
        principal: Arc::new(Principal::new(principal, Role::Node)),
        client_id: client_id.into(),
    }
}

fn subscription(filter: &str, qos: Qos) -> Subscription {
    let options = SubscriptionOptions { qos, no_local: false };
    Subscription { filter: filter.parse().unwrap(), options }
}

fn reached(table: &Table<&'static str>, topic: &str) -> Vec<(&'static str, Qos)> {
    let message = Message {
        topic: topic.parse().unwrap(),
        payload: bytes::Bytes::new(),
        qos: Qos::AtLeastOnce,
        properties: None,
    };
    table.route(&message, None).map(|(outlet, qos)| (*outlet, qos)).collect()
}

#[test]
fn the_same_client_takes_its_session_over_and_a_namesake_does_not() {
    let mut table = Table::default();
    assert_eq!(table.register(SessionId(1), key("a", "c"), "first"), None);
    assert_eq!(table.register(SessionId(2), key("b", "c"), "other"), None);
    assert_eq!(table.register(SessionId(3), key("a", "c"), "second"), Some(&"first"));
}

#[test]
fn a_late_goodbye_of_the_old_session_leaves_the_new_one() {
    let mut table = Table::default();
    table.register(SessionId(1), key("a", "c"), "first");
    table.register(SessionId(2), key("a", "c"), "second");
    table.unregister(SessionId(1));
    assert_eq!(table.register(SessionId(3), key("a", "c"), "third"), Some(&"second"));
}

#[test]
fn what_a_session_subscribed_to_leaves_with_it() {
    let mut table = Table::default();
    table.register(SessionId(1), key("a", "c"), "one");
    assert!(table.subscribe(SessionId(1), &subscription("x/+", Qos::AtMostOnce), 2));
    assert!(table.subscribe(SessionId(1), &subscription("x/y", Qos::AtLeastOnce), 2));
    assert_eq!(reached(&table, "x/y"), [("one", Qos::AtLeastOnce)]);
    table.unregister(SessionId(1));
    assert_eq!(reached(&table, "x/y"), []);
}

#[test]
fn the_number_of_subscriptions_is_bounded_but_one_can_be_replaced() {
    let mut table = Table::default();
    table.register(SessionId(1), key("a", "c"), "one");
    assert!(table.subscribe(SessionId(1), &subscription("x", Qos::AtLeastOnce), 1));
    assert!(!table.subscribe(SessionId(1), &subscription("y", Qos::AtLeastOnce), 1));
    assert!(table.subscribe(SessionId(1), &subscription("x", Qos::AtMostOnce), 1));
    assert_eq!(reached(&table, "x"), [("one", Qos::AtMostOnce)]);
    assert_eq!(reached(&table, "y"), []);
}

#[test]
fn unsubscribing_says_whether_there_was_something() {
    let mut table = Table::default();
    table.register(SessionId(1), key("a", "c"), "one");
    table.subscribe(SessionId(1), &subscription("x", Qos::AtLeastOnce), 1);
    assert!(table.unsubscribe(SessionId(1), &"x".parse().unwrap()));
    assert!(!table.unsubscribe(SessionId(1), &"x".parse().unwrap()));
    assert_eq!(reached(&table, "x"), []);
}
