//! Measures from outside how fast the broker and the API answer while the fleet does what it does.
//! The broker is asked over MQTT and TLS with an identity of its own, one question at a time.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::identity::Identity;
use gnomon_edge::link::mqtt::Address;
use gnomon_edge::link::{self, TlsError};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Topic;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::api::Api;
use super::board::Probe;

/// An answer that takes longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
const CONNACK: u8 = 2;
const SUBACK: u8 = 9;

type Wire = BufReader<TlsStream<TcpStream>>;

/// Asks the broker again and again until nobody listens: a subscription, which passes through what
/// all sessions share, and its receipt.
pub(super) async fn broker(
    identity: Identity,
    address: Address,
    every: Duration,
    told: mpsc::Sender<Probe>,
) -> Result<(), TlsError> {
    let tls = TlsConnector::from(link::client_config(&identity)?);
    let tls = Arc::new(tls);
    let mut wire = None;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = async {
            let mut open = match wire.take() {
                Some(open) => open,
                None => connect(&identity, &address, &tls).await?,
            };
            let began = Instant::now();
            open.write_all(&subscribe(&identity.node)).await?;
            open.flush().await?;
            until(&mut open, SUBACK).await?;
            Ok::<_, io::Error>((open, began.elapsed()))
        };
        let probe = match timeout(PATIENCE, asked).await {
            Ok(Ok((open, took))) => {
                wire = Some(open);
                Probe::Broker(took)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the broker did not answer the probe");
                Probe::Lost
            }
            Err(_) => Probe::Lost,
        };
        if told.send(probe).await.is_err() {
            return Ok(());
        }
    }
}

/// Asks the API again and again until nobody listens.
pub(super) async fn api(api: Api, node: NodeName, every: Duration, told: mpsc::Sender<Probe>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let began = Instant::now();
        let probe = match timeout(PATIENCE, api.knows(&node)).await {
            Ok(Ok(_)) => Probe::Api(began.elapsed()),
            Ok(Err(_)) | Err(_) => Probe::Lost,
        };
        if told.send(probe).await.is_err() {
            return;
        }
    }
}

async fn connect(identity: &Identity, to: &Address, tls: &TlsConnector) -> io::Result<Wire> {
    let tcp = TcpStream::connect((to.host.as_str(), to.port)).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(identity.server_name.clone()).map_err(io::Error::other)?;
    let mut wire = BufReader::new(tls.connect(name, tcp).await?);
    wire.write_all(&hello(&identity.node)).await?;
    wire.flush().await?;
    until(&mut wire, CONNACK).await?;
    Ok(wire)
}

/// Reads packets up to one of a kind.
async fn until(wire: &mut Wire, kind: u8) -> io::Result<()> {
    loop {
        let first = wire.read_u8().await?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let byte = wire.read_u8().await?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
            if shift > 21 {
                return Err(io::Error::other("no packet has such a length"));
            }
        }
        let mut body = vec![0; length];
        wire.read_exact(&mut body).await?;
        let is_refused = kind == CONNACK && body.get(1).is_some_and(|code| *code != 0)
            || kind == SUBACK && body.last().is_some_and(|code| *code >= 0x80);
        if first >> 4 == kind {
            return if is_refused { Err(io::Error::other("the broker refuses")) } else { Ok(()) };
        }
    }
}

/// A CONNECT of MQTT 3.1.1 with a clean session and without keep-alive.
fn hello(node: &NodeName) -> Vec<u8> {
    let mut body = vec![0, 4];
    body.extend(b"MQTT");
    body.extend([4, 2, 0, 0]);
    text(&mut body, node.as_str());
    packet(0x10, &body)
}

/// A SUBSCRIBE to what is sent to the node.
fn subscribe(node: &NodeName) -> Vec<u8> {
    let mut body = vec![0, 1];
    text(&mut body, &Topic::all_to(node));
    body.push(1);
    packet(0x82, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7F).unwrap_or_default();
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend(body);
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_carry_their_length_whatever_it_is() {
        assert_eq!(packet(0x82, &[7; 3]), [0x82, 3, 7, 7, 7]);
        assert_eq!(packet(0x82, &[0; 200])[..3], [0x82, 0xC8, 0x01]);
        let hello = hello(&"a-1".parse().unwrap());
        assert_eq!(hello, [&b"\x10\x0f\0\x04MQTT\x04\x02\0\0\0\x03"[..], b"a-1"].concat());
    }
}
