//! Writes the app to both sites and waits until it runs there.

use std::time::{Duration, Instant};

use serde_json::json;

use super::convergence;
use crate::client::{Precondition, WriteMode};
use crate::demo::app::{App, DEVICE};
use crate::demo::bytes;
use crate::demo::report::Report;
use crate::demo::stage::Stage;

const RUNNING: Duration = Duration::from_mins(1);

pub(super) async fn play(stage: &mut Stage, report: &mut Report) -> anyhow::Result<()> {
    stage.back.screen.step("Apply examples/hello.yaml to both sites");
    let app = App::first()?;
    let client = stage.client()?.clone();
    let before = stage.bytes().await?;
    let started = Instant::now();
    for site in stage.sites.clone() {
        let price = json!({"price": 1.50, "currency": "EUR", "product": "diesel"});
        for (key, body) in [(app.key(), &app.spec), (DEVICE.to_owned(), &price)] {
            let write =
                client.write_shadow(&site.node, &key, body, WriteMode::Replace, Precondition::None);
            write.await?;
        }
    }
    for site in stage.sites.clone() {
        let what = format!("{} runs the app", site.label);
        let look = async || convergence::look(&client, &site, &app).await;
        let version = stage.back.until(&what, RUNNING, look).await?;
        let running = stage.chosen.reality.list(site.marks()).await?;
        let names: Vec<String> =
            running.iter().map(|one| format!("{} ({})", one.service, one.describe())).collect();
        stage.back.screen.say(&format!("{} runs v{version}: {}", site.label, names.join(", ")));
    }
    let seconds = started.elapsed().as_secs_f64();
    report.seconds_to_deploy = Some(seconds);
    stage.back.screen.say(&format!("deployed to both sites in {seconds:.1} s"));
    for (site, bytes) in bytes::since(&before, &stage.bytes().await?) {
        stage.back.screen.say(&format!("{site}: {bytes}"));
    }
    Ok(())
}
