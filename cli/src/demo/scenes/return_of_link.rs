//! The link comes back: how fast, in how many batches and bytes the site catches up.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::convergence;
use super::offline_writes::Offline;
use crate::demo::bytes;
use crate::demo::report::Report;
use crate::demo::stage::Stage;

const CONVERGED: Duration = Duration::from_mins(1);

pub(super) async fn play(
    stage: &mut Stage,
    report: &mut Report,
    offline: &Offline,
) -> anyhow::Result<()> {
    stage.back.screen.step("The link of site-2 is back");
    let [_, site] = stage.sites.clone();
    let client = stage.client()?.clone();
    let before = stage.bytes().await?;
    stage.links()?.restore(site.label).await?;
    let started = Instant::now();
    let look = async || convergence::look(&client, &site, &offline.app).await;
    let version = stage.back.until("site-2 runs the newest version", CONVERGED, look).await?;
    let seconds = started.elapsed().as_secs_f64();
    let down = stage.node(&site).await?.down;
    let carried = bytes::since(&before, &stage.bytes().await?);
    let carried = *carried.get(site.label).context("the link has a counter")?;
    let retries = down.retries - offline.down_before.retries;
    let batches = down.batches - offline.down_before.batches;
    let changes = down.changes - offline.down_before.changes;
    report.seconds_to_converge = Some(seconds);
    report.batches_for_offline_writes = Some(batches);
    report.retries_for_offline_writes = Some(retries);
    report.changes_for_offline_writes = Some(changes);
    report.converge_bytes = Some(carried);
    let writes = report.desired_writes_offline;
    stage.back.screen.say(&format!("site-2 runs v{version} after {seconds:.1} s"));
    stage.back.screen.say(&format!("{writes} writes left in {batches} batch(es), {carried}"));
    Ok(())
}
