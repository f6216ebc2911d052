//! `gnomon demo`: shows the main job with real processes.
//!
//! Runs the demo program.

use crate::demo::Options;

/// Show the main job: a cloud, two sites behind a bad link, an app, an outage, a repair.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: Options,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    crate::demo::run(args.options).await
}
