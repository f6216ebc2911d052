//! `gnomon-sim sim`: runs simulated worlds, one for each seed.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use anyhow::bail;
use clap::{Args, ValueEnum};
use gnomon_sim::world::{Options, Outcome, Tally};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

mod kind;

use kind::{Failure, Kind};

/// Run simulated worlds: one cloud, its sites, and every fault that the protocol must bear.
///
/// Each seed is one world; the same seed is always the same world. Exit code 1 if an invariant
/// breaks: then the run is printed that breaks it, made as small as it gets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim sim --seeds 20000\n  \
    gnomon-sim sim --world system --seeds 2000\n  \
    gnomon-sim sim --seeds 10 --sites 1000 --steps 100\n  \
    gnomon-sim sim --seed 7 --trace")]
pub(crate) struct SimArgs {
    /// What the worlds are made of
    #[arg(long, value_enum, default_value_t = Kind::Protocol)]
    world: Kind,
    /// How many seeds
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Only this seed
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Tell everything that happens in the world of --seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many sites each world has; drawn from the seed if not given
    #[arg(long)]
    sites: Option<u16>,
    /// How many events happen per site before faults end; drawn from the seed if not given
    #[arg(long)]
    steps: Option<u32>,
    /// How many worlds run at a time; as many as there are processors if not given
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Debug, Serialize)]
struct Summary {
    passed: u64,
    failed: u64,
    seconds: f64,
    failures: Vec<FailedSeed>,
    happened: Tally,
}

#[derive(Debug, Serialize)]
struct FailedSeed {
    seed: u64,
    invariant: String,
    what: String,
    replay: String,
    events: usize,
    #[serde(skip)]
    failure: Failure,
}

/// How often a failing run is tried again with less in it.
const REPLAYS: u32 = 3_000;

/// The most failing runs that are made small and told.
const TOLD: usize = 3;

pub(crate) fn run(args: &SimArgs) -> anyhow::Result<()> {
    // A panic inside a world is caught there and becomes a failure of that seed.
    std::panic::set_hook(Box::new(|_| {}));
    if let (Some(seed), true) = (args.seed, args.trace) {
        return tell(args.world, seed, args.options());
    }
    let started = Instant::now();
    let (first, count) = args.seed.map_or((args.first, args.seeds), |seed| (seed, 1));
    let mut summary = run_all(args, first, count);
    summary.seconds = started.elapsed().as_secs_f64();
    summary.failures.sort_by_key(|failure| failure.seed);
    for failed in summary.failures.iter_mut().take(TOLD) {
        failed.failure = failed.failure.clone().shrink(REPLAYS);
        failed.events = failed.failure.len();
        failed.what.clone_from(&failed.failure.violation().what);
    }
    match args.output {
        Format::Json => super::print_line(&summary)?,
        Format::Text => super::print_text(&summary.to_text())?,
    }
    if summary.failed > 0 {
        bail!("{} of {count} seeds break an invariant", summary.failed);
    }
    Ok(())
}

impl SimArgs {
    const fn options(&self) -> Options {
        Options { sites: self.sites, steps: self.steps }
    }

    fn replay(&self, seed: u64) -> String {
        let flag = |name: &str, value: Option<u32>| {
            value.map(|value| format!(" --{name} {value}")).unwrap_or_default()
        };
        let (sites, steps) = (self.sites.map(u32::from), self.steps);
        let (sites, steps) = (flag("sites", sites), flag("steps", steps));
        format!("gnomon-sim sim{} --seed {seed}{sites}{steps}", self.world.flag())
    }
}

fn run_all(args: &SimArgs, first: u64, count: u64) -> Summary {
    let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = args.jobs.map_or_else(processors, NonZeroUsize::get);
    let next = AtomicU64::new(0);
    let (kind, options) = (args.world, args.options());
    let (sender, outcomes) = mpsc::channel::<Outcome<Failure>>();
    let mut summary = Summary {
        passed: 0,
        failed: 0,
        seconds: 0.0,
        failures: Vec::new(),
        happened: Tally::default(),
    };
    let progress = progress_bar(count);
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count || sender.send(kind.run(first + at, options)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for outcome in outcomes {
            progress.inc(1);
            summary.add(args, outcome);
            progress.set_message(format!("{} failed", summary.failed));
        }
    });
    progress.finish_and_clear();
    summary
}

fn progress_bar(count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left, {msg}");
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Tells one run: as small as it gets if it breaks an invariant, whole if it does not.
fn tell(kind: Kind, seed: u64, options: Options) -> anyhow::Result<()> {
    let Some(failure) = kind.run(seed, options).failure else {
        return super::print_text(&kind.story(seed, options));
    };
    let failure = failure.shrink(REPLAYS);
    super::print_text(&failure.story())?;
    bail!(
        "seed {seed} breaks an invariant, here with {} events: {}",
        failure.len(),
        failure.violation()
    )
}

impl Summary {
    fn add(&mut self, args: &SimArgs, outcome: Outcome<Failure>) {
        self.happened += outcome.tally;
        let Some(failure) = outcome.failure else {
            self.passed += 1;
            return;
        };
        self.failed += 1;
        self.failures.push(FailedSeed {
            seed: outcome.seed,
            invariant: failure.violation().invariant.to_string(),
            what: failure.violation().what.clone(),
            replay: args.replay(outcome.seed),
            events: failure.len(),
            failure,
        });
    }

    fn to_text(&self) -> String {
        let mut lines = Vec::new();
        for (at, failed) in self.failures.iter().enumerate() {
            let FailedSeed { seed, invariant, what, replay, events, failure } = failed;
            lines.push(format!("seed {seed} breaks invariant {invariant}: {what}"));
            lines.push(format!("  replay: {replay} --trace"));
            if at < TOLD {
                lines.push(format!("  with {events} events:"));
                lines.extend(failure.story().lines().map(|line| format!("    {line}")));
            }
        }
        let Tally { events, changes, messages, lost, crashes, .. } = self.happened;
        lines.push(format!(
            "{events} events, {changes} changes, {messages} messages, {lost} lost, {crashes} \
             crashes in {:.1} s",
            self.seconds
        ));
        lines.push(format!("{} passed, {} failed\n", self.passed, self.failed));
        lines.join("\n")
    }
}
