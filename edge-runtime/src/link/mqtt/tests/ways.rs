//! The ways to a cloud: resumed, by another endpoint, through proxies, with the older MQTT, with a
//! clock that is wrong.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;

#[tokio::test]
async fn a_second_connection_resumes_the_first_and_costs_a_fraction_of_its_bytes() {
    let mut cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-1"));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    let full = link.traffic().total();
    let mut costs = Vec::new();
    for _ in 0..2 {
        let session = cloud.session().await;
        let before = link.traffic().total();
        assert!(cloud.events.publisher().disconnect(session, DisconnectReason::Administrative));
        down_reason(&mut link).await;
        assert_eq!(next(&mut link).await, LinkEvent::Up);
        costs.push(link.traffic().total() - before);
        assert!(matches!(cloud.event().await, AttachmentEvent::Disconnected { .. }));
    }
    let quality = link.quality();
    assert_eq!((quality.connections, quality.resumed, quality.mqtt), (3, 2, 5));
    assert!(quality.rtt_ms.is_some_and(|rtt| rtt < 5_000), "{quality:?}");
    for cost in costs {
        assert!(cost + 200 < full, "{cost} bytes resumed, {full} bytes in full");
    }
}

#[tokio::test]
async fn the_next_endpoint_is_tried_and_the_good_one_is_remembered_across_restarts() {
    let mut cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut settings = cloud.settings(&cloud.authority.identity("site-1", "site-1"));
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    settings.addresses.insert(0, at(nobody));
    let dir = tempfile::tempdir().unwrap();
    let mut link = start(settings.clone(), Memory::open(dir.path()));
    assert!(down_reason(&mut link).await.contains("refused"));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    let session = cloud.session().await;
    assert!(cloud.events.publisher().disconnect(session, DisconnectReason::Administrative));
    down_reason(&mut link).await;
    drop(link);
    let mut again = start(settings, Memory::open(dir.path()));
    assert_eq!(next(&mut again).await, LinkEvent::Up, "the good one comes first");
}

#[tokio::test]
async fn a_link_goes_through_a_proxy_of_either_kind_with_its_login() {
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    for (scheme, serve) in [("socks5", true), ("http", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let served = if serve { socks5(stream).await } else { connect(stream).await };
                drop(served);
            }
        });
        let mut settings = cloud.settings(&cloud.authority.identity("site-1", "site-1"));
        // Only the proxy knows this name.
        settings.addresses =
            vec![format!("cloud.example:{}", settings.addresses[0].port).parse().unwrap()];
        settings.proxy = Some(format!("{scheme}://me:secret@127.0.0.1:{port}").parse().unwrap());
        let mut link = start(settings.clone(), Memory::default());
        assert_eq!(next(&mut link).await, LinkEvent::Up, "{scheme}");
        drop(link);
        settings.proxy = Some(format!("{scheme}://me:wrong@127.0.0.1:{port}").parse().unwrap());
        let reason = down_reason(&mut start(settings, Memory::default())).await;
        assert!(reason.contains("through the proxy") && !reason.contains("wrong"), "{reason}");
        proxy.abort();
    }
}

/// RFC 1928 and 1929, as far as a client asks for it.
async fn socks5(mut stream: TcpStream) -> std::io::Result<()> {
    let mut hello = [0; 3];
    stream.read_exact(&mut hello).await?;
    assert_eq!(hello, [5, 1, 2], "a login is offered");
    stream.write_all(&[5, 2]).await?;
    let mut login = vec![0; 2];
    stream.read_exact(&mut login).await?;
    let mut user = vec![0; usize::from(login[1]) + 1];
    stream.read_exact(&mut user).await?;
    let mut password = vec![0; usize::from(*user.last().unwrap())];
    stream.read_exact(&mut password).await?;
    let is_good = user.starts_with(b"me") && password == b"secret";
    stream.write_all(&[1, u8::from(!is_good)]).await?;
    let mut request = [0; 5];
    stream.read_exact(&mut request).await?;
    assert_eq!(&request[..4], &[5, 1, 0, 3], "the proxy is to look the name up");
    let mut rest = vec![0; usize::from(request[4]) + 2];
    stream.read_exact(&mut rest).await?;
    let port = u16::from_be_bytes([rest[rest.len() - 2], rest[rest.len() - 1]]);
    assert_eq!(&rest[..rest.len() - 2], b"cloud.example");
    stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    forward(stream, port).await
}

/// HTTP CONNECT.
async fn connect(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.strip_prefix("CONNECT cloud.example:").unwrap();
    // me:secret
    if !head.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
        return stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    let port = target.split_whitespace().next().unwrap().parse().unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    forward(stream, port).await
}

async fn forward(mut stream: TcpStream, port: u16) -> std::io::Result<()> {
    let mut target = TcpStream::connect(("127.0.0.1", port)).await?;
    copy_bidirectional(&mut stream, &mut target).await.map(drop)
}

#[tokio::test]
async fn a_broker_that_knows_only_mqtt_3_is_spoken_to_in_that() {
    let authority = Authority::new();
    let (chain, key) = authority.server("gnomon-cloud", (2020, 2100));
    let tls = TlsConfig::from_pem(chain.as_bytes(), key.as_bytes(), authority.pem.as_bytes());
    let acceptor = TlsAcceptor::from(tls.unwrap().build().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, mut packets) = mpsc::channel(8);
    let broker = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            drop(old_broker(stream, &heard).await);
        }
    });
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let identity = authority.identity("site-1", "site-1");
    let settings = MqttSettings { addresses: vec![at(port)], ..cloud.settings(&identity) };
    let mut link = start(settings, Memory::default());
    let reason = down_reason(&mut link).await;
    assert!(!reason.is_empty());
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    assert_eq!(link.quality().mqtt, 3);
    let up = topic(Stream::Down, MessageKind::Hello);
    link.publish(&up, hello(7).encode());
    let packet: Vec<u8> = packets.recv().await.unwrap();
    assert!(packet.ends_with(&hello(7).encode()));
    link.close().await;
    broker.abort();
}

/// As much of an MQTT 3.1.1 broker as a site needs.
async fn old_broker<S>(mut stream: S, heard: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let kind = stream.read_u8().await?;
        let length = usize::from(stream.read_u8().await?);
        assert!(length < 128, "one byte tells the length of these packets");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        match kind >> 4 {
            // CONNECT: the level of the protocol comes after its name.
            1 if body[6] != 4 => return stream.write_all(&[0x20, 2, 0, 1]).await,
            1 => stream.write_all(&[0x20, 2, 0, 0]).await?,
            3 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]])) + 2;
                stream.write_all(&[0x40, 2, body[topic], body[topic + 1]]).await?;
                heard.send(body).await.unwrap();
            }
            8 => stream.write_all(&[0x90, 3, body[0], body[1], 1]).await?,
            _ => return Ok(()),
        }
    }
}

#[tokio::test]
async fn a_clock_at_1970_locks_nobody_out_and_learns_what_is_past() {
    let cloud = Cloud::start_valid("gnomon-cloud", &[NODE_PUBLISHES], (2040, 2041)).await;
    let identity = cloud.authority.identity("site-1", "site-1");
    let clock = Arc::new(Clock::new(0, || 0));
    let tls = client_config_at(&identity, Arc::clone(&clock)).unwrap().into();
    let settings = MqttSettings { tls, clock: Arc::clone(&clock), ..cloud.settings(&identity) };
    let mut link = start(settings.clone(), Memory::default());
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    assert_eq!(clock.now_s(), 2_208_988_800, "it is at least 2040-01-01");
    drop(link);

    let old = Cloud::start_valid("gnomon-cloud", &[NODE_PUBLISHES], (2001, 2002)).await;
    let identity = old.authority.identity("site-1", "site-1");
    let clock = Arc::new(Clock::new(0, || 0));
    let tls = client_config_at(&identity, Arc::clone(&clock)).unwrap().into();
    let settings = MqttSettings { tls, clock, ..old.settings(&identity) };
    let reason = down_reason(&mut start(settings, Memory::default())).await;
    assert!(reason.contains("xpired"), "what had ended when the agent was built: {reason}");
}
