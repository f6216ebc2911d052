//! What TLS handshakes alone cost a server on this machine, to hold the cloud's CPU against: accepted
//! on loopback with certificates on both sides, one byte sent, closed; nothing of ours behind it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use crate::report::Handshakes;

const NAME: &str = "bare";
/// Longer than any of them takes, on any machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(super) enum BareError {
    #[error("certificates for the bare handshakes cannot be made")]
    Certificate(#[from] rcgen::Error),
    #[error("the bare handshakes have no usable TLS")]
    Tls(#[from] rustls::Error),
    #[error("the bare handshakes have no usable authority")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("the bare handshakes broke off")]
    Io(#[from] io::Error),
    #[error("the bare handshakes took more than a minute")]
    Late(#[from] tokio::time::error::Elapsed),
}

/// The CPU of a server for one handshake in full and for a resumed one, over so many of each.
pub(super) async fn measure(count: u32) -> Result<Handshakes, BareError> {
    let (server, client) = configs()?;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    listener.set_nonblocking(true)?;
    let at = listener.local_addr()?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let (told, thread) = std::sync::mpsc::channel();
    // A thread of its own, so that its CPU can be told from the client's.
    let serving = std::thread::spawn(move || -> io::Result<()> {
        if told.send(nix::unistd::gettid().as_raw()).is_err() {
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async move {
            tokio::select! {
                done = serve(listener, server) => done,
                () = stopped.cancelled() => Ok(()),
            }
        })
    });
    let thread = thread.recv().map_err(io::Error::other)?;
    let measured = tokio::time::timeout(PATIENCE, both(at, client, count, thread)).await;
    stop.cancel();
    match serving.join() {
        Ok(done) => done?,
        Err(_) => return Err(io::Error::other("the server of the handshakes panicked").into()),
    }
    measured?
}

async fn both(
    at: SocketAddr,
    client: ClientConfig,
    count: u32,
    thread: i32,
) -> Result<Handshakes, BareError> {
    let mut full = client.clone();
    full.resumption = Resumption::disabled();
    let (full, resumed) = (Arc::new(full), Arc::new(client));
    // Warms both, and leaves the first ticket.
    shake(at, &full).await?;
    shake(at, &resumed).await?;
    let mut costs = [0.0; 2];
    for (cost, config) in costs.iter_mut().zip([&full, &resumed]) {
        let before = cpu_ns(thread)?;
        for _ in 0..count.max(1) {
            shake(at, config).await?;
        }
        *cost = (cpu_ns(thread)? - before) / f64::from(count.max(1)) / 1_000.0;
    }
    let [full_us, resumed_us] = costs;
    Ok(Handshakes { count, full_us, resumed_us })
}

async fn shake(at: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<()> {
    let tcp = TcpStream::connect(at).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
    let mut wire = TlsConnector::from(Arc::clone(config)).connect(name, tcp).await?;
    // With it the ticket has come.
    wire.read_u8().await?;
    wire.shutdown().await
}

async fn serve(listener: std::net::TcpListener, config: ServerConfig) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (tcp, _) = listener.accept().await?;
        let mut wire = acceptor.accept(tcp).await?;
        wire.write_u8(0).await?;
        wire.flush().await?;
        // The client closes; how is its own matter.
        drop(wire.read_u8().await);
    }
}

/// The CPU time of a thread of this process.
#[expect(clippy::cast_precision_loss, reason = "exact up to a hundred days")]
fn cpu_ns(thread: i32) -> io::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let first = text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok());
    first.map(|ns| ns as f64).ok_or_else(|| io::Error::other("schedstat holds no number"))
}

/// As the broker and the agents have it: certificates on both sides, tickets without state.
fn configs() -> Result<(ServerConfig, ClientConfig), BareError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let own = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let mut roots = RootCertStore::empty();
    roots.add(own.der().clone())?;
    let roots = Arc::new(roots);
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()?;
    let (chain, key) = certificate(&issuer)?;
    let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    server.ticketer = ring::Ticketer::new()?;
    server.send_tls13_tickets = 1;
    let (chain, key) = certificate(&issuer)?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    Ok((server, client))
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn certificate(issuer: &Issuer<'static, KeyPair>) -> Result<Own, BareError> {
    let key = KeyPair::generate()?;
    let signed = CertificateParams::new([NAME.to_owned()])?.signed_by(&key, issuer)?;
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Ok((vec![signed.der().clone()], key))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a handshake costs both ways, with the tickets that come after it.
    fn bytes(server: &Arc<ServerConfig>, client: &Arc<ClientConfig>) -> usize {
        let name = ServerName::try_from(NAME).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(Arc::clone(server)).unwrap();
        let mut total = 0;
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut up).unwrap();
            }
            let mut left = up.as_slice();
            while !left.is_empty() {
                server.read_tls(&mut left).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut down).unwrap();
            }
            let mut left = down.as_slice();
            while !left.is_empty() {
                client.read_tls(&mut left).unwrap();
                client.process_new_packets().unwrap();
            }
            if up.is_empty() && down.is_empty() {
                return total;
            }
            total += up.len() + down.len();
        }
    }

    /// Why the broker sends one ticket: a second one costs bytes at every connection, and saves the
    /// difference between a full handshake and a resumed one only after an attempt that broke off
    /// between its `ClientHello` and its end.
    #[test]
    fn a_second_ticket_pays_only_if_most_attempts_break_off_in_their_handshake() {
        let (mut server, client) = configs().unwrap();
        let client = Arc::new(client);
        let one = Arc::new(server.clone());
        let full = bytes(&one, &client);
        let resumed = bytes(&one, &client);
        server.send_tls13_tickets = 2;
        let with_two = bytes(&Arc::new(server), &client);
        let (ticket, saved) = (with_two - resumed, full - resumed);
        let told =
            format!("{full} bytes in full, {resumed} resumed, {ticket} for one more ticket\n");
        io::Write::write_all(&mut io::stderr(), told.as_bytes()).unwrap();
        assert!(ticket * 10 > saved * 5, "a ticket costs {ticket}, and saves at most {saved}");
    }

    #[tokio::test]
    async fn a_resumed_handshake_costs_a_server_something_and_less_than_a_full_one() {
        let Handshakes { full_us, resumed_us, count } = measure(20).await.unwrap();
        assert_eq!(count, 20);
        assert!(resumed_us > 5.0, "{resumed_us}");
        assert!(resumed_us < full_us * 1.2, "{resumed_us} resumed, {full_us} in full");
    }
}
