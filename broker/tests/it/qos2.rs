//! `QoS` 2: exactly once, in both directions, within a session and across reconnects.

use std::collections::BTreeMap;
use std::time::Duration;

use gnomon_broker::Limits;

use crate::harness::{start, start_with};
use crate::raw::{Raw, V4, V5, publish};

#[tokio::test]
async fn a_message_passes_through_both_handshakes_once() {
    let running = start().await;
    for (from, to) in [(V4, V5), (V5, V4)] {
        let mut subscriber = Raw::connect(running.addr, to, "service/s", "sub").await;
        assert_eq!(subscriber.subscribe("a", 2).await, 2);
        let mut publisher = Raw::connect(running.addr, from, "service/s", "pub").await;
        publisher.publish_with(0x04, "a", 7, &[], b"once").await;
        assert_eq!(publisher.expect_ack(0x50).await, 7);
        publisher.publish_with(0x0c, "a", 7, &[], b"once").await;
        assert_eq!(publisher.expect_ack(0x50).await, 7);
        publisher.ack(0x62, 7).await;
        assert_eq!(publisher.expect_ack(0x70).await, 7);

        let (flags, pkid, payload) = subscriber.delivery().await;
        assert_eq!((flags, &payload[..]), (0x04, &b"once"[..]));
        subscriber.ack(0x50, pkid).await;
        assert_eq!(subscriber.expect_ack(0x62).await, pkid);
        subscriber.ack(0x70, pkid).await;
        subscriber.ping().await;
    }
}

#[tokio::test]
async fn unknown_packet_ids_are_answered_and_forgotten() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    raw.ack(0x62, 9).await;
    assert_eq!(raw.packet().await.body, [0, 9, 0x92]);
    raw.ack(0x50, 9).await;
    assert_eq!(raw.packet().await.body, [0, 9, 0x92]);
    raw.ack(0x70, 9).await;
    raw.ping().await;
}

#[tokio::test]
async fn a_denied_message_of_qos_2_is_answered_and_its_id_is_free() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V5, "node/site-1", "c").await;
    raw.publish_with(0x04, "closed", 1, &[], b"x").await;
    let answer = raw.packet().await;
    assert_eq!((answer.first, &answer.body[..3]), (0x50, &[0, 1, 0x87][..]));
    raw.ack(0x62, 1).await;
    assert_eq!(raw.packet().await.body, [0, 1, 0x92]);
}

#[tokio::test]
async fn more_at_once_than_announced_ends_the_connection() {
    let limits = Limits { receive_maximum: 3, received_v4: 4, ..Limits::default() };
    let running = start_with(limits).await;
    for (version, most) in [(V5, 3), (V4, 4)] {
        let mut raw = Raw::connect(running.addr, version, "service/s", "c").await;
        for pkid in 1..=most {
            raw.publish_with(0x04, "a", pkid, &[], b"x").await;
            raw.expect_ack(0x50).await;
        }
        raw.publish_with(0x04, "a", 99, &[], b"x").await;
        raw.ends_with(0x93).await;
    }
}

#[tokio::test]
async fn qos_1_and_2_share_the_window() {
    let running = start().await;
    let (mut raw, _) = Raw::resume(running.addr, V5, "c", true, &[0x21, 0, 2]).await;
    raw.subscribe("a", 2).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    for (n, flags) in [(1, 0x02), (2, 0x04), (3, 0x04), (4, 0x02)] {
        publisher.publish_with(flags, "a", n, &[], &n.to_be_bytes()).await;
        publisher.packet().await;
    }
    let (_, one, _) = raw.delivery().await;
    let (_, two, _) = raw.delivery().await;
    raw.ping().await;
    raw.ack(0x50, two).await;
    raw.expect_ack(0x62).await;
    raw.ping().await;
    raw.ack(0x40, one).await;
    assert_eq!(raw.delivery().await.2, [0, 3]);
    raw.ack(0x70, two).await;
    assert_eq!(raw.delivery().await.2, [0, 4]);
}

/// Reads and acknowledges as a client does; `None` when the connection has ended.
async fn receive(
    raw: &mut Raw,
    seen: &mut BTreeMap<Vec<u8>, u32>,
    open: &mut Vec<u16>,
) -> Option<()> {
    let packet = raw.next().await?;
    let pkid = |at: usize| u16::from_be_bytes([packet.body[at], packet.body[at + 1]]);
    match packet.first & 0xf6 {
        0x32 => {
            *seen.entry(packet.body[5..].to_vec()).or_default() += 1;
            raw.ack(0x40, pkid(3)).await;
        }
        0x34 => {
            // The client's half of exactly once: a packet id that is open is a duplicate.
            if !open.contains(&pkid(3)) {
                open.push(pkid(3));
                *seen.entry(packet.body[5..].to_vec()).or_default() += 1;
            }
            raw.ack(0x50, pkid(3)).await;
        }
        0x62 => {
            open.retain(|id| *id != pkid(0));
            raw.ack(0x70, pkid(0)).await;
        }
        _ => {}
    }
    Some(())
}

#[tokio::test]
async fn fifty_publishers_at_full_speed_lose_nothing_and_repeat_nothing() {
    const PUBLISHERS: u16 = 50;
    const EACH: u16 = 200;
    let running = start().await;
    let mut subscriber = Raw::connect(running.addr, V4, "service/s", "sub").await;
    subscriber.subscribe("a", 2).await;
    for publisher in 0..PUBLISHERS {
        let addr = running.addr;
        tokio::spawn(async move {
            let id = format!("p{publisher}");
            let mut raw = Raw::connect(addr, V4, "service/s", &id).await;
            for n in 1..=EACH {
                let payload = [publisher.to_be_bytes(), n.to_be_bytes()].concat();
                if publisher % 2 == 0 {
                    raw.send(&publish(V4, "a", Some(n), &payload)).await;
                    raw.expect_ack(0x40).await;
                } else {
                    raw.publish_with(0x04, "a", n, &[], &payload).await;
                    raw.expect_ack(0x50).await;
                    raw.ack(0x62, n).await;
                    raw.expect_ack(0x70).await;
                }
            }
            raw.send(&[0xe0, 0]).await;
        });
    }
    let (mut seen, mut open) = (BTreeMap::new(), Vec::new());
    while seen.len() < usize::from(PUBLISHERS) * usize::from(EACH) {
        receive(&mut subscriber, &mut seen, &mut open).await.expect("the subscriber is kept");
    }
    assert!(seen.values().all(|count| *count == 1));
    for reason in ["queue_full", "cut_off"] {
        assert_eq!(running.metric(&format!("dropped_messages_total{{reason=\"{reason}\"}}")), 0);
    }
}

#[tokio::test]
async fn a_subscriber_that_breaks_off_again_and_again_gets_each_message_of_qos_2_once() {
    let limits = Limits { away_messages: 10_000, away_bytes: 8 * 1024 * 1024, ..Limits::default() };
    let running = start_with(limits).await;
    let addr = running.addr;
    let (mut subscriber, _) = Raw::resume(addr, V4, "sub", false, &[]).await;
    subscriber.subscribe("a", 2).await;
    tokio::spawn(async move {
        let mut raw = Raw::connect(addr, V4, "service/s", "p").await;
        for n in 1..=1_000_u16 {
            raw.publish_with(0x04, "a", n, &[], &n.to_be_bytes()).await;
            raw.expect_ack(0x50).await;
            raw.ack(0x62, n).await;
            raw.expect_ack(0x70).await;
            if n % 100 == 0 {
                tokio::time::interval(Duration::from_millis(1)).tick().await;
            }
        }
    });
    let (mut seen, mut open) = (BTreeMap::new(), Vec::new());
    let mut steps = 0_u32;
    while seen.len() < 1_000 {
        steps += 1;
        let breaks = steps.is_multiple_of(97);
        if breaks || receive(&mut subscriber, &mut seen, &mut open).await.is_none() {
            let (again, present) = Raw::resume(addr, V4, "sub", false, &[]).await;
            assert!(present);
            subscriber = again;
        }
    }
    assert!(seen.values().all(|count| *count == 1), "a duplicate");
    assert!(steps / 97 > 10);
}
