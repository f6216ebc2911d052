//! Sessions that outlive their connection: what they keep, how long, and how much.

use std::time::Duration;

use gnomon_broker::Limits;

use crate::harness::{start, start_with};
use crate::raw::{Raw, V4, V5};

const HOUR: &[u8] = &[0x11, 0, 0, 0x0e, 0x10];

async fn publish_all(addr: std::net::SocketAddr, topic: &str, numbers: std::ops::Range<u8>) {
    let mut raw = Raw::connect(addr, V4, "service/s", "pub").await;
    for n in numbers {
        raw.publish(topic, Some(u16::from(n) + 1), &[n]).await;
        raw.expect_ack(0x40).await;
    }
}

#[tokio::test]
async fn a_client_that_comes_back_finds_its_subscriptions_and_messages() {
    let running = start().await;
    for (version, properties) in [(V4, &[][..]), (V5, HOUR)] {
        let (mut raw, present) = Raw::resume(running.addr, version, "c", true, properties).await;
        assert!(!present);
        if version == V4 {
            (raw, _) = Raw::resume(running.addr, version, "c", false, properties).await;
        }
        raw.subscribe("a", 1).await;
        drop(raw);
        running.metric_reaches("away_sessions", 1).await;
        publish_all(running.addr, "a", 0..3).await;
        let (mut raw, present) = Raw::resume(running.addr, version, "c", false, properties).await;
        assert!(present);
        for n in 0..3 {
            let (flags, pkid, payload) = raw.delivery().await;
            assert_eq!((flags, payload), (0x02, vec![n]));
            raw.ack(0x40, pkid).await;
        }
        raw.ping().await;
        // A clean start ends what was kept.
        let (mut raw, present) = Raw::resume(running.addr, version, "c", true, &[]).await;
        assert!(!present);
        publish_all(running.addr, "a", 0..1).await;
        raw.ping().await;
    }
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_as_a_duplicate() {
    let running = start().await;
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, HOUR).await;
    raw.subscribe("a", 1).await;
    publish_all(running.addr, "a", 0..3).await;
    let (_, first, _) = raw.delivery().await;
    let (_, second, _) = raw.delivery().await;
    raw.ack(0x40, first).await;
    raw.ping_among_messages().await;
    drop(raw);
    running.metric_reaches("away_sessions", 1).await;
    let (mut raw, present) = Raw::resume(running.addr, V5, "c", false, HOUR).await;
    assert!(present);
    assert_eq!(raw.delivery().await, (0x0a, second, vec![1]));
    let (flags, _, payload) = raw.delivery().await;
    assert_eq!((flags, payload), (0x0a, vec![2]));
    raw.ping().await;
}

#[tokio::test]
async fn a_takeover_hands_the_session_over() {
    let running = start().await;
    let (mut earlier, _) = Raw::resume(running.addr, V5, "c", true, HOUR).await;
    earlier.subscribe("a", 1).await;
    let (mut later, present) = Raw::resume(running.addr, V5, "c", false, HOUR).await;
    assert!(present);
    earlier.ends_with(0x8e).await;
    publish_all(running.addr, "a", 5..6).await;
    assert_eq!(later.delivery().await.2, [5]);
}

#[tokio::test]
async fn a_session_ends_when_it_has_expired() {
    let running = start().await;
    let second = [0x11, 0, 0, 0, 1];
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, &second).await;
    raw.subscribe("a", 1).await;
    drop(raw);
    running.metric_reaches("away_sessions", 1).await;
    crate::harness::eventually("expiry", || running.metric("away_sessions") == 0).await;
    let (_, present) = Raw::resume(running.addr, V5, "c", false, &second).await;
    assert!(!present);
}

#[tokio::test]
async fn a_goodbye_with_an_expiry_of_zero_ends_the_session() {
    let running = start().await;
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, HOUR).await;
    raw.send(&[0xe0, 7, 0, 5, 0x11, 0, 0, 0, 0]).await;
    assert_eq!(raw.next().await, None);
    let (_, present) = Raw::resume(running.addr, V5, "c", false, HOUR).await;
    assert!(!present);
}

#[tokio::test]
async fn while_a_client_is_away_the_newest_messages_wait() {
    let running = start_with(Limits { away_messages: 2, ..Limits::default() }).await;
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, HOUR).await;
    raw.subscribe("a", 1).await;
    drop(raw);
    running.metric_reaches("away_sessions", 1).await;
    publish_all(running.addr, "a", 0..5).await;
    let mut zero = Raw::connect(running.addr, V4, "service/s", "zero").await;
    zero.publish("a", None, b"lost").await;
    zero.ping().await;
    assert_eq!(running.metric("dropped_messages_total{reason=\"away_full\"}"), 3);
    assert_eq!(running.metric("dropped_messages_total{reason=\"away\"}"), 1);
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", false, HOUR).await;
    assert_eq!(raw.delivery().await.2, [3]);
    assert_eq!(raw.delivery().await.2, [4]);
}

#[tokio::test]
async fn only_so_many_sessions_are_kept_in_all_and_per_principal() {
    let limits = Limits { away_sessions: 3, away_per_principal: 2, ..Limits::default() };
    let running = start_with(limits).await;
    for (n, (who, kept)) in [
        ("service/a", true),
        ("service/a", true),
        ("service/a", false),
        ("service/b", true),
        ("service/b", false),
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = Raw::open(running.addr, V5).await;
        raw.send(&crate::raw::connect(V5, who, &format!("c{n}"), 60, HOUR)).await;
        raw.packet().await;
        let before = running.metric("sessions_not_kept_total");
        drop(raw);
        running.is_empty().await;
        assert_eq!(running.metric("sessions_not_kept_total") - before, u64::from(!kept), "{n}");
    }
    assert_eq!(running.metric("away_sessions"), 3);
}

#[tokio::test]
async fn where_no_session_is_kept_the_client_is_told() {
    let limits = Limits { session_expiry: Duration::ZERO, ..Limits::default() };
    let running = start_with(limits).await;
    let mut raw = Raw::open(running.addr, V5).await;
    raw.send(&crate::raw::connect(V5, "service/s", "c", 60, HOUR)).await;
    assert_eq!(raw.packet().await.body[3..8], [0x11, 0, 0, 0, 0]);
    drop(raw);
    running.is_empty().await;
    assert_eq!(running.metric("away_sessions"), 0);
}

#[tokio::test]
async fn thousands_of_random_client_ids_leave_no_more_than_allowed() {
    let running = start().await;
    let mut raw = Raw::open(running.addr, V5).await;
    for n in 0..2_000 {
        raw = Raw::open(running.addr, V5).await;
        let packet = crate::raw::connect(V5, "service/s", &format!("random-{n}"), 60, HOUR);
        raw.send(&packet).await;
        raw.packet().await;
    }
    drop(raw);
    running.is_empty().await;
    assert_eq!(running.metric("away_sessions"), 100);
}
