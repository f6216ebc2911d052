//! How sessions end: takeover, keep-alive, wills, slow readers, limits of the client.

use std::time::Duration;

use gnomon_broker::Limits;

use crate::harness::{start, start_with};
use crate::raw::{Raw, V4, V5, connect, frame, publish, text};

#[tokio::test]
async fn a_client_that_connects_again_takes_its_session_over() {
    let running = start().await;
    let mut earlier = Raw::connect(running.addr, V4, "service/s", "c").await;
    for version in [V4, V5, V5, V4] {
        earlier.subscribe("a", 0).await;
        let mut later = Raw::connect(running.addr, version, "service/s", "c").await;
        earlier.ends_with(0x8e).await;
        later.publish("a", None, b"nobody is subscribed").await;
        later.ping().await;
        earlier = later;
    }
    assert_eq!(running.metric("takeovers_total"), 4);
}

#[tokio::test]
async fn a_silent_client_is_closed_after_its_keep_alive_even_while_it_receives() {
    let running = start().await;
    for version in [V4, V5] {
        let mut silent = Raw::open(running.addr, version).await;
        silent.send(&connect(version, "service/s", "silent", 1, &[])).await;
        silent.packet().await;
        silent.subscribe("a", 0).await;
        let flood = tokio::spawn(async move {
            let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                publisher.publish("a", None, b"x").await;
            }
        });
        let last = loop {
            match silent.next().await {
                Some(packet) if packet.first == 0x30 => {}
                last => break last,
            }
        };
        let goodbye = last.map(|packet| (packet.first, packet.body[0]));
        assert_eq!(goodbye, (version == V5).then_some((0xe0, 0x8d)));
        flood.abort();
    }
    running.metric_reaches("disconnects_total{reason=\"keep_alive_timeout\"}", 2).await;
}

#[tokio::test]
async fn a_will_follows_a_lost_connection_and_not_a_goodbye() {
    let running = start().await;
    let mut watcher = Raw::connect(running.addr, V4, "service/s", "watcher").await;
    watcher.subscribe("will/+", 1).await;
    let with_will = |id: &str| {
        let body = [
            &text("MQTT")[..],
            &[5, 0x8e, 0, 60, 0],
            &text(id),
            &[0],
            &text(&format!("will/{id}")),
            &text("gone"),
            &text("service/s"),
        ]
        .concat();
        frame(0x10, &body)
    };
    for (id, goodbye) in [
        ("polite", Some(&[0xe0, 0][..])),
        ("short", Some(&[0xe0, 1, 0])),
        ("lost", None),
        ("asked", Some(&[0xe0, 2, 4, 0])),
    ] {
        let mut raw = Raw::open(running.addr, V5).await;
        raw.send(&with_will(id)).await;
        raw.packet().await;
        if let Some(goodbye) = goodbye {
            raw.send(goodbye).await;
            assert_eq!(raw.next().await, None);
        }
        drop(raw);
        let ended = "disconnects_total{reason=\"by_client\"}";
        if id == "polite" {
            running.metric_reaches(ended, 1).await;
        }
        if id == "short" {
            running.metric_reaches(ended, 2).await;
        }
        if id == "lost" {
            assert_eq!(watcher.message().await.0, "will/lost");
        }
    }
    assert_eq!(watcher.message().await.0, "will/asked");
}

#[tokio::test]
async fn a_slow_reader_is_cut_off_while_the_others_are_served() {
    let limits =
        Limits { queue_messages: 50, queue_bytes: 1024 * 1024, inflight: 10, ..Limits::default() };
    let running = start_with(limits).await;
    let mut slow = Raw::connect(running.addr, V5, "service/s", "slow").await;
    slow.subscribe("a", 1).await;
    let mut healthy = Raw::connect(running.addr, V5, "service/s", "healthy").await;
    healthy.subscribe("a", 0).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    for n in 0..200_u16 {
        publisher.publish("a", Some(n + 1), &n.to_be_bytes()).await;
        assert_eq!(publisher.packet().await.first, 0x40);
        assert_eq!(healthy.message().await.1, n.to_be_bytes());
    }
    running.metric_reaches("disconnects_total{reason=\"queue_full\"}", 1).await;
    assert_eq!(running.metric("dropped_messages_total{reason=\"cut_off\"}"), 1);
    for _ in 0..10 {
        assert_eq!(slow.packet().await.first, 0x32);
    }
    slow.ends_with(0x97).await;
}

#[tokio::test]
async fn a_reader_that_never_reads_loses_qos_0_and_only_its_own() {
    let limits = Limits {
        queue_messages: 10,
        write_timeout: Duration::from_millis(300),
        close_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let running = start_with(limits).await;
    let mut stuck = Raw::connect(running.addr, V5, "service/s", "stuck").await;
    stuck.subscribe("a", 0).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    let payload = vec![7; 64 * 1024];
    while running.metric("disconnects_total{reason=\"write_timeout\"}") == 0 {
        publisher.publish("a", None, &payload).await;
        publisher.ping().await;
    }
    assert!(running.metric("dropped_messages_total{reason=\"queue_full\"}") > 0);
}

#[tokio::test]
async fn what_the_client_takes_at_once_and_at_most_is_honoured() {
    let running = start().await;
    let mut small = Raw::open(running.addr, V5).await;
    let properties = [0x21, 0, 3, 0x27, 0, 0, 0, 100];
    small.send(&connect(V5, "service/s", "small", 60, &properties)).await;
    small.packet().await;
    small.subscribe("a", 1).await;
    let mut publisher = Raw::connect(running.addr, V4, "service/s", "p").await;
    publisher.publish("a", Some(1), &[0; 200]).await;
    for n in 2..=8 {
        publisher.publish("a", Some(n), &n.to_be_bytes()).await;
    }
    for _ in 1..=8 {
        assert_eq!(publisher.packet().await.first, 0x40);
    }
    let mut ids = Vec::new();
    for _ in 0..3 {
        let packet = small.packet().await;
        ids.push([packet.body[3], packet.body[4]]);
    }
    small.ping().await;
    assert_eq!(running.metric("dropped_messages_total{reason=\"too_large\"}"), 1);
    // In any order.
    for id in ids.iter().rev() {
        small.send(&frame(0x40, id)).await;
    }
    for n in 5..=7_u16 {
        assert_eq!(small.message().await.1, n.to_be_bytes());
    }
    small.ping().await;
}

#[tokio::test]
async fn subscriptions_are_counted_and_topics_are_measured() {
    let running = start_with(Limits { subscriptions: 2, ..Limits::default() }).await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    assert_eq!(raw.subscribe("a", 0).await, 0);
    assert_eq!(raw.subscribe("b", 0).await, 0);
    assert_eq!(raw.subscribe("c", 0).await, 0x97);
    assert_eq!(raw.subscribe("a", 1).await, 1);
    assert_eq!(raw.subscribe(&"x".repeat(1025), 0).await, 0x8f);
    raw.send(&publish(V5, &"/".repeat(40), None, b"")).await;
    raw.ends_with(0x90).await;
}

#[tokio::test]
async fn a_client_that_floods_itself_is_still_read() {
    let running = start_with(Limits { queue_messages: 10, ..Limits::default() }).await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "echo").await;
    raw.subscribe("a", 0).await;
    // Far more than socket buffers hold, without reading once.
    let packet = publish(V4, "a", None, &vec![1; 32 * 1024]);
    for _ in 0..1_000 {
        raw.send(&packet).await;
    }
    raw.send(&[0xc0, 0]).await;
    while raw.packet().await.first != 0xd0 {}
}
