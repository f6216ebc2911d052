//! A client of the load generator: a blocking stream and the bytes of a packet that is not whole
//! yet, and no more, so that ten thousand of them fit in one thread.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::mqtt;

/// How long a broker may be silent before the run fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client over TLS.
pub(crate) type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

/// A connected client.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
    partial: Vec<u8>,
}

/// Connects over TCP.
pub(crate) fn plain(addr: SocketAddr, id: &str) -> anyhow::Result<Client<TcpStream>> {
    let mut client = Client { stream: dial(addr)?, partial: Vec::new() };
    client.greet(id)?;
    Ok(client)
}

/// Connects over TLS.
pub(crate) fn tls(
    addr: SocketAddr,
    config: &Arc<ClientConfig>,
    id: &str,
) -> anyhow::Result<TlsClient> {
    let session = ClientConnection::new(Arc::clone(config), "localhost".try_into()?)?;
    let stream = StreamOwned::new(session, dial(addr)?);
    let mut client = Client { stream, partial: Vec::new() };
    client.greet(id)?;
    Ok(client)
}

fn dial(addr: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(addr).context("connecting to the broker")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Closes a connection by a reset, so that no port stays taken.
pub(crate) fn reset(stream: &TcpStream) -> anyhow::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(stream, sockopt::Linger, &linger).context("setting SO_LINGER")
}

impl<S: Read + Write> Client<S> {
    fn greet(&mut self, id: &str) -> anyhow::Result<()> {
        let mut packet = Vec::new();
        mqtt::connect(&mut packet, id);
        self.stream.write_all(&packet)?;
        let body = self.expect(mqtt::CONNACK).context("waiting for the CONNACK")?;
        if body != [0, 0] {
            bail!("the broker refuses the CONNECT: {body:?}");
        }
        Ok(())
    }

    /// Subscribes at `QoS` 1 and waits for the answer.
    pub(crate) fn subscribe(&mut self, filter: &str) -> anyhow::Result<()> {
        let mut packet = Vec::new();
        mqtt::subscribe(&mut packet, filter);
        self.stream.write_all(&packet)?;
        let body = self.expect(mqtt::SUBACK).context("waiting for the SUBACK")?;
        if body != [0, 1, 1] {
            bail!("the broker refuses the subscription: {body:?}");
        }
        Ok(())
    }

    /// Waits for one packet of a type, and passes over others.
    pub(crate) fn expect(&mut self, kind: u8) -> anyhow::Result<Vec<u8>> {
        let mut found = None;
        let mut scratch = [0; 1024];
        while found.is_none() {
            self.read(&mut scratch, |seen, body| {
                if seen == kind && found.is_none() {
                    found = Some(body.to_vec());
                }
            })?;
        }
        Ok(found.unwrap_or_default())
    }

    /// Reads once and hands over the whole packets; `false` if there was nothing to read.
    pub(crate) fn read(
        &mut self,
        scratch: &mut [u8],
        mut found: impl FnMut(u8, &[u8]),
    ) -> anyhow::Result<bool> {
        let len = match self.stream.read(scratch) {
            Ok(0) => bail!("the broker closed a connection"),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error).context("reading from the broker"),
        };
        let new = scratch.get(..len).unwrap_or_default();
        if self.partial.is_empty() {
            let left = packets(new, &mut found);
            self.partial.extend_from_slice(left);
        } else {
            let mut bytes = std::mem::take(&mut self.partial);
            bytes.extend_from_slice(new);
            self.partial = packets(&bytes, &mut found).to_vec();
        }
        Ok(true)
    }
}

fn packets<'a>(mut bytes: &'a [u8], found: &mut impl FnMut(u8, &[u8])) -> &'a [u8] {
    while let Some((kind, body, len)) = mqtt::first(bytes) {
        found(kind, body);
        bytes = bytes.get(len..).unwrap_or_default();
    }
    bytes
}
