//! Cuts the second site's link.

use std::time::{Duration, Instant};

use crate::demo::backstage::Look;
use crate::demo::sites::Site;
use crate::demo::stage::Stage;

/// A cloud that is not told learns it from the keep-alive.
const NOTICED: Duration = Duration::from_mins(1);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<()> {
    stage.back.screen.step("Cut the link of site-2");
    let [_, site] = stage.sites.clone();
    cut(stage, &site).await
}

/// Cuts a link and waits until the cloud knows that the site is away.
pub(super) async fn cut(stage: &mut Stage, site: &Site) -> anyhow::Result<()> {
    let started = Instant::now();
    stage.links()?.cut(site.label).await?;
    let client = stage.client()?.clone();
    let what = format!("the cloud sees that {} is away", site.label);
    stage
        .back
        .until(&what, NOTICED, async || {
            let online = client.node(&site.node).await?.online;
            Ok(if online { Look::NotYet("it is online".to_owned()) } else { Look::Done(()) })
        })
        .await?;
    let seconds = started.elapsed().as_secs_f64();
    stage
        .back
        .screen
        .say(&format!("{} is offline; the cloud knew after {seconds:.1} s", site.label));
    Ok(())
}
