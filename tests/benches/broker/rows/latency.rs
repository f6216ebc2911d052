//! How long a message takes from its publisher to its subscriber at a steady rate. One thread does
//! both and never sleeps, so that the scheduler is not what is measured.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client;
use crate::mqtt;
use crate::process::Server;

const TOPIC: &str = "bench/latency";
const PER_SECOND: u32 = 10_000;

/// Microseconds that half, and 99 of 100 messages take at most.
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Sends 10,000 messages a second at `QoS` 1.
pub(crate) fn run(server: &Server, seconds: u64) -> anyhow::Result<Latency> {
    let mut subscriber = client::plain(server.plain, "subscriber")?;
    subscriber.subscribe(TOPIC)?;
    let mut publisher = client::plain(server.plain, "publisher")?;
    subscriber.stream.set_nonblocking(true)?;
    publisher.stream.set_nonblocking(true)?;
    let start = Instant::now();
    let nanos = || u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let (warm_up, end) = (Duration::from_millis(300), Duration::from_secs(seconds));
    let every = Duration::from_secs(1) / PER_SECOND;
    let mut taken = Vec::new();
    let mut scratch = vec![0; 64 * 1024];
    let (mut packet, mut answers) = (Vec::new(), Vec::new());
    let (mut next, mut pkid) = (Duration::ZERO, 0_u16);
    while start.elapsed() < end {
        if start.elapsed() >= next {
            next += every;
            pkid = pkid % u16::MAX + 1;
            packet.clear();
            let mut payload = [0; 100];
            if let Some(stamp) = payload.first_chunk_mut() {
                *stamp = nanos().to_be_bytes();
            }
            mqtt::publish(&mut packet, TOPIC, pkid, &payload);
            publisher.stream.write_all(&packet)?;
        }
        subscriber.read(&mut scratch, |kind, body| {
            if kind == mqtt::PUBLISH
                && let Some((_, pkid, payload)) = mqtt::published(body)
            {
                let sent = payload.first_chunk().map_or(0, |stamp| u64::from_be_bytes(*stamp));
                if Duration::from_nanos(sent) > warm_up {
                    taken.push((nanos() - sent) as f64 / 1_000.0);
                }
                mqtt::puback(&mut answers, pkid);
            }
        })?;
        if !answers.is_empty() {
            subscriber.stream.write_all(&answers)?;
            answers.clear();
        }
        publisher.read(&mut scratch, |_, _| {})?;
    }
    taken.sort_by(f64::total_cmp);
    let at = |share: usize| taken.get(taken.len() * share / 100).copied().unwrap_or(f64::NAN);
    Ok(Latency { p50: at(50), p99: at(99) })
}
