//! The MQTT client that Gnomon itself uses, in both versions.

use std::net::SocketAddr;
use std::time::Duration;

use rumqttc::v5;
use rumqttc::{AsyncClient, MqttOptions, Transport};
use tokio::sync::mpsc;

use crate::harness::within;

/// A message or an answer, the same for both versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Connected,
    Message(String, Vec<u8>),
    Acked,
    Subscribed(String),
    Failed(String),
}

/// What a client sees, in order.
pub(crate) struct Events(mpsc::UnboundedReceiver<Seen>);

impl Events {
    pub(crate) async fn next(&mut self) -> Seen {
        within("an event", self.0.recv()).await.expect("the client runs")
    }

    pub(crate) async fn expect(&mut self, wanted: &Seen) {
        loop {
            let seen = self.next().await;
            if seen == *wanted {
                return;
            }
            assert!(!matches!(seen, Seen::Failed(_)), "{seen:?} while waiting for {wanted:?}");
        }
    }

    pub(crate) async fn failure(&mut self) -> String {
        loop {
            if let Seen::Failed(error) = self.next().await {
                return error;
            }
        }
    }
}

pub(crate) fn options_v4(addr: SocketAddr, who: &str, id: &str) -> MqttOptions {
    let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_credentials(who, "").set_keep_alive(Duration::from_secs(30));
    options
}

pub(crate) fn v4(options: MqttOptions) -> (AsyncClient, Events) {
    use rumqttc::{Event, Packet};
    let (client, mut eventloop) = AsyncClient::new(options, 100);
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let seen = match eventloop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => Seen::Connected,
                Ok(Event::Incoming(Packet::Publish(p))) => {
                    Seen::Message(p.topic, p.payload.to_vec())
                }
                Ok(Event::Incoming(Packet::PubAck(_))) => Seen::Acked,
                Ok(Event::Incoming(Packet::SubAck(a))) => {
                    Seen::Subscribed(format!("{:?}", a.return_codes))
                }
                Ok(_) => continue,
                Err(error) => Seen::Failed(format!("{error:?}")),
            };
            let ends = matches!(seen, Seen::Failed(_));
            if sender.send(seen).is_err() || ends {
                return;
            }
        }
    });
    (client, Events(events))
}

pub(crate) fn options_v5(addr: SocketAddr, who: &str, id: &str) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_credentials(who, "").set_keep_alive(Duration::from_secs(30));
    options
}

pub(crate) fn v5(options: v5::MqttOptions) -> (v5::AsyncClient, Events) {
    use rumqttc::v5::{Event, mqttbytes::v5::Packet};
    let (client, mut eventloop) = v5::AsyncClient::new(options, 100);
    let (sender, events) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let seen = match eventloop.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => Seen::Connected,
                Ok(Event::Incoming(Packet::Publish(p))) => {
                    Seen::Message(String::from_utf8_lossy(&p.topic).into(), p.payload.to_vec())
                }
                Ok(Event::Incoming(Packet::PubAck(_))) => Seen::Acked,
                Ok(Event::Incoming(Packet::SubAck(a))) => {
                    Seen::Subscribed(format!("{:?}", a.return_codes))
                }
                Ok(_) => continue,
                Err(error) => Seen::Failed(format!("{error:?}")),
            };
            let ends = matches!(seen, Seen::Failed(_));
            if sender.send(seen).is_err() || ends {
                return;
            }
        }
    });
    (client, Events(events))
}

pub(crate) fn over_tls(config: rustls::ClientConfig) -> Transport {
    Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(config.into()))
}
