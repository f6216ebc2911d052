//! One connection, from its beginning to its end.

use std::str;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::{Heading, Topic};
use gnomon_schemas::wire::Message;
use rustls::HandshakeKind;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::gate::Gate;
use super::packets::{self, Client, Hello, Lost, Packets, Seen, Why};
use super::{Address, Meter, MqttSettings, Told};
use crate::link::LinkEvent;
use crate::link::course::{Reached, Version};
use crate::link::dial;
use crate::link::keepalive::KeepAlive;
use crate::link::retry::Met;

/// How long a broker may take to let us in and to take the subscription.
const SUBSCRIBE: Duration = Duration::from_secs(40);
/// How long the wire may take to carry a goodbye, or to say why it ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A connection to be made.
pub(super) struct Session {
    pub(super) settings: Arc<MqttSettings>,
    pub(super) address: Address,
    pub(super) version: Version,
    pub(super) keep_alive: KeepAlive,
    pub(super) events: mpsc::Sender<Told>,
    pub(super) meter: Meter,
}

/// How a connection ended.
pub(super) struct End {
    pub(super) reached: Reached,
    pub(super) met: Met,
    pub(super) reason: String,
    /// What was learned of the way.
    pub(super) keep_alive: KeepAlive,
    /// It was ended here, to be made anew at once.
    pub(super) is_planned: bool,
}

/// How a client came to its end.
struct Ending {
    lost: Lost,
    is_planned: bool,
}

impl From<Lost> for Ending {
    fn from(lost: Lost) -> Self {
        Self { lost, is_planned: false }
    }
}

impl Session {
    pub(super) async fn run(mut self) -> End {
        let settings = Arc::clone(&self.settings);
        let (proxy, tls) = (settings.proxy.as_ref(), settings.tls.current());
        let wire = match dial::dial(&self.address, proxy, &tls, &self.meter).await {
            Ok(wire) => wire,
            Err(error) => {
                let end = self.end(Reached::Nothing, crate::chain(&error));
                return End { met: error.met(), ..end };
            }
        };
        let is_resumed = wire.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
        let gate = match Gate::open() {
            Ok(gate) => gate,
            Err(error) => return self.end(Reached::Nothing, format!("no local socket: {error}")),
        };
        let hello = Hello {
            client_id: settings.node.as_str(),
            gate: gate.name(),
            keep_alive: self.keep_alive.interval(),
        };
        let (client, mut packets) = packets::open(self.version, &hello);
        let mut carrying = tokio::spawn(gate.carry(wire));
        let guard = super::AbortOnDrop(carrying.abort_handle());
        let mut reached = Reached::NoMqtt;
        let ending = self.talk(client, &mut packets, &mut reached, is_resumed).await;
        if ending.lost.why != Why::Broken && reached == Reached::NoMqtt {
            reached = Reached::Refusal;
        }
        let mut end = self.end(reached, ending.lost.reason);
        end.is_planned = ending.is_planned;
        if ending.lost.why == Why::TakenOver {
            end.met = Met::Rival;
        }
        drop(packets);
        let last_words = last_words(&mut carrying).await;
        if let Some(reason) =
            last_words.filter(|_| ending.lost.why == Why::Broken && !end.is_planned)
        {
            end.reason = reason;
        }
        drop(guard);
        end
    }

    async fn talk(
        &mut self,
        client: Client,
        packets: &mut Packets,
        reached: &mut Reached,
        is_resumed: bool,
    ) -> Ending {
        match tokio::time::timeout(SUBSCRIBE, self.subscribe(&client, packets, reached)).await {
            Ok(Ok(())) => {}
            Ok(Err(lost)) => return lost.into(),
            Err(_) => {
                let reason = "the broker accepted the connection and did not answer".to_owned();
                return Lost { reason, why: Why::Broken }.into();
            }
        }
        *reached = Reached::Up;
        self.meter.connected(self.version, is_resumed, self.keep_alive.interval());
        tracing::info!(address = %self.address, mqtt = ?self.version, is_resumed,
            keep_alive = ?self.keep_alive.interval(), "the link to the cloud is up");
        if self.events.send(Told::Up(client)).await.is_err() {
            return stopping().into();
        }
        self.pump(packets).await
    }

    fn end(&self, reached: Reached, reason: String) -> End {
        let keep_alive = self.keep_alive.clone();
        End { reached, met: Met::Refusal, reason, keep_alive, is_planned: false }
    }

    /// Connects and subscribes to what is sent to this node; messages that come before the
    /// receipt belong to nobody yet and are dropped.
    async fn subscribe(
        &self,
        client: &Client,
        packets: &mut Packets,
        reached: &mut Reached,
    ) -> Result<(), Lost> {
        let mut asked = Instant::now();
        loop {
            match packets.next().await? {
                Seen::Connected => {
                    *reached = Reached::Refusal;
                    asked = Instant::now();
                    client
                        .subscribe(Topic::all_to(&self.settings.node))
                        .map_err(|reason| Lost { reason, why: Why::Broken })?;
                }
                Seen::Subscribed => {
                    self.meter.answered_in(asked.elapsed());
                    return Ok(());
                }
                Seen::Publish { .. }
                | Seen::Pinged
                | Seen::Ponged
                | Seen::Goodbye
                | Seen::Other => {}
            }
        }
    }

    /// Moves messages until the connection ends; says why it did.
    async fn pump(&mut self, packets: &mut Packets) -> Ending {
        let mut silence = Silence::new();
        loop {
            let event = match packets.next().await {
                Err(lost) => {
                    if silence.is_broken(self.keep_alive.interval()) && lost.why == Why::Broken {
                        self.keep_alive.lost_silently();
                    }
                    return lost.into();
                }
                Ok(Seen::Goodbye) => {
                    let reason = "said goodbye".to_owned();
                    return Lost { reason, why: Why::Refused }.into();
                }
                Ok(Seen::Pinged) => {
                    silence.asked();
                    continue;
                }
                Ok(Seen::Ponged) => {
                    let Some((length, answer)) = silence.answered() else { continue };
                    self.meter.answered_in(answer);
                    if self.keep_alive.answered(length) {
                        let lost = Lost {
                            reason: "connecting anew with a longer keep-alive".to_owned(),
                            why: Why::Broken,
                        };
                        return Ending { lost, is_planned: true };
                    }
                    continue;
                }
                Ok(Seen::Connected | Seen::Subscribed | Seen::Other) => {
                    silence.ended();
                    continue;
                }
                Ok(Seen::Publish { topic, payload }) => {
                    silence.ended();
                    self.read(&topic, &payload)
                }
            };
            if self.events.send(Told::Event(event)).await.is_err() {
                return stopping().into();
            }
        }
    }

    fn read(&self, topic: &Bytes, payload: &Bytes) -> LinkEvent {
        match parse(&self.settings.node, topic, payload) {
            Ok((parsed, message)) => {
                self.meter.carried(parsed.stream(), topic.len() + payload.len());
                LinkEvent::Message(parsed, message)
            }
            Err(reason) => LinkEvent::Malformed { reason },
        }
    }
}

/// For how long nothing went over the link before it was asked whether it lives.
struct Silence {
    since: Instant,
    asked: Option<(Instant, Duration)>,
}

impl Silence {
    fn new() -> Self {
        Self { since: Instant::now(), asked: None }
    }

    fn ended(&mut self) {
        self.since = Instant::now();
    }

    fn asked(&mut self) {
        let now = Instant::now();
        self.asked = Some((now, now.duration_since(self.since)));
    }

    /// How long it was silent, and how long the answer took.
    fn answered(&mut self) -> Option<(Duration, Duration)> {
        let (at, length) = self.asked.take()?;
        self.since = Instant::now();
        Some((length, at.elapsed()))
    }

    /// Whether no answer came to a question that ended a whole interval of silence.
    fn is_broken(&self, interval: Duration) -> bool {
        self.asked.is_some_and(|(_, length)| length >= interval * 9 / 10)
    }
}

fn stopping() -> Lost {
    Lost { reason: "the agent is stopping".to_owned(), why: Why::Refused }
}

/// Lets the wire end; says why it did if it failed.
async fn last_words(carrying: &mut JoinHandle<std::io::Result<()>>) -> Option<String> {
    match tokio::time::timeout(LAST_WORDS, carrying).await {
        Ok(Ok(Err(error))) => Some(format!("the connection was lost: {error}")),
        Ok(Ok(Ok(())) | Err(_)) | Err(_) => None,
    }
}

fn parse(node: &NodeName, topic: &Bytes, payload: &Bytes) -> Result<(Topic, Message), String> {
    let topic = str::from_utf8(topic).map_err(|error| error.to_string())?;
    let topic: Topic = topic.parse().map_err(|error| crate::chain(&error))?;
    if topic.node != *node || topic.heading != Heading::ToSite {
        return Err(format!("the topic {topic} is not for this node"));
    }
    let message = Message::decode(topic.kind, payload);
    let message = message.map_err(|error| format!("on {topic}: {}", crate::chain(&error)))?;
    Ok((topic, message))
}
