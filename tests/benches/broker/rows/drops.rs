//! Many connections end at once: how long a message of another client takes meanwhile.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client;
use crate::mqtt;
use crate::process::{self, Held, Server};

const TOPIC: &str = "bench/probe";

/// The longest time in milliseconds that a probe took from the drop on.
pub(crate) fn run(server: &Server, clients: usize, dropped: usize) -> anyhow::Result<f64> {
    let rest: Vec<_> = (dropped..clients)
        .map(|n| client::plain(server.plain, &format!("site-{n}")))
        .collect::<Result<_, _>>()?;
    let mut held = Held::new(server.plain, dropped)?;
    let mut probe = client::plain(server.plain, "probe")?;
    probe.subscribe(TOPIC)?;
    let mut packet = Vec::new();
    mqtt::publish(&mut packet, TOPIC, 1, b"probe");
    let mut worst = Duration::ZERO;
    let mut answer = Vec::new();
    process::hurry(true);
    let (start, mut killed) = (Instant::now(), None);
    while killed.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(2)) {
        if killed.is_none() && start.elapsed() > Duration::from_millis(200) {
            held.kill()?;
            killed = Some(Instant::now());
        }
        let sent = Instant::now();
        probe.stream.write_all(&packet)?;
        let body = probe.expect(mqtt::PUBLISH)?;
        if killed.is_some() {
            worst = worst.max(sent.elapsed());
        }
        answer.clear();
        if let Some((_, pkid, _)) = mqtt::published(&body) {
            mqtt::puback(&mut answer, pkid);
        }
        probe.stream.write_all(&answer)?;
        std::thread::sleep(Duration::from_micros(100));
    }
    process::hurry(false);
    drop(rest);
    Ok(worst.as_secs_f64() * 1_000.0)
}
