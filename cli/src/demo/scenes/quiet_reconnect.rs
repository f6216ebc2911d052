//! What it costs to reconnect when there is nothing to say.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{convergence, cut};
use crate::demo::backstage::Look;
use crate::demo::bytes::{self, BySite};
use crate::demo::report::Report;
use crate::demo::stage::Stage;

const BACK: Duration = Duration::from_secs(40);
const SETTLED: Duration = Duration::from_secs(20);
/// A link that carried nothing for so long has nothing under way.
const STILL: Duration = Duration::from_secs(2);

pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    stage.back.screen.step("Cut and restore the link of site-2 with nothing to say");
    let [_, site] = stage.sites.clone();
    let before = settle(stage).await?;
    cut::cut(stage, &site).await?;
    stage.links()?.restore(site.label).await?;
    let started = Instant::now();
    let client = stage.client()?.clone();
    let look = async || Ok(convergence::in_sync(&client.node(&site.node).await?));
    stage.back.until("site-2 is back and in sync", BACK, look).await?;
    let seconds = started.elapsed().as_secs_f64();
    let after = settle(stage).await?;
    let carried = bytes::since(&before, &after);
    let carried = *carried.get(site.label).context("the link has a counter")?;
    report.no_change_reconnect_bytes = Some(carried);
    report.no_change_reconnect_seconds = Some(seconds);
    let text = format!("site-2 is back after {seconds:.1} s; TLS handshake and all: {carried}");
    stage.back.screen.say(&text);
    Ok(())
}

/// Waits until the links are still; returns what they have carried by then.
async fn settle(stage: &mut Stage) -> anyhow::Result<BySite> {
    let mut last: Option<(BySite, Instant)> = None;
    let sites = stage.sites.each_ref().map(|site| site.label);
    let links = stage.links()?.clone();
    stage
        .back
        .until("the links are still", SETTLED, async || {
            let mut now = BySite::new();
            for site in sites {
                now.insert(site.to_owned(), links.bytes(site).await?);
            }
            let since = match &last {
                Some((before, since)) if *before == now => *since,
                Some(_) | None => Instant::now(),
            };
            last = Some((now.clone(), since));
            let still = since.elapsed() >= STILL;
            Ok(if still { Look::Done(now) } else { Look::NotYet("bytes still flow".to_owned()) })
        })
        .await
}
