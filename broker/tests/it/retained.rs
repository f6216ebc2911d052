//! Retained messages, and the options of subscriptions.

use std::collections::BTreeSet;

use gnomon_broker::{AttachConfig, Limits, Qos};

use crate::harness::{start, start_with};
use crate::raw::{Raw, V4, V5, frame, text};

#[tokio::test]
async fn a_wildcard_gets_all_of_them_whatever_its_window() {
    const COUNT: u16 = 3_000;
    let running = start_with(Limits { queue_messages: 10, ..Limits::default() }).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    for n in 0..COUNT {
        publisher.publish_with(0x03, &format!("r/{n}"), n + 1, &[], &n.to_be_bytes()).await;
        publisher.expect_ack(0x40).await;
    }
    for qos in [0, 1] {
        let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, &[0x21, 0, 3]).await;
        raw.send(&frame(0x82, &[&[0, 9, 0][..], &text("r/#"), &[qos]].concat())).await;
        let mut found = BTreeSet::new();
        while found.len() < usize::from(COUNT) {
            let packet = raw.packet().await;
            if packet.first == 0x90 {
                continue;
            }
            assert_eq!(packet.first & 0x01, 0x01, "the retain flag");
            let end = packet.body.len();
            found.insert(packet.body[end - 2..].to_vec());
            if qos == 1 {
                let at = end - 5;
                raw.send(&frame(0x40, &packet.body[at..at + 2])).await;
            }
        }
        raw.ping().await;
    }
}

#[tokio::test]
async fn only_an_empty_retained_message_deletes_one() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "p").await;
    raw.publish_with(0x01, "a", 0, &[], b"kept").await;
    raw.publish("a", None, b"").await;
    raw.subscribe_among_messages("a", 0).await;
    assert_eq!(raw.delivery().await, (0x01, 0, b"kept".to_vec()));
    raw.publish_with(0x01, "a", 0, &[], b"").await;
    assert_eq!(raw.delivery().await, (0, 0, Vec::new()));
    raw.subscribe_among_messages("a", 0).await;
    raw.ping().await;
    assert_eq!(running.metric("retained_messages"), 0);
}

/// Bits of the options of a subscription.
const IF_NEW: u8 = 0x10;
const NEVER: u8 = 0x20;
const AS_PUBLISHED: u8 = 0x08;

#[tokio::test]
async fn a_subscription_says_when_it_wants_them_and_with_which_flag() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    raw.publish_with(0x01, "a", 0, &[], b"kept").await;
    raw.subscribe_among_messages("a", NEVER).await;
    raw.ping().await;
    raw.subscribe_among_messages("a", IF_NEW).await;
    raw.ping().await;
    raw.subscribe_among_messages("+", IF_NEW | AS_PUBLISHED).await;
    assert_eq!(raw.delivery().await, (0x01, 0, b"kept".to_vec()));
    raw.subscribe_among_messages("a", 0).await;
    assert_eq!(raw.delivery().await, (0x01, 0, b"kept".to_vec()));
    raw.publish_with(0x01, "a", 0, &[], b"live").await;
    assert_eq!(raw.delivery().await, (0x01, 0, b"live".to_vec()));
    let mut plain = Raw::connect(running.addr, V5, "service/s", "plain").await;
    plain.subscribe("b", 0).await;
    plain.publish_with(0x01, "b", 0, &[], b"live").await;
    assert_eq!(plain.delivery().await, (0, 0, b"live".to_vec()));
}

#[tokio::test]
async fn identifiers_tell_which_subscriptions_match() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    for (filter, id) in [("a/b", 1), ("a/+", 2), ("c", 3)] {
        let body = [&[0, 1, 2, 0x0b, id][..], &text(filter), &[0]].concat();
        raw.send(&frame(0x82, &body)).await;
        raw.packet().await;
    }
    raw.publish("a/b", None, b"x").await;
    let body = raw.packet().await.body;
    let mut ids = [body[7], body[9]];
    ids.sort_unstable();
    assert_eq!((body[5], ids, &body[10..]), (4, [1, 2], &b"x"[..]));
}

#[tokio::test]
async fn too_many_are_delivered_and_not_kept() {
    let running = start_with(Limits { retained_messages: 1, ..Limits::default() }).await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    raw.subscribe("#", 0).await;
    for topic in ["a", "b"] {
        raw.publish_with(0x01, topic, 0, &[], b"x").await;
        assert_eq!(raw.message().await.0, topic);
    }
    assert_eq!(running.metric("retained_messages"), 1);
    assert_eq!(running.metric("dropped_messages_total{reason=\"retained_full\"}"), 1);
}

#[tokio::test]
async fn the_application_retains_too() {
    let running = start().await;
    let attachment = running.broker.attach(AttachConfig { filters: Vec::new(), capacity: 10 });
    attachment.publisher().retain("a", "kept".into(), Qos::AtLeastOnce).unwrap();
    let mut raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    raw.subscribe("a", 1).await;
    assert_eq!(raw.delivery().await, (0x03, 1, b"kept".to_vec()));
}

#[tokio::test]
async fn an_expiry_is_counted_down_and_what_has_expired_is_not_delivered() {
    let running = start().await;
    let hour = [0x11, 0, 0, 0x0e, 0x10];
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, &hour).await;
    raw.subscribe("a", 1).await;
    drop(raw);
    running.metric_reaches("away_sessions", 1).await;
    let mut publisher = Raw::connect(running.addr, V5, "service/s", "p").await;
    for (n, seconds) in [(1, 1), (2, 100)] {
        publisher.publish_with(0x02, "a", n, &[0x02, 0, 0, 0, seconds], b"x").await;
        publisher.expect_ack(0x40).await;
    }
    let begin = std::time::Instant::now();
    crate::harness::eventually("a second", || begin.elapsed().as_millis() > 1_100).await;
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", false, &hour).await;
    let body = raw.packet().await.body;
    let left = u32::from_be_bytes([body[7], body[8], body[9], body[10]]);
    assert!(body[6] == 0x02 && (90..100).contains(&left), "{body:02x?}");
    assert_eq!(running.metric("dropped_messages_total{reason=\"expired\"}"), 1);
}

#[tokio::test]
async fn what_a_request_needs_is_passed_through() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    raw.subscribe("a", 0).await;
    let properties = [&[0x01, 1, 0x08][..], &text("answer/here"), &[0x09], &text("id-7")].concat();
    raw.publish_with(0, "a", 0, &properties, b"?").await;
    let len = u8::try_from(properties.len()).unwrap();
    assert_eq!(raw.packet().await.body, [&text("a")[..], &[len], &properties, b"?"].concat());
}
