//! More connections than the system has file descriptors for.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::harness::{eventually, within};
use crate::hostile::open;
use crate::latency::Prober;
use crate::raw::{Raw, V4, connect};
use crate::target::Target;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_file_descriptors_those_who_are_connected_are_served_and_others_later() {
    let target = Target::start("", Some(64));
    let probe = Prober::of_broker(target.plain);
    let mut crowd = Vec::new();
    for n in 0..150 {
        // The system completes them; the broker cannot accept them all.
        let mut stream = open(target.plain).await.unwrap();
        let _sent = stream.write_all(&connect(V4, "service/s", &format!("c{n}"), 60, &[])).await;
        crowd.push(stream);
    }
    eventually("no descriptor is left", || target.metric("accept_errors_total", "") > 0).await;
    drop(probe.take());
    let ticks = target.ticks();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = target.ticks() - ticks;
    let waits = probe.take();
    eprintln!("no file descriptors: {waits}; {used} ticks of a processor in a second");
    assert!(waits.p99() < Duration::from_millis(250), "{waits}");
    assert!(used < 60, "it used {used} ticks of a processor while it could accept nothing");
    drop(crowd);
    let mut late = within("a place", Raw::connect(target.plain, V4, "service/s", "late")).await;
    late.ping().await;
    drop(late);
    target.metric_is("connections", 1).await;
    probe.end();
    let complaints = target.end();
    assert!(!complaints.contains("panicked"), "{complaints}");
}
