//! One site of a fleet: the agent's core, its link, a fake orchestrator, a store in memory. The
//! loop is the agent's own run loop without its threads and sockets; it decides nothing.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt as _;
use gnomon_edge::core::{Budgets, Core, CoreConfig, Effect, Input, StepFailure, Ticket};
use gnomon_edge::identity::Identity;
use gnomon_edge::link::clock::Clock;
use gnomon_edge::link::memory::Memory;
use gnomon_edge::link::mqtt::{Address, MqttLink, MqttSettings};
use gnomon_edge::link::{self, Link as _, LinkEvent, Traffic};
use gnomon_edge::local::{Request, Response, Status};
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::orchestrator::{Capabilities, Orchestrator};
use gnomon_edge::reconcile::model::{InstanceState, Step};
use gnomon_edge::store::memory::{MemoryDisk, MemoryStore};
use gnomon_edge::store::{Contents, Store as _};
use gnomon_schemas::key::ShadowKey;
use gnomon_sync::Moment;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::board::What;
use super::lines::Carrier;
use super::meter::{Meter, plus};
use super::plan::comes_back_after;
use super::works::Works;

/// As the agent has it.
const OBSERVE_EVERY: Duration = Duration::from_secs(30);
const IMAGE_GRACE: Duration = Duration::from_hours(24);
const LONGEST_SLEEP: Duration = Duration::from_hours(1);
/// By how much a gauge may differ without being news.
const DEAD_BANDS: [(&str, f64); 1] = [("pressure_bar", 0.5)];
/// The most inputs that are taken before a site lets others run.
const GROUP: usize = 256;

/// What a site is made of.
pub(super) struct SiteConfig {
    pub(super) number: u32,
    pub(super) identity: Identity,
    pub(super) address: Address,
    pub(super) keep_alive: Duration,
    /// How long its orchestrator works on a step.
    pub(super) step: Duration,
    pub(super) devices: u32,
    pub(super) seed: u64,
    /// The beginning of the run.
    pub(super) began: Instant,
    pub(super) carrier: watch::Receiver<Carrier>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) meter: Arc<Meter>,
    /// Its disk and its orchestrator, which outlive an agent.
    pub(super) disk: MemoryDisk,
    pub(super) fake: Fake,
}

/// What a site is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Order {
    /// Report counters and gauges of a device.
    Report,
    /// Let a service exit.
    Flap,
}

/// What a site tells.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Told {
    pub(super) number: u32,
    pub(super) at: Duration,
    pub(super) what: What,
}

struct Site {
    config: SiteConfig,
    core: Core,
    store: MemoryStore,
    fake: Fake,
    orchestrator: Orchestrator,
    mqtt: MqttSettings,
    link: Option<MqttLink>,
    /// When a link is made that was cut.
    dial_at: Option<Instant>,
    /// What earlier links of this site carried, and how often they came up.
    before: (Traffic, u64, u64),
    inputs: VecDeque<Input>,
    works: Works,
    status: Option<Status>,
    last: (bool, u64),
    /// Something happened by which the site may stand otherwise.
    is_news: bool,
    reports: u64,
    rng: StdRng,
}

/// Runs a site until it is told to stop.
pub(super) async fn run(config: SiteConfig, stop: CancellationToken) {
    let (number, told, began) = (config.number, config.told.clone(), config.began);
    match Site::new(config) {
        Ok(site) => site.run(stop).await,
        Err(error) => {
            let what = What::Down(format!("no link can be made: {}", gnomon_edge::chain(&error)));
            drop(told.send(Told { number, at: began.elapsed(), what }).await);
        }
    }
}

impl Site {
    fn new(config: SiteConfig) -> Result<Self, link::TlsError> {
        let mut rng = StdRng::seed_from_u64(config.seed);
        let clock = Arc::new(Clock::default());
        let mqtt = MqttSettings {
            node: config.identity.node.clone(),
            addresses: vec![config.address.clone()],
            proxy: None,
            tls: link::client_config_at(&config.identity, Arc::clone(&clock))?.into(),
            clock,
            keep_alive: (config.keep_alive, config.keep_alive),
        };
        let fake = config.fake.clone();
        // Without it, it would refuse every app that names an image.
        fake.set_capabilities(Capabilities { images: true, ..fake.capabilities() });
        let bands = DEAD_BANDS.map(|(name, band)| (name.to_owned(), band));
        let core = Core::new(
            CoreConfig {
                node: mqtt.node.clone(),
                capabilities: fake.capabilities(),
                observe_every: OBSERVE_EVERY,
                budgets: Budgets { dead_bands: bands.into(), ..Budgets::default() },
                image_grace: IMAGE_GRACE,
            },
            StdRng::seed_from_u64(rng.random()),
        );
        let link =
            MqttLink::start(mqtt.clone(), Memory::default(), StdRng::seed_from_u64(rng.random()));
        Ok(Self {
            core,
            store: config.disk.open(),
            orchestrator: Orchestrator::Fake(fake.clone()),
            fake,
            mqtt,
            link: Some(link),
            dial_at: None,
            before: (Traffic::default(), 0, 0),
            inputs: VecDeque::from([Input::Woken]),
            works: Works::new(config.step),
            status: None,
            last: (false, 0),
            is_news: false,
            reports: 0,
            rng,
            config,
        })
    }

    async fn run(mut self, stop: CancellationToken) {
        let mut watch = self.orchestrator.watch();
        loop {
            self.drive();
            self.count();
            if !self.tell_state().await {
                return;
            }
            let due = self.due();
            tokio::select! {
                () = stop.cancelled() => return,
                event = next(&mut self.link) => self.on_link(event).await,
                Some(order) = self.config.orders.recv() => self.on_order(order),
                Ok(()) = self.config.carrier.changed() => self.on_carrier().await,
                () = watch.changed() => self.inputs.push_back(Input::Hint),
                () = sleep_until(due.into()) => self.wake(),
            }
            self.dial_if_due();
        }
    }

    fn now(&self) -> Moment {
        let millis = self.config.began.elapsed().as_millis();
        Moment::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn due(&self) -> Instant {
        let core = self
            .core
            .poll_timeout()
            .map_or(LONGEST_SLEEP, |(at, _)| at.saturating_since(self.now()).min(LONGEST_SLEEP));
        let core = Instant::now() + core;
        [self.dial_at, self.works.due()].into_iter().flatten().fold(core, Instant::min)
    }

    /// What waited to be reported may have turned out to be no news.
    fn wake(&mut self) {
        if self.works.due().is_some_and(|due| due <= Instant::now()) {
            return;
        }
        let (in_sync, _) = self.last;
        self.is_news |= !in_sync;
        self.inputs.push_back(Input::Woken);
    }

    async fn tell(&self, what: What) -> bool {
        let told = Told { number: self.config.number, at: self.config.began.elapsed(), what };
        self.config.told.send(told).await.is_ok()
    }

    async fn on_link(&mut self, event: LinkEvent) {
        self.is_news = true;
        match event {
            LinkEvent::Up => {
                self.inputs.push_back(Input::LinkUp);
                self.tell(What::Up).await;
            }
            LinkEvent::TakenOver => self.inputs.push_back(Input::TakenOver),
            LinkEvent::Down { reason } => {
                self.tell(What::Down(reason.clone())).await;
                self.inputs.push_back(Input::LinkDown { reason });
            }
            LinkEvent::Message(topic, message) => {
                self.inputs.push_back(Input::Received(topic.stream(), message));
            }
            LinkEvent::Malformed { reason } => {
                self.tell(What::Malformed(reason)).await;
            }
        }
    }

    /// An outage begins: the connection is dropped, with whatever is on its way. Or it ends: the
    /// agent dials when it would have, had it tried all the time.
    async fn on_carrier(&mut self) {
        let carrier = *self.config.carrier.borrow_and_update();
        if !carrier.is_cut {
            let rng = StdRng::seed_from_u64(self.rng.random());
            self.dial_at = Some(Instant::now() + comes_back_after(carrier.outage, rng));
            return;
        }
        self.dial_at = None;
        if let Some(link) = self.link.take() {
            let quality = link.quality();
            let (traffic, connections, resumed) = self.before;
            self.before = (
                plus(traffic, link.traffic()),
                connections + quality.connections,
                resumed + quality.resumed,
            );
            drop(link);
            let reason = "the carrier is gone".to_owned();
            self.is_news = true;
            self.tell(What::Down(reason.clone())).await;
            self.inputs.push_back(Input::LinkDown { reason });
        }
    }

    fn dial_if_due(&mut self) {
        if self.dial_at.is_some_and(|at| at <= Instant::now()) {
            self.dial_at = None;
            let rng = StdRng::seed_from_u64(self.rng.random());
            self.link = Some(MqttLink::start(self.mqtt.clone(), Memory::default(), rng));
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Report => {
                self.reports += 1;
                let device = self.rng.random_range(0..self.config.devices.max(1));
                let value = json!({
                    "litres": self.reports * 7,
                    "sales": self.reports,
                    "pressure_bar": self.rng.random_range(20..60_u8),
                });
                let key = format!("device/pump-{device}").parse::<ShadowKey>();
                let key = key.expect("a well-formed key");
                self.inputs.push_back(Input::Asked(Ticket(1), Request::Report { key, value }));
            }
            Order::Flap => {
                let observed = self.orchestrator.observe().now_or_never().and_then(Result::ok);
                let slots = observed.into_iter().flat_map(|it| it.instances.into_values());
                if let Some(instance) = slots.into_iter().next() {
                    self.fake.set_state(&instance.slot, InstanceState::Exited { code: 1 });
                }
            }
        }
        self.is_news = true;
    }

    /// Hands every input to the core and carries out what it asks for.
    fn drive(&mut self) {
        for _ in 0..GROUP {
            while let Some(step) = self.works.take_done(Instant::now()) {
                self.finish(step);
            }
            let Some(input) = self.inputs.pop_front() else { return };
            let now = self.now();
            self.core.handle(now, input);
            while let Some(effect) = self.core.poll_effect(self.now()) {
                self.carry_out(effect);
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Load => {
                let contents = self.read();
                self.core.handle(self.now(), Input::Loaded(contents));
            }
            Effect::Commit(ops) => {
                let input = match self.store.commit(&ops) {
                    Ok(()) => Input::Committed,
                    Err(error) => {
                        Input::StoreFailed { full: error.is_full(), reason: error.to_string() }
                    }
                };
                self.is_news = true;
                self.core.handle(self.now(), input);
            }
            Effect::Publish(topic, message) => {
                if let Some(link) = &mut self.link {
                    link.publish(&topic, message.encode());
                }
            }
            Effect::Observe { version } => self.observe(version),
            Effect::Find { image } => {
                let is_here = self.has(&image);
                self.inputs.push_back(Input::Found { image, is_here });
            }
            Effect::Configure(settings) => self.orchestrator.configure(settings),
            Effect::Survey => {
                let seen = self.orchestrator.survey_images().now_or_never();
                let seen = seen.expect("a fake answers at once").map_err(|error| error.to_string());
                self.inputs.push_back(Input::Surveyed(seen));
            }
            Effect::Clear { image, id } => {
                let outcome = self.orchestrator.clear_image(&image, &id).now_or_never();
                let outcome =
                    outcome.expect("a fake answers at once").map_err(|error| error.to_string());
                self.inputs.push_back(Input::Cleared { image, outcome });
            }
            Effect::Apply(step) => self.works.begin(Instant::now(), step),
            Effect::Answer(_, Response::Status(status)) => self.status = Some(*status),
            Effect::Answer(..)
            | Effect::GiveUp { .. }
            | Effect::Logs { .. }
            | Effect::RemoveVolumes { .. }
            | Effect::Exec { .. }
            | Effect::AgentDesired(_) => {}
        }
    }

    fn observe(&mut self, version: bool) {
        let wall_s = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        let quality = self.link.as_ref().map(MqttLink::quality).unwrap_or_default();
        self.inputs.push_back(Input::Carried { traffic: self.traffic(), quality, wall_s });
        let seen = self.orchestrator.observe().now_or_never().expect("a fake answers at once");
        self.inputs.push_back(match seen {
            Ok(observed) => {
                let version = version.then(|| "1.0".to_owned());
                Input::Observed { observed, version, wall_s }
            }
            Err(error) => Input::Unreachable { reason: error.to_string() },
        });
    }

    fn finish(&mut self, step: Step) {
        let new = match &step {
            Step::Pull { image, .. } if !self.has(image) => Some(image.clone()),
            Step::Pull { .. }
            | Step::Create { .. }
            | Step::Start { .. }
            | Step::Stop { .. }
            | Step::Remove { .. }
            | Step::RemoveApp { .. } => None,
        };
        let done = self.orchestrator.apply(&step).now_or_never().expect("a fake answers at once");
        let outcome = done.map_err(|error| StepFailure {
            transient: error.is_transient(),
            is_disk_full: error.is_disk_full(),
            reason: error.to_string(),
        });
        if let Some(image) = new.filter(|_| outcome.is_ok()) {
            let id = format!("sha256:{image}");
            self.inputs.push_back(Input::Fetched { image, id });
        }
        self.inputs.push_back(Input::Done { step, outcome });
    }

    fn has(&self, image: &str) -> bool {
        matches!(self.orchestrator.has_image(image).now_or_never(), Some(Ok(true)))
    }

    fn read(&mut self) -> Contents {
        let mut entries = Vec::new();
        self.store
            .scan(b"", &mut |key, value| entries.push((key.to_vec(), value.to_vec())))
            .expect("a store in memory can be read");
        let went_back = self.store.went_back().expect("a store in memory can be read");
        Contents { entries, went_back }
    }

    fn traffic(&self) -> Traffic {
        let now = self.link.as_ref().map(MqttLink::traffic).unwrap_or_default();
        plus(self.before.0, now)
    }

    /// Lets others see what the links have carried.
    fn count(&self) {
        let quality = self.link.as_ref().map(MqttLink::quality).unwrap_or_default();
        let (_, connections, resumed) = self.before;
        let connections = (connections + quality.connections, resumed + quality.resumed);
        self.config.meter.set(self.traffic(), connections);
    }

    /// Tells how the site stands, if that is not what was told last. False: nobody listens.
    async fn tell_state(&mut self) -> bool {
        if !std::mem::take(&mut self.is_news) {
            return true;
        }
        self.inputs.push_back(Input::Asked(Ticket(0), Request::Status));
        self.drive();
        let Some(status) = self.status.take() else { return true };
        let stream = |it: &Option<gnomon_edge::local::StreamReport>| {
            it.as_ref().is_some_and(|it| it.in_sync)
        };
        let in_sync = status.link.up
            && status.desired_complete
            && stream(&status.down)
            && stream(&status.up)
            && status.pending.is_empty();
        let version = status.apps.iter().filter_map(|app| app.desired_version).map(|it| it.0).min();
        let state = (in_sync, version.unwrap_or_default());
        if state == self.last {
            return true;
        }
        self.last = state;
        let (in_sync, version) = state;
        self.tell(What::State { in_sync, version }).await
    }
}

async fn next(link: &mut Option<MqttLink>) -> LinkEvent {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
