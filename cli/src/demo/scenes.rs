//! The story, scene by scene.

use super::report::Report;
use super::stage::Stage;

mod convergence;
mod cut;
mod deploy;
mod offline_writes;
mod quiet_reconnect;
mod repair;
mod return_of_link;
mod start;
mod verify;

/// Plays all of it.
pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    start::play(stage, report).await?;
    deploy::play(stage, report).await?;
    cut::play(stage).await?;
    repair::play(stage, report).await?;
    let offline = offline_writes::play(stage, report).await?;
    return_of_link::play(stage, report, &offline).await?;
    quiet_reconnect::play(stage, report).await?;
    verify::play(stage, report, &offline.app).await
}
