//! `gnomon-sim fleet`: runs a fleet of simulated sites against a cloud, and reports.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use gnomon_edge::link::mqtt::Address;
use gnomon_sim::fleet::api::Api;
use gnomon_sim::fleet::cloud::CloudProcess;
use gnomon_sim::fleet::{
    Churn, Course, FleetConfig, Live, News, raise_open_files, run as run_fleet, run_worker,
};
use gnomon_sim::link::Profile;
use gnomon_sim::report::{PhaseReport, Report, figures};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

mod tui;

use tui::Screen;

/// Run a fleet of simulated sites against a cloud: real agents, real links over TLS, fake apps.
///
/// The sites start, then what was asked for happens phase by phase: quiet, churn, writes to all,
/// outages. Ctrl-C ends the run early, with a report of what there was. Prints one line of JSON;
/// exit code 1 if a phase was not complete in time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim fleet --start-cloud --sites 1000\n  \
    gnomon-sim fleet --server http://127.0.0.1:7780 --token-file cloud/admin-token --sites 200\n  \
    gnomon-sim fleet --start-cloud --sites 300 --link 4g-bad --groups 3 --group-outage 10\n  \
    gnomon-sim fleet --start-cloud --churn 60 --reported-per-s 50 --desired-per-s 5 --flaps-per-s 1")]
pub(crate) struct FleetArgs {
    #[command(flatten)]
    cloud: CloudArgs,
    #[command(flatten)]
    course: CourseArgs,
    /// The report; a page of the same name ending in .html is written beside it
    #[arg(long, value_name = "FILE", default_value = "fleet-report.json")]
    out: PathBuf,
    /// Show a live view on the terminal
    #[arg(long)]
    pub(crate) tui: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The cloud")]
struct CloudArgs {
    /// The cloud's HTTP address
    #[arg(
        long,
        env = "GNOMON_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:7780"
    )]
    server: String,
    /// The token itself; the file is safer, other users can see command lines
    #[arg(long, env = "GNOMON_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// The file that holds the token, such as the cloud's DIR/admin-token
    #[arg(long, env = "GNOMON_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The authority to trust over https, such as the cloud's DIR/ca.pem
    #[arg(long, env = "GNOMON_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The process id of a cloud on this machine, to measure its memory and CPU
    #[arg(long, value_name = "PID", conflicts_with = "start_cloud")]
    cloud_pid: Option<u32>,
    /// Where the broker is, if not where the cloud says
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "start_cloud")]
    broker: Option<Address>,
    /// Start a cloud for this run, on free ports
    #[arg(long)]
    start_cloud: bool,
    /// The program to start; beside this one if not given, else on the PATH
    #[arg(long, value_name = "PATH", requires = "start_cloud")]
    cloud_program: Option<PathBuf>,
    /// Where the started cloud keeps its data; a folder that is removed afterwards if not given
    #[arg(long, value_name = "DIR", requires = "start_cloud")]
    cloud_data: Option<PathBuf>,
    /// Keep the sites' identities here and use them again; not with a cloud that forgets
    #[arg(long, value_name = "DIR")]
    identities: Option<PathBuf>,
    /// Enrolments under way at the same time
    #[arg(long, value_name = "N", default_value_t = 16)]
    enrol_at_once: usize,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "The fleet")]
struct CourseArgs {
    /// How many sites
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    sites: u32,
    /// Devices behind each site that report in the churn
    #[arg(long, default_value_t = 4)]
    devices: u32,
    /// Groups that the sites are in, for outages
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    groups: u32,
    /// Processes that hold the sites; as many as the limit of open files asks for if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: Option<u32>,
    /// What the names of the nodes begin with
    #[arg(long, value_name = "TEXT", default_value = "fleet")]
    prefix: String,
    /// Sites that start in a second; 0: all at once
    #[arg(long, value_name = "N", default_value_t = 100)]
    ramp_per_s: u32,
    /// How long the sites have before the quiet phase and before outages, to tell what they still have
    /// to tell, in seconds; 40 is enough for all
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    rest: u64,
    /// How long nothing happens after the start, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    steady: u64,
    /// How long changes happen all over the fleet, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    churn: u64,
    /// Desired writes a second in the churn
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    desired_per_s: f64,
    /// Reports of devices a second in the churn
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    reported_per_s: f64,
    /// Apps that exit, a second, in the churn
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    flaps_per_s: f64,
    /// Writes to all sites, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    writes: u32,
    /// Cut each group in turn for so many seconds
    #[arg(long, value_name = "SECONDS")]
    group_outage: Option<u64>,
    /// Cut all sites at once for so many seconds; 0: not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    storm: u64,
    /// How every link behaves: a shipped profile of `gnomon-sim link`, or a TOML file
    #[arg(long, value_name = "NAME|FILE")]
    link: Option<String>,
    /// How long a link may be silent, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(5..=3600))]
    keep_alive_s: u64,
    /// How long a site's orchestrator works on each step of an app, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(0..=60_000))]
    step_ms: u64,
    /// How long a phase may wait for the fleet, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    patience: u64,
    /// How long the whole run may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    time: u64,
    /// Seeds everything that happens by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A part of the sites of a `gnomon-sim fleet`, which starts it and tells it what to do.
pub(crate) async fn work() -> anyhow::Result<()> {
    Ok(run_worker().await?)
}

pub(crate) async fn run(args: FleetArgs) -> anyhow::Result<()> {
    raise_open_files();
    let orders = stop_on_signal()?;
    let profile = args.course.link.as_deref().map(Profile::load).transpose()?;
    let cloud = if args.cloud.start_cloud {
        let program = args.cloud.cloud_program.clone().unwrap_or_else(beside);
        Some(CloudProcess::start(&program, args.cloud.cloud_data.as_deref()).await?)
    } else {
        None
    };
    let config = FleetConfig {
        course: args.course.course(),
        prefix: args.course.prefix.clone(),
        devices: args.course.devices,
        api: args.cloud.api(cloud.as_ref())?,
        broker: cloud.as_ref().map(|cloud| cloud.broker.clone()).or(args.cloud.broker.clone()),
        cloud_pid: cloud.as_ref().map(CloudProcess::pid).or(args.cloud.cloud_pid),
        identities: args.cloud.identities.clone(),
        enrol_at_once: args.cloud.enrol_at_once,
        link: profile,
        keep_alive: Duration::from_secs(args.course.keep_alive_s),
        step: Duration::from_millis(args.course.step_ms),
        workers: args.course.workers,
        worker_program: std::env::current_exe().context("this program does not find itself")?,
        settings: args.course.settings(),
    };
    let mut show = Show::new(args.course.sites);
    let mut screen = if args.tui {
        let screen = Screen::open(args.course.sites, orders.stop.clone(), orders.abort.clone());
        Some(screen.context("the terminal cannot be used for --tui")?)
    } else {
        None
    };
    let news = |news: News<'_>| match &mut screen {
        Some(screen) => screen.news(&news),
        None => show.news(&news),
    };
    let ran = Box::pin(run_fleet(config, orders.stop, news));
    let Some(ran) = orders.abort.run_until_cancelled(ran).await else {
        // A cloud that was started is ended with what holds it.
        bail!("told to stop twice: ended without a report");
    };
    drop(screen);
    show.bar.finish_and_clear();
    if let Some(cloud) = cloud {
        cloud.stop().await;
    }
    finish(&ran?, &args.out)
}

fn finish(report: &Report, out: &Path) -> anyhow::Result<()> {
    report.write(out)?;
    let page = out.with_extension("html");
    super::print_line(&json!({
        "report": out, "page": page, "ended": report.ended, "complete": report.is_complete(),
    }))?;
    if report.ended != "stopped" && !report.is_complete() {
        let phases = report.phases.iter().filter(|phase| !phase.complete);
        let names: Vec<_> = phases.map(|phase| phase.name.as_str()).collect();
        bail!(
            "not complete ({}): {}; {} says more",
            report.ended,
            names.join(", "),
            page.display()
        );
    }
    Ok(())
}

/// What signals say.
#[derive(Clone)]
struct Orders {
    /// End with a report.
    stop: CancellationToken,
    /// End without.
    abort: CancellationToken,
}

/// The first signal ends the run with a report, the second ends the program.
fn stop_on_signal() -> anyhow::Result<Orders> {
    let mut terminated = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupted = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let orders = Orders { stop: CancellationToken::new(), abort: CancellationToken::new() };
    let told = orders.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
            if told.stop.is_cancelled() {
                return told.abort.cancel();
            }
            tracing::info!("told to stop: ending with a report; once more ends without");
            told.stop.cancel();
        }
    });
    Ok(orders)
}

/// The cloud's program beside this one, else any.
pub(super) fn beside() -> PathBuf {
    let name = Path::new("gnomon-cloud");
    let here = std::env::current_exe().ok().map(|path| path.with_file_name(name));
    here.filter(|path| path.is_file()).unwrap_or_else(|| name.to_owned())
}

impl CloudArgs {
    fn api(&self, started: Option<&CloudProcess>) -> anyhow::Result<Api> {
        if let Some(cloud) = started {
            return Ok(Api::new(&cloud.server, Some(cloud.token.clone()), None)?);
        }
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.trim().to_owned()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file);
                let text =
                    text.with_context(|| format!("cannot read the token file {}", file.display()))?;
                Some(text.trim().to_owned())
            }
            (None, None) => None,
        };
        let read = |file: &PathBuf| {
            let text = std::fs::read(file);
            text.with_context(|| format!("cannot read the authority's file {}", file.display()))
        };
        let ca = self.ca.as_ref().map(read).transpose()?;
        Ok(Api::new(&self.server, token, ca.as_deref())?)
    }
}

impl CourseArgs {
    fn course(&self) -> Course {
        let seconds = Duration::from_secs;
        Course {
            sites: self.sites,
            groups: self.groups,
            ramp_per_s: self.ramp_per_s,
            rest: seconds(self.rest),
            steady: seconds(self.steady),
            churn: Churn {
                length: seconds(self.churn),
                desired_per_s: self.desired_per_s,
                reported_per_s: self.reported_per_s,
                flaps_per_s: self.flaps_per_s,
            },
            writes: self.writes,
            group_outage: self.group_outage.map(seconds),
            storm: (self.storm > 0).then(|| seconds(self.storm)),
            patience: seconds(self.patience),
            time: seconds(self.time),
            seed: self.seed,
        }
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let link = self.link.clone().unwrap_or_else(|| "straight".to_owned());
        let mut settings = vec![
            ("link", link),
            ("ramp", format!("{} sites a second", self.ramp_per_s)),
            ("keep-alive", format!("{} s", self.keep_alive_s)),
            ("a step of an app", format!("{} ms", self.step_ms)),
            ("groups", self.groups.to_string()),
            ("devices per site", self.devices.to_string()),
            (
                "processes for the sites",
                self.workers.map_or("as needed".to_owned(), |it| it.to_string()),
            ),
            ("seed", self.seed.to_string()),
            ("rest before what is measured", format!("{} s", self.rest)),
            ("length of the mass disconnect", format!("{} s", self.storm)),
        ];
        if self.churn > 0 {
            let text = format!(
                "{} s of {} desired writes, {} reports, {} exits a second",
                self.churn, self.desired_per_s, self.reported_per_s, self.flaps_per_s
            );
            settings.push(("churn", text));
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// What the run looks like on a terminal.
struct Show {
    bar: ProgressBar,
    sites: u32,
    phase: String,
    is_write: bool,
}

impl Show {
    fn new(sites: u32) -> Self {
        let style = ProgressStyle::with_template("{prefix:14} {bar:30} {pos}/{len} {wide_msg}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(sites.into()).with_style(style).with_prefix("enrolling");
        Self { bar, sites, phase: String::new(), is_write: false }
    }

    fn news(&mut self, news: &News<'_>) {
        match news {
            News::Enrolled(made) => self.bar.set_position((*made).min(self.sites).into()),
            News::Entered(phase) => {
                self.phase = phase.to_string();
                self.is_write = matches!(phase, gnomon_sim::fleet::Phase::Write(_));
                self.bar.set_prefix(self.phase.clone());
            }
            News::Left(phase) => self.bar.suspend(|| left(phase)),
            News::Live(live) => self.live(live),
        }
    }

    fn live(&self, live: &Live) {
        let sample = &live.sample;
        let position = if self.is_write { live.reached } else { sample.in_sync };
        self.bar.set_position(position.into());
        let cloud = match (sample.cloud_bytes, sample.cloud_cores) {
            (Some(bytes), Some(cores)) => {
                format!("cloud {} {:.0} %, ", figures::bytes(bytes), cores * 100.0)
            }
            _ => String::new(),
        };
        let probe = sample.probe_ms.map(|took| format!(", probe {}", figures::millis(took)));
        self.bar.set_message(format!(
            "{} up, {cloud}fleet {} {:.0} %{}",
            sample.up,
            figures::bytes(sample.fleet_bytes),
            sample.fleet_cores * 100.0,
            probe.unwrap_or_default(),
        ));
    }
}

fn left(phase: &PhaseReport) {
    let dash = || "-".to_owned();
    tracing::info!(
        phase = phase.name,
        complete = phase.complete,
        took = figures::seconds(phase.seconds()),
        sites = format!("{}/{}", phase.came, phase.awaited),
        last_site = phase.last_came_s().map_or_else(dash, figures::seconds),
        probe_p99 = phase.broker.as_ref().map_or_else(dash, |it| figures::millis(it.p99_ms)),
        bytes = figures::bytes(phase.bytes.total()),
        "phase over"
    );
}
