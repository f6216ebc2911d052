//! Writes a new version and more while the second site is away: the first site follows, the
//! second keeps running what it has.

use std::time::Duration;

use serde_json::json;

use super::convergence;
use crate::api::Down;
use crate::client::{Precondition, WriteMode};
use crate::demo::app::{App, DEVICE, SERVICE, VARIABLE};
use crate::demo::report::Report;
use crate::demo::sites::Site;
use crate::demo::stage::Stage;

const RUNNING: Duration = Duration::from_mins(1);
const PRICE_CHANGES: u32 = 10;

/// What was written while the site was away.
pub(super) struct Offline {
    pub(super) app: App,
    /// The stream to the site before the first of the writes.
    pub(super) down_before: Down,
}

pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<Offline> {
    stage
        .back
        .screen
        .step("Meanwhile, write a new version for both sites, and ten prices for site-2");
    let app = App::second()?;
    let client = stage.client()?.clone();
    let [first, second] = stage.sites.clone();
    let down_before = stage.node(&second).await?.down;
    let (mode, always) = (WriteMode::Replace, Precondition::None);
    for site in [&first, &second] {
        client.write_shadow(&site.node, &app.key(), &app.spec, mode, always).await?;
    }
    for change in 1..=PRICE_CHANGES {
        let patch = json!({ "price": 1.50 + f64::from(change) / 100.0 });
        let mode = WriteMode::Merge;
        client.write_shadow(&second.node, DEVICE, &patch, mode, always).await?;
    }
    report.desired_writes_offline = u64::from(PRICE_CHANGES) + 1;
    let look = async || convergence::look(&client, &first, &app).await;
    let version = stage.back.until("site-1 runs the new version", RUNNING, look).await?;
    let greeting = greeting(stage, &first).await?;
    stage.back.screen.say(&format!("site-1 runs v{version}: {SERVICE} says {greeting:?}"));
    let old = self::greeting(stage, &second).await?;
    anyhow::ensure!(
        old == App::first()?.greeting,
        "site-2 has no link and yet {SERVICE} says {old:?} there"
    );
    let waiting = stage.node(&second).await?.down.head.saturating_sub(down_before.head);
    let text =
        format!("site-2 keeps running: {SERVICE} says {old:?}; {waiting} writes wait for it");
    stage.back.screen.say(&text);
    Ok(Offline { app, down_before })
}

/// What the running service was told to say, from the engine or the process table.
async fn greeting(stage: &Stage, site: &Site) -> anyhow::Result<String> {
    let running = stage.chosen.reality.list(site.marks()).await?;
    let service = running.iter().find(|one| one.service == SERVICE);
    Ok(service.and_then(|one| one.environment.get(VARIABLE)).cloned().unwrap_or_default())
}
