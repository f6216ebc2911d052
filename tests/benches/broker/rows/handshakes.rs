//! Clients with certificates that connect again and again, and the handshake alone as the floor.

use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::median;
use crate::certificates::Certificates;
use crate::client;
use crate::process::Server;

/// Clients that reconnect at the same time.
const CLIENTS: usize = 4;

/// Reconnects a second of time, and of the broker's CPU.
pub(crate) struct Storm {
    pub(crate) per_second: f64,
    pub(crate) per_cpu_second: f64,
}

/// Reconnects so many times, each with a TLS handshake, a CONNECT and its answer.
pub(crate) fn run(
    server: &Server,
    certificates: &Certificates,
    resumes: bool,
    reconnects: usize,
) -> anyhow::Result<Storm> {
    let each = reconnects / CLIENTS;
    let configs: Vec<_> =
        (0..CLIENTS).map(|_| certificates.client(resumes)).collect::<Result<_, _>>()?;
    for config in &configs {
        reconnect(server, config, "first", None)?;
    }
    let expected = if resumes { HandshakeKind::Resumed } else { HandshakeKind::Full };
    let (cpu, start) = (server.cpu()?, Instant::now());
    let outcome = std::thread::scope(|scope| {
        let storm = |(n, config): (usize, &Arc<ClientConfig>)| {
            let (id, config) = (format!("storm-{n}"), Arc::clone(config));
            scope.spawn(move || {
                (0..each).try_for_each(|_| reconnect(server, &config, &id, Some(expected)))
            })
        };
        let threads: Vec<_> = configs.iter().enumerate().map(storm).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(outcome) => outcome,
            Err(_) => bail!("a client panicked"),
        })
    });
    outcome?;
    let count = (each * CLIENTS) as f64;
    let per_second = count / start.elapsed().as_secs_f64();
    Ok(Storm { per_second, per_cpu_second: count / (server.cpu()? - cpu) })
}

fn reconnect(
    server: &Server,
    config: &Arc<ClientConfig>,
    id: &str,
    expected: Option<HandshakeKind>,
) -> anyhow::Result<()> {
    let client = client::tls(server.tls, config, id)?;
    let kind = client.stream.conn.handshake_kind();
    if expected.is_some() && kind != expected {
        bail!("a handshake was {kind:?}, not {expected:?}");
    }
    client::reset(&client.stream.sock)
}

/// Handshakes a second of CPU of the server's side of rustls alone, without a socket.
pub(crate) fn bare(
    certificates: &Certificates,
    resumes: bool,
    count: usize,
) -> anyhow::Result<f64> {
    let (server, client) = (certificates.server()?, certificates.client(resumes)?);
    let mut seconds = Vec::new();
    for round in 0..=count {
        let mut theirs = ClientConnection::new(Arc::clone(&client), "localhost".try_into()?)?;
        let start = Instant::now();
        let mut ours = ServerConnection::new(Arc::clone(&server))?;
        let mut used = start.elapsed();
        let mut bytes = Vec::new();
        while theirs.is_handshaking() || ours.is_handshaking() || ours.wants_write() {
            bytes.clear();
            while theirs.wants_write() {
                theirs.write_tls(&mut bytes)?;
            }
            let start = Instant::now();
            let mut unread = bytes.as_slice();
            while !unread.is_empty() {
                ours.read_tls(&mut unread)?;
                ours.process_new_packets()?;
            }
            let mut answer = Vec::new();
            while ours.wants_write() {
                ours.write_tls(&mut answer)?;
            }
            used += start.elapsed();
            let mut unread = answer.as_slice();
            while !unread.is_empty() {
                theirs.read_tls(&mut unread)?;
                theirs.process_new_packets()?;
            }
        }
        // The first gets the ticket.
        if round > 0 {
            seconds.push(used.as_secs_f64());
        }
    }
    // The one in the middle, since this is time of the clock.
    Ok(1.0 / median(seconds))
}
