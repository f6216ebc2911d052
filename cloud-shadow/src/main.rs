//! The binary `gnomon-cloud`.

mod commands;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use commands::broker::BrokerArgs;
use commands::init::InitArgs;
use commands::keep::{BackupArgs, CheckArgs, RestoreArgs};
use gnomon_cloud::chain;
use gnomon_cloud::config::{Config, LogFormat, ServeArgs};
use gnomon_cloud::server::Server;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

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
        Command::Serve(args) => serve(*args).await,
        Command::Broker(args) => commands::broker::run(args).await,
        Command::Backup(args) => commands::keep::backup(args).await,
        Command::Restore(args) => commands::keep::restore(&args),
        Command::Check(args) => commands::keep::check(&args),
    }
}

async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(args)?;
    log(config.log_format);
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let data = config.data.clone();
    let server = Server::start(config).await?;
    let ready = serde_json::json!({
        "ready": true,
        "http": server.http_addr().to_string(),
        "https": server.https_addr().map(|addr| addr.to_string()),
        "mqtt": server.mqtt_addr().to_string(),
        "data": data,
    });
    writeln!(io::stdout(), "{ready}").context("cannot write to stdout")?;
    let failed = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = server.failed() => true,
    };
    tracing::info!("stopping");
    server.stop().await;
    tracing::info!("stopped");
    anyhow::ensure!(!failed, "the core has ended by a fault of gnomon-cloud; the log says where");
    Ok(())
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let builder = builder.with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
