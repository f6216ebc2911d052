//! `make faults`: a real cloud, real sites with real Docker, operators and devices that never rest,
//! and everything that can break, broken by a seed. What happened is checked against the promises of
//! docs/protocol.md, and docs/reliability.md gets its table from here.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step of the campaign is a panic")]
#![expect(clippy::indexing_slicing, reason = "JSON of the programs under test")]
#![expect(clippy::print_stderr, reason = "says how far it is")]

mod campaign;
mod check;
mod fault;
mod history;
mod machine;
mod nemesis;
mod operator;
mod peace;
mod report;
mod schedule;
mod soak;
mod stage;
mod watcher;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use fault::Fault;

/// Breaks everything that can break, and looks whether the promises hold.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a campaign. Exit code 1 if a promise was broken
    Run(RunArgs),
    /// Break nothing, work for long, and look whether anything grows. Exit code 1 if it does
    Soak(soak::SoakArgs),
    /// Write the table of all runs of a folder between its marks in a page
    Table {
        /// The folder with the runs
        runs: PathBuf,
        /// The page
        #[arg(long, value_name = "FILE")]
        into: PathBuf,
    },
    /// Print the bursts of a seed, and break nothing
    Plan {
        /// The seed
        #[arg(long)]
        seed: u64,
        /// How many bursts
        #[arg(long, default_value_t = 10)]
        bursts: u32,
        /// Only these faults
        #[arg(long, value_delimiter = ',')]
        only: Vec<Fault>,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// How long new bursts are begun
    #[arg(long, default_value_t = 20.0)]
    minutes: f64,
    /// What is broken when follows from this
    #[arg(long)]
    seed: u64,
    /// Only these faults
    #[arg(long, value_delimiter = ',')]
    only: Vec<Fault>,
    /// Only these bursts of the seed
    #[arg(long, value_delimiter = ',')]
    burst: Vec<u32>,
    /// Where the run is written down
    #[arg(long, value_name = "DIR", default_value = "target/faults")]
    out: PathBuf,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => campaign::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Table { runs, into } => report::table(&runs, &into).map(|()| true),
        Command::Plan { seed, bursts, only } => {
            let mut schedule = schedule::Schedule::new(seed, &stage::IS_BOX, &only);
            (0..bursts).for_each(|_| eprint!("{}", schedule.next_burst()));
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
