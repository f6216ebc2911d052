//! Bytes through a link that is up: exact, late as told, paced, counted, reset, forgotten.

use std::time::Duration;

use gnomon_sim::link::{Counters, LinkConfig, Profile, StartLinkError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use crate::bench::*;

#[tokio::test]
async fn a_megabyte_through_a_perfect_link_comes_back_byte_exact() {
    let link = echo_link(Profile::perfect()).await;
    let sent: Vec<u8> =
        (0..1_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (mut reads, mut writes) = connect(&link).await.into_split();
    let out = sent.clone();
    let writing = tokio::spawn(async move {
        writes.write_all(&out).await.unwrap();
        writes.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    soon(reads.read_to_end(&mut received)).await.unwrap();
    writing.await.unwrap();
    assert!(received == sent, "{} bytes came back", received.len());
    eventually("the connection is over", || link.counters().connections_open == 0).await;
    let expected = Counters {
        bytes_up: 1_000_000,
        bytes_down: 1_000_000,
        connections_opened: 1,
        ..Counters::default()
    };
    assert_eq!(link.counters(), expected);
}

#[tokio::test]
async fn counters_count_what_each_client_sent_and_received() {
    let link = echo_link(Profile::perfect()).await;
    let (mut one, mut two) = (connect(&link).await, connect(&link).await);
    round_trip(&mut one, &[1; 1000]).await;
    round_trip(&mut two, &[2; 500]).await;
    eventually("all bytes are counted", || {
        let counters = link.counters();
        (counters.bytes_up, counters.bytes_down) == (1500, 1500)
    })
    .await;
    assert_eq!(link.counters().connections_open, 2);
    assert_eq!(link.counters().connections_opened, 2);
}

#[tokio::test]
async fn a_round_trip_takes_at_least_twice_the_delay() {
    let link = echo_link(Profile { delay_ms: 50, ..Profile::perfect() }).await;
    let mut stream = connect(&link).await;
    round_trip(&mut stream, b"hello").await;
    let start = Instant::now();
    round_trip(&mut stream, b"hello again").await;
    assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_slow_link_takes_its_time_and_its_sender_feels_it() {
    let slow = Profile { rate_up_bytes_per_s: 100_000, queue_bytes: 1024, ..Profile::perfect() };
    let link = echo_link(slow).await;
    let mut stream = connect(&link).await;
    let start = Instant::now();
    round_trip(&mut stream, &vec![7; 40_000]).await;
    assert!(start.elapsed() >= Duration::from_millis(350), "{:?}", start.elapsed());

    let endless = vec![0; 64 * 1024 * 1024];
    let sent = timeout(A_WHILE, stream.write_all(&endless)).await;
    assert!(sent.is_err(), "64 MiB do not fit into a modem of 1 KiB");
}

#[tokio::test]
async fn a_profile_change_is_felt_by_open_connections() {
    let link = echo_link(Profile::perfect()).await;
    let mut stream = connect(&link).await;
    round_trip(&mut stream, b"quick").await;
    link.set_profile(Profile { delay_ms: 80, ..Profile::perfect() }).unwrap();
    let start = Instant::now();
    round_trip(&mut stream, b"slow").await;
    assert!(start.elapsed() >= Duration::from_millis(160), "{:?}", start.elapsed());
    assert!(link.set_profile(Profile { loss_repeat: 2.0, ..Profile::perfect() }).is_err());
    assert_eq!(link.profile().delay_ms, 80);
}

#[tokio::test]
async fn a_lossy_link_stalls_and_still_delivers_in_order() {
    let lossy = Profile {
        loss_per_kib: 0.3,
        stall_ms: 2,
        stall_cap_ms: 4,
        jitter_ms: 3,
        ..Profile::perfect()
    };
    let link = echo_link(lossy).await;
    let message: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    round_trip(&mut connect(&link).await, &message).await;
    assert!(link.counters().stalls > 0);
}

#[tokio::test]
async fn a_forgotten_connection_is_silent_both_ways_and_neither_end_is_told() {
    let (server, address) = listener().await;
    let link = start(address, Profile::perfect());
    let mut client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    expect(&mut far, b"hello").await;
    link.set_profile(Profile { nat_idle_ms: 50, ..Profile::perfect() }).unwrap();
    silence(&mut far).await;
    client.write_all(b"are you there?").await.unwrap();
    far.write_all(b"anyone?").await.unwrap();
    silence(&mut client).await;
    client.shutdown().await.unwrap();
    silence(&mut far).await;
    assert_eq!(link.counters().bytes_lost, 21);
    drop(far);
    eventually("both ends are gone", || link.counters().connections_open == 0).await;
}

#[tokio::test]
async fn a_link_that_resets_tells_both_ends() {
    let (server, address) = listener().await;
    let link = start(address, Profile { resets_per_minute: 1.0, ..Profile::perfect() });
    let mut client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    reset(&mut client).await;
    reset(&mut far).await;
    assert_eq!(link.counters().connections_reset, 1);
}

#[tokio::test]
async fn an_end_and_a_reset_of_one_side_reach_the_other() {
    let (server, address) = listener().await;
    let link = start(address, Profile { delay_ms: 5, ..Profile::perfect() });
    let mut client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    soon(far.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, b"bye");
    far.write_all(b"still here").await.unwrap();
    expect(&mut client, b"still here").await;
    far.set_zero_linger().unwrap();
    drop(far);
    reset(&mut client).await;
    assert_eq!(link.counters().connections_reset, 0, "the link itself reset nothing");
}

#[tokio::test]
async fn an_unreachable_target_resets_the_client() {
    let (server, address) = listener().await;
    drop(server);
    let link = start(address, Profile::perfect());
    reset(&mut connect(&link).await).await;
    assert_eq!(link.counters().connections_refused, 1);
}

#[tokio::test]
async fn shutdown_resets_what_is_open_and_frees_the_port() {
    let link = echo_link(Profile::perfect()).await;
    let mut stream = connect(&link).await;
    round_trip(&mut stream, b"x").await;
    soon(link.shutdown()).await;
    reset(&mut stream).await;
    let config = LinkConfig {
        listen: link.addr(),
        target: link.target(),
        profile: Profile::perfect(),
        seed: 1,
    };
    let again = gnomon_sim::link::Link::start(config.clone()).unwrap();
    let taken = gnomon_sim::link::Link::start(config).unwrap_err();
    assert!(matches!(taken, StartLinkError::Listen { address, .. } if address == again.addr()));
}
