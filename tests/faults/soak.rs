//! `make soak`: an hour, or as long as one likes, in which nothing is broken and everybody works:
//! operators, devices, and a fleet of simulated sites beside the real ones. Memory, file handles,
//! threads and disk of the cloud and the agents must stay what they are, nothing may be logged at
//! ERROR, and the promises are checked as after any campaign.

mod fleet;
mod trend;
mod vitals;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;
use gnomon_tests::eventually::let_pass;
use serde::{Deserialize, Serialize};

use crate::campaign::Recorder;
use crate::check::{Violation, check};
use crate::history::{APP, Event, Outcome};
use crate::machine;
use crate::operator::{Devices, OPERATORS, Operator};
use crate::peace::{self, Peace};
use crate::report::between;
use crate::stage::cloud::Terms;
use crate::stage::{NODES, Stage, logs};
use crate::watcher;
use fleet::Fleet;
use trend::{Measure, Trend, trend};

/// How often is measured.
const EVERY: Duration = Duration::from_secs(10);
/// An app of a real site is changed no more often than this.
const APP_PAUSE: Duration = Duration::from_secs(45);
/// Bounds that an hour reaches, so that what grows beyond them is seen. Certificates outlive it.
const TERMS: Terms = Terms {
    disk_mib: 2048,
    config: &[("certificate_days", "1"), ("versions", "4"), ("entries", "2000")],
};

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// How long everybody works
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// How many simulated sites there are beside the real ones
    #[arg(long, default_value_t = 1000)]
    sites: u32,
    /// What is written when follows from this
    #[arg(long)]
    seed: u64,
    /// Where the run is written down
    #[arg(long, value_name = "DIR", default_value = "target/soak")]
    out: PathBuf,
    /// A page that gets the table between its marks
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

/// What is kept of a run.
#[derive(Debug, Serialize, Deserialize)]
struct Soaked {
    command: String,
    minutes: f64,
    sites: u32,
    trends: Vec<Trend>,
    /// What the fleet's own program says of its run.
    fleet: serde_json::Value,
    /// Lines at ERROR, by kind.
    errors: BTreeMap<String, u64>,
    counts: BTreeMap<String, u64>,
    violations: Vec<Violation>,
}

/// The samples of each process: seconds since the begin, and what was measured.
type Samples = BTreeMap<(String, Measure), Vec<(f64, f64)>>;

/// Runs it; says whether all is as promised.
pub(crate) fn run(args: &SoakArgs) -> Result<bool> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("{}", args.out.display()))?;
    let mut stage = Stage::set(args.seed, &TERMS);
    let (recorder, written) = Recorder::new();
    for node in NODES.map(str::to_owned) {
        let (key, outcome) = (APP.to_owned(), Outcome::Unknown);
        recorder.record(Event::Wrote { node, key, value: 0, condition: None, outcome });
    }
    let over = AtomicBool::new(false);
    let (samples, fleet, differences) = thread::scope(|scope| {
        watcher::watch_all(scope, &stage, &recorder, &over);
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            work(args, &stage, &recorder)
        }));
        over.store(true, Ordering::SeqCst);
        stage.power_off();
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let mut history: Vec<_> = written.try_iter().collect();
    history.sort_by_key(|entry| entry.at_ms);
    let trends = samples.iter().filter_map(|((who, measure), all)| trend(who, *measure, all));
    let soaked = Soaked {
        command: format!(
            "make soak MINUTES={} SITES={} SEED={}",
            args.minutes, args.sites, args.seed
        ),
        minutes: args.minutes,
        sites: args.sites,
        trends: trends.collect(),
        fleet,
        errors: logs::errors(stage.folder.path()),
        counts: crate::campaign::counts(&history),
        violations: check(&history),
    };
    logs::keep(stage.folder.path(), &args.out);
    end(args, &soaked, &samples, &differences)
}

/// Everybody works until the time is over; then all must become equal.
fn work(
    args: &SoakArgs,
    stage: &Stage,
    recorder: &Recorder,
) -> Result<(Samples, serde_json::Value, Vec<String>)> {
    let door = stage.cloud.door();
    let mut operators: Vec<_> =
        (0..OPERATORS).map(|it| Operator::new(door, args.seed, it).at_leisure(APP_PAUSE)).collect();
    let mut devices: Vec<_> =
        (0..NODES.len()).map(|it| Devices::of(stage, args.seed, it)).collect();
    let fleet = Fleet::start(args.sites, args.minutes, args.seed, &stage.cloud, &args.out);
    let (mut samples, rest) = (Samples::new(), &AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        for operator in &mut operators {
            scope.spawn(move || operator.work(recorder, rest));
        }
        for devices in &mut devices {
            scope.spawn(move || devices.work(recorder, rest));
        }
        let end = Duration::from_secs_f64(args.minutes * 60.0);
        while began.elapsed() < end {
            measure(stage, began, &mut samples);
            let_pass(EVERY.min(end.saturating_sub(began.elapsed())));
        }
        rest.store(true, Ordering::SeqCst);
    });
    let fleet = fleet.end()?;
    let bound = || Duration::from_mins(1).mul_f64(machine::factor());
    let differences = match peace::come(stage, bound, |_| ()) {
        Peace::Equal { ends, .. } => {
            recorder.record(Event::Peace { burst: 0, ends });
            Vec::new()
        }
        Peace::Never { differences, .. } => differences,
    };
    Ok((samples, fleet, differences))
}

fn measure(stage: &Stage, began: Instant, samples: &mut Samples) {
    let agents = stage
        .sites
        .iter()
        .filter_map(|site| Some((format!("agent of {}", site.node), site.agent()?, site.data())));
    let cloud = ("cloud".to_owned(), stage.cloud.pid(), stage.cloud.data().to_path_buf());
    for (who, pid, data) in std::iter::once(cloud).chain(agents) {
        let at = began.elapsed().as_secs_f64();
        for (measure, size) in vitals::look(pid, &data) {
            samples.entry((who.clone(), measure)).or_default().push((at, size));
        }
    }
}

/// The verdict, on the screen and in files.
fn end(
    args: &SoakArgs,
    soaked: &Soaked,
    samples: &Samples,
    differences: &[String],
) -> Result<bool> {
    let mut lines = String::from("who,measure,seconds,value\n");
    for ((who, measure), all) in samples {
        for (at, value) in all {
            writeln!(lines, "{who},{},{at:.0},{value:.0}", measure.name().replace(',', ""))?;
        }
    }
    std::fs::write(args.out.join("samples.csv"), lines)?;
    std::fs::write(args.out.join("soak.json"), serde_json::to_vec_pretty(soaked)?)?;
    let table = table(soaked);
    eprintln!("{table}");
    for difference in differences {
        eprintln!("NOT EQUAL {difference}");
    }
    for violation in &soaked.violations {
        eprintln!("BROKEN {violation}");
    }
    if let Some(page) = &args.into {
        put_into(page, &table)?;
    }
    let is_flat = soaked.trends.iter().all(|trend| trend.is_flat) && !soaked.trends.is_empty();
    let is_quiet = soaked.errors.is_empty();
    let is_kept = soaked.violations.is_empty() && differences.is_empty();
    let say = |is: bool, yes, no| if is { yes } else { no };
    eprintln!(
        "{}, {}, {}; to repeat it: {}",
        say(is_flat, "everything is flat", "SOMETHING GROWS"),
        say(is_quiet, "nothing was logged at ERROR", "SOMETHING WAS LOGGED AT ERROR"),
        say(is_kept, "every promise was kept", "A PROMISE WAS BROKEN"),
        soaked.command
    );
    Ok(is_flat && is_quiet && is_kept)
}

fn put_into(page: &Path, table: &str) -> Result<()> {
    let text = std::fs::read_to_string(page).with_context(|| format!("{}", page.display()))?;
    let text = between(&text, "soak", table).with_context(|| {
        format!("{} lacks the marks <!-- soak:begin --> and <!-- soak:end -->", page.display())
    })?;
    std::fs::write(page, text).with_context(|| format!("{}", page.display()))
}

fn table(soaked: &Soaked) -> String {
    let mut text = String::from(
        "| who | measure | typical | most | slope by the hour | flat |\n| --- | --- | ---: | ---: | ---: | --- |\n",
    );
    let mut line = |row: String| writeln!(text, "{row}").expect("a text takes everything");
    for trend in &soaked.trends {
        let flat = if trend.is_flat { "yes" } else { "**no**" };
        let Trend { who, measure, typical, most, per_hour, .. } = trend;
        let name = measure.name();
        line(format!("| {who} | {name} | {typical:.0} | {most:.0} | {per_hour:+.1} | {flat} |"));
    }
    let count = |name: &str| soaked.counts.get(name).copied().unwrap_or(0);
    let (writes, reports) = (count("wrote answered"), count("given"));
    let errors: u64 = soaked.errors.values().sum();
    let verdict = if soaked.violations.is_empty() { "kept" } else { "**broken**" };
    line(String::new());
    line(format!(
        "`{}`: {} simulated sites and {} real ones, {writes} answered writes and {reports} reports at the real ones, {errors} lines at ERROR, promises {verdict}.",
        soaked.command,
        soaked.sites,
        NODES.len()
    ));
    for (kind, times) in &soaked.errors {
        line(format!("\n- {times} times: `{kind}`"));
    }
    text
}
