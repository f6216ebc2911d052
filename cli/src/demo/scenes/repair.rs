//! Kills a service of the site that has no link, and measures until it runs again.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::demo::app::SERVICE;
use crate::demo::backstage::Look;
use crate::demo::reality::Running;
use crate::demo::report::Report;
use crate::demo::stage::Stage;

const REPAIRED: Duration = Duration::from_secs(30);

pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    stage.back.screen.step(&format!("Kill {SERVICE} of site-2 while it has no link"));
    let [_, site] = stage.sites.clone();
    let running = stage.chosen.reality.list(site.marks()).await?;
    let victim = running.iter().find(|one| one.service == SERVICE);
    let victim = victim.with_context(|| format!("{SERVICE} does not run at {}", site.label))?;
    stage.chosen.reality.kill(victim).await?;
    let killed = Instant::now();
    stage.back.screen.say(&format!("killed: {}", victim.describe()));
    let reality = &stage.chosen.reality;
    let what = format!("{SERVICE} of {} runs again", site.label);
    let is_new = |one: &Running| one.service == SERVICE && one.pid != victim.pid;
    let again = stage
        .back
        .until(&what, REPAIRED, async || {
            let running = reality.list(site.marks()).await?;
            let names: Vec<&str> = running.iter().map(|one| one.service.as_str()).collect();
            let seen = format!("running: {}", names.join(", "));
            Ok(running
                .iter()
                .find(|one| is_new(one))
                .cloned()
                .map_or(Look::NotYet(seen), Look::Done))
        })
        .await?;
    let elapsed = u64::try_from(killed.elapsed().as_millis())?;
    report.offline_repair_ms = Some(elapsed);
    let again = again.describe();
    stage.back.screen.say(&format!("repaired by the site alone in {elapsed} ms: {again}"));
    Ok(())
}
