//! Runs a fleet: asks the plan, does what it says, tells the board what happens, and makes the
//! report. The only `select!` of a run; it decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gnomon_edge::identity::Identity;
use gnomon_edge::link::TlsError;
use gnomon_edge::link::mqtt::Address;
use gnomon_schemas::id::{NodeName, ParseIdError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::api::{Api, ApiError};
use super::bare;
use super::board::{Board, Probe};
use super::crew::{Crew, CrewError, Trouble};
use super::enrol::{self, EnrolError};
use super::files::{self, FilesError};
use super::lines::Carrier;
use super::machine;
use super::plan::{Action, Course, Ending, Phase, Plan, Whom};
use super::probe;
use super::site::{Order, Told};
use super::squad::About;
use super::writes::{self, Wrote};
use crate::link::Profile;
use crate::report::{Enrolment, FORM, Machine, PhaseReport, Report, Sample};

mod measure;

use measure::Snapshot;

const TICK: Duration = Duration::from_millis(20);
const PROBE_EVERY: Duration = Duration::from_millis(50);
const API_PROBE_EVERY: Duration = Duration::from_millis(500);
/// What sites tell and what waits to be heard.
const TOLD: usize = 8_192;
/// The most troubles that are kept.
const TROUBLES: usize = 50;
const TOO_BUSY: &str = "a site was too busy for an order of the churn";

/// A fleet, and where it goes.
#[derive(Debug, Clone)]
pub struct FleetConfig {
    /// What happens.
    pub course: Course,
    /// What the names of the nodes begin with.
    pub prefix: String,
    /// Devices behind each site that report in the churn.
    pub devices: u32,
    /// The cloud.
    pub api: Api,
    /// Where the broker is; none: where the cloud said when the identities were made.
    pub broker: Option<Address>,
    /// The cloud's process, if it is on this machine.
    pub cloud_pid: Option<u32>,
    /// Where identities are kept.
    pub identities: Option<PathBuf>,
    /// Enrolments under way at the same time.
    pub enrol_at_once: usize,
    /// How every link behaves; none: straight to the broker.
    pub link: Option<Profile>,
    /// How long a link may be silent.
    pub keep_alive: Duration,
    /// How long a site's orchestrator works on a step.
    pub step: Duration,
    /// Over how many processes the sites are spread; none: as many as the limit of open files asks
    /// for.
    pub workers: Option<u32>,
    /// The program that holds a part of the sites where one process is not enough: `gnomon-sim`.
    pub worker_program: PathBuf,
    /// What was asked for, for the report.
    pub settings: BTreeMap<String, String>,
}

/// What is told while a fleet runs.
#[derive(Debug)]
pub enum News<'a> {
    /// So many identities are there.
    Enrolled(u32),
    /// A phase begins.
    Entered(Phase),
    /// A phase ended.
    Left(&'a PhaseReport),
    /// How it stands.
    Live(Live),
}

/// How a run stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Live {
    /// What was measured.
    pub sample: Sample,
    /// Sites that hold the present write to all.
    pub reached: u32,
}

/// Why a fleet did not run.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There are no identities.
    #[error("the fleet has no identities")]
    Enrol(#[from] EnrolError),
    /// The first desired state could not be written.
    #[error("the first desired state of the fleet could not be written")]
    Write(#[from] ApiError),
    /// A name is none.
    #[error("{0:?} makes no names of nodes")]
    Name(String, #[source] ParseIdError),
    /// Its sites are not there.
    #[error("the fleet's sites cannot be made")]
    Crew(#[from] CrewError),
    /// The probe cannot be made.
    #[error("the probe has no usable identity")]
    Probe(#[from] TlsError),
    /// There is no thread for the probe.
    #[error("the probe cannot have a thread of its own")]
    Thread(#[source] std::io::Error),
    /// There are too few files to be had.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// Runs a fleet to the end of its course, or until it is told to stop, and reports.
pub async fn run(
    config: FleetConfig,
    stop: CancellationToken,
    mut news: impl FnMut(News<'_>),
) -> Result<Report, FleetError> {
    let workers = check_files(&config)?;
    let mut machine = Machine { is_shared: config.cloud_pid.is_some(), ..machine::machine() };
    match bare::measure((config.course.sites / 10).clamp(20, 500)).await {
        Ok(measured) => machine.handshakes = Some(measured),
        Err(error) => tracing::warn!(error = %gnomon_edge::chain(&error), "not measured"),
    }
    let sites = config.course.sites;
    let mut names = (0..sites)
        .map(|site| name(&config.prefix, &site.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    names.push(name(&config.prefix, "probe")?);
    let enrolling = enrol::identities(
        &config.api,
        &names,
        config.identities.as_deref(),
        config.enrol_at_once,
        |made| news(News::Enrolled(made)),
    );
    let enrolled = enrolling.await?;
    let (mut identities, about) = (enrolled.all, enrolled.about);
    let probe = identities.pop();
    names.pop();
    let said = identities.first().and_then(|it| it.mqtt.first()).cloned();
    let broker = config.broker.clone().or(said);
    let broker = broker.ok_or(EnrolError::NoBroker)?;
    let mut conductor = Conductor::new(config, identities, names, &broker, workers).await?;
    conductor.write_first().await?;
    if let Some(probe) = probe {
        conductor.start_probes(probe, broker).map_err(FleetError::Thread)?;
    }
    let ending = conductor.conduct(&stop, &mut news).await;
    Ok(conductor.finish(ending, machine, about).await)
}

fn name(prefix: &str, end: &str) -> Result<NodeName, FleetError> {
    let text = format!("{prefix}-{end}");
    text.parse().map_err(|source| FleetError::Name(text, source))
}

fn check_files(config: &FleetConfig) -> Result<u32, FilesError> {
    let (sites, asked) = (config.course.sites, config.workers);
    if let Some(limit) = config.cloud_pid.and_then(machine::open_files_of) {
        files::cloud(sites, limit)?;
    }
    let limit = machine::open_files_of(std::process::id()).unwrap_or(u64::MAX);
    files::workers(sites, config.link.is_some(), limit, asked)
}

struct Conductor {
    config: FleetConfig,
    names: Arc<Vec<NodeName>>,
    crew: Crew,
    plan: Plan,
    board: Board,
    began: Instant,
    began_unix_s: u64,
    helpers: JoinSet<()>,
    told: mpsc::Receiver<Told>,
    trouble: mpsc::Receiver<Trouble>,
    wrote: (mpsc::Sender<Wrote>, mpsc::Receiver<Wrote>),
    probes: (mpsc::Sender<Probe>, mpsc::Receiver<Probe>),
    rounds: u32,
    phases: Vec<PhaseReport>,
    samples: Vec<Sample>,
    troubles: Vec<String>,
    last_sample: Snapshot,
    phase_began: Snapshot,
}

impl Conductor {
    async fn new(
        config: FleetConfig,
        identities: Vec<Identity>,
        names: Vec<NodeName>,
        broker: &Address,
        workers: u32,
    ) -> Result<Self, CrewError> {
        let (told, told_in) = mpsc::channel(TOLD);
        let (trouble, trouble_in) = mpsc::channel(TOLD);
        let about = About {
            groups: config.course.groups.max(1),
            broker: broker.clone(),
            link: config.link.clone(),
            keep_alive: config.keep_alive,
            step: config.step,
            devices: config.devices,
            seed: config.course.seed,
        };
        let program = &config.worker_program;
        let crew = Crew::new(workers, program, about, identities, told, trouble).await?;
        Ok(Self {
            plan: Plan::new(config.course.clone()),
            board: Board::new(config.course.sites),
            names: Arc::new(names),
            crew,
            config,
            began: Instant::now(),
            began_unix_s: SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs()),
            helpers: JoinSet::new(),
            told: told_in,
            trouble: trouble_in,
            wrote: mpsc::channel(TOLD),
            probes: mpsc::channel(64),
            rounds: 0,
            phases: Vec::new(),
            samples: Vec::new(),
            troubles: Vec::new(),
            last_sample: Snapshot::default(),
            phase_began: Snapshot::default(),
        })
    }

    /// Every site has an app from the beginning on.
    async fn write_first(&mut self) -> Result<(), FleetError> {
        let all: Vec<_> = (0..self.config.course.sites).collect();
        let round = self.began_unix_s.to_string();
        let (sender, mut receiver) = mpsc::channel(TOLD);
        let api = self.config.api.clone();
        let writing = writes::write(api, Arc::clone(&self.names), all, round, true, sender);
        let mut failed = None;
        let listening = async {
            while let Some(wrote) = receiver.recv().await {
                if let Wrote::Failed(reason) = wrote {
                    failed = Some(reason);
                }
            }
        };
        tokio::join!(writing, listening);
        match failed {
            None => Ok(()),
            Some(message) => Err(FleetError::Write(ApiError::Refused {
                what: "the first desired state".to_owned(),
                status: 0,
                code: "write_failed".to_owned(),
                message,
            })),
        }
    }

    /// On a thread of its own, so that what thousands of sites do in this process does not count as
    /// the cloud's time.
    fn start_probes(&self, identity: Identity, broker: Address) -> std::io::Result<()> {
        let (told, api) = (self.probes.0.clone(), self.config.api.clone());
        let node = identity.node.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // It ends when nobody listens any more.
        std::thread::Builder::new().name("probes".to_owned()).spawn(move || {
            let both = async {
                let broker = probe::broker(identity, broker, PROBE_EVERY, told.clone());
                tokio::join!(probe::api(api, node, API_PROBE_EVERY, told.clone()), broker).1
            };
            if let Err(error) = runtime.block_on(both) {
                tracing::warn!(error = %gnomon_edge::chain(&error), "the broker is not probed");
            }
        })?;
        Ok(())
    }

    async fn conduct(
        &mut self,
        stop: &CancellationToken,
        news: &mut impl FnMut(News<'_>),
    ) -> Ending {
        self.began = Instant::now();
        self.crew.begin(self.began);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = Vec::new();
        self.last_sample = self.snapshot();
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    let actions = self.plan.stop(Ending::Stopped);
                    if let Some(ending) = self.act(actions, news) {
                        return ending;
                    }
                }
                Some(trouble) = self.trouble.recv() => {
                    if let Some(ending) = self.on_trouble(&trouble, news) {
                        return ending;
                    }
                }
                count = self.told.recv_many(&mut told, 512), if !self.told.is_closed() => {
                    for Told { number, at, what } in told.drain(..count) {
                        self.board.told(at, number, what);
                    }
                }
                Some(wrote) = self.wrote.1.recv() => self.on_wrote(wrote),
                Some(probe) = self.probes.1.recv() => self.board.probed(probe),
                _ = ticks.tick() => {
                    let actions = self.plan.poll(self.began.elapsed(), self.board.seen());
                    if let Some(ending) = self.act(actions, news) {
                        return ending;
                    }
                    self.sample(news);
                }
            }
        }
    }

    fn on_wrote(&mut self, wrote: Wrote) {
        match wrote {
            Wrote::Site(site, version) => self.board.wrote(site, version),
            Wrote::Took(probe) => self.board.probed(probe),
            Wrote::Failed(reason) => self.note(reason),
        }
    }

    /// A site that is too busy is one matter; sites that are gone make the rest worth nothing.
    fn on_trouble(&mut self, trouble: &Trouble, news: &mut impl FnMut(News<'_>)) -> Option<Ending> {
        match trouble {
            Trouble::Busy => {
                self.note(TOO_BUSY.to_owned());
                None
            }
            Trouble::Gone(worker) => {
                self.note(format!("process {worker} of the fleet ended, and its sites with it"));
                let actions = self.plan.stop(Ending::Broken);
                self.act(actions, news)
            }
        }
    }

    fn note(&mut self, reason: String) {
        if self.troubles.len() < TROUBLES && !self.troubles.contains(&reason) {
            self.troubles.push(reason);
        }
    }

    fn act(&mut self, actions: Vec<Action>, news: &mut impl FnMut(News<'_>)) -> Option<Ending> {
        for action in actions {
            let now = self.began.elapsed();
            match action {
                Action::Enter(phase) => {
                    self.board.enter(now, phase);
                    self.phase_began = self.snapshot();
                    news(News::Entered(phase));
                }
                Action::Leave { complete } => self.leave(now, complete, news),
                Action::Start(site) => self.start(now, site),
                Action::WriteAll(_) => self.write((0..self.config.course.sites).collect()),
                Action::Write(sites) => self.write(sites),
                Action::Report(site) => self.order(site, Order::Report),
                Action::Flap(site) => self.order(site, Order::Flap),
                Action::Cut(whom) => {
                    self.crew.set(whom, Carrier { is_cut: true, outage: Duration::ZERO });
                }
                Action::Restore(whom, outage) => self.restore(now, whom, outage),
                Action::End(ending) => return Some(ending),
            }
        }
        None
    }

    fn leave(&mut self, now: Duration, complete: bool, news: &mut impl FnMut(News<'_>)) {
        let Some(mut phase) = self.board.leave(now, complete) else { return };
        let (began, ended) = (self.phase_began, self.snapshot());
        phase.bytes = ended.bytes.since(&began.bytes);
        phase.connections = ended.connections.0.saturating_sub(began.connections.0);
        phase.resumed = ended.connections.1.saturating_sub(began.connections.1);
        phase.fleet_cpu_s = ended.fleet.cpu_s - began.fleet.cpu_s;
        phase.cloud_cpu_s = ended.cloud.zip(began.cloud).map(|(b, a)| b.cpu_s - a.cpu_s);
        news(News::Left(&phase));
        self.phases.push(phase);
    }

    fn start(&mut self, now: Duration, number: u32) {
        self.board.awaits(now, number);
        if !self.crew.start(number) {
            self.note(format!("site {number} could not be started"));
        }
    }

    fn write(&mut self, sites: Vec<u32>) {
        self.rounds += 1;
        let round = format!("{}-{}", self.began_unix_s, self.rounds);
        let (api, names) = (self.config.api.clone(), Arc::clone(&self.names));
        while self.helpers.try_join_next().is_some() {}
        self.helpers.spawn(writes::write(api, names, sites, round, false, self.wrote.0.clone()));
    }

    fn order(&mut self, site: u32, order: Order) {
        if !self.crew.order(site, order) {
            self.note(TOO_BUSY.to_owned());
        }
    }

    fn restore(&mut self, now: Duration, whom: Whom, outage: Duration) {
        let groups = self.config.course.groups.max(1);
        for site in (0..self.config.course.sites).filter(|site| whom.is(*site, groups)) {
            self.board.awaits(now, site);
        }
        self.crew.set(whom, Carrier { is_cut: false, outage });
    }

    /// Ends everything and makes the report.
    async fn finish(mut self, ending: Ending, machine: Machine, enrolment: Enrolment) -> Report {
        let seconds = self.began.elapsed().as_secs_f64();
        let says = self.config.api.says().await;
        let cloud_says = match says {
            Ok(says) => Some(says),
            Err(error) => {
                self.note(gnomon_edge::chain(&error));
                None
            }
        };
        self.helpers.abort_all();
        self.told.close();
        self.crew.stop().await;
        Report {
            form: FORM,
            program: concat!("gnomon-sim ", env!("CARGO_PKG_VERSION")).to_owned(),
            began_unix_s: self.began_unix_s,
            seconds,
            ended: match ending {
                Ending::Done => "done",
                Ending::OutOfTime => "out of time",
                Ending::Stopped => "stopped",
                Ending::Broken => "broken",
            }
            .to_owned(),
            sites: self.config.course.sites,
            settings: self.config.settings,
            machine,
            enrolment,
            cloud_says,
            phases: self.phases,
            samples: self.samples,
            reasons: self.board.reasons().clone(),
            troubles: self.troubles,
        }
    }
}
