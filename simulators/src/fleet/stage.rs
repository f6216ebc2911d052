//! Plays a scenario with real programs: a cloud in a process of its own, each site the agent's core
//! and its link over TLS through an emulated link. Does what the timetable says and writes down what
//! is seen; decides nothing.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use gnomon_edge::identity::Identity;
use gnomon_edge::link::mqtt::Address;
use gnomon_edge::orchestrator::Orchestrator;
use gnomon_edge::orchestrator::fake::Fake;
use gnomon_edge::reconcile::model::{Health, InstanceState, Slot};
use gnomon_edge::store::memory::MemoryDisk;
use gnomon_schemas::id::NodeName;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::api::{Api, ApiError};
use super::board::What;
use super::cloud::{CloudProcess, FillDiskError, StartCloudError};
use super::enrol::{self, EnrolError};
use super::lines::{Carrier, LinesError, resolve};
use super::meter::Meter;
use super::site::{self, Order, SiteConfig, Told};
use crate::link::{InvalidProfile, Link, LinkConfig, StartLinkError};
use crate::scenario::Scenario;
use crate::scenario::judge::length;
use crate::scenario::record::{Record, restarts};
use crate::scenario::timetable::{Act, Cause, Harm, Timetable};

const TICK: Duration = Duration::from_millis(20);
const TOLD: usize = 1_024;
const ORDERS: usize = 1_024;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How often a write is tried again that the cloud does not answer.
const WRITE_AGAIN: Duration = Duration::from_millis(200);
/// How many services the app of a fleet has.
const SERVICES: usize = 2;

/// What a scenario is played with.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The cloud.
    pub cloud_program: PathBuf,
    /// Seeds the links and the agents.
    pub seed: u64,
}

/// Why a scenario was not played to its end.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The cloud's disk is as it was.
    #[error("the cloud's disk cannot be filled, or be given room again")]
    Disk(#[from] FillDiskError),
    /// The cloud's folder cannot be made.
    #[error("there is no folder for the cloud")]
    Folder(#[source] std::io::Error),
    /// The cloud did not start.
    #[error("the cloud did not start")]
    Cloud(#[from] StartCloudError),
    /// It has no API.
    #[error("the cloud cannot be asked")]
    Api(#[from] ApiError),
    /// There are no identities.
    #[error("the sites have no identities")]
    Enrol(#[from] EnrolError),
    /// There is no way to the broker.
    #[error("the sites have no way to the broker")]
    Lines(#[from] LinesError),
    /// A link did not start.
    #[error("the link of {0} did not start")]
    Link(String, #[source] StartLinkError),
    /// A link cannot behave so.
    #[error("the link of {0} cannot behave so")]
    Profile(String, #[source] InvalidProfile),
}

/// Plays a scenario until everything that it expects can be judged.
pub async fn perform(scenario: &Scenario, stage: &Stage) -> Result<Record, StageError> {
    let folder = tempfile::tempdir().map_err(StageError::Folder)?;
    let mut play = Play::set(scenario, stage, folder).await?;
    play.write_all(1);
    let played = play.run().await;
    play.finish(played).await
}

/// A site, and the version that its apps have by now.
type Written = (u16, u64);

struct Play<'a> {
    scenario: &'a Scenario,
    stage: &'a Stage,
    timetable: Timetable,
    folder: TempDir,
    cloud: Option<CloudProcess>,
    is_cloud_full: bool,
    /// Where the cloud's API and broker are, whichever process that is.
    at: (String, String),
    api: Api,
    sites: Vec<Site>,
    record: Record,
    began: Instant,
    done: usize,
    rounds: u32,
    told: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
    wrote: (mpsc::Sender<Written>, mpsc::Receiver<Written>),
    writes: JoinSet<()>,
}

struct Site {
    node: NodeName,
    name: String,
    apps: u8,
    identity: Identity,
    link: Link,
    disk: MemoryDisk,
    fake: Fake,
    /// The agent that runs now.
    agent: Option<(JoinHandle<()>, mpsc::Sender<Order>)>,
    meters: Vec<Arc<Meter>>,
    starts: u64,
    in_sync: bool,
    version: u64,
    /// The version that the cloud said yes to.
    answered: u64,
    /// Writes that are under way.
    open: u32,
}

impl<'a> Play<'a> {
    async fn set(
        scenario: &'a Scenario,
        stage: &'a Stage,
        folder: TempDir,
    ) -> Result<Self, StageError> {
        let data = folder.path().join("cloud");
        let cloud = CloudProcess::start(&stage.cloud_program, Some(&data)).await?;
        let api = Api::new(&cloud.server, Some(cloud.token.clone()), None)?;
        let http = cloud.server.trim_start_matches("http://").to_owned();
        let at = (http, cloud.broker.to_string());
        let names: Vec<NodeName> = (0..scenario.sites())
            .map(|site| scenario.site_name(site).parse().expect("names of fleets are plain"))
            .collect();
        let enrolled = enrol::identities(&api, &names, None, 8, |_| ()).await?;
        let target = resolve(&cloud.broker).await?;
        let mut sites = Vec::new();
        for ((number, node), identity) in (0..).zip(names).zip(enrolled.all) {
            let name = scenario.site_name(number);
            let fleet = scenario.fleet_of(number);
            let (profile, apps) =
                fleet.map(|fleet| (fleet.link.clone(), fleet.apps)).unwrap_or_default();
            let listen = ([127, 0, 0, 1], 0).into();
            let seed = stage.seed.wrapping_add(number.into());
            let link = Link::start(LinkConfig { listen, target, profile, seed });
            let link = link.map_err(|source| StageError::Link(name.clone(), source))?;
            sites.push(Site {
                node,
                name,
                apps,
                identity,
                link,
                disk: MemoryDisk::new(),
                fake: Fake::new(),
                agent: None,
                meters: Vec::new(),
                starts: 0,
                in_sync: false,
                version: 0,
                answered: 0,
                open: 0,
            });
        }
        Ok(Self {
            timetable: Timetable::of(scenario),
            record: Record::new(scenario.sites()),
            scenario,
            stage,
            folder,
            cloud: Some(cloud),
            is_cloud_full: false,
            at,
            api,
            sites,
            began: Instant::now(),
            done: 0,
            rounds: 0,
            told: mpsc::channel(TOLD),
            wrote: mpsc::channel(TOLD),
            writes: JoinSet::new(),
        })
    }

    async fn run(&mut self) -> Result<(), StageError> {
        self.began = Instant::now();
        for site in 0..self.scenario.sites() {
            self.start(site);
        }
        let (least, most) = length(self.scenario, &self.timetable);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(told) = self.told.1.recv() => self.on_told(told),
                Some((site, version)) = self.wrote.1.recv() => {
                    if let Some(site) = self.sites.get_mut(usize::from(site)) {
                        site.answered = site.answered.max(version);
                        site.open = site.open.saturating_sub(1);
                    }
                }
                _ = ticks.tick() => {
                    let now = self.began.elapsed();
                    self.act(now).await?;
                    self.look(self.began.elapsed());
                    let all = self.record.sites.iter().all(|site| site.converged.is_on());
                    if now >= least && self.done == self.timetable.acts.len() && all || now >= most {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn on_told(&mut self, told: Told) {
        let number = usize::try_from(told.number).unwrap_or(usize::MAX);
        let Some(site) = self.sites.get_mut(number).filter(|site| site.agent.is_some()) else {
            return;
        };
        match told.what {
            What::State { in_sync, version } => (site.in_sync, site.version) = (in_sync, version),
            What::Down(_) => site.in_sync = false,
            What::Up => {}
            What::Malformed(reason) => {
                self.record.broken.push(format!("{}: malformed: {reason}", site.name));
            }
        }
    }

    async fn act(&mut self, now: Duration) -> Result<(), StageError> {
        while let Some((at, act)) = self.timetable.acts.get(self.done).filter(|(at, _)| *at <= now)
        {
            let (at, act) = (*at, act.clone());
            self.done += 1;
            tracing::info!(?act, "scenario");
            match act {
                Act::Cloud(false) => {
                    if let Some(cloud) = self.cloud.take() {
                        cloud.kill().await;
                    }
                }
                Act::Cloud(true) => self.restart_cloud().await?,
                Act::Write(site, count) => {
                    // A write is due before it is done: until it arrives, the site lacks it.
                    if let Some(record) = self.record.site(site) {
                        record.converged.off_from(at);
                    }
                    (0..count).for_each(|_| self.write(site));
                }
                Act::On(site) => self.start(site),
                Act::CloudDisk(is_full) => {
                    self.is_cloud_full = is_full;
                    self.fill_cloud_disk().await?;
                }
                Act::Carrier(..)
                | Act::Link(..)
                | Act::Report(..)
                | Act::Off(..)
                | Act::Disturb(..)
                | Act::Disk(..)
                | Act::Orchestrator(..) => self.at_site(act)?,
            }
        }
        Ok(())
    }

    fn at_site(&mut self, act: Act) -> Result<(), StageError> {
        let (Act::Carrier(number, _)
        | Act::Link(number, _)
        | Act::Report(number, _)
        | Act::Off(number, _)
        | Act::Disturb(number, _)
        | Act::Disk(number, _)
        | Act::Orchestrator(number, _)) = &act
        else {
            return Ok(());
        };
        let Some(site) = self.sites.get_mut(usize::from(*number)) else { return Ok(()) };
        match act {
            Act::Carrier(_, true) => site.link.up(),
            Act::Carrier(_, false) => site.link.down(),
            Act::Link(_, profile) => {
                let set = site.link.set_profile(profile);
                set.map_err(|source| StageError::Profile(site.name.clone(), source))?;
            }
            Act::Report(_, count) => {
                if let Some((_, orders)) = &site.agent {
                    // More than fit at once are one change to the agent, as any burst.
                    let sent = (0..count).filter(|_| orders.try_send(Order::Report).is_ok());
                    tracing::debug!(sent = sent.count(), "reports");
                }
            }
            Act::Off(_, cause) => site.off(cause),
            Act::Disturb(_, harm) => site.disturb(harm),
            Act::Disk(_, is_full) => site.disk.set_full(is_full),
            Act::Orchestrator(_, true) => site.fake.recover(),
            Act::Orchestrator(_, false) => site.fake.break_down("the scenario stopped it"),
            Act::Write(..) | Act::Cloud(_) | Act::On(_) | Act::CloudDisk(_) => {}
        }
        Ok(())
    }

    async fn restart_cloud(&mut self) -> Result<(), StageError> {
        let data = self.folder.path().join("cloud");
        let (http, mqtt) = &self.at;
        let program = &self.stage.cloud_program;
        self.cloud = Some(CloudProcess::start_at(program, Some(&data), http, mqtt).await?);
        if self.is_cloud_full { self.fill_cloud_disk().await } else { Ok(()) }
    }

    async fn fill_cloud_disk(&self) -> Result<(), StageError> {
        match &self.cloud {
            Some(cloud) => Ok(cloud.fill_disk(self.is_cloud_full).await?),
            None => Ok(()),
        }
    }

    fn start(&mut self, number: u16) {
        let (seed, began, told) = (self.stage.seed, self.began, self.told.0.clone());
        let Some(site) = self.sites.get_mut(usize::from(number)) else { return };
        site.starts += 1;
        let (orders, orders_in) = mpsc::channel(ORDERS);
        let meter = Arc::<Meter>::default();
        let addr = site.link.addr();
        let config = SiteConfig {
            number: number.into(),
            identity: site.identity.clone(),
            address: Address { host: addr.ip().to_string(), port: addr.port() },
            keep_alive: KEEP_ALIVE,
            step: Duration::ZERO,
            devices: 1,
            seed: seed ^ (u64::from(number) << 20) ^ (site.starts << 40),
            began,
            carrier: watch::Sender::new(Carrier::default()).subscribe(),
            orders: orders_in,
            told,
            meter: Arc::clone(&meter),
            disk: site.disk.clone(),
            fake: site.fake.clone(),
        };
        let agent = tokio::spawn(site::run(config, CancellationToken::new()));
        site.meters.push(meter);
        site.agent = Some((agent, orders));
    }

    fn write_all(&mut self, count: u32) {
        for site in 0..self.scenario.sites() {
            (0..count).for_each(|_| self.write(site));
        }
    }

    /// Writes every app of a site anew; a cloud that does not answer is asked again.
    fn write(&mut self, number: u16) {
        self.rounds += 1;
        let round = self.rounds.to_string();
        let Some(site) = self.sites.get_mut(usize::from(number)) else { return };
        site.open += 1;
        let (api, node, apps) = (self.api.clone(), site.node.clone(), site.apps);
        let wrote = self.wrote.0.clone();
        self.writes.spawn(async move {
            let mut version = u64::MAX;
            for app in 0..apps {
                let name = app_name(app);
                let written = loop {
                    let nodes = std::slice::from_ref(&node);
                    match api.write_app(&name, nodes, &round, true).await.as_deref() {
                        Ok([Ok(version)]) => break *version,
                        Ok(_) | Err(_) => sleep(WRITE_AGAIN).await,
                    }
                };
                version = version.min(written);
            }
            if wrote.send((number, version)).await.is_err() {
                tracing::debug!(number, "written after the end");
            }
        });
    }

    fn look(&mut self, now: Duration) {
        for (site, record) in self.sites.iter().zip(&mut self.record.sites) {
            let well = site.well();
            let wanted = usize::from(site.apps) * SERVICES;
            let ill = match () {
                () if site.agent.is_none() => Some("it is off".to_owned()),
                () if site.open > 0 => Some("a write to it is not answered".to_owned()),
                () if !site.in_sync => Some("it is not in sync".to_owned()),
                () if site.version < site.answered => {
                    Some(format!("it holds v{} of v{}", site.version, site.answered))
                }
                () if well != wanted => Some(format!("of its services {well} run")),
                () => None,
            };
            record.runs.set(now, well == wanted);
            record.converged.set(now, ill.is_none());
            record.ill = ill;
        }
    }

    async fn finish(mut self, played: Result<(), StageError>) -> Result<Record, StageError> {
        self.writes.abort_all();
        self.record.end = self.began.elapsed();
        if played.is_ok() {
            self.check_answered().await;
        }
        for (site, record) in self.sites.iter().zip(&mut self.record.sites) {
            record.restarts = restarts(&site.fake.steps());
            record.bytes = site.meters.iter().map(|meter| meter.bytes().total()).sum();
        }
        for site in &mut self.sites {
            site.off(Cause::Killed);
            site.link.shutdown().await;
        }
        if let Some(cloud) = self.cloud {
            cloud.stop().await;
        }
        played.map(|()| self.record)
    }

    /// What the cloud said yes to is still there.
    async fn check_answered(&mut self) {
        for site in &self.sites {
            for app in 0..site.apps {
                let told = match self.api.desired_version(&site.node, &app_name(app)).await {
                    Ok(version) if version >= site.answered => continue,
                    Ok(version) => {
                        format!("the cloud answered v{}, and has v{version}", site.answered)
                    }
                    Err(error) => gnomon_edge::chain(&error),
                };
                self.record.broken.push(format!("{}: {told}", site.name));
            }
        }
    }
}

impl Site {
    fn instances(&self) -> Vec<(Slot, InstanceState)> {
        let orchestrator = Orchestrator::Fake(self.fake.clone());
        let observed = orchestrator.observe().now_or_never().and_then(Result::ok);
        let instances = observed.map(|it| it.instances).unwrap_or_default();
        instances.into_values().map(|it| (it.slot, it.state)).collect()
    }

    fn well(&self) -> usize {
        let is_well = |state: &InstanceState| {
            matches!(state, InstanceState::Running(Health::Unchecked | Health::Healthy))
        };
        self.instances().iter().filter(|(_, state)| is_well(state)).count()
    }

    fn off(&mut self, cause: Cause) {
        if let Some((agent, _)) = self.agent.take() {
            agent.abort();
        }
        self.in_sync = false;
        if cause == Cause::Power {
            for (slot, state) in self.instances() {
                if state.is_running() {
                    self.fake.set_state(&slot, InstanceState::Exited { code: 137 });
                }
            }
        }
    }

    fn disturb(&self, harm: Harm) {
        let Some((slot, _)) = self.instances().into_iter().find(|(_, state)| state.is_running())
        else {
            return;
        };
        match harm {
            Harm::Exits => self.fake.set_state(&slot, InstanceState::Exited { code: 1 }),
            Harm::Removed => self.fake.vanish(&slot),
        }
    }
}

fn app_name(app: u8) -> String {
    format!("station-{app}")
}
