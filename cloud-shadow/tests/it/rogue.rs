//! A node with a good certificate and bad intentions.

use std::net::SocketAddr;
use std::sync::Arc;

use gnomon_schemas::document::Document;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::{Digest, Epoch, Seq, Version};
use gnomon_schemas::wire::{
    Ack, Batch, Body, Entry, Fetch, Hello, Manifest, ManifestEntry, Message,
};
use reqwest::Method;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use serde_json::{Value, json};

use crate::bench::{Api, Cloud, DEADLINE, ageless};
use crate::enrolment::{Joined, join};
use crate::site::tls;

const NODE: &str = "/v1/nodes/site-1";
const SHADOW: &str = "/v1/nodes/site-1/shadows/node";

struct Rogue {
    client: AsyncClient,
    events: EventLoop,
}

impl Rogue {
    fn new(addr: SocketAddr, joined: &Joined) -> Self {
        let mut options = MqttOptions::new("rogue", addr.ip().to_string(), addr.port());
        options.set_max_packet_size(Some(1 << 21));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(tls(
            joined,
        )))));
        let (client, events) = AsyncClient::new(options, 1000);
        Self { client, events }
    }

    /// Connects; `false` if the broker does not let it in.
    async fn enter(&mut self) -> bool {
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => break,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        self.client.try_subscribe("gnomon/1/site-1/d/#", QoS::AtLeastOnce).unwrap();
        self.until(|packet| matches!(packet, Packet::SubAck(_))).await.is_some()
    }

    /// The first packet that is wanted; `None` if the connection ends before.
    async fn until(&mut self, wanted: impl Fn(&Packet) -> bool) -> Option<Packet> {
        let packet = async {
            loop {
                match self.events.poll().await {
                    Ok(Event::Incoming(packet)) if wanted(&packet) => return Some(packet),
                    Ok(_) => {}
                    Err(_) => return None,
                }
            }
        };
        tokio::time::timeout(DEADLINE, packet).await.unwrap()
    }

    async fn publish(&mut self, topic: &str, payload: Vec<u8>) -> bool {
        self.client.try_publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
        self.until(|packet| matches!(packet, Packet::PubAck(_))).await.is_some()
    }

    async fn say(&mut self, message: &Message) -> bool {
        let stream = match message {
            Message::Hello(_) | Message::Ack(_) | Message::Fetch(_) => Stream::Down,
            Message::Batch(_) | Message::Manifest(_) => Stream::Up,
        };
        let topic = Topic::of("site-1".parse().unwrap(), stream, message.kind()).to_string();
        self.publish(&topic, message.encode()).await
    }
}

fn key(n: usize) -> ShadowKey {
    format!("device/d{n}").parse().unwrap()
}

async fn metric(api: &Api, line: &str) -> u64 {
    let metrics = api.open(Method::GET, "/metrics").send().await.unwrap();
    let text = metrics.text().await.unwrap();
    let found = text.lines().find_map(|found| found.strip_prefix(line));
    found.map_or(0, |value| value.trim().parse().unwrap())
}

fn epoch(node: &Value) -> Epoch {
    Epoch(u128::from_str_radix(node["down"]["epoch"].as_str().unwrap(), 16).unwrap())
}

#[tokio::test]
async fn extreme_positions_cost_a_new_epoch_each_and_nothing_else() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 1 })).await;
    let mut rogue = Rogue::new(cloud.mqtt(), &join(&cloud.api, "site-1").await);
    assert!(rogue.enter().await);
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..20 {
        let epoch = epoch(&cloud.api.get(NODE).await);
        assert!(seen.insert(epoch.0), "the epoch stayed");
        let seq = Seq(u64::MAX);
        let message = match n % 3 {
            0 => Message::Hello(Hello { epoch, seq, window: u8::MAX }),
            1 => Message::Ack(Ack { epoch, seq }),
            _ => Message::Fetch(Fetch { epoch, seq, keys: vec![key(1)] }),
        };
        assert!(rogue.say(&message).await);
        let other = |node: &Value| self::epoch(node) != epoch;
        cloud.api.eventually(NODE, other).await;
    }
    let shadow = ageless(cloud.api.get(SHADOW).await);
    assert_eq!((&shadow["version"], &shadow["desired"]["version"]), (&json!(1), &json!(1)));
    let cloud = cloud.restart().await;
    assert_eq!(ageless(cloud.api.get(SHADOW).await), shadow);
    cloud.stop().await;
}

#[tokio::test]
async fn lies_of_every_kind_leave_the_cloud_as_it_was() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 1 })).await;
    let mut rogue = Rogue::new(cloud.mqtt(), &join(&cloud.api, "site-1").await);
    assert!(rogue.enter().await);
    let (own, strange) = (epoch(&cloud.api.get(NODE).await), Epoch(7));
    let digest = Digest([0; 16]);
    let hello = Message::Hello(Hello { epoch: Epoch::NONE, seq: Seq::ZERO, window: 0 });
    assert!(rogue.say(&hello).await);
    let entries: Vec<_> = (0..5000)
        .map(|n| ManifestEntry { key: key(n), version: Version(u64::MAX), digest })
        .collect();
    let manifest = |part, parts, entries| {
        let (seq, answers) = (Seq(u64::MAX), Epoch::NONE);
        Message::Manifest(Manifest { epoch: strange, seq, answers, part, parts, entries })
    };
    for part in [0, 1, u32::MAX - 1, u32::MAX] {
        assert!(rogue.say(&manifest(part, u32::MAX, entries.clone())).await);
    }
    assert!(rogue.say(&manifest(0, 0, Vec::new())).await);
    let gone = |n| Entry {
        key: key(n),
        base: Version::ZERO,
        version: Version(u64::MAX),
        body: Body::Gone,
    };
    let changes: Vec<_> = (0..15_000).map(gone).collect();
    for epoch in [Epoch::NONE, own, strange] {
        let (after, seq) = (Seq::ZERO, Seq(9));
        let batch = Batch { epoch, after, seq, changes: changes.clone() };
        assert!(rogue.say(&Message::Batch(batch)).await);
    }
    let wrong = Document::parse(b"{\"a\":1}").unwrap();
    let full = Entry { body: Body::Full(wrong, digest), ..gone(1) };
    let batch = Batch { epoch: Epoch::NONE, after: Seq(0), seq: Seq(10), changes: vec![full] };
    assert!(rogue.say(&Message::Batch(batch)).await);
    let node = cloud.api.get(NODE).await;
    assert_eq!((&node["shadows"], epoch(&node)), (&json!(1), own));
    let shadow = cloud.api.get(SHADOW).await;
    assert_eq!((&shadow["version"], &shadow["reported"]), (&json!(1), &Value::Null));
    cloud.stop().await;
}

#[tokio::test]
async fn wishes_for_what_does_not_exist_have_an_end() {
    let cloud = Cloud::with_node().await;
    let mut rogue = Rogue::new(cloud.mqtt(), &join(&cloud.api, "site-1").await);
    assert!(rogue.enter().await);
    let epoch = epoch(&cloud.api.get(NODE).await);
    for round in 0..4 {
        let keys = (0..10_000).map(|n| key(round * 10_000 + n)).collect();
        assert!(rogue.say(&Message::Fetch(Fetch { epoch, seq: Seq::ZERO, keys })).await);
    }
    cloud.api.get(NODE).await;
    let refused = "gnomon_cloud_dropped_messages_total{reason=\"limit_reached\"}";
    let began = std::time::Instant::now();
    while metric(&cloud.api, refused).await < 2 {
        assert!(began.elapsed() < DEADLINE, "nothing was refused");
    }
    cloud.stop().await;
}

#[tokio::test]
async fn a_node_does_not_speak_for_others_nor_listen_to_them() {
    let cloud = Cloud::with_node().await;
    cloud.api.create("site-2").await;
    let joined = join(&cloud.api, "site-1").await;
    let mut rogue = Rogue::new(cloud.mqtt(), &joined);
    assert!(rogue.enter().await);
    let hello = Message::Hello(Hello { epoch: Epoch(1), seq: Seq(1), window: 1 });
    for topic in ["gnomon/1/site-2/u/hello", "gnomon/1/site-1/d/hello", "$SYS/x", "gnomon/2/x"] {
        rogue.publish(topic, hello.encode()).await;
        rogue = Rogue::new(cloud.mqtt(), &joined);
        assert!(rogue.enter().await);
    }
    assert_eq!(cloud.api.get("/v1/nodes/site-2").await["up"]["bytes"], 0);
    cloud.stop().await;
}

#[tokio::test]
async fn a_session_that_is_taken_over_again_and_again_ends_as_one_that_is_online() {
    let cloud = Cloud::with_node().await;
    let joined = join(&cloud.api, "site-1").await;
    let mut rogues = Vec::new();
    for _ in 0..30 {
        let mut rogue = Rogue::new(cloud.mqtt(), &joined);
        assert!(rogue.enter().await);
        rogues.push(rogue);
    }
    let mut last = rogues.pop().unwrap();
    for mut earlier in rogues {
        assert!(earlier.until(|_| false).await.is_none(), "it was not ended");
    }
    let hello = Message::Hello(Hello { epoch: Epoch::NONE, seq: Seq::ZERO, window: 1 });
    assert!(last.say(&hello).await);
    let heard = |node: &Value| node["up"]["bytes"].as_u64() > Some(0);
    let node = cloud.api.eventually(NODE, heard).await;
    assert_eq!(node["online"], true, "a late goodbye says nothing");
    last.client.try_disconnect().unwrap();
    last.until(|_| false).await;
    cloud.api.eventually(NODE, |node| node["online"] == false).await;
    cloud.stop().await;
}

#[tokio::test]
async fn an_old_certificate_does_not_open_a_node_that_was_made_again() {
    let cloud = Cloud::with_node().await;
    let old = join(&cloud.api, "site-1").await;
    assert!(Rogue::new(cloud.mqtt(), &old).enter().await);
    cloud.api.request(Method::DELETE, NODE).send().await.unwrap();
    cloud.api.create("site-1").await;
    assert!(!Rogue::new(cloud.mqtt(), &old).enter().await);
    let new = join(&cloud.api, "site-1").await;
    let cloud = cloud.restart().await;
    assert!(!Rogue::new(cloud.mqtt(), &old).enter().await);
    assert!(Rogue::new(cloud.mqtt(), &new).enter().await);
    cloud.stop().await;
}
