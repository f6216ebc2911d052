//! How many `QoS` 1 messages go from some publishers to one subscriber, acknowledged at both ends.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use crate::client::{self, Client};
use crate::mqtt;
use crate::process::Server;

const TOPIC: &str = "bench/qos1";
const PAYLOAD: [u8; 100] = [b'x'; 100];

/// Messages a second of time, and of the broker's CPU.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) per_cpu_second: f64,
}

/// Sends so many messages, each publisher with at most `window` that are not acknowledged.
pub(crate) fn run(
    server: &Server,
    publishers: usize,
    window: usize,
    messages: usize,
) -> anyhow::Result<Rate> {
    let each = messages / publishers;
    let mut subscriber = client::plain(server.plain, "subscriber")?;
    subscriber.subscribe(TOPIC)?;
    let (cpu, start) = (server.cpu()?, Instant::now());
    let addr = server.plain;
    let publishing = std::thread::spawn(move || publish(addr, publishers, window, each));
    take(&mut subscriber, each * publishers)?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), server.cpu()? - cpu);
    match publishing.join() {
        Ok(outcome) => outcome?,
        Err(_) => anyhow::bail!("the publishers panicked"),
    }
    let count = (each * publishers) as f64;
    Ok(Rate { per_second: count / seconds, per_cpu_second: count / cpu })
}

fn take(subscriber: &mut Client<TcpStream>, messages: usize) -> anyhow::Result<()> {
    let mut taken = 0;
    let mut scratch = vec![0; 256 * 1024];
    let mut answers = Vec::new();
    while taken < messages {
        subscriber.read(&mut scratch, |kind, body| {
            if kind == mqtt::PUBLISH
                && let Some((_, pkid, _)) = mqtt::published(body)
            {
                taken += 1;
                mqtt::puback(&mut answers, pkid);
            }
        })?;
        subscriber.stream.write_all(&answers)?;
        answers.clear();
    }
    Ok(())
}

struct Publisher {
    client: Client<TcpStream>,
    sent: usize,
    acknowledged: usize,
}

fn publish(addr: SocketAddr, count: usize, window: usize, each: usize) -> anyhow::Result<()> {
    let mut publishers = Vec::new();
    for n in 0..count {
        let client = client::plain(addr, &format!("publisher-{n}"))?;
        publishers.push(Publisher { client, sent: 0, acknowledged: 0 });
    }
    let mut scratch = vec![0; 64 * 1024];
    let mut packets = Vec::new();
    while !publishers.is_empty() {
        for publisher in &mut publishers {
            if publisher.sent > publisher.acknowledged {
                publisher.client.read(&mut scratch, |kind, _| {
                    publisher.acknowledged += usize::from(kind == mqtt::PUBACK);
                })?;
            }
            let free = window - (publisher.sent - publisher.acknowledged);
            for _ in 0..free.min(each - publisher.sent) {
                publisher.sent += 1;
                let pkid = u16::try_from(publisher.sent % 65_535).unwrap_or(0) + 1;
                mqtt::publish(&mut packets, TOPIC, pkid, &PAYLOAD);
            }
            publisher.client.stream.write_all(&packets)?;
            packets.clear();
        }
        publishers.retain(|publisher| publisher.acknowledged < each);
    }
    Ok(())
}
