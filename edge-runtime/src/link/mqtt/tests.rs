//! The link against the real broker over mutual TLS on loopback.

mod ways;

use bytes::Bytes;
use gnomon_broker::{
    Acl, AttachConfig, Attachment, AttachmentEvent, Broker, BrokerConfig, CertificateAuthenticator,
    DisconnectReason, Limits, ListenerConfig, Qos, Role, Rule, SessionId, TlsConfig, TopicFilter,
    TopicLimits,
};
use gnomon_schemas::topic::{FROM_ALL_NODES, MessageKind, NODE_PUBLISHES, NODE_SUBSCRIBES, Stream};
use gnomon_schemas::version::{Epoch, Seq};
use gnomon_schemas::wire::{Ack, Fetch, Hello, Message};
use rand::SeedableRng as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::*;
use crate::identity::Identity;
use crate::link::client_config_at;

const DEADLINE: Duration = Duration::from_secs(20);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn server(&self, name: &str, years: (i32, i32)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The identity of `node`, with a certificate for `certified`.
    fn identity(&self, node: &str, certified: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, certified);
        params.distinguished_name.push(DnType::OrganizationalUnitName, "node");
        Identity {
            node: node.parse().unwrap(),
            mqtt: vec!["cloud.example:8883".parse().unwrap()],
            https: None,
            server_name: "gnomon-cloud".to_owned(),
            certificate_pem: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key_pem: key.serialize_pem(),
            ca_pem: self.pem.clone(),
        }
    }
}

struct Cloud {
    authority: Authority,
    broker: Broker,
    events: Attachment,
}

impl Cloud {
    async fn start(server_name: &str, node_publishes: &[&str]) -> Self {
        Self::start_valid(server_name, node_publishes, (2020, 2100)).await
    }

    /// A cloud whose certificate is valid from one year to another.
    async fn start_valid(name: &str, node_publishes: &[&str], years: (i32, i32)) -> Self {
        let authority = Authority::new();
        let (chain, key) = authority.server(name, years);
        let tls = TlsConfig::from_pem(chain.as_bytes(), key.as_bytes(), authority.pem.as_bytes());
        let tls = Some(tls.unwrap().build().unwrap());
        let rule = Rule::new(Role::Node, node_publishes, &[NODE_SUBSCRIBES]).unwrap();
        let broker = Broker::start(BrokerConfig {
            listeners: vec![ListenerConfig { addr: ([127, 0, 0, 1], 0).into(), tls }],
            limits: Limits::default(),
            acl: Acl::new(vec![rule]),
            authenticator: Arc::new(CertificateAuthenticator),
        });
        let broker = broker.await.unwrap();
        let filters = vec![TopicFilter::parse(FROM_ALL_NODES, TopicLimits::MQTT).unwrap()];
        let events = broker.attach(AttachConfig { filters, capacity: 100 });
        Self { authority, broker, events }
    }

    fn link(&self, identity: &Identity) -> MqttLink {
        start(self.settings(identity), Memory::default())
    }

    fn settings(&self, identity: &Identity) -> MqttSettings {
        let port = self.broker.addrs()[0].addr.port();
        let clock = Arc::new(Clock::default());
        MqttSettings {
            node: identity.node.clone(),
            addresses: vec![at(port)],
            proxy: None,
            tls: client_config_at(identity, Arc::clone(&clock)).unwrap().into(),
            clock,
            keep_alive: (Duration::from_secs(30), Duration::from_mins(5)),
        }
    }

    async fn event(&mut self) -> AttachmentEvent {
        tokio::time::timeout(DEADLINE, self.events.next()).await.unwrap().unwrap()
    }

    async fn session(&mut self) -> SessionId {
        let event = self.event().await;
        let AttachmentEvent::Connected { session, .. } = event else {
            panic!("{event:?} is no new session");
        };
        session
    }

    fn send(&self, topic: &str, payload: Vec<u8>) {
        let sent = self.events.publisher().publish(topic, Bytes::from(payload), Qos::AtLeastOnce);
        assert_eq!(sent.unwrap(), 1);
    }
}

fn at(port: u16) -> Address {
    Address { host: "127.0.0.1".to_owned(), port }
}

fn start(settings: MqttSettings, memory: Memory) -> MqttLink {
    MqttLink::start(settings, memory, StdRng::seed_from_u64(1))
}

async fn next(link: &mut MqttLink) -> LinkEvent {
    tokio::time::timeout(DEADLINE, link.next()).await.expect("something happens in time")
}

async fn down_reason(link: &mut MqttLink) -> String {
    let event = next(link).await;
    let LinkEvent::Down { reason } = event else {
        panic!("{event:?}, but the link should go down");
    };
    reason
}

fn topic(stream: Stream, kind: MessageKind) -> Topic {
    Topic::of("site-1".parse().unwrap(), stream, kind)
}

fn hello(seq: u64) -> Message {
    Message::Hello(Hello { epoch: Epoch(1), seq: Seq(seq), window: 1 })
}

#[tokio::test]
async fn messages_go_both_ways_and_are_counted() {
    let mut cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-1"));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    cloud.session().await;

    let up = topic(Stream::Down, MessageKind::Hello);
    link.publish(&up, hello(7).encode());
    let AttachmentEvent::Publish { topic: seen, payload, .. } = cloud.event().await else {
        panic!("the hello must arrive");
    };
    assert_eq!(seen.to_string(), up.to_string());
    assert_eq!(Message::decode(MessageKind::Hello, &payload).unwrap(), hello(7));

    let keys = (0..9000).map(|n| format!("device/a-name-that-is-rather-long-{n}").parse().unwrap());
    let big = Message::Fetch(Fetch { epoch: Epoch(1), seq: Seq(1), keys: keys.collect() });
    assert!(big.encode().len() > 300_000);
    let down = topic(Stream::Up, MessageKind::Fetch);
    cloud.send(&down.to_string(), big.encode());
    assert_eq!(next(&mut link).await, LinkEvent::Message(down.clone(), big.clone()));

    cloud.send(&down.to_string(), vec![0xff]);
    assert!(matches!(next(&mut link).await, LinkEvent::Malformed { .. }));
    let traffic = link.traffic();
    assert_eq!(traffic.desired, (up.to_string().len() + hello(7).encode().len()) as u64);
    assert_eq!(traffic.reported, (down.to_string().len() + big.encode().len()) as u64);
    assert!(traffic.bytes_in > traffic.reported && traffic.bytes_out > traffic.desired);

    link.close().await;
    let AttachmentEvent::Disconnected { reason, .. } = cloud.event().await else {
        panic!("the session must end");
    };
    assert_eq!(reason, DisconnectReason::ByClient);
}

#[tokio::test]
async fn a_server_with_another_name_is_refused() {
    let cloud = Cloud::start("somebody-else", &[NODE_PUBLISHES]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-1"));
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test]
async fn a_server_of_another_authority_is_refused() {
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut identity = cloud.authority.identity("site-1", "site-1");
    identity.ca_pem = Authority::new().pem;
    let reason = down_reason(&mut cloud.link(&identity)).await;
    assert!(reason.contains("certificate"), "{reason}");
}

#[tokio::test]
async fn a_refused_subscription_is_a_link_error() {
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-2"));
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("refuses the subscription"), "{reason}");
}

#[tokio::test]
async fn a_refused_message_is_a_link_error() {
    let cloud = Cloud::start("gnomon-cloud", &["gnomon/1/{node}/u/ack"]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-1"));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    link.publish(&topic(Stream::Down, MessageKind::Hello), hello(1).encode());
    let reason = down_reason(&mut link).await;
    assert!(reason.contains("refuses a message"), "{reason}");
    assert_eq!(next(&mut link).await, LinkEvent::Up, "it connects again");
}

#[tokio::test]
async fn what_was_published_without_a_link_never_leaves() {
    let mut cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let mut link = cloud.link(&cloud.authority.identity("site-1", "site-1"));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    let session = cloud.session().await;
    assert!(cloud.events.publisher().disconnect(session, DisconnectReason::Administrative));
    let reason = down_reason(&mut link).await;
    assert!(!reason.is_empty());
    let ack = |seq| Message::Ack(Ack { epoch: Epoch(1), seq: Seq(seq) }).encode();
    let topic = topic(Stream::Down, MessageKind::Ack);
    link.publish(&topic, ack(1));
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    link.publish(&topic, ack(2));
    loop {
        if let AttachmentEvent::Publish { payload, .. } = cloud.event().await {
            assert_eq!(payload, ack(2));
            return;
        }
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_tried_again() {
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let identity = cloud.authority.identity("site-1", "site-1");
    let mut link = cloud.link(&identity);
    assert_eq!(next(&mut link).await, LinkEvent::Up);
    cloud.broker.shutdown(Duration::from_secs(5)).await;
    let first = down_reason(&mut link).await;
    let second = down_reason(&mut link).await;
    assert!(first != second && second.contains("refused"), "{first}, then {second}");
}

#[tokio::test]
async fn a_link_that_another_machine_takes_says_so_and_comes_again() {
    let cloud = Cloud::start("gnomon-cloud", &[NODE_PUBLISHES]).await;
    let identity = cloud.authority.identity("site-1", "site-1");
    let mut first = cloud.link(&identity);
    assert_eq!(next(&mut first).await, LinkEvent::Up);
    let mut second = cloud.link(&identity);
    assert_eq!(next(&mut second).await, LinkEvent::Up);
    assert_eq!(next(&mut first).await, LinkEvent::TakenOver);
    let reason = down_reason(&mut first).await;
    assert!(reason.contains("TakenOver"), "{reason}");
    assert_eq!(next(&mut first).await, LinkEvent::Up, "it does not give in");
    assert_eq!(next(&mut second).await, LinkEvent::TakenOver);
}
