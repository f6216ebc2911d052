//! The sites that one process holds: starts them, hands them orders and outages, and counts what
//! their links carry. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_edge::identity::Identity;
use gnomon_edge::link::mqtt::Address;
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::store::memory::MemoryDisk;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::lines::{Carrier, Lines, LinesError};
use super::meter::Meter;
use super::plan::Whom;
use super::site::{self, Order, SiteConfig, Told};
use crate::link::Profile;
use crate::report::Bytes;

/// Orders of one site that wait; more are not given.
const ORDERS: usize = 8;
const SITES_STOP_WITHIN: Duration = Duration::from_secs(20);

/// What all sites of a run have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) groups: u32,
    pub(super) broker: Address,
    pub(super) link: Option<Profile>,
    pub(super) keep_alive: Duration,
    pub(super) step: Duration,
    pub(super) devices: u32,
    pub(super) seed: u64,
}

/// What links have carried since the run began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) bytes: Bytes,
    /// Connections, and those among them with a short handshake.
    pub(super) connections: (u64, u64),
}

impl Carried {
    pub(super) fn add(&mut self, other: &Self) {
        self.bytes.received += other.bytes.received;
        self.bytes.sent += other.bytes.sent;
        self.bytes.desired += other.bytes.desired;
        self.bytes.reported += other.bytes.reported;
        self.connections.0 += other.connections.0;
        self.connections.1 += other.connections.1;
    }
}

pub(super) struct Squad {
    about: About,
    began: Instant,
    lines: Lines,
    /// Those that have not started.
    waiting: BTreeMap<u32, Identity>,
    running: BTreeMap<u32, (mpsc::Sender<Order>, Arc<Meter>)>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
    told: mpsc::Sender<Told>,
}

impl Squad {
    /// Sites that have not started yet, by their numbers; what they tell goes to `told`.
    pub(super) async fn new(
        about: About,
        sites: BTreeMap<u32, Identity>,
        told: mpsc::Sender<Told>,
    ) -> Result<Self, LinesError> {
        let of_group = |group| sites.keys().filter(|site| *site % about.groups == group).count();
        let counts: Vec<_> = (0..about.groups).map(of_group).collect();
        let lines = Lines::start(&counts, &about.broker, about.link.as_ref(), about.seed).await?;
        Ok(Self {
            about,
            began: Instant::now(),
            lines,
            waiting: sites,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            stop: CancellationToken::new(),
            told,
        })
    }

    /// The time of the run began then; it is told before the first site starts.
    pub(super) const fn begin(&mut self, began: Instant) {
        self.began = began;
    }

    pub(super) fn start(&mut self, number: u32) {
        let Some(identity) = self.waiting.remove(&number) else { return };
        let (orders, orders_in) = mpsc::channel(ORDERS);
        let meter = Arc::<Meter>::default();
        let (address, carrier) = self.lines.of(number, &self.about.broker);
        let config = SiteConfig {
            number,
            identity,
            address,
            keep_alive: self.about.keep_alive,
            step: self.about.step,
            devices: self.about.devices,
            seed: self.about.seed ^ ((u64::from(number) + 1) << 20),
            began: self.began,
            carrier,
            orders: orders_in,
            told: self.told.clone(),
            meter: Arc::clone(&meter),
            disk: MemoryDisk::new(),
            fake: Fake::new(),
        };
        self.running.insert(number, (orders, meter));
        self.tasks.spawn(site::run(config, self.stop.clone()));
    }

    /// False: the site is too busy for it.
    pub(super) fn order(&self, number: u32, order: Order) -> bool {
        let site = self.running.get(&number);
        site.is_none_or(|(orders, _)| orders.try_send(order).is_ok())
    }

    pub(super) fn set(&self, whom: Whom, carrier: Carrier) {
        self.lines.set(whom, carrier);
    }

    pub(super) fn carried(&self) -> Carried {
        let mut all = Carried::default();
        for (_, meter) in self.running.values() {
            all.add(&Carried { bytes: meter.bytes(), connections: meter.connections() });
        }
        all
    }

    /// Ends all sites.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(SITES_STOP_WITHIN, ended).await.is_err() {
            tracing::warn!(left = self.tasks.len(), "some sites did not end in time");
            self.tasks.abort_all();
        }
        self.lines.stop().await;
    }
}
