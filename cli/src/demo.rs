//! `gnomon demo`: the main job shown with real processes, told as it happens, proved at the end.
//!
//! Drives the other programs from outside, as a user would: by their command lines, the cloud's
//! HTTP API, the `docker` command and the process table.

mod app;
mod backstage;
mod binaries;
mod bytes;
mod cast;
mod docker;
mod leftovers;
mod links;
mod orchestrator;
mod process_table;
mod reality;
mod report;
mod scenes;
mod screen;
mod sites;
mod stage;
mod teardown;

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use clap::ValueEnum;
use futures_util::FutureExt as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::{self, Failure};
use crate::output;
use report::Report;
use screen::Screen;
use stage::Stage;

/// How the demo runs.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What runs the app: containers, host processes, or whichever of the two there is.
    #[arg(long, value_enum, default_value = "auto", value_name = "KIND")]
    orchestrator: Choice,
    /// Keep everything running after the story until Ctrl-C, to look around.
    #[arg(long)]
    keep: bool,
    /// Where logs, data and report.json go.
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    dir: PathBuf,
    /// Where gnomon-cloud, gnomon-edge and gnomon-sim are, if not beside this program.
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

/// What runs the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    /// Docker where a daemon answers, host processes otherwise.
    Auto,
    /// Docker containers.
    Docker,
    /// Host processes.
    Process,
}

/// Runs the demo; whatever happens, nothing that it started keeps running.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let screen = Screen::new();
    let keep = options.keep;
    let mut stage = Stage::prepare(options, screen).await?;
    let mut report = Report::default();
    let told = tell(&mut stage, &mut report).await;
    report.seconds_in_all = stage.back.screen.elapsed().as_secs_f64();
    if told.is_ok() && keep {
        stay(&stage).await?;
    }
    let left = teardown::run(&mut stage, &told).await;
    report.finish(&stage, &told, left);
    let path = report.write(&stage.dir)?;
    let shown = if told.is_ok() { output::data(&report.table()) } else { Ok(()) };
    stage.back.screen.say(&format!("report: {}", path.display()));
    told?;
    report.verdict()?;
    Ok(shown?)
}

/// The story, ended early by Ctrl-C, and by a panic without taking the cleaning up with it.
async fn tell(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    let story = AssertUnwindSafe(scenes::play(stage, report)).catch_unwind();
    tokio::select! {
        told = story => match told {
            Ok(told) => told,
            Err(_) => anyhow::bail!("the demo itself broke; the message above says where"),
        },
        stopped = stop_requested() => {
            stopped?;
            Err(Failure::Interrupted.into())
        }
    }
}

async fn stop_requested() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

async fn stay(stage: &Stage) -> anyhow::Result<()> {
    let screen = &stage.back.screen;
    screen.step("Everything keeps running until Ctrl-C");
    screen.say(&format!("export GNOMON_SERVER={}", stage.client()?.server()));
    screen.say(&format!("export GNOMON_TOKEN_FILE={}", stage.token_file().display()));
    screen.say("gnomon get nodes; gnomon get apps; gnomon shadow watch");
    stop_requested().await
}

/// An error and its causes, for the report.
fn reason(error: &anyhow::Error) -> String {
    exit::describe(error)
}
