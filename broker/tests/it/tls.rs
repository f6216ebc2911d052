//! Mutual TLS: who gets in, who does not, and that nobody holds up the others.

use std::sync::Arc;
use std::time::Duration;

use gnomon_broker::{
    Acl, AttachConfig, AttachmentEvent, BrokerConfig, CertificateAuthenticator, ClientCertificates,
    Limits, ListenerConfig, Principal, Role, Rule, TlsConfig,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rumqttc::QoS;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::clients::{self, Seen};
use crate::harness::{Running, start_config, within};
use crate::raw::{Raw, V4, connect};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(
    authority: &Authority,
    host: &[&str],
    common_name: &str,
    unit: &str,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let names: Vec<String> = host.iter().map(|name| String::from(*name)).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.distinguished_name.push(DnType::OrganizationalUnitName, unit);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

async fn start(authority: &Authority, limits: Limits) -> Running {
    let (certificate, key) = issue(authority, &["127.0.0.1"], "broker", "service");
    let clients = ClientCertificates::Required(vec![authority.der().clone()]);
    let tls = TlsConfig { chain: vec![certificate], key, clients }.build().unwrap();
    let own = &["gnomon/1/{node}/u/+"];
    let rule = Rule::new(Role::Node, own, own).unwrap();
    start_config(BrokerConfig {
        listeners: vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls: Some(tls) }],
        limits,
        acl: Acl::new(vec![rule]),
        authenticator: Arc::new(CertificateAuthenticator),
    })
    .await
}

fn client_config(
    authority: &Authority,
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> rustls::ClientConfig {
    client_config_of(authority, identity, rustls::ALL_VERSIONS)
}

fn client_config_of(
    authority: &Authority,
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate_in_both_versions() {
    let authority = authority();
    let running = start(&authority, Limits::default()).await;
    let identity = issue(&authority, &[], "site-1", "node");
    let config = client_config(&authority, Some(identity));

    let mut options = rumqttc::MqttOptions::new("old", "127.0.0.1", running.addr.port());
    options.set_transport(clients::over_tls(config.clone()));
    let (old, mut events) = clients::v4(options);
    old.subscribe("gnomon/1/site-1/u/hello", QoS::AtLeastOnce).await.unwrap();
    events.expect(&Seen::Subscribed("[Success(AtLeastOnce)]".into())).await;

    let mut options = rumqttc::v5::MqttOptions::new("new", "127.0.0.1", running.addr.port());
    options.set_transport(clients::over_tls(config));
    let (new, mut new_events) = clients::v5(options);
    new.subscribe("gnomon/1/site-2/u/+", QoS5::AtLeastOnce).await.unwrap();
    new_events.expect(&Seen::Subscribed("[NotAuthorized]".into())).await;
    new.publish("gnomon/1/site-1/u/hello", QoS5::AtLeastOnce, false, "x").await.unwrap();
    events.expect(&Seen::Message("gnomon/1/site-1/u/hello".into(), b"x".to_vec())).await;
}

#[tokio::test]
async fn without_a_certificate_of_our_authority_the_handshake_fails() {
    let ours = authority();
    let running = start(&ours, Limits::default()).await;
    let foreign = issue(&authority(), &[], "site-1", "node");
    for identity in [None, Some(foreign)] {
        let mut options = rumqttc::MqttOptions::new("c", "127.0.0.1", running.addr.port());
        options.set_transport(clients::over_tls(client_config(&ours, identity)));
        let (_client, mut events) = clients::v4(options);
        let error = events.failure().await;
        assert!(error.contains("AlertReceived") || error.contains("ConnectionReset"), "{error}");
    }
    running.metric_reaches("rejected_connections_total{reason=\"handshake_failed\"}", 2).await;
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_refused_at_the_connect() {
    let authority = authority();
    let running = start(&authority, Limits::default()).await;
    for (name, unit) in [("site-1", "admin"), ("../etc", "node")] {
        let identity = issue(&authority, &[], name, unit);
        let mut options = rumqttc::v5::MqttOptions::new("c", "127.0.0.1", running.addr.port());
        options.set_transport(clients::over_tls(client_config(&authority, Some(identity))));
        let (_client, mut events) = clients::v5(options);
        let error = events.failure().await;
        assert!(error.contains("NotAuthorized"), "{error}");
    }
    running.metric_reaches("auth_failures_total{reason=\"unknown_unit\"}", 1).await;
    running.metric_reaches("auth_failures_total{reason=\"bad_name\"}", 1).await;
}

#[tokio::test]
async fn silent_connections_do_not_hold_up_the_others_and_are_closed_in_time() {
    let authority = authority();
    let limits = Limits { handshake_timeout: Duration::from_secs(2), ..Limits::default() };
    let running = start(&authority, limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(Raw::open(running.addr, V4).await);
    }
    let identity = issue(&authority, &[], "site-1", "node");
    let mut options = rumqttc::MqttOptions::new("c", "127.0.0.1", running.addr.port());
    options.set_transport(clients::over_tls(client_config(&authority, Some(identity))));
    let (_client, mut events) = clients::v4(options);
    assert_eq!(events.next().await, Seen::Connected);
    let timeouts = "rejected_connections_total{reason=\"handshake_timeout\"}";
    assert_eq!(running.metric(timeouts), 0, "the client was not served before the silent ones");
    for raw in &mut silent {
        assert_eq!(raw.next().await, None);
    }
    running.metric_reaches(timeouts, 20).await;
}

/// Connects once and returns how the handshake went and the first byte of the answer.
async fn handshake(
    running: &Running,
    config: &Arc<rustls::ClientConfig>,
) -> (rustls::HandshakeKind, [u8; 4]) {
    let stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let mut stream = connector.connect(name, stream).await.unwrap();
    stream.write_all(&connect(V4, "", "c", 60, &[])).await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    (stream.get_ref().1.handshake_kind().unwrap(), answer)
}

#[tokio::test]
async fn a_returning_client_resumes_its_tls_session_and_keeps_its_identity() {
    let authority = authority();
    let running = start(&authority, Limits::default()).await;
    let mut attachment = running.broker.attach(AttachConfig { filters: Vec::new(), capacity: 100 });
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let identity = issue(&authority, &[], "site-1", "node");
        let config = Arc::new(client_config_of(&authority, Some(identity), &[version]));
        let accepted = [0x20, 2, 0, 0];
        let first = within("the first", handshake(&running, &config)).await;
        assert_eq!(first, (rustls::HandshakeKind::Full, accepted));
        let second = within("the second", handshake(&running, &config)).await;
        assert_eq!(second, (rustls::HandshakeKind::Resumed, accepted));
    }
    let mut sessions = 0;
    while sessions < 4 {
        let event = within("a session", attachment.next()).await.unwrap();
        if let AttachmentEvent::Connected { principal, .. } = event {
            assert_eq!(*principal, Principal::new("site-1", Role::Node));
            sessions += 1;
        }
    }
}

async fn open(
    running: &Running,
    config: rustls::ClientConfig,
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = rustls_pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = within("a handshake", connector.connect(name, stream)).await.unwrap();
    stream.write_all(&connect(crate::raw::V5, "", "c", 60, &[])).await.unwrap();
    stream
}

#[tokio::test]
async fn another_certificate_is_shown_without_a_restart() {
    let authority = authority();
    let running = start(&authority, Limits::default()).await;
    let config = || client_config(&authority, Some(issue(&authority, &[], "site-1", "node")));
    let shown = |stream: &tokio_rustls::client::TlsStream<tokio::net::TcpStream>| {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let mut before = open(&running, config()).await;
    let (certificate, key) = issue(&authority, &["127.0.0.1"], "broker", "service");
    let clients = ClientCertificates::Required(vec![authority.der().clone()]);
    let tls = TlsConfig { chain: vec![certificate.clone()], key, clients }.build().unwrap();
    running.broker.reload_tls(running.addr, Arc::clone(&tls)).unwrap();
    let after = open(&running, config()).await;
    assert_ne!(shown(&before), certificate);
    assert_eq!(shown(&after), certificate);
    assert_eq!(within("an answer", before.read_u8()).await.unwrap(), 0x20);
    let other = ([127, 0, 0, 1], 1).into();
    assert!(running.broker.reload_tls(other, tls).is_err());
}

#[tokio::test]
async fn a_revoked_certificate_ends_its_sessions_and_another_of_the_same_node_does_not() {
    let authority = authority();
    let running = start(&authority, Limits::default()).await;
    let (certificate, key) = issue(&authority, &[], "site-1", "node");
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let serial = parsed.raw_serial().to_vec();
    let mut revoked =
        open(&running, client_config(&authority, Some((certificate.clone(), key)))).await;
    assert_eq!(within("a CONNACK", revoked.read_u8()).await.unwrap(), 0x20);
    let revocation = gnomon_broker::Revocation::Serial(serial);
    assert_eq!(running.broker.revoke(&revocation), 1);
    let mut rest = Vec::new();
    // The end may come without a goodbye of TLS.
    let _end = within("the end", revoked.read_to_end(&mut rest)).await;
    assert!(rest.windows(2).any(|pair| pair == [0x87, 0x24]), "{rest:02x?}");
    let fresh = issue(&authority, &[], "site-1", "node");
    let (_, parsed) = x509_parser::parse_x509_certificate(&fresh.0).unwrap();
    let serial = parsed.raw_serial().to_vec();
    let mut fresh = open(&running, client_config(&authority, Some(fresh))).await;
    let mut answer = [0; 4];
    within("a CONNACK", fresh.read_exact(&mut answer)).await.unwrap();
    assert_eq!((answer[0], answer[3]), (0x20, 0));
    let node = Principal::new("site-1", Role::Node);
    let attachment = running.broker.attach(AttachConfig { filters: vec![], capacity: 1 });
    let publisher = attachment.publisher();
    assert_eq!(publisher.end_sessions(&node, |shown| shown == Some(&serial[..])), 0);
    assert_eq!(publisher.end_sessions(&node, |shown| shown != Some(&serial[..])), 1);
}
