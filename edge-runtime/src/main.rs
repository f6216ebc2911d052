//! `gnomon-edge`: the site agent and its local commands.

mod commands;

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use gnomon_edge::orchestrator::process::shim;
use gnomon_edge::settings::LogFormat;
use gnomon_edge::update;
use tracing_subscriber::EnvFilter;

use commands::{apply, apps, diag, exec, join, logs, orders, run, status, uninstall};

// musl's allocator takes most of the time of a plan.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What may still be at work when the agent stops gets this long.
const LAST_WORK: Duration = Duration::from_secs(1);

/// Keeps a site running what its operator wants, with or without a link to the cloud.
#[derive(Debug, Parser)]
#[command(name = "gnomon-edge", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Join(join::JoinArgs),
    Run(run::RunArgs),
    Status(status::StatusArgs),
    Apps(apps::AppsArgs),
    Logs(logs::LogsArgs),
    Exec(exec::ExecArgs),
    Restart(orders::RestartArgs),
    Hold(orders::HoldArgs),
    Release(orders::ReleaseArgs),
    Apply(apply::ApplyArgs),
    Report(orders::ReportArgs),
    Diag(diag::DiagArgs),
    Pull(orders::PullArgs),
    RemoveVolumes(orders::RemoveVolumesArgs),
    Uninstall(uninstall::UninstallArgs),
}

fn main() -> ExitCode {
    if let Some(code) = shim::dispatch(std::env::args_os()) {
        return code;
    }
    // The one TLS stack of the process; it cannot be there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let args = Args::parse();
    match execute(&args.command) {
        Ok(code) => code,
        Err(error) => {
            tell(&args.command, &error);
            ExitCode::FAILURE
        }
    }
}

fn execute(command: &Command) -> Result<ExitCode> {
    if let Command::Run(args) = command {
        return execute_run(args);
    }
    start_logging(LogFormat::Text);
    let runtime = runtime()?;
    let result = runtime.block_on(execute_local(command));
    runtime.shutdown_timeout(LAST_WORK);
    result
}

/// The agent: first of all it is decided which program that is.
fn execute_run(args: &run::RunArgs) -> Result<ExitCode> {
    let settings = args.settings();
    let format = settings.as_ref().map(|settings| settings.log_format);
    start_logging(format.unwrap_or_default());
    let (data, within) = args.start();
    let started = update::start::dispatch(&data, within);
    let settings = settings?;
    let runtime = runtime()?;
    let result = runtime.block_on(run::execute(&settings, started));
    runtime.shutdown_timeout(LAST_WORK);
    match result? {
        None => Ok(ExitCode::SUCCESS),
        Some(next) => Err(next.again()).context("starting the update"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the runtime")
}

async fn execute_local(command: &Command) -> Result<ExitCode> {
    let done = match command {
        Command::Run(_) => Ok(()),
        Command::Exec(args) => return exec::execute(args).await,
        Command::Join(args) => join::execute(args).await,
        Command::Status(args) => status::execute(args).await,
        Command::Apps(args) => apps::execute(args).await,
        Command::Logs(args) => logs::execute(args).await,
        Command::Restart(args) => orders::restart(args).await,
        Command::Hold(args) => orders::hold(args).await,
        Command::Release(args) => orders::release(args).await,
        Command::Apply(args) => apply::execute(args).await,
        Command::Report(args) => orders::report(args).await,
        Command::Diag(args) => diag::execute(args).await,
        Command::Pull(args) => orders::pull(args).await,
        Command::RemoveVolumes(args) => orders::remove_volumes(args).await,
        Command::Uninstall(args) => uninstall::execute(args).await,
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Says why a command failed: the agent in its log, the others to the person who called them.
fn tell(command: &Command, error: &anyhow::Error) {
    let text = format!("{error:#}");
    if matches!(command, Command::Run(_)) {
        tracing::error!("{text}");
    } else {
        drop(writeln!(io::stderr(), "error: {text}"));
    }
}

/// Logs go to stderr; `RUST_LOG` chooses which.
fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,rumqttc=off,sled=warn"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => logs.with_target(false).init(),
        LogFormat::Json => logs.json().init(),
    }
}
