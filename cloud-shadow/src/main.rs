//! The binary `gnomon-cloud`.

mod commands;

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use commands::broker::BrokerArgs;
use commands::health::HealthArgs;
use commands::init::InitArgs;
use commands::keep::{BackupArgs, CheckArgs, RestoreArgs};
use gnomon_cloud::chain;
use gnomon_cloud::config::ServeArgs;

/// The cloud of Gnomon: keeps sites in the state that their operator wants.
#[derive(Parser)]
#[command(name = "gnomon-cloud", version, about, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: those of `serve`.
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Make a folder with keys, a configuration file and the first token.
    Init(InitArgs),
    /// Run the cloud until it is told to stop (SIGTERM or SIGINT).
    Serve(Box<ServeArgs>),
    /// Run the MQTT broker alone, for clients of any kind.
    Broker(BrokerArgs),
    /// Copy the store and the keys into a file, also while the cloud runs.
    Backup(BackupArgs),
    /// Put a backup into a data folder that no cloud uses.
    Restore(RestoreArgs),
    /// Check the store of a data folder that no cloud uses.
    Check(CheckArgs),
    /// Ask the cloud that runs on a data folder how it is; exits with 1 if it is not ready.
    Health(HealthArgs),
}

/// After a storm of connections or a flood of messages its memory goes back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let Cli { command, serve } = Cli::parse();
    let command = command.unwrap_or_else(|| Command::Serve(Box::new(serve)));
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.event_interval(gnomon_broker::EVENT_INTERVAL).enable_all().build();
    let runtime = runtime.context("cannot start the threads of the runtime");
    match runtime.and_then(|runtime| runtime.block_on(run(command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // With stderr gone there is nobody left to tell.
            drop(writeln!(io::stderr(), "gnomon-cloud: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init(args) => commands::init::init(args),
        Command::Serve(args) => commands::serve::serve(*args).await,
        Command::Broker(args) => commands::broker::run(args).await,
        Command::Backup(args) => commands::keep::backup(args).await,
        Command::Restore(args) => commands::keep::restore(&args),
        Command::Check(args) => commands::keep::check(&args),
        Command::Health(args) => commands::health::health(&args).await,
    }
}
