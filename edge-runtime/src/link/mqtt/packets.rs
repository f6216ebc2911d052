//! MQTT 5 and 3.1.1 as the link needs them: one kind of client, one kind of event.

use bytes::Bytes;
use std::time::Duration;

use gnomon_schemas::limits;
use rumqttc::v5;

use crate::link::course::Version;

mod five;
mod three;

/// The most publishes that wait to be written; more are dropped.
const QUEUE: usize = 64;
/// The most publishes without a receipt of the broker.
const IN_FLIGHT: u16 = 64;
/// The client's own patience; the session's is shorter.
const CONNECT_SECONDS: u64 = 40;
/// The largest packet: a message, and header, topic, properties.
const PACKET_BYTES: usize = limits::MESSAGE_BYTES + 4096;

/// What is said to a broker.
#[derive(Debug)]
pub(super) struct Hello<'a> {
    pub(super) client_id: &'a str,
    /// The socket behind which the broker is.
    pub(super) gate: &'a str,
    pub(super) keep_alive: Duration,
}

/// Sends.
#[derive(Debug)]
pub(super) enum Client {
    Five(v5::AsyncClient),
    Three(rumqttc::AsyncClient),
}

/// Receives, and moves everything.
pub(super) enum Packets {
    Five(Box<v5::EventLoop>),
    Three(Box<rumqttc::EventLoop>),
}

/// What happened.
pub(super) enum Seen {
    /// The broker lets us in.
    Connected,
    /// What is sent to this node will come.
    Subscribed,
    /// A message.
    Publish { topic: Bytes, payload: Bytes },
    /// We asked whether it is there.
    Pinged,
    /// It is.
    Ponged,
    /// We said goodbye.
    Goodbye,
    /// Something else went over the link.
    Other,
}

/// The connection ended.
pub(super) struct Lost {
    pub(super) reason: String,
    pub(super) why: Why,
}

/// Whose doing it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The connection broke, or nobody answered.
    Broken,
    /// The broker understood us and does not want us.
    Refused,
    /// Another client has our name and proves to be us. It is not us: a client ends before the next
    /// one begins.
    TakenOver,
}

impl Lost {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), why: Why::Broken }
    }
}

/// A client, and what drives it.
pub(super) fn open(version: Version, hello: &Hello<'_>) -> (Client, Packets) {
    match version {
        Version::V5 => {
            let (client, packets) = five::open(hello);
            (Client::Five(client), Packets::Five(Box::new(packets)))
        }
        Version::V3 => {
            let (client, packets) = three::open(hello);
            (Client::Three(client), Packets::Three(Box::new(packets)))
        }
    }
}

impl Client {
    pub(super) fn publish(&self, topic: String, payload: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Five(client) => {
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                client.try_publish(topic, qos, false, payload).map_err(|error| error.to_string())
            }
            Self::Three(client) => {
                let qos = rumqttc::QoS::AtLeastOnce;
                client.try_publish(topic, qos, false, payload).map_err(|error| error.to_string())
            }
        }
    }

    pub(super) fn subscribe(&self, filter: String) -> Result<(), String> {
        match self {
            Self::Five(client) => client
                .try_subscribe(filter, v5::mqttbytes::QoS::AtLeastOnce)
                .map_err(|error| error.to_string()),
            Self::Three(client) => client
                .try_subscribe(filter, rumqttc::QoS::AtLeastOnce)
                .map_err(|error| error.to_string()),
        }
    }

    pub(super) fn disconnect(&self) -> bool {
        match self {
            Self::Five(client) => client.try_disconnect().is_ok(),
            Self::Three(client) => client.try_disconnect().is_ok(),
        }
    }
}

impl Packets {
    pub(super) async fn next(&mut self) -> Result<Seen, Lost> {
        match self {
            Self::Five(packets) => five::read(packets.poll().await),
            Self::Three(packets) => three::read(packets.poll().await),
        }
    }
}

fn refused_subscription(codes: &impl std::fmt::Debug) -> Lost {
    let reason = format!(
        "the broker refuses the subscription to this node's messages: {codes:?}; does the \
         certificate name this node?"
    );
    Lost { reason, why: Why::Refused }
}
