//! `gnomon-sim scenario`: plays what a file says and judges what it expects.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use gnomon_sim::fleet::raise_open_files;
use gnomon_sim::fleet::stage::{Stage, perform};
use gnomon_sim::scenario::judge::{Verdict, judge, time};
use gnomon_sim::scenario::record::Record;
use gnomon_sim::scenario::timetable::Timetable;
use gnomon_sim::scenario::{SHIPPED, Scenario, read};
use gnomon_sim::system;
use serde::Serialize;

/// Play a scenario: what happens to fleets, links, the cloud and machines, and what must hold.
///
/// By default with real programs: a gnomon-cloud, real agents' cores and links over TLS and emulated
/// links, fake apps. With --virtual the same file is played in the deterministic world: days in
/// seconds, and the same seed is always the same run. Exit code 1 if an expectation does not hold.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    gnomon-sim scenario --list\n  \
    gnomon-sim scenario weak-network --virtual\n  \
    gnomon-sim scenario weak-network --virtual --seeds 100\n  \
    gnomon-sim scenario my.toml --virtual --seed 7 --trace\n  \
    gnomon-sim scenario real-outage")]
pub(crate) struct ScenarioArgs {
    /// A shipped scenario, or the path of a TOML file
    #[arg(value_name = "NAME|FILE", required_unless_present = "list")]
    scenario: Option<String>,
    /// List the shipped scenarios
    #[arg(long, conflicts_with = "scenario")]
    list: bool,
    /// Play it in the deterministic world
    #[arg(long = "virtual")]
    is_virtual: bool,
    /// The seed, if not that of the file
    #[arg(long)]
    seed: Option<u64>,
    /// Play it in so many worlds, from that seed on
    #[arg(long, value_name = "N", requires = "is_virtual", default_value_t = 1)]
    seeds: u64,
    /// Tell everything that happens
    #[arg(long, requires = "is_virtual", conflicts_with = "seeds")]
    trace: bool,
    /// The cloud's program; beside this one if not given, else on the PATH
    #[arg(long, value_name = "PATH", conflicts_with = "is_virtual")]
    cloud_program: Option<PathBuf>,
    /// How the result is printed
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What became of one run.
#[derive(Debug, Serialize)]
struct Outcome {
    scenario: String,
    world: &'static str,
    seed: u64,
    sites: u16,
    /// How long it was for those in it.
    lasted_s: f64,
    /// How long it took here.
    took_s: f64,
    held: bool,
    verdicts: Vec<Verdict>,
}

pub(crate) async fn run(args: ScenarioArgs) -> anyhow::Result<()> {
    if args.list {
        return list();
    }
    let named = args.scenario.as_deref().unwrap_or_default();
    let scenario = load(named)?;
    let first = args.seed.unwrap_or(scenario.seed);
    let mut failed = 0_u64;
    for seed in first..first.saturating_add(args.seeds.max(1)) {
        let began = Instant::now();
        let (record, story) = if args.is_virtual {
            system::play(&scenario, seed, args.trace)
        } else {
            (really(&args, &scenario, seed).await?, String::new())
        };
        super::print_text(&story)?;
        let outcome = Outcome::of(&scenario, &record, seed, args.is_virtual, began);
        failed += u64::from(!outcome.held);
        // Of many runs, those are told that matter.
        if args.seeds == 1 || !outcome.held || args.output == Format::Json {
            match args.output {
                Format::Json => super::print_line(&outcome)?,
                Format::Text => super::print_text(&outcome.to_text())?,
            }
        }
    }
    if args.seeds > 1 && args.output == Format::Text {
        super::print_text(&format!("{} of {} worlds hold\n", args.seeds - failed, args.seeds))?;
    }
    if failed > 0 {
        bail!("{}: not everything that is expected holds", scenario.name);
    }
    Ok(())
}

async fn really(args: &ScenarioArgs, scenario: &Scenario, seed: u64) -> anyhow::Result<Record> {
    raise_open_files();
    let program = args.cloud_program.clone().unwrap_or_else(super::fleet::beside);
    let stage = Stage { cloud_program: program, seed };
    tokio::select! {
        record = Box::pin(perform(scenario, &stage)) => Ok(record?),
        _ = tokio::signal::ctrl_c() => bail!("interrupted: nothing is judged"),
    }
}

fn list() -> anyhow::Result<()> {
    for (name, text) in SHIPPED {
        let scenario = read::scenario(text).with_context(|| format!("shipped scenario {name}"))?;
        super::print_text(&format!("{name:<20}{}\n", scenario.about))?;
    }
    Ok(())
}

fn load(named: &str) -> anyhow::Result<Scenario> {
    if let Some(text) = Scenario::shipped(named) {
        return Ok(read::scenario(text)?);
    }
    let shipped = || SHIPPED.map(|(name, _)| name).join(", ");
    let text = std::fs::read_to_string(Path::new(named));
    let text =
        text.with_context(|| format!("no scenario {named}: name a file or one of {}", shipped()))?;
    read::scenario(&text).with_context(|| format!("cannot use the scenario {named}"))
}

impl Outcome {
    fn of(
        scenario: &Scenario,
        record: &Record,
        seed: u64,
        is_virtual: bool,
        began: Instant,
    ) -> Self {
        let verdicts = judge(scenario, &Timetable::of(scenario), record);
        Self {
            scenario: scenario.name.clone(),
            world: if is_virtual { "virtual" } else { "real" },
            seed,
            sites: scenario.sites(),
            lasted_s: record.end.as_secs_f64(),
            took_s: began.elapsed().as_secs_f64(),
            held: verdicts.iter().all(|verdict| verdict.held),
            verdicts,
        }
    }

    fn to_text(&self) -> String {
        let Self { scenario, world, seed, sites, lasted_s, took_s, .. } = self;
        let lasted = time(std::time::Duration::from_secs_f64(*lasted_s));
        let mut text = format!(
            "{scenario}: {sites} sites, {lasted}, {world}, seed {seed}, played in {took_s:.1} s\n"
        );
        for Verdict { expected, held, why } in &self.verdicts {
            let mark = if *held { "holds" } else { "FAILS" };
            let line = format!("  {mark}  {expected}: {why}\n");
            text.push_str(&line);
        }
        text
    }
}
