//! One message to each of many subscribers, each on a topic of its own. One thread publishes and
//! takes and never sleeps, so that waking it is not what is measured.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::median;
use crate::client::{self, Client};
use crate::mqtt;
use crate::process::Server;

/// Seconds until all have theirs, and the broker's CPU seconds for it.
pub(crate) struct Spread {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
}

/// Sends one message to each, `rounds` times; the round in the middle counts.
pub(crate) fn run(server: &Server, clients: usize, rounds: usize) -> anyhow::Result<Spread> {
    let mut subscribers = Vec::new();
    let mut packets = Vec::new();
    for n in 0..clients {
        let topic = format!("bench/site/{n}/desired");
        let mut subscriber = client::plain(server.plain, &format!("site-{n}"))?;
        subscriber.subscribe(&topic)?;
        subscriber.stream.set_nonblocking(true)?;
        subscribers.push(subscriber);
        let pkid = u16::try_from(n % 65_535).unwrap_or(0) + 1;
        mqtt::publish(&mut packets, &topic, pkid, &[b'x'; 100]);
    }
    let mut publisher = client::plain(server.plain, "publisher")?;
    publisher.stream.set_nonblocking(true)?;
    let (mut seconds, mut cpu_seconds) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (start, cpu) = (Instant::now(), server.cpu()?);
        let answers = spread(&mut publisher, &packets, &mut subscribers)?;
        seconds.push(start.elapsed().as_secs_f64());
        cpu_seconds.push(server.cpu()? - cpu);
        for (subscriber, answer) in subscribers.iter_mut().zip(answers) {
            subscriber.stream.write_all(&answer)?;
        }
        server.settle()?;
    }
    Ok(Spread { seconds: median(seconds), cpu_seconds: median(cpu_seconds) })
}

/// Publishes everything until each subscriber and the publisher have their packets. Returns the
/// acknowledgements of the subscribers.
fn spread(
    publisher: &mut Client<TcpStream>,
    packets: &[u8],
    subscribers: &mut [Client<TcpStream>],
) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut scratch = vec![0; 64 * 1024];
    let (mut left, mut acknowledged) = (packets, 0);
    let mut answers = Vec::with_capacity(subscribers.len());
    let all = subscribers.len();
    let mut waiting = subscribers.iter_mut();
    let mut next = waiting.next();
    while next.is_some() || acknowledged < all {
        match publisher.stream.write(left) {
            Ok(len) => left = left.get(len..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        publisher
            .read(&mut scratch, |kind, _| acknowledged += usize::from(kind == mqtt::PUBACK))?;
        while let Some(subscriber) = &mut next {
            let mut answer = Vec::new();
            subscriber.read(&mut scratch, |kind, body| {
                if kind == mqtt::PUBLISH
                    && let Some((_, pkid, _)) = mqtt::published(body)
                {
                    mqtt::puback(&mut answer, pkid);
                }
            })?;
            if answer.is_empty() {
                break;
            }
            answers.push(answer);
            next = waiting.next();
        }
    }
    Ok(answers)
}
