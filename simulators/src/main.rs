//! `gnomon-sim`: fleets, emulated links and simulated worlds from the command line.

mod commands;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Emulate bad links and simulate fleets of sites.
///
/// Data goes to stdout, logs to stderr (set `RUST_LOG` for more). Exit codes: 0 done, 1 failed,
/// 2 wrong usage.
#[derive(Debug, Parser)]
#[command(name = "gnomon-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Thousands of sites in one process: glibc's takes a tenth of the time of a fleet.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[derive(Debug, Subcommand)]
enum Command {
    Link(commands::link::LinkArgs),
    LinkControl(commands::link_control::LinkControlArgs),
    LinkRecord(commands::link_record::LinkRecordArgs),
    Sim(commands::sim::SimArgs),
    Explore(commands::explore::ExploreArgs),
    Fleet(Box<commands::fleet::FleetArgs>),
    /// A part of the sites of `fleet`
    #[command(hide = true)]
    FleetWorker,
    Report(commands::report::ReportArgs),
    Scenario(commands::scenario::ScenarioArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        if matches!(&cli.command, Command::Fleet(args) if args.tui) {
            return EnvFilter::new("off");
        }
        // Each site of a fleet would tell of its own link.
        let is_fleet =
            matches!(cli.command, Command::Fleet(_) | Command::FleetWorker | Command::Scenario(_));
        EnvFilter::new(if is_fleet { "info,gnomon_edge=off" } else { "info" })
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = match cli.command {
        Command::Link(args) => commands::link::run(args).await,
        Command::LinkControl(args) => commands::link_control::run(args).await,
        Command::LinkRecord(args) => commands::link_record::run(args).await,
        Command::Sim(args) => commands::sim::run(&args),
        Command::Explore(args) => commands::explore::run(&args),
        Command::Fleet(args) => Box::pin(commands::fleet::run(*args)).await,
        Command::FleetWorker => commands::fleet::work().await,
        Command::Report(args) => commands::report::run(&args),
        Command::Scenario(args) => Box::pin(commands::scenario::run(args)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
