//! The link over MQTT 5 and TLS. Each attempt has a client of its own: what an old connection
//! still held is lost on purpose, for the sync protocol knows better what to send now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Topic;
use rand::rngs::StdRng;
use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::{Link, LinkEvent, Meter, Traffic};
use crate::backoff::Backoff;

mod address;
mod session;

pub use address::{Address, ParseAddressError};

use session::{End, Session};

/// The most messages that wait for the core; beyond it the socket is not read.
const EVENTS: usize = 8;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A connection that lived this long was a good one: the next wait is short again.
const GOOD_LIFE: Duration = Duration::from_secs(10);
const GOODBYE: Duration = Duration::from_secs(2);

/// How to reach the cloud.
#[derive(Debug, Clone)]
pub struct MqttSettings {
    /// This node; also the client id.
    pub node: NodeName,
    /// Where the broker listens; tried in turn.
    pub addresses: Vec<Address>,
    /// The TLS client.
    pub tls: Arc<ClientConfig>,
    /// The longest silence; the peer counts as gone after twice that.
    pub keep_alive: Duration,
}

/// A link that connects by itself, again and again.
#[derive(Debug)]
pub struct MqttLink {
    events: mpsc::Receiver<Told>,
    /// The client of the present connection.
    client: Option<AsyncClient>,
    driver: AbortHandle,
    stopping: Arc<AtomicBool>,
    meter: Meter,
}

/// What the driver tells the link.
#[derive(Debug)]
enum Told {
    Up(AsyncClient),
    Event(LinkEvent),
}

impl MqttLink {
    /// Begins to connect; must be called inside a Tokio runtime.
    pub fn start(settings: MqttSettings, rng: StdRng) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let stopping = Arc::new(AtomicBool::new(false));
        let meter = Meter::default();
        let driver = Driver {
            settings: Arc::new(settings),
            events: sender,
            meter: meter.clone(),
            stopping: Arc::clone(&stopping),
            backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT, rng),
        };
        let driver = tokio::spawn(driver.run()).abort_handle();
        Self { events, client: None, driver, stopping, meter }
    }
}

impl Link for MqttLink {
    async fn next(&mut self) -> LinkEvent {
        match self.events.recv().await {
            Some(Told::Up(client)) => {
                self.client = Some(client);
                LinkEvent::Up
            }
            Some(Told::Event(event)) => {
                if matches!(event, LinkEvent::Down { .. }) {
                    self.client = None;
                }
                event
            }
            None => std::future::pending().await,
        }
    }

    fn publish(&mut self, topic: &Topic, payload: Vec<u8>) {
        let Some(client) = &self.client else { return };
        let topic = topic.to_string();
        let bytes = topic.len() + payload.len();
        match client.try_publish(topic, QoS::AtLeastOnce, false, payload) {
            Ok(()) => self.meter.sent(bytes),
            Err(error) => tracing::debug!(%error, "a message is dropped; it is sent again later"),
        }
    }

    fn traffic(&self) -> Traffic {
        self.meter.read()
    }

    async fn close(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.client.take().is_some_and(|client| client.try_disconnect().is_ok()) {
            let ended = async { while self.events.recv().await.is_some() {} };
            if tokio::time::timeout(GOODBYE, ended).await.is_err() {
                tracing::debug!("the broker did not take the goodbye in time");
            }
        }
    }
}

impl Drop for MqttLink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Makes one connection after the other.
struct Driver {
    settings: Arc<MqttSettings>,
    events: mpsc::Sender<Told>,
    meter: Meter,
    stopping: Arc<AtomicBool>,
    backoff: Backoff,
}

impl Driver {
    async fn run(mut self) {
        let settings = Arc::clone(&self.settings);
        let mut last_reason = String::new();
        for address in settings.addresses.iter().cycle() {
            let started = Instant::now();
            let end = self.connect(address.clone()).await;
            if end.was_up && started.elapsed() >= GOOD_LIFE {
                self.backoff.reset();
            }
            let told = Told::Event(LinkEvent::Down { reason: end.reason.clone() });
            if self.stopping.load(Ordering::Relaxed) || self.events.send(told).await.is_err() {
                return;
            }
            let wait = self.backoff.next_delay();
            let reason = end.reason;
            if end.was_up || reason != last_reason {
                tracing::warn!(%address, %reason, ?wait, "no link to the cloud; trying again");
            } else {
                tracing::debug!(%address, %reason, ?wait, "still no link to the cloud");
            }
            last_reason = reason;
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, in a task of its own so that a panic in the client ends only that.
    async fn connect(&self, address: Address) -> End {
        let settings = Arc::clone(&self.settings);
        let (events, meter) = (self.events.clone(), self.meter.clone());
        let task = tokio::spawn(Session { settings, address, events, meter, up: false }.run());
        let guard = AbortOnDrop(task.abort_handle());
        let end = task.await.unwrap_or_else(|error| End {
            was_up: false,
            reason: format!("the MQTT client failed: {error}"),
        });
        drop(guard);
        end
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
