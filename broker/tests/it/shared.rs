//! Shared subscriptions: one member of a group gets each message.

use std::collections::BTreeSet;

use gnomon_broker::Limits;

use crate::harness::{start, start_with};
use crate::raw::{Raw, V4, V5};

#[tokio::test]
async fn the_members_take_turns_and_others_get_all() {
    let running = start().await;
    let mut members = Vec::new();
    for id in ["1", "2"] {
        let mut raw = Raw::connect(running.addr, V5, "service/s", id).await;
        assert_eq!(raw.subscribe("$share/g/a/+", 1).await, 1);
        members.push(raw);
    }
    let mut all = Raw::connect(running.addr, V5, "service/s", "all").await;
    all.subscribe("a/+", 0).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    for n in 0..10_u8 {
        publisher.publish("a/x", Some(u16::from(n) + 1), &[n]).await;
        assert_eq!(all.delivery().await.2, [n]);
    }
    let mut seen = BTreeSet::new();
    for raw in &mut members {
        for _ in 0..5 {
            seen.extend(raw.delivery().await.2);
        }
        raw.ping().await;
    }
    assert_eq!(seen.len(), 10);
}

#[tokio::test]
async fn the_access_rules_look_at_the_inner_filter() {
    let running = start().await;
    let mut node = Raw::connect(running.addr, V5, "node/site-1", "c").await;
    assert_eq!(node.subscribe("$share/g/gnomon/1/site-1/d/+", 0).await, 0);
    assert_eq!(node.subscribe("$share/g/gnomon/1/site-2/d/+", 0).await, 0x87);
    assert_eq!(node.subscribe("$share/g/#", 0).await, 0x87);
    assert_eq!(node.subscribe("$share/g", 0).await, 0x8f);
}

#[tokio::test]
async fn what_a_member_did_not_acknowledge_goes_to_another() {
    let running = start().await;
    for durable in [false, true] {
        let expiry: &[u8] = if durable { &[0x11, 0, 0, 0, 60] } else { &[] };
        let (mut leaver, _) = Raw::resume(running.addr, V5, "leaver", true, expiry).await;
        leaver.subscribe("$share/g/a", 1).await;
        let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
        for n in 0..5_u8 {
            publisher.publish("a", Some(u16::from(n) + 1), &[n]).await;
            publisher.expect_ack(0x40).await;
        }
        for _ in 0..5 {
            leaver.delivery().await;
        }
        let mut stayer = Raw::connect(running.addr, V5, "service/s", "stayer").await;
        stayer.subscribe("$share/g/a", 1).await;
        drop(leaver);
        for n in 0..5 {
            assert_eq!(stayer.delivery().await.2, [n]);
        }
        stayer.send(&[0xe0, 0]).await;
        assert_eq!(stayer.next().await, None);
        if durable {
            drop(Raw::resume(running.addr, V5, "leaver", true, &[]).await);
        }
        running.metric_reaches("disconnects_total{reason=\"connection_lost\"}", 1).await;
    }
}

#[tokio::test]
async fn a_member_without_room_is_passed_over() {
    let limits = Limits { queue_messages: 2, inflight: 1, ..Limits::default() };
    let running = start_with(limits).await;
    let mut stuck = Raw::connect(running.addr, V5, "service/s", "stuck").await;
    stuck.subscribe("$share/g/a", 1).await;
    let mut healthy = Raw::connect(running.addr, V5, "service/s", "healthy").await;
    healthy.subscribe("$share/g/a", 1).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    let mut taken = 0;
    for n in 0..20_u8 {
        publisher.publish("a", Some(u16::from(n) + 1), &[n]).await;
        publisher.expect_ack(0x40).await;
        while taken < n.saturating_sub(2) {
            let (_, pkid, _) = healthy.delivery().await;
            healthy.ack(0x40, pkid).await;
            taken += 1;
        }
    }
    assert_eq!(running.metric("dropped_messages_total{reason=\"cut_off\"}"), 0);
    assert_eq!(running.metric("dropped_messages_total{reason=\"group_full\"}"), 0);
}

/// What killed the broker that the codec comes from.
#[tokio::test]
async fn a_lone_member_that_drops_with_an_unacknowledged_message_and_comes_back() {
    let running = start().await;
    let (mut raw, _) = Raw::resume(running.addr, V4, "c", false, &[]).await;
    raw.subscribe("$share/g/a", 1).await;
    raw.publish("a", None, b"0").await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    publisher.publish("a", Some(1), b"1").await;
    publisher.expect_ack(0x40).await;
    drop(raw);
    running.metric_reaches("away_sessions", 1).await;
    publisher.publish("a", Some(2), b"2").await;
    publisher.expect_ack(0x40).await;
    let (mut raw, present) = Raw::resume(running.addr, V4, "c", false, &[]).await;
    assert!(present);
    let mut seen = BTreeSet::new();
    while seen.len() < 2 {
        let (flags, _, payload) = raw.delivery().await;
        if flags & 0x06 != 0 {
            seen.insert(payload);
        }
    }
    assert_eq!(seen, BTreeSet::from([b"1".to_vec(), b"2".to_vec()]));
    raw.ping().await;
}

#[tokio::test]
async fn leaving_one_group_leaves_the_others() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    raw.subscribe("$share/g/a", 0).await;
    raw.subscribe("$share/g/b", 0).await;
    let body = [&[0, 3][..], &crate::raw::text("$share/g/a")].concat();
    raw.send(&crate::raw::frame(0xa2, &body)).await;
    assert_eq!(raw.packet().await.first, 0xb0);
    raw.publish("a", None, b"nobody").await;
    raw.publish("b", None, b"x").await;
    assert_eq!(raw.message().await, ("b".into(), b"x".to_vec()));
}
