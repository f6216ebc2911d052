//! Wills: when they are published, and what they carry.

use crate::harness::{Running, start};
use crate::raw::{Raw, V4, V5, frame, text};

/// A CONNECT of MQTT 5 with a will of `QoS` 1 to `will/{id}`.
async fn connect(
    running: &Running,
    id: &str,
    clean: bool,
    properties: &[u8],
    will_properties: &[u8],
) -> Raw {
    let lens = [properties.len(), will_properties.len()].map(|len| u8::try_from(len).unwrap());
    let flags = if clean { 0x8e } else { 0x8c };
    let body = [
        &text("MQTT")[..],
        &[5, flags, 0, 60, lens[0]],
        properties,
        &text(id),
        &[lens[1]],
        will_properties,
        &text(&format!("will/{id}")),
        &text("gone"),
        &text("service/s"),
    ]
    .concat();
    let mut raw = Raw::open(running.addr, V5).await;
    raw.send(&frame(0x10, &body)).await;
    assert_eq!(raw.packet().await.body[1], 0);
    raw
}

const MINUTE: &[u8] = &[0x11, 0, 0, 0, 60];
const SECOND: &[u8] = &[0x18, 0, 0, 0, 1];

async fn watcher(running: &Running) -> Raw {
    let mut watcher = Raw::connect(running.addr, V4, "service/s", "watcher").await;
    watcher.subscribe("will/+", 1).await;
    watcher
}

#[tokio::test]
async fn a_delayed_will_waits_and_a_client_that_comes_back_takes_it_back() {
    let running = start().await;
    let mut watcher = watcher(&running).await;
    let begin = std::time::Instant::now();
    drop(connect(&running, "gone", true, MINUTE, SECOND).await);
    drop(connect(&running, "back", true, MINUTE, SECOND).await);
    running.metric_reaches("away_sessions", 2).await;
    let _back = connect(&running, "back", false, MINUTE, &[0x18, 0, 0, 0, 90]).await;
    assert_eq!(watcher.message().await.0, "will/gone");
    assert!(begin.elapsed() >= std::time::Duration::from_secs(1));
    drop(connect(&running, "third", true, MINUTE, &[]).await);
    assert_eq!(watcher.message().await.0, "will/third");
}

#[tokio::test]
async fn a_will_is_not_later_than_the_end_of_its_session() {
    let running = start().await;
    let mut watcher = watcher(&running).await;
    let long = [0x18, 0, 0, 0, 90];
    drop(connect(&running, "no-session", true, &[], &long).await);
    assert_eq!(watcher.message().await.0, "will/no-session");
    drop(connect(&running, "short", true, &[0x11, 0, 0, 0, 1], &long).await);
    assert_eq!(watcher.message().await.0, "will/short");
    drop(connect(&running, "anew", true, MINUTE, &long).await);
    running.metric_reaches("away_sessions", 1).await;
    let _anew = connect(&running, "anew", true, MINUTE, &long).await;
    assert_eq!(watcher.message().await.0, "will/anew");
}

#[tokio::test]
async fn the_takeover_of_a_session_takes_a_delayed_will_back() {
    let running = start().await;
    let mut watcher = watcher(&running).await;
    let mut earlier = connect(&running, "c", true, MINUTE, SECOND).await;
    let later = connect(&running, "c", false, MINUTE, &[]).await;
    earlier.ends_with(0x8e).await;
    drop(later);
    // The will of the later connection, which has no delay, is the only one.
    assert_eq!(watcher.message().await.0, "will/c");
    crate::harness::eventually("a second", || running.metric("takeovers_total") == 1).await;
    watcher.ping().await;
}

#[tokio::test]
async fn the_properties_of_a_will_reach_its_subscribers() {
    let running = start().await;
    let mut watcher = Raw::connect(running.addr, V5, "service/s", "watcher").await;
    watcher.subscribe("will/+", 0).await;
    let properties =
        [&[0x02, 0, 0, 0, 9][..], &[0x26], &text("k"), &text("v"), &[0x03], &text("ct")].concat();
    drop(connect(&running, "c", true, &[], &properties).await);
    let packet = watcher.packet().await;
    let expected =
        [&[0x03][..], &text("ct"), &[0x26], &text("k"), &text("v"), &[0x02, 0, 0, 0, 9]].concat();
    let len = u8::try_from(expected.len()).unwrap();
    assert_eq!(packet.body, [&text("will/c")[..], &[len], &expected, b"gone"].concat());
}
