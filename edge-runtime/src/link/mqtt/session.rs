//! One connection, from its beginning to its end.

use std::str;
use std::sync::Arc;
use std::time::Duration;

use gnomon_schemas::id::NodeName;
use gnomon_schemas::limits;
use gnomon_schemas::topic::{Heading, Topic};
use gnomon_schemas::wire::Message;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnectProperties, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{NetworkOptions, Outgoing, TlsConfiguration, Transport};
use tokio::sync::mpsc;

use super::{Address, Meter, MqttSettings, Told};
use crate::link::LinkEvent;

/// The most publishes that wait to be written; more are dropped.
const QUEUE: usize = 64;
/// The most publishes without a receipt of the broker.
const IN_FLIGHT: u16 = 64;
const CONNECT_SECONDS: u64 = 20;
const SUBSCRIBE: Duration = Duration::from_secs(20);
/// What a packet has besides its payload: header, topic, properties.
const HEADROOM: usize = 4096;

/// A connection to be made.
pub(super) struct Session {
    pub(super) settings: Arc<MqttSettings>,
    pub(super) address: Address,
    pub(super) events: mpsc::Sender<Told>,
    pub(super) meter: Meter,
    pub(super) up: bool,
}

/// How a connection ended.
pub(super) struct End {
    pub(super) was_up: bool,
    pub(super) reason: String,
}

impl Session {
    pub(super) async fn run(mut self) -> End {
        let (client, mut packets) = AsyncClient::new(self.options(), QUEUE);
        let reason = match tokio::time::timeout(
            SUBSCRIBE * 2,
            self.subscribe(&client, &mut packets),
        )
        .await
        {
            Ok(Ok(())) => {
                tracing::info!(address = %self.address, "the link to the cloud is up");
                self.up = true;
                match self.events.send(Told::Up(client)).await {
                    Ok(()) => self.pump(&mut packets).await,
                    Err(_) => "the agent is stopping".to_owned(),
                }
            }
            Ok(Err(reason)) => reason,
            Err(_) => "the broker accepted the connection and did not answer".to_owned(),
        };
        End { was_up: self.up, reason }
    }

    fn options(&self) -> MqttOptions {
        let Address { host, port } = &self.address;
        let mut options = MqttOptions::new(self.settings.node.as_str(), host, *port);
        let mut properties = ConnectProperties::new();
        properties.session_expiry_interval = Some(0);
        properties.max_packet_size = u32::try_from(limits::MESSAGE_BYTES + HEADROOM).ok();
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_SECONDS);
        let tls = TlsConfiguration::Rustls(Arc::clone(&self.settings.tls));
        options
            .set_keep_alive(self.settings.keep_alive)
            .set_clean_start(true)
            .set_connect_properties(properties)
            .set_outgoing_inflight_upper_limit(IN_FLIGHT)
            .set_connection_timeout(CONNECT_SECONDS)
            .set_transport(Transport::tls_with_config(tls));
        options.set_network_options(network);
        options
    }

    /// Connects and subscribes to what is sent to this node; messages that come before the
    /// receipt belong to nobody yet and are dropped.
    async fn subscribe(
        &mut self,
        client: &AsyncClient,
        packets: &mut EventLoop,
    ) -> Result<(), String> {
        loop {
            match packets.poll().await.map_err(|error| explain(&error))? {
                Event::Incoming(Packet::ConnAck(_)) => client
                    .try_subscribe(Topic::all_to(&self.settings.node), QoS::AtLeastOnce)
                    .map_err(|error| crate::chain(&error))?,
                Event::Incoming(Packet::SubAck(answer)) => return check_subscription(&answer),
                Event::Incoming(_) | Event::Outgoing(_) => {}
            }
        }
    }

    /// Moves messages until the connection ends; says why it did.
    async fn pump(&mut self, packets: &mut EventLoop) -> String {
        loop {
            let event = match packets.poll().await {
                Err(error) => return explain(&error),
                Ok(Event::Outgoing(Outgoing::Disconnect)) => return "said goodbye".to_owned(),
                Ok(Event::Incoming(Packet::PubAck(receipt))) => match check_receipt(&receipt) {
                    Ok(()) => continue,
                    Err(reason) => return reason,
                },
                Ok(Event::Incoming(Packet::Publish(publish))) => {
                    self.meter.received(publish.topic.len() + publish.payload.len());
                    read(&self.settings.node, &publish)
                }
                Ok(_) => continue,
            };
            if self.events.send(Told::Event(event)).await.is_err() {
                return "the agent is stopping".to_owned();
            }
        }
    }
}

fn read(node: &NodeName, publish: &Publish) -> LinkEvent {
    let parse = || -> Result<(Topic, Message), String> {
        let topic = str::from_utf8(&publish.topic).map_err(|error| error.to_string())?;
        let topic: Topic = topic.parse().map_err(|error| crate::chain(&error))?;
        if topic.node != *node || topic.heading != Heading::ToSite {
            return Err(format!("the topic {topic} is not for this node"));
        }
        let message = Message::decode(topic.kind, &publish.payload);
        let message = message.map_err(|error| format!("on {topic}: {}", crate::chain(&error)))?;
        Ok((topic, message))
    };
    match parse() {
        Ok((topic, message)) => LinkEvent::Message(topic, message),
        Err(reason) => LinkEvent::Malformed { reason },
    }
}

fn check_subscription(answer: &SubAck) -> Result<(), String> {
    match answer.return_codes.as_slice() {
        [SubscribeReasonCode::Success(_)] => Ok(()),
        codes => Err(format!(
            "the broker refuses the subscription to this node's messages: {codes:?}; does the \
             certificate name this node?"
        )),
    }
}

fn check_receipt(receipt: &PubAck) -> Result<(), String> {
    if matches!(receipt.reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers) {
        return Ok(());
    }
    Err(format!("the broker refuses a message of this node: {:?}", receipt.reason))
}

fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(code) => {
            format!("the broker refuses the connection: {code:?}")
        }
        ConnectionError::Timeout(_) => {
            format!("no connection within {CONNECT_SECONDS} s")
        }
        ConnectionError::MqttState(StateError::ServerDisconnect { reason_code, reason_string }) => {
            let text = reason_string.as_deref().unwrap_or("no reason given");
            format!("the broker ended the connection: {reason_code:?} ({text})")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            "the broker went silent".to_owned()
        }
        ConnectionError::MqttState(_)
        | ConnectionError::Tls(_)
        | ConnectionError::Io(_)
        | ConnectionError::NotConnAck(_)
        | ConnectionError::RequestsDone => crate::chain(error),
    }
}
