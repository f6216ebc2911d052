//! Clients that stop half way, at each stage, and keep their connection open.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::campaign::{campaign, scale};
use crate::hostile::{is_ended, open};
use crate::raw::{Raw, V4, V5, connect, frame, publish, text};

/// The time of each stage in these tests.
const SHORT: &str = "handshake_ms=600,connect_ms=600,write_ms=600";

/// Opens connections that send so much and no more; the broker ends each.
async fn stall(addr: SocketAddr, count: usize, bytes: &[u8]) {
    let mut waiting = JoinSet::new();
    for _ in 0..count {
        let Some(mut stream) = open(addr).await else { continue };
        let _sent = stream.write_all(bytes).await;
        waiting.spawn(async move { is_ended(&mut stream, Duration::from_secs(10)).await });
    }
    while let Some(ended) = waiting.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_of_anything_before_the_session_is_closed_in_time() {
    campaign("slow loris before the session", SHORT, async |target| {
        let count = 60 * scale();
        let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 7, 7];
        let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0";
        let request = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: web";
        let half = &connect(V5, "service/s", "loris", 60, &[])[..9];
        tokio::join!(
            stall(target.plain, count, b""),
            stall(target.plain, count, half),
            stall(target.plain, count, &[0x10]),
            stall(target.tls, count, b""),
            stall(target.tls, count, &hello),
            stall(target.websocket, count, b""),
            stall(target.websocket, count, request),
            stall(target.proxied, count, b""),
            stall(target.proxied, count, header),
            stall(target.proxied, count, b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1"),
        );
        assert!(target.metric("rejected_connections_total", "timeout") >= 8 * count as u64);
    })
    .await;
}

/// Sends a byte now and then, which must not buy more time than the stage has.
async fn drip(addr: SocketAddr, bytes: &'static [u8]) {
    let Some(mut stream) = open(addr).await else { return };
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for byte in bytes.iter().cycle() {
        ticks.tick().await;
        if stream.write_all(&[*byte]).await.is_err() {
            break;
        }
        assert!(begin.elapsed() < Duration::from_secs(10), "it was let go on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_now_and_then_buys_no_time() {
    campaign("slow loris, byte by byte", SHORT, async |target| {
        let mut drips = JoinSet::new();
        for _ in 0..20 * scale() {
            drips.spawn(drip(
                target.plain,
                &[0x10, 0x7f, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, 90],
            ));
            drips.spawn(drip(target.tls, &[0x16, 3, 1, 0x3f, 0xff, 1, 0, 0x3f]));
            drips.spawn(drip(target.websocket, b"GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        }
        while let Some(ended) = drips.join_next().await {
            ended.unwrap();
        }
    })
    .await;
}

async fn connected(addr: SocketAddr, id: &str, keep_alive: u16) -> TcpStream {
    let mut raw = Raw::open(addr, V5).await;
    raw.send(&connect(V5, "service/s", id, keep_alive, &[])).await;
    assert_eq!(raw.packet().await.first, 0x20);
    raw.stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_publish_ends_with_the_keep_alive() {
    campaign("slow loris within a session", SHORT, async |target| {
        let mut waiting = JoinSet::new();
        for n in 0..60 * scale() {
            let mut stream = connected(target.plain, &format!("h{n}"), 1).await;
            let half = publish(V5, "a", Some(1), &vec![7; 100_000]);
            stream.write_all(&half[..50_000]).await.unwrap();
            waiting.spawn(async move { is_ended(&mut stream, Duration::from_secs(10)).await });
        }
        while let Some(ended) = waiting.join_next().await {
            ended.unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_are_cut_off() {
    campaign("clients that never read", SHORT, async |target| {
        let mut deaf = Vec::new();
        for n in 0..20 * scale() {
            let mut stream = connected(target.plain, &format!("d{n}"), 60).await;
            let subscribe = frame(0x82, &[&[0, 1, 0][..], &text("loud"), &[0]].concat());
            stream.write_all(&subscribe).await.unwrap();
            deaf.push(stream);
        }
        let mut loud = Raw::connect(target.plain, V4, "service/s", "loud").await;
        let payload = vec![7; 60_000];
        for _ in 0..800 {
            loud.publish("loud", None, &payload).await;
        }
        loud.ping().await;
        let begin = Instant::now();
        while target.metric("sessions", "") > 2 {
            assert!(begin.elapsed() < Duration::from_secs(20), "they are still served");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(deaf);
    })
    .await;
}
