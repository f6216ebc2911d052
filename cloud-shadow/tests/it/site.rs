//! A site over MQTT with mutual TLS: the sync protocol's machines behind a real MQTT client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use gnomon_schemas::document::Document;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::key::ShadowKey;
use gnomon_schemas::topic::{Stream, Topic};
use gnomon_schemas::version::Epoch;
use gnomon_schemas::wire::Message;
use gnomon_sync::{Moment, Output, Reader, ReaderConfig, Writer, WriterConfig};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use reqwest::{Method, StatusCode};
use rumqttc::{
    AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration, Transport,
};
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::bench::Cloud;
use crate::enrolment::{Joined, join};

/// What survives the site's connections.
pub(crate) struct Machines {
    node: NodeName,
    reader: Reader,
    writer: Writer,
    began: Instant,
}

/// What the test wants of a connected site.
pub(crate) enum Order {
    Report(Document),
    Publish(String, Vec<u8>),
}

/// A connected site.
pub(crate) struct Site {
    orders: mpsc::Sender<Order>,
    task: JoinHandle<Machines>,
}

impl Machines {
    pub(crate) fn new(node: &str) -> Self {
        let rng = StdRng::seed_from_u64(1);
        let writer = Writer::new(Epoch(77), WriterConfig::default(), rng);
        let reader = Reader::new(ReaderConfig::default());
        Self { node: node.parse().unwrap(), reader, writer, began: Instant::now() }
    }

    fn now(&self) -> Moment {
        Moment::from_millis(self.began.elapsed().as_millis().try_into().unwrap())
    }

    pub(crate) fn desired(&self) -> Option<String> {
        Some(self.reader.get(&ShadowKey::Node)?.document.to_string())
    }

    /// Connects and stays until the orders end or the broker ends the connection.
    pub(crate) fn connect(self, addr: SocketAddr, joined: &Joined) -> Site {
        let mut options = MqttOptions::new("agent", addr.ip().to_string(), addr.port());
        options.set_max_packet_size(1 << 20, 1 << 20);
        let tls = TlsConfiguration::Rustls(Arc::new(tls(joined)));
        options.set_transport(Transport::tls_with_config(tls));
        let (client, events) = AsyncClient::new(options, 100);
        let (orders, inbox) = mpsc::channel(10);
        Site { orders, task: tokio::spawn(self.run(client, events, inbox)) }
    }

    async fn run(
        mut self,
        client: AsyncClient,
        mut events: EventLoop,
        mut orders: mpsc::Receiver<Order>,
    ) -> Self {
        client.try_subscribe(Topic::all_to(&self.node), QoS::AtLeastOnce).unwrap();
        let mut leaving = false;
        loop {
            tokio::select! {
                event = events.poll() => match event {
                    Ok(event) => self.on_event(&event),
                    Err(_) => break,
                },
                order = orders.recv(), if !leaving => match order {
                    Some(Order::Report(document)) => {
                        self.writer.put(self.now(), &ShadowKey::Node, document);
                    }
                    Some(Order::Publish(topic, payload)) => {
                        client.try_publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
                    }
                    None => {
                        client.try_disconnect().unwrap();
                        leaving = true;
                    }
                },
            }
            self.flush(&client);
        }
        self.reader.link_down();
        self.writer.link_down();
        self
    }

    fn on_event(&mut self, event: &Event) {
        let now = self.now();
        match event {
            Event::Incoming(Packet::SubAck(_)) => {
                self.reader.link_up(now);
                self.writer.link_up(now);
            }
            Event::Incoming(Packet::Publish(publish)) => {
                let topic: Topic = publish.topic.parse().unwrap();
                let message = Message::decode(topic.kind, &publish.payload).unwrap();
                match topic.stream() {
                    Stream::Down => self.reader.receive(now, &message),
                    Stream::Up => self.writer.receive(now, &message),
                }
            }
            Event::Incoming(_) | Event::Outgoing(_) => {}
        }
    }

    fn flush(&mut self, client: &AsyncClient) {
        loop {
            let down = self.reader.poll_output().map(|output| (Stream::Down, output));
            let next =
                down.or_else(|| self.writer.poll_output().map(|output| (Stream::Up, output)));
            let Some((stream, output)) = next else { return };
            if let Output::Send(message) = output {
                let topic = Topic::of(self.node.clone(), stream, message.kind()).to_string();
                client.try_publish(topic, QoS::AtLeastOnce, false, message.encode()).unwrap();
            }
        }
    }
}

impl Site {
    pub(crate) async fn order(&self, order: Order) {
        self.orders.send(order).await.unwrap();
    }

    /// Waits until the broker has ended the connection.
    pub(crate) async fn ended(self) -> Machines {
        let Self { orders, task } = self;
        let machines = tokio::time::timeout(crate::bench::DEADLINE, task).await;
        drop(orders);
        machines.expect("the connection ends").unwrap()
    }

    /// Says goodbye.
    pub(crate) async fn leave(self) -> Machines {
        drop(self.orders);
        self.task.await.unwrap()
    }
}

pub(crate) fn tls(joined: &Joined) -> rustls::ClientConfig {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(&joined.ca)).unwrap();
    let key = PrivateKeyDer::from_pem_slice(joined.key.as_bytes()).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&joined.certificate)], key)
        .unwrap()
}

pub(crate) const NODE: &str = "/v1/nodes/site-1";
pub(crate) const SHADOW: &str = "/v1/nodes/site-1/shadows/node";

pub(crate) fn is_in_sync(node: &Value) -> bool {
    node["online"] == true && node["in_sync"] == true
}

#[tokio::test]
async fn a_site_follows_desired_and_reports_across_an_outage_and_a_restart() {
    let cloud = Cloud::with_node().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 1 })).await;
    let joined = join(&cloud.api, "site-1").await;

    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually(NODE, is_in_sync).await;
    site.order(Order::Report(Document::parse(b"{\"rate\":0}").unwrap())).await;
    let shadow = cloud.api.eventually(SHADOW, |shadow| shadow["reported"].is_object()).await;
    assert_eq!(shadow["delta"], json!({ "rate": 1 }));
    assert_eq!((&shadow["version"], &shadow["reported"]["version"]), (&json!(2), &json!(1)));
    let machines = site.leave().await;
    assert_eq!(machines.desired().unwrap(), "{\"rate\":1}");

    let node = cloud.api.eventually(NODE, |node| node["online"] == false).await;
    assert_eq!((&node["in_sync"], &node["down"]["acked"]), (&json!(false), &Value::Null));
    cloud.api.patch(SHADOW, &json!({ "rate": 2 })).await;
    let cloud = cloud.restart().await;
    cloud.api.patch(SHADOW, &json!({ "rate": 3 })).await;

    let site = machines.connect(cloud.mqtt(), &joined);
    let node = cloud.api.eventually(NODE, is_in_sync).await;
    assert_eq!((&node["down"]["batches"], &node["down"]["manifests"]), (&json!(1), &json!(0)));
    let machines = site.leave().await;
    assert_eq!(machines.desired().unwrap(), "{\"rate\":3}");
    assert_eq!(cloud.api.get(SHADOW).await["reported"]["document"], json!({ "rate": 0 }));
    cloud.stop().await;
}

#[tokio::test]
async fn the_sessions_of_a_node_are_remembered() {
    let cloud = Cloud::with_node().await;
    let none = cloud.api.get(SESSIONS).await;
    let never = json!({ "online": false, "since_ms": null, "last_seen_ms": null, "sessions": [] });
    assert_eq!(none, never);
    let joined = join(&cloud.api, "site-1").await;
    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually(NODE, is_in_sync).await;
    let open = cloud.api.get(SESSIONS).await;
    assert_eq!((&open["online"], &open["sessions"][0]["open"]), (&json!(true), &json!(true)));
    let machines = site.leave().await;
    cloud.api.eventually(NODE, |node| node["online"] == false).await;
    let site = machines.connect(cloud.mqtt(), &joined);
    cloud.api.eventually(NODE, is_in_sync).await;
    let two = cloud.api.get(SESSIONS).await;
    let sessions = two["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    let ended = &sessions[1];
    assert!(ended["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{ended}");
    let lasted = ended["ended_ms"].as_u64().unwrap() - ended["connected_ms"].as_u64().unwrap();
    assert_eq!(ended["duration_ms"], lasted);
    assert_eq!((&sessions[0]["open"], &ended["open"]), (&json!(true), &json!(false)));
    let one = cloud.api.get(&format!("{SESSIONS}?limit=1")).await;
    assert_eq!(one["sessions"].as_array().unwrap().len(), 1);
    site.leave().await;
    let cloud = cloud.restart().await;
    assert_eq!(cloud.api.get(SESSIONS).await["sessions"].as_array().unwrap().len(), 2);
    cloud.stop().await;
}

const SESSIONS: &str = "/v1/nodes/site-1/sessions";

#[tokio::test]
async fn malformed_messages_are_counted_and_change_nothing() {
    let cloud = Cloud::with_node().await;
    let joined = join(&cloud.api, "site-1").await;
    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually(NODE, is_in_sync).await;
    for kind in ["hello", "ack", "batch", "manifest", "fetch"] {
        let topic = format!("gnomon/1/site-1/u/{kind}");
        site.order(Order::Publish(topic, b"\xff\x00 nonsense".to_vec())).await;
    }
    site.order(Order::Publish("gnomon/1/site-1/u/nonsense".to_owned(), Vec::new())).await;
    site.order(Order::Report(Document::parse(b"{\"a\":1}").unwrap())).await;
    cloud.api.eventually(SHADOW_LIST, |list| list["shadows"][0]["reported"].is_object()).await;
    assert_eq!(cloud.api.get(SHADOW).await["version"], 1);
    let metrics = cloud.api.open(Method::GET, "/metrics").send().await.unwrap();
    let text = metrics.text().await.unwrap();
    for line in [
        "gnomon_cloud_dropped_messages_total{reason=\"malformed\"} 5",
        "gnomon_cloud_dropped_messages_total{reason=\"bad_topic\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    site.leave().await;
    cloud.stop().await;
}

const SHADOW_LIST: &str = "/v1/nodes/site-1/shadows";

#[tokio::test]
async fn a_deleted_node_is_disconnected_and_stays_out() {
    let cloud = Cloud::with_node().await;
    let joined = join(&cloud.api, "site-1").await;
    let site = Machines::new("site-1").connect(cloud.mqtt(), &joined);
    cloud.api.eventually(NODE, is_in_sync).await;
    let delete = cloud.api.request(Method::DELETE, NODE).send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    let machines = site.task.await.unwrap();
    let again = machines.connect(cloud.mqtt(), &joined);
    again.task.await.unwrap();
    assert_eq!(cloud.api.get("/v1/nodes").await["nodes"], json!([]));
    cloud.stop().await;
}
