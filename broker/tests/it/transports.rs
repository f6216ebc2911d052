//! What MQTT travels in, and how much of it one address or one client may use.

use std::time::{Duration, Instant};

use gnomon_broker::{AttachConfig, AttachmentEvent, Endpoint, Limits, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Running, start, start_with, within};
use crate::raw::{Packet, Raw, V4, V5, connect, publish};

async fn listen(running: &mut Running, transport: Transport, proxy_protocol: bool) {
    let addr = ([127, 0, 0, 1], 0).into();
    let endpoint = Endpoint { addr, tls: None, transport, proxy_protocol };
    running.addr = running.broker.listen(endpoint).await.unwrap().addr;
}

/// A binary frame as a client sends it.
fn masked(content: &[u8]) -> Vec<u8> {
    let mask = [9, 8, 7, 6];
    let len = u16::try_from(content.len()).unwrap().to_be_bytes();
    let mut bytes = [&[0x82, 0xfe][..], &len, &mask].concat();
    bytes.extend(content.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    bytes
}

async fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    within("bytes", stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

async fn upgrade(running: &Running) -> TcpStream {
    let mut stream = TcpStream::connect(running.addr).await.unwrap();
    let request = "GET /mqtt HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read(&mut stream, 159).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    stream
}

#[tokio::test]
async fn mqtt_travels_in_the_frames_of_a_websocket() {
    let mut running = start().await;
    listen(&mut running, Transport::WebSocket, false).await;
    let mut stream = upgrade(&running).await;
    let hello = connect(V4, "service/s", "web", 60, &[]);
    let (begin, end) = hello.split_at(7);
    stream.write_all(&[masked(begin), masked(end)].concat()).await.unwrap();
    assert_eq!(read(&mut stream, 6).await, [0x82, 4, 0x20, 2, 0, 0]);
    // A ping of the WebSocket, and one of MQTT.
    stream.write_all(&[&[0x89, 0x80, 0, 0, 0, 0][..], &masked(&[0xc0, 0])].concat()).await.unwrap();
    assert_eq!(read(&mut stream, 6).await, [0x8a, 0, 0x82, 2, 0xd0, 0]);
    let subscribe = [0x82, 6, 0, 1, 0, 1, b'a', 0];
    stream.write_all(&masked(&subscribe)).await.unwrap();
    assert_eq!(read(&mut stream, 7).await, [0x82, 5, 0x90, 3, 0, 1, 0]);
    let payload = vec![7; 20_000];
    stream.write_all(&masked(&publish(V4, "a", None, &payload))).await.unwrap();
    let mut content = Vec::new();
    while content.len() < 20_007 {
        let header = read(&mut stream, 4).await;
        assert_eq!(header[..2], [0x82, 126]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        content.extend(read(&mut stream, len).await);
    }
    assert!(content.ends_with(&payload));
    stream.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
    assert_eq!(read(&mut stream, 2).await, [0x88, 0]);
    running.metric_reaches("disconnects_total{reason=\"connection_lost\"}", 1).await;
}

#[tokio::test]
async fn what_is_no_websocket_for_mqtt_is_turned_away() {
    let mut running =
        start_with(Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() })
            .await;
    listen(&mut running, Transport::WebSocket, false).await;
    for (request, status) in
        [(&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], "426"), (&[b'x'; 9_000], "431")]
    {
        let mut stream = TcpStream::connect(running.addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let answer = read(&mut stream, 12).await;
        assert_eq!(&answer[9..], status.as_bytes());
    }
    let mut silent = Raw::open(running.addr, V4).await;
    assert_eq!(silent.next().await, None);
    let mut unmasked = upgrade(&running).await;
    unmasked.write_all(&[0x82, 2, 0x10, 0]).await.unwrap();
    let mut rest = Vec::new();
    within("the end", unmasked.read_to_end(&mut rest)).await.unwrap();
    running.is_empty().await;
    assert_eq!(running.metric("rejected_connections_total{reason=\"websocket\"}"), 2);
    assert_eq!(running.metric("rejected_connections_total{reason=\"handshake_timeout\"}"), 1);
}

/// The header of a load balancer for a client at `10.0.0.n`.
fn proxied(n: u8) -> Vec<u8> {
    let addresses = [10, 0, 0, n, 10, 9, 9, 9, 0x10, 0x00, 0x07, 0x5b];
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x21, 0x11, 0, 12], &addresses].concat()
}

#[tokio::test]
async fn a_load_balancer_says_who_is_there() {
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let mut running = start_with(limits).await;
    let mut attachment = running.broker.attach(AttachConfig { filters: Vec::new(), capacity: 10 });
    listen(&mut running, Transport::Plain, true).await;
    let mut clients = Vec::new();
    for n in [1, 2, 1] {
        let mut raw = Raw::open(running.addr, V4).await;
        raw.send(&proxied(n)).await;
        let sent = raw.stream.write_all(&connect(V4, "service/s", &format!("c{n}"), 60, &[])).await;
        clients.push((raw, sent.is_ok()));
    }
    assert_eq!(clients[0].0.packet().await.first, 0x20);
    assert_eq!(clients[1].0.packet().await.first, 0x20);
    assert_eq!(clients[2].0.next().await, None, "10.0.0.1 has a connection already");
    let mut peers = Vec::new();
    for _ in 0..2 {
        let event = within("an event", attachment.next()).await.unwrap();
        let AttachmentEvent::Connected { peer, .. } = event else { panic!("{event:?}") };
        peers.push(peer.to_string());
    }
    peers.sort();
    assert_eq!(peers, ["10.0.0.1:4096", "10.0.0.2:4096"]);
    let mut stranger = Raw::open(running.addr, V4).await;
    stranger.send(&connect(V4, "service/s", "c", 60, &[])).await;
    assert_eq!(stranger.next().await, None);
    assert_eq!(running.metric("rejected_connections_total{reason=\"proxy_header\"}"), 1);
    assert_eq!(running.metric("rejected_connections_total{reason=\"too_many_of_address\"}"), 1);
}

#[tokio::test]
async fn an_address_opens_so_many_connections_at_once() {
    let limits = Limits { connect_rate: 1, connect_burst: 3, ..Limits::default() };
    let running = start_with(limits).await;
    let mut kept = Vec::new();
    for n in 0..3 {
        kept.push(Raw::connect(running.addr, V4, "service/s", &n.to_string()).await);
    }
    let mut fourth = Raw::open(running.addr, V4).await;
    assert_eq!(fourth.next().await, None);
    assert_eq!(running.metric("rejected_connections_total{reason=\"too_fast\"}"), 1);
}

#[tokio::test]
async fn a_principal_has_so_many_sessions_at_once() {
    let limits = Limits { connections_per_principal: 1, ..Limits::default() };
    let running = start_with(limits).await;
    let _first = Raw::connect(running.addr, V5, "service/s", "1").await;
    let _other = Raw::connect(running.addr, V5, "service/t", "1").await;
    let mut second = Raw::open(running.addr, V5).await;
    second.send(&connect(V5, "service/s", "2", 60, &[])).await;
    let Packet { body, .. } = second.packet().await;
    assert_eq!(body[..2], [0, 0x97]);
    // The same client may take its own place.
    let _again = Raw::connect(running.addr, V5, "service/s", "1").await;
}

#[tokio::test]
async fn a_client_that_publishes_too_fast_is_not_read_for_a_while() {
    let limits = Limits { publish_rate: 20, ..Limits::default() };
    let running = start_with(limits).await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "fast").await;
    let begin = Instant::now();
    for n in 1..=30 {
        raw.publish("a", Some(n), b"x").await;
    }
    for _ in 1..=30 {
        raw.expect_ack(0x40).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());

    let limits = Limits { publish_bytes_rate: 10_000, ..Limits::default() };
    let running = start_with(limits).await;
    let mut raw = Raw::connect(running.addr, V4, "service/s", "large").await;
    let begin = Instant::now();
    raw.publish("a", None, &[0; 15_000]).await;
    raw.ping().await;
    assert!(begin.elapsed() >= Duration::from_millis(450), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_brokers_own_figures_are_published_if_wanted_and_by_nobody_else() {
    let limits = Limits { sys_interval: Duration::from_millis(50), ..Limits::default() };
    let rule =
        gnomon_broker::Rule::new(gnomon_broker::Role::Service, &["#", "$SYS/#"], &["$SYS/#"]);
    let running = crate::harness::start_config(gnomon_broker::BrokerConfig {
        listeners: vec![gnomon_broker::ListenerConfig {
            addr: ([127, 0, 0, 1], 0).into(),
            tls: None,
        }],
        limits,
        acl: gnomon_broker::Acl::new(vec![rule.unwrap()]),
        authenticator: std::sync::Arc::new(crate::harness::ByUsername),
    })
    .await;
    let mut raw = Raw::connect(running.addr, V5, "service/s", "c").await;
    raw.subscribe("$SYS/broker/connections", 0).await;
    loop {
        let (topic, payload) = raw.message().await;
        assert_eq!(topic, "$SYS/broker/connections");
        if payload == b"1" {
            break;
        }
    }
    let mut writer = Raw::connect(running.addr, V5, "service/s", "w").await;
    writer.publish("$SYS/broker/connections", Some(1), b"forged").await;
    assert_eq!(writer.packet().await.body[2], 0x87);
}
