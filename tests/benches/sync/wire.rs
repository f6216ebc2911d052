//! One site's connection to the real broker, through a proxy that counts every byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gnomon_broker::{
    Acl, AttachConfig, Attachment, AttachmentEvent, AuthError, Authenticator, Broker, BrokerConfig,
    CertificateAuthenticator, Credentials, Limits, ListenerConfig, Principal, Qos, Role, Rule,
    TopicFilter,
};
use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::{
    FROM_ALL_NODES, MessageKind, NODE_PUBLISHES, NODE_SUBSCRIBES, Stream, Topic,
};
use gnomon_schemas::wire::Message;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, EventLoop, Incoming, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::ends::Ends;

/// Without traffic for this long and with both ends in sync, a scenario is over.
const QUIET: Duration = Duration::from_millis(120);

/// On a listener without TLS, a client is the node that its id names.
#[derive(Debug)]
struct ByClientId;

impl Authenticator for ByClientId {
    fn authenticate(&self, credentials: &Credentials<'_>) -> Result<Principal, AuthError> {
        match credentials.certificate {
            Some(_) => CertificateAuthenticator.authenticate(credentials),
            None => Ok(Principal::new(credentials.client_id, Role::Node)),
        }
    }
}

/// A broker, the cloud's attachment to it, and the counting proxy before it.
pub(crate) struct Wire {
    node: NodeName,
    _broker: Broker,
    attachment: Attachment,
    proxy: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
    tls: Option<Arc<ClientConfig>>,
}

/// A connected site.
pub(crate) struct Session {
    client: AsyncClient,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
    up: bool,
    raw: usize,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    async fn next(&mut self) -> anyhow::Result<Event> {
        self.events.recv().await.ok_or_else(|| anyhow::anyhow!("the connection has ended"))
    }
}

/// Polls in a task of its own: a poll that is cancelled while it connects begins anew.
async fn poll(mut events: EventLoop, sender: mpsc::Sender<Event>) {
    while let Ok(event) = events.poll().await {
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

impl Wire {
    pub(crate) async fn start(node: &str, with_tls: bool) -> anyhow::Result<Self> {
        let (server, client) = crate::certificates::pair(node)?;
        let acl = Acl::new(vec![Rule {
            role: Role::Node,
            publish: vec![NODE_PUBLISHES.parse()?],
            subscribe: vec![NODE_SUBSCRIBES.parse()?],
        }]);
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let broker = Broker::start(BrokerConfig {
            listeners: vec![ListenerConfig { addr, tls: with_tls.then_some(server) }],
            limits: Limits::default(),
            acl,
            authenticator: Arc::new(ByClientId),
        })
        .await?;
        let filters = vec![TopicFilter::parse(FROM_ALL_NODES, Limits::default().topic)?];
        let attachment = broker.attach(AttachConfig { filters, capacity: 1024 });
        let target = broker.addrs().first().map(|bound| bound.addr);
        let target = target.ok_or_else(|| anyhow::anyhow!("the broker has no listener"))?;
        let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let proxy = proxy(target, Arc::clone(&up), Arc::clone(&down)).await?;
        let tls = with_tls.then_some(client);
        Ok(Self { node: node.parse()?, _broker: broker, attachment, proxy, up, down, tls })
    }

    /// Bytes of the socket so far, both ways.
    pub(crate) fn bytes(&self) -> u64 {
        self.up.load(Ordering::Relaxed) + self.down()
    }

    /// Bytes of the socket so far, to the site.
    pub(crate) fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Connects the site and drives both ends until there is nothing more to say.
    pub(crate) async fn connect(&mut self, ends: &mut Ends) -> anyhow::Result<Session> {
        let mut options = MqttOptions::new(self.node.as_str(), "localhost", self.proxy.port());
        options.set_keep_alive(Duration::from_mins(5)).set_clean_start(true);
        options.set_max_packet_size(Some(4 * 1024 * 1024));
        if let Some(tls) = &self.tls {
            let tls = TlsConfiguration::Rustls(Arc::clone(tls));
            options.set_transport(Transport::Tls(tls));
        }
        let (client, events) = AsyncClient::new(options, 4096);
        client.subscribe(Topic::all_to(&self.node), QoS::AtLeastOnce).await?;
        let (sender, receiver) = mpsc::channel(64);
        let task = tokio::spawn(poll(events, sender));
        let mut session = Session { client, events: receiver, task, up: false, raw: 0 };
        self.drive(ends, &mut session).await?;
        Ok(session)
    }

    pub(crate) async fn disconnect(&mut self, ends: &mut Ends, session: Session) {
        drop(session);
        ends.all_down();
        while let Ok(Some(event)) = timeout(QUIET, self.attachment.next()).await {
            if matches!(event, AttachmentEvent::Disconnected { .. }) {
                break;
            }
        }
    }

    /// Moves messages until both ends are in sync and the socket has been quiet for a while.
    pub(crate) async fn drive(
        &mut self,
        ends: &mut Ends,
        session: &mut Session,
    ) -> anyhow::Result<()> {
        let mut seen = self.bytes();
        loop {
            for (stream, message) in ends.cloud_sends() {
                let topic = Topic::of(self.node.clone(), stream, message.kind()).to_string();
                let payload = message.encode().into();
                self.attachment.publisher().publish(&topic, payload, Qos::AtLeastOnce)?;
            }
            for (stream, message) in ends.site_sends() {
                let topic = Topic::of(self.node.clone(), stream, message.kind()).to_string();
                session.client.try_publish(topic, QoS::AtLeastOnce, false, message.encode())?;
            }
            tokio::select! {
                Some(event) = self.attachment.next() => at_cloud(ends, event),
                event = session.next() => at_site(ends, session, event?),
                () = tokio::time::sleep(QUIET) => {
                    let now = self.bytes();
                    let done = ends.cloud_writer.is_in_sync() && ends.site_writer.is_in_sync();
                    if done && now == seen {
                        return Ok(());
                    }
                    seen = now;
                }
            }
        }
    }

    /// Sends payloads to the site as they are, as a system without this protocol would.
    pub(crate) async fn raw(
        &mut self,
        ends: &mut Ends,
        session: &mut Session,
        payloads: &[Vec<u8>],
    ) -> anyhow::Result<()> {
        let topic = Topic::of(self.node.clone(), Stream::Down, MessageKind::Batch).to_string();
        for payload in payloads {
            let wanted = session.raw + 1;
            let payload = payload.clone().into();
            self.attachment.publisher().publish(&topic, payload, Qos::AtLeastOnce)?;
            while session.raw < wanted {
                let event = session.next().await?;
                at_site(ends, session, event);
            }
        }
        self.drive(ends, session).await
    }
}

fn at_cloud(ends: &mut Ends, event: AttachmentEvent) {
    let AttachmentEvent::Publish { topic, payload, .. } = event else { return };
    let Ok(topic) = topic.as_str().parse::<Topic>() else { return };
    let Ok(message) = Message::decode(topic.kind, &payload) else { return };
    if ends.cloud_writer.poll_timeout().is_none() && ends.cloud_writer.acked().is_none() {
        ends.cloud_up();
    }
    ends.at_cloud(topic.stream(), &message);
}

fn at_site(ends: &mut Ends, session: &mut Session, event: Event) {
    let Event::Incoming(packet) = event else { return };
    if matches!(packet, Incoming::SubAck(_)) && !session.up {
        session.up = true;
        let now = ends.now();
        ends.site_reader.link_up(now);
        ends.site_writer.link_up(now);
    }
    let Incoming::Publish(publish) = packet else { return };
    let topic =
        std::str::from_utf8(&publish.topic).ok().and_then(|text| text.parse::<Topic>().ok());
    let decoded =
        topic.map(|topic| (topic.stream(), Message::decode(topic.kind, &publish.payload)));
    match decoded {
        Some((stream, Ok(message))) => ends.at_site(stream, &message),
        Some((_, Err(_))) | None => session.raw += 1,
    }
}

async fn proxy(
    target: SocketAddr,
    up: Arc<AtomicU64>,
    down: Arc<AtomicU64>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(target).await else { continue };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(copy(from_client, to_server, Arc::clone(&up)));
            tokio::spawn(copy(from_server, to_client, Arc::clone(&down)));
        }
    });
    Ok(addr)
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    bytes: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        bytes.fetch_add(len as u64, Ordering::Relaxed);
        if to.write_all(buffer.get(..len).unwrap_or_default()).await.is_err() {
            break;
        }
    }
}
