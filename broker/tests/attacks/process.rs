//! The broker that is attacked, as the process that `target` starts: this test binary again.

use std::io::{BufRead as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{
    BrokerConfig, Chain, ClientCertificates, Endpoint, Limits, ListenerConfig, Passwords,
    TlsConfig, Transport,
};
use prometheus_client::registry::Registry;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls_pki_types::PrivateKeyDer;

use crate::harness::{ByUsername, acl};

/// Set for the process that is the broker; holds what differs from the usual limits.
pub(crate) const VARIABLE: &str = "GNOMON_ATTACKED";

/// The password `enigma`, cheap to check.
const ENIGMA: &str = "$argon2id$v=19$m=512,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$\
                      +0uNJw/PfKjbrhsYEriwyCcvfBEUjIjH3M+X8EIahPk";

/// The last line of an answer.
pub(crate) const END: &str = "# end";

#[test]
#[ignore = "it is the broker that the other tests start as a process, to attack it"]
fn broker_that_is_attacked() {
    let Ok(changes) = std::env::var(VARIABLE) else { return };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(2).event_interval(gnomon_broker::EVENT_INTERVAL);
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(serve(limits(&changes)));
}

fn limits(changes: &str) -> Limits {
    let mut limits = Limits { connect_rate: 0, ..Limits::default() };
    for (name, value) in changes.split(',').filter_map(|change| change.split_once('=')) {
        let value: usize = value.parse().unwrap();
        let millis = Duration::from_millis(value as u64);
        match name {
            "handshake_ms" => limits.handshake_timeout = millis,
            "connect_ms" => limits.connect_timeout = millis,
            "write_ms" => limits.write_timeout = millis,
            "expiry_ms" => limits.session_expiry = millis,
            "retained" => limits.retained_messages = value,
            "subscriptions" => limits.subscriptions = value,
            "newcomers" => limits.newcomers = value,
            "publish_rate" => limits.publish_rate = u32::try_from(value).unwrap(),
            other => panic!("no limit {other}"),
        }
    }
    limits
}

/// Says where it listens, then answers each line on its standard input with its metrics.
async fn serve(limits: Limits) {
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let passwords = Arc::new(Passwords::parse(&format!("ada:{ENIGMA}:service")).unwrap());
    let mut broker = gnomon_broker::Broker::start(BrokerConfig {
        listeners: vec![
            ListenerConfig { addr: loopback, tls: None },
            ListenerConfig { addr: loopback, tls: Some(tls()) },
        ],
        limits,
        acl: acl(),
        authenticator: Arc::new(Chain::new(vec![passwords, Arc::new(ByUsername)])),
    })
    .await
    .unwrap();
    for (transport, proxy_protocol) in [(Transport::WebSocket, false), (Transport::Plain, true)] {
        let endpoint = Endpoint { addr: loopback, tls: None, transport, proxy_protocol };
        broker.listen(endpoint).await.unwrap();
    }
    let mut addrs: Vec<_> = broker.addrs().iter().map(|bound| bound.addr.to_string()).collect();
    addrs.push(echo().to_string());
    let mut registry = Registry::default();
    broker.register(&mut registry);
    let answers = std::thread::spawn(move || {
        let mut out = std::io::stdout();
        writeln!(out, "\nlistening {}", addrs.join(" ")).unwrap();
        for line in std::io::stdin().lock().lines() {
            let Ok(_question) = line else { return };
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            writeln!(out, "{text}{END}").unwrap();
        }
    });
    while !answers.is_finished() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(broker);
}

/// A server that sends back what it gets, on a thread of its own: how long it takes shows what the
/// machine costs and not the broker.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok((mut reader, mut writer)) = stream.and_then(|s| Ok((s.try_clone()?, s))) else {
                continue;
            };
            writer.set_nodelay(true).unwrap();
            std::thread::spawn(move || std::io::copy(&mut reader, &mut writer).map(drop));
        }
    });
    addr
}

fn tls() -> Arc<rustls::ServerConfig> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let clients = ClientCertificates::Optional(vec![issuer.der().clone()]);
    TlsConfig { chain: vec![certificate.der().clone()], key, clients }.build().unwrap()
}
