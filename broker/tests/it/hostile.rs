//! What killed the broker that the codec comes from, and worse: each time others go on.

use std::time::Duration;

use gnomon_broker::Limits;
use tokio::io::AsyncWriteExt;

use crate::harness::{Running, start, start_with};
use crate::raw::{Raw, V4, V5, connect, frame, publish, text};

async fn still_serves(running: &Running) {
    let mut raw = Raw::connect(running.addr, V5, "service/s", "probe").await;
    raw.subscribe("probe", 1).await;
    raw.publish("probe", None, b"x").await;
    assert_eq!(raw.message().await, ("probe".into(), b"x".to_vec()));
}

#[tokio::test]
async fn a_connect_followed_by_a_reset_400_times() {
    let running = start().await;
    for _ in 0..400 {
        let mut raw = Raw::open(running.addr, V4).await;
        raw.send(&connect(V4, "service/s", "flaky", 60, &[])).await;
        // Closing with unread bytes or zero linger resets the connection.
        raw.stream.set_zero_linger().unwrap();
        drop(raw);
    }
    still_serves(&running).await;
    running.is_empty().await;
}

#[tokio::test]
async fn a_disconnect_while_messages_flow_to_it() {
    let running = start().await;
    let addr = running.addr;
    let flood = tokio::spawn(async move {
        let mut publisher = Raw::connect(addr, V4, "service/s", "p").await;
        loop {
            publisher.publish("a", None, b"x").await;
        }
    });
    for n in 0..50 {
        let mut raw = Raw::connect(addr, V4, "service/s", "leaver").await;
        raw.send(&frame(0x82, &[&[0, 1][..], &text("a"), &[0]].concat())).await;
        for _ in 0..10 {
            raw.packet().await;
        }
        if n % 2 == 0 {
            raw.send(&[0xe0, 0]).await;
        }
    }
    flood.abort();
    still_serves(&running).await;
}

#[tokio::test]
async fn topics_of_any_language_and_client_ids_of_any_shape() {
    let running = start().await;
    let mut all = Raw::connect(running.addr, V4, "service/s", "all").await;
    all.subscribe("#", 0).await;
    for id in ["a/b", "a/b", "+", "#", "$x", "é/数据"] {
        let mut raw = Raw::connect(running.addr, V4, "service/s", id).await;
        raw.publish("é/x", None, "数据".as_bytes()).await;
        assert_eq!(all.message().await, ("é/x".into(), "数据".as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn properties_of_5_0_do_not_disturb_a_3_1_1_subscriber() {
    let running = start().await;
    let mut old = Raw::connect(running.addr, V4, "service/s", "old").await;
    old.subscribe("a", 1).await;
    let mut new = Raw::connect(running.addr, V5, "service/s", "new").await;
    let properties = [&[0x26][..], &text("k"), &text("v"), &[0x02, 0, 0, 0, 9]].concat();
    let len = u8::try_from(properties.len()).unwrap();
    let body = [&text("a")[..], &[0, 1, len], &properties, b"x"].concat();
    new.send(&frame(0x32, &body)).await;
    assert_eq!(old.message().await, ("a".into(), b"x".to_vec()));
    old.ping().await;
}

#[tokio::test]
async fn packets_that_only_a_server_sends() {
    let running = start().await;
    for first in [0x00, 0x20, 0x90, 0xb0, 0xd0, 0xf0] {
        for version in [V4, V5] {
            let mut raw = Raw::connect(running.addr, version, "service/s", "c").await;
            raw.send(&[first, 4, 0, 1, 0, 0]).await;
            raw.ends_with(0x82).await;
        }
    }
    let mut twice = Raw::connect(running.addr, V5, "service/s", "c").await;
    twice.send(&connect(V5, "service/s", "c", 60, &[])).await;
    twice.ends_with(0x82).await;
    still_serves(&running).await;
    running.is_empty().await;
}

#[tokio::test]
async fn garbage_before_and_after_the_connect() {
    let running = start_with(Limits { packet: 1_000, ..Limits::default() }).await;
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0xff; 64],
        &[0x10, 0],
        &[0x10, 0xff, 0xff, 0xff, 0xff, 1],
    ] {
        let mut raw = Raw::open(running.addr, V4).await;
        raw.send(garbage).await;
        assert_eq!(raw.next().await, None, "{garbage:02x?}");
    }
    let mut large = Raw::open(running.addr, V4).await;
    large.send(&[0x10, 0xff, 0xff, 0x7f]).await;
    assert_eq!(large.next().await, None);
    for (garbage, code) in [
        (&[0x30, 0xff, 0xff, 0x7f][..], 0x95),
        (&[0x82, 2, 0, 1], 0x81),
        (&[0x80, 6, 0, 1, 0, 1, b'a', 0], 0x81),
        (&[0x32, 3, 0, 9, b'a'], 0x81),
        (&[0x40, 2, 0, 0], 0x82),
        (&[0x36, 6, 0, 1, b'a', 0, 1, 0], 0x81),
    ] {
        let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
        raw.send(garbage).await;
        raw.ends_with(code).await;
    }
    still_serves(&running).await;
}

#[tokio::test]
async fn versions_that_are_not_spoken_are_told_so() {
    let running = start().await;
    for level in [3, 6] {
        let mut raw = Raw::open(running.addr, V4).await;
        let body = [&text("MQTT")[..], &[level, 2, 0, 60], &text("c")].concat();
        raw.send(&frame(0x10, &body)).await;
        let answer = raw.packet().await;
        assert_eq!((answer.first, answer.body), (0x20, vec![0, 1]));
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_half_a_connect_is_closed_in_time() {
    let limits = Limits { connect_timeout: Duration::from_millis(200), ..Limits::default() };
    let running = start_with(limits).await;
    let mut silent = Raw::open(running.addr, V4).await;
    let mut half = Raw::open(running.addr, V4).await;
    half.send(&[0x10, 20, 0, 4]).await;
    assert_eq!(silent.next().await, None);
    assert_eq!(half.next().await, None);
    assert_eq!(running.metric("rejected_connections_total{reason=\"connect_timeout\"}"), 2);
}

#[tokio::test]
async fn too_many_connections_are_turned_away_and_there_is_room_again_later() {
    let running = start_with(Limits { connections: 2, ..Limits::default() }).await;
    let first = Raw::connect(running.addr, V4, "service/s", "1").await;
    let second = Raw::connect(running.addr, V4, "service/s", "2").await;
    let mut third = Raw::open(running.addr, V4).await;
    assert_eq!(third.next().await, None);
    drop((first, second));
    running.is_empty().await;
    still_serves(&running).await;
}

#[tokio::test]
async fn connections_without_a_connect_do_not_use_up_the_room_of_sessions() {
    let limits = Limits { connections: 10, pending_connections: 2, ..Limits::default() };
    let running = start_with(limits).await;
    let _session = Raw::connect(running.addr, V4, "service/s", "1").await;
    let mut silent = [Raw::open(running.addr, V4).await, Raw::open(running.addr, V4).await];
    running.metric_reaches("connections", 3).await;
    let mut third = Raw::open(running.addr, V4).await;
    assert_eq!(third.next().await, None);
    silent[0].stream.shutdown().await.unwrap();
    assert_eq!(silent[0].next().await, None);
    crate::harness::eventually("room", || running.metric("connections") == 2).await;
    still_serves(&running).await;
}

#[tokio::test]
async fn floods_of_retained_messages_wills_and_filters_end_at_their_bounds() {
    let limits = Limits { retained_messages: 100, subscriptions: 50, ..Limits::default() };
    let running = start_with(limits).await;
    let mut flood = Raw::connect(running.addr, V4, "service/s", "flood").await;
    for n in 0..5_000 {
        flood.publish_with(0x01, &format!("r/{n}"), 0, &[], b"x").await;
    }
    flood.ping().await;
    assert_eq!(running.metric("retained_messages"), 100);
    let filters: Vec<u8> =
        (0..2_000).flat_map(|n| [&text(&format!("+/{n}/#"))[..], &[0]].concat()).collect();
    flood.send(&frame(0x82, &[&[0, 1][..], &filters].concat())).await;
    assert!(flood.packet().await.body[2..].iter().all(|code| *code == 0x80));
    for _ in 0..200 {
        let mut raw = Raw::open(running.addr, V5).await;
        let body = [
            &text("MQTT")[..],
            &[5, 0x8e, 0, 60, 5, 0x11, 0, 0, 0, 60],
            &text("same"),
            &[5, 0x18, 0, 0, 0, 9],
            &text("will/x"),
            &text("gone"),
            &text("service/s"),
        ]
        .concat();
        raw.send(&frame(0x10, &body)).await;
        raw.packet().await;
    }
    still_serves(&running).await;
}

#[tokio::test]
async fn races_for_one_client_id_leave_one_session() {
    let running = start().await;
    let addr = running.addr;
    let mut tasks = tokio::task::JoinSet::new();
    for racer in 0..8 {
        tasks.spawn(async move {
            for turn in 0..50 {
                let clean = (racer + turn) % 3 == 0;
                let expiry = [0x11, 0, 0, 0, 60];
                let mut raw = Raw::open(addr, V5).await;
                let mut packet = connect(V5, "service/s", "same", 60, &expiry);
                packet[9] = if clean { 0x82 } else { 0x80 };
                raw.send(&packet).await;
                let filter = if turn % 2 == 0 { "$share/g/a" } else { "a" };
                let subscribe = frame(0x82, &[&[0, 1, 0][..], &text(filter), &[2]].concat());
                // The connection may be taken over at any point.
                let _sent = raw.stream.write_all(&subscribe).await;
                let _sent = raw.stream.write_all(&publish(V5, "a", Some(1), b"x")).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    running.is_empty().await;
    still_serves(&running).await;
    assert!(running.metric("away_sessions") <= 1);
}

#[tokio::test]
async fn a_large_message_in_small_pieces() {
    let running = start().await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "c").await;
    raw.subscribe("a", 0).await;
    let payload: Vec<u8> = (0..200_000_u32).flat_map(u32::to_be_bytes).collect();
    for piece in publish(V4, "a", None, &payload).chunks(1_000) {
        raw.send(piece).await;
    }
    assert!(raw.message().await.1 == payload);
}
