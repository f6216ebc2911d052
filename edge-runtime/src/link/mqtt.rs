//! The link over MQTT and TLS. Each attempt has a client of its own: what an old connection
//! still held is lost on purpose, for the sync protocol knows better what to send now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_schemas::id::NodeName;
use gnomon_schemas::topic::Topic;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::clock::Clock;
use super::course::{Course, Reached};
use super::keepalive::KeepAlive;
use super::memory::{Learned, Memory};
use super::proxy::Proxy;
use super::retry::{Met, Retry};
use super::{Link, LinkEvent, Meter, Quality, Tls, Traffic};

mod address;
mod gate;
mod packets;
mod session;

pub use address::{Address, ParseAddressError};

use packets::Client;
use session::{End, Session};

/// The most messages that wait for the core; beyond it the socket is not read.
const EVENTS: usize = 8;
/// A connection that lived this long was a good one: the next wait is short again.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// A connection that lived this long has no rival any more.
const PEACE: Duration = Duration::from_hours(1);
const GOODBYE: Duration = Duration::from_secs(2);

/// How to reach the cloud.
#[derive(Debug, Clone)]
pub struct MqttSettings {
    /// This node; also the client id.
    pub node: NodeName,
    /// Where the broker listens; tried in turn, from the last good one on.
    pub addresses: Vec<Address>,
    /// What is on the way, if anything.
    pub proxy: Option<Proxy>,
    /// The TLS client.
    pub tls: Tls,
    /// The clock that the TLS client goes by.
    pub clock: Arc<Clock>,
    /// The shortest and the longest silence; the peer counts as gone after twice that.
    pub keep_alive: (Duration, Duration),
}

/// A link that connects by itself, again and again.
#[derive(Debug)]
pub struct MqttLink {
    events: mpsc::Receiver<Told>,
    /// The client of the present connection.
    client: Option<Client>,
    driver: AbortHandle,
    stopping: Arc<AtomicBool>,
    meter: Meter,
}

/// What the driver tells the link.
#[derive(Debug)]
enum Told {
    Up(Client),
    Event(LinkEvent),
}

impl MqttLink {
    /// Begins to connect; must be called inside a Tokio runtime.
    pub fn start(settings: MqttSettings, memory: Memory, rng: StdRng) -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        let stopping = Arc::new(AtomicBool::new(false));
        let meter = Meter::default();
        let learned = memory.learned().clone();
        let good = settings.addresses.iter().position(|it| Some(it) == learned.endpoint.as_ref());
        let (shortest, longest) = settings.keep_alive;
        let driver = Driver {
            course: Course::new(settings.addresses.len(), good),
            keep_alive: KeepAlive::new(
                shortest,
                longest,
                learned.keep_alive_s.map(Duration::from_secs),
            ),
            settings: Arc::new(settings),
            memory,
            events: sender,
            meter: meter.clone(),
            stopping: Arc::clone(&stopping),
            retry: Retry::new(rng),
            last_reason: String::new(),
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
        let name = topic.to_string();
        let bytes = name.len() + payload.len();
        match client.publish(name, payload) {
            Ok(()) => self.meter.carried(topic.stream(), bytes),
            Err(error) => tracing::debug!(%error, "a message is dropped; it is sent again later"),
        }
    }

    fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    fn quality(&self) -> Quality {
        self.meter.quality()
    }

    async fn close(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.client.take().is_some_and(|client| client.disconnect()) {
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
    course: Course,
    keep_alive: KeepAlive,
    memory: Memory,
    events: mpsc::Sender<Told>,
    meter: Meter,
    stopping: Arc<AtomicBool>,
    retry: Retry,
    last_reason: String,
}

impl Driver {
    async fn run(mut self) {
        let settings = Arc::clone(&self.settings);
        loop {
            let (at, version) = self.course.next();
            let Some(address) = settings.addresses.get(at) else { return };
            let started = Instant::now();
            let session = Session {
                settings: Arc::clone(&settings),
                address: address.clone(),
                version,
                keep_alive: self.keep_alive.clone(),
                events: self.events.clone(),
                meter: self.meter.clone(),
            };
            let end = self.connect(session).await;
            let was_up = end.reached == Reached::Up;
            self.course.ended(end.reached);
            self.keep_alive = end.keep_alive.clone();
            if was_up {
                self.remember(address);
            }
            if was_up && (started.elapsed() >= GOOD_LIFE || end.is_planned) {
                self.retry.reset();
            }
            if started.elapsed() >= PEACE {
                self.retry.forget_rivals();
            }
            if end.met == Met::Rival
                && self.events.send(Told::Event(LinkEvent::TakenOver)).await.is_err()
            {
                return;
            }
            let told = Told::Event(LinkEvent::Down { reason: end.reason.clone() });
            if self.stopping.load(Ordering::Relaxed) || self.events.send(told).await.is_err() {
                return;
            }
            if end.is_planned {
                tracing::info!(keep_alive = ?self.keep_alive.interval(), "{}", end.reason);
                continue;
            }
            self.wait(address, was_up, end).await;
        }
    }

    /// One connection, in a task of its own so that a panic in the client ends only that.
    async fn connect(&self, session: Session) -> End {
        let task = tokio::spawn(session.run());
        let guard = AbortOnDrop(task.abort_handle());
        let end = task.await.unwrap_or_else(|error| End {
            reached: Reached::Nothing,
            met: Met::Refusal,
            reason: format!("the MQTT client failed: {error}"),
            keep_alive: self.keep_alive.clone(),
            is_planned: false,
        });
        drop(guard);
        end
    }

    async fn wait(&mut self, address: &Address, was_up: bool, end: End) {
        let (reason, wait) = (end.reason, self.retry.next_delay(end.met));
        if was_up || reason != self.last_reason {
            tracing::warn!(%address, %reason, ?wait, "no link to the cloud; trying again");
        } else {
            tracing::debug!(%address, %reason, ?wait, "still no link to the cloud");
        }
        self.last_reason = reason;
        tokio::time::sleep(wait).await;
    }

    /// Kept when a connection ends: by then it is known what works.
    fn remember(&mut self, address: &Address) {
        self.memory.keep(Learned {
            endpoint: Some(address.clone()),
            keep_alive_s: self.keep_alive.proven().map(|proven| proven.as_secs()),
            past_s: self.settings.clock.past_s(),
        });
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
