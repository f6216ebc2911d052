//! What the broker says about what waits in it, and how long clients took to come in.

use gnomon_broker::Limits;

use crate::harness::{eventually, start, start_with};
use crate::raw::{Raw, V5};

/// Session expiry: a minute.
const MINUTE: [u8; 5] = [0x11, 0, 0, 0, 60];

#[tokio::test]
async fn what_waits_for_a_client_that_is_away_is_shown_until_it_has_it() {
    let running = start().await;
    let (mut reader, _) = Raw::resume(running.addr, V5, "reader", true, &MINUTE).await;
    reader.subscribe("a", 1).await;
    drop(reader);
    eventually("away", || running.metric("away_sessions") == 1).await;
    let mut writer = Raw::connect(running.addr, V5, "service/s", "writer").await;
    for n in 1..=3 {
        writer.publish("a", Some(n), b"waits").await;
        assert_eq!(writer.expect_ack(0x40).await, n);
    }
    assert_eq!(running.metric("queued_messages"), 3);
    assert_eq!(running.metric("queued_messages_longest"), 3);
    assert_eq!(running.metric("away_bytes"), running.metric("queued_bytes"));
    assert!(running.metric("away_bytes") > 15);
    let (mut reader, present) = Raw::resume(running.addr, V5, "reader", false, &MINUTE).await;
    assert!(present);
    for _ in 0..3 {
        let (_, pkid, _) = reader.delivery().await;
        reader.ack(0x40, pkid).await;
    }
    reader.ping().await;
    assert_eq!(running.metric("queued_bytes") + running.metric("away_bytes"), 0);
    for stage in ["connect", "authentication"] {
        assert_eq!(running.metric(&format!("handshake_seconds_count{{stage=\"{stage}\"}}")), 3);
    }
}

#[tokio::test]
async fn clients_that_are_away_share_a_bound() {
    let running = start_with(Limits { away_total_bytes: 2_000, ..Limits::default() }).await;
    for name in ["one", "two"] {
        let (mut reader, _) = Raw::resume(running.addr, V5, name, true, &MINUTE).await;
        reader.subscribe("a", 1).await;
    }
    eventually("away", || running.metric("away_sessions") == 2).await;
    let mut writer = Raw::connect(running.addr, V5, "service/s", "writer").await;
    for n in 1..=10 {
        writer.publish("a", Some(n), &[7; 300]).await;
        assert_eq!(writer.expect_ack(0x40).await, n);
    }
    assert!(running.metric("away_bytes") <= 2_000);
    let kept = running.metric("queued_messages");
    assert!((4..8).contains(&kept), "{kept}");
    assert_eq!(running.metric("dropped_messages_total{reason=\"away_full\"}"), 20 - kept);
}
