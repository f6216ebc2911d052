//! A link that goes down: what hangs, what is refused, what comes back.

use std::time::Duration;

use gnomon_sim::link::{OutageConnect, Profile};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::bench::*;

#[tokio::test]
async fn down_blocks_both_ways_and_up_delivers_what_was_held() {
    let (server, address) = listener().await;
    let link = start(address, Profile::perfect());
    let mut client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    link.down();
    client.write_all(b"up there").await.unwrap();
    far.write_all(b"down here").await.unwrap();
    silence(&mut client).await;
    silence(&mut far).await;
    link.up();
    expect(&mut far, b"up there").await;
    expect(&mut client, b"down here").await;
    assert_eq!(link.counters().outages, 1);
}

#[tokio::test]
async fn bytes_on_their_way_when_the_link_goes_down_wait_for_it() {
    let (server, address) = listener().await;
    let link = start(address, Profile { delay_ms: 300, ..Profile::perfect() });
    let mut client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    client.write_all(b"late").await.unwrap();
    eventually("the bytes are on their way", || link.counters().bytes_up == 4).await;
    link.down();
    let held_since = Instant::now();
    while held_since.elapsed() < Duration::from_secs(1) {
        silence(&mut far).await;
    }
    link.up();
    expect(&mut far, b"late").await;
}

#[tokio::test]
async fn an_end_in_an_outage_leaves_the_other_side_half_open_until_it_is_over() {
    let (server, address) = listener().await;
    let link = start(address, Profile::perfect());
    let client = connect(&link).await;
    let (mut far, _) = soon(server.accept()).await.unwrap();
    link.down();
    drop(client);
    silence(&mut far).await;
    assert_eq!(link.counters().connections_open, 1);
    link.up();
    assert_eq!(soon(far.read(&mut [0])).await.unwrap(), 0);
}

#[tokio::test]
async fn an_outage_without_patience_resets_open_connections_at_once() {
    let link = echo_link(Profile { outage_hang_ms: Some(0), ..Profile::perfect() }).await;
    let mut stream = connect(&link).await;
    round_trip(&mut stream, b"x").await;
    link.down();
    reset(&mut stream).await;
    assert_eq!(link.counters().connections_reset, 1);
    link.up();
    round_trip(&mut connect(&link).await, b"a new one works").await;
}

#[tokio::test]
async fn an_outage_with_patience_hangs_first_and_resets_then() {
    let link = echo_link(Profile { outage_hang_ms: Some(200), ..Profile::perfect() }).await;
    let mut stream = connect(&link).await;
    round_trip(&mut stream, b"x").await;
    let start = Instant::now();
    link.down();
    reset(&mut stream).await;
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_link_that_is_down_refuses_new_connections_when_told_to() {
    let refusing = Profile { outage_connect: OutageConnect::Refuse, ..Profile::perfect() };
    let link = echo_link(refusing).await;
    link.down();
    reset(&mut connect(&link).await).await;
    assert_eq!(link.counters().connections_refused, 1);
    link.up();
    round_trip(&mut connect(&link).await, b"x").await;
}

#[tokio::test]
async fn a_black_hole_answers_nothing_until_the_link_is_back() {
    let (server, address) = listener().await;
    let link = start(address, Profile::perfect());
    link.down();
    let mut patient = connect(&link).await;
    patient.write_all(b"anyone?").await.unwrap();
    silence(&mut patient).await;
    let impatient = connect(&link).await;
    eventually("both have arrived", || link.counters().connections_open == 2).await;
    drop(impatient);
    eventually("one has given up", || link.counters().connections_open == 1).await;
    link.up();
    let (mut far, _) = soon(server.accept()).await.unwrap();
    expect(&mut far, b"anyone?").await;
    far.write_all(b"me").await.unwrap();
    expect(&mut patient, b"me").await;
}

#[tokio::test]
async fn a_profile_with_outages_goes_down_and_comes_back_by_itself() {
    let tunnel = Profile { outage_every_ms: 20, outage_for_ms: 20, ..Profile::perfect() };
    let link = echo_link(tunnel).await;
    let mut stream = connect(&link).await;
    while link.counters().outages < 3 {
        round_trip(&mut stream, b"on the train").await;
    }
    link.set_profile(Profile::perfect()).unwrap();
    round_trip(&mut stream, b"home").await;
}
