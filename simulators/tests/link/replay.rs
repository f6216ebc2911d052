//! A recorded link: what is recorded of a server that answers, and a replay that behaves so.

use std::time::Duration;

use gnomon_sim::link::control::Emulated;
use gnomon_sim::link::replay::{base, record, replay};
use gnomon_sim::link::trace::Trace;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::bench::{echo_server, eventually, listener, round_trip, soon, start};

#[tokio::test]
async fn a_server_that_answers_is_recorded_without_loss() {
    let (_listener, server) = listener().await;
    let every = Duration::from_millis(500);
    let mut points = 0;
    let recorded = record(server, every, Duration::from_millis(800), 4_000, |_| points += 1).await;
    let text = recorded.unwrap().to_csv();
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert!(lines.len() == points && points >= 2 && lines[0].starts_with("0.000,"), "{text}");
    assert!(lines.iter().all(|line| line.ends_with(",0.000,4000")), "{text}");
}

#[tokio::test]
async fn a_link_behaves_as_its_trace_says_and_an_outage_ends_with_it() {
    let text = "time_s,rtt_ms,loss,rate_bytes_per_s\n0,200,0,0\n1.5,,1,0\n2.5,20,0,0\n60,20,0,0\n";
    let trace = Trace::parse(text).unwrap();
    let proxy = start(echo_server().await, base());
    let addr = proxy.addr();
    let link = Emulated::from(proxy);
    let began = Instant::now();
    let talk = async {
        eventually("the link is slow", || link.profile().delay_ms == 100).await;
        let mut client = soon(TcpStream::connect(addr)).await.unwrap();
        let asked = Instant::now();
        round_trip(&mut client, b"slow").await;
        assert!(asked.elapsed() >= Duration::from_millis(200), "{:?}", asked.elapsed());
        eventually("the outage", || link.is_down()).await;
        round_trip(&mut client, b"late").await;
        assert!(began.elapsed() >= Duration::from_millis(2_450), "{:?}", began.elapsed());
        let asked = Instant::now();
        round_trip(&mut client, b"fast").await;
        assert!(asked.elapsed() >= Duration::from_millis(20), "{:?}", asked.elapsed());
    };
    tokio::select! {
        wrong = replay(&link, &trace) => panic!("{wrong}"),
        () = soon(talk) => {}
    }
}
