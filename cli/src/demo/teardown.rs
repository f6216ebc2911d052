//! Leaves nothing running: first through gnomon itself, then by label and by process id.

use std::time::Duration;

use super::backstage::Look;
use super::reality::Marks;
use super::stage::Stage;
use crate::client::Precondition;
use crate::exit::Failure;

const BY_GNOMON: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 12;

/// Ends and removes everything; returns what gnomon itself had not removed.
pub(super) async fn run(stage: &mut Stage, told: &anyhow::Result<()>) -> Vec<String> {
    if told.as_ref().is_err_and(|error| !is_interruption(error)) {
        show_logs(stage);
    }
    stage.back.screen.step("Clean up");
    if let Err(error) = delete_app(stage).await {
        stage.back.screen.say(&format!("the app could not be deleted: {}", super::reason(&error)));
    }
    let killed = stage.back.cast.end().await;
    if !killed.is_empty() {
        let text = format!("had to be killed: {}", killed.join(", "));
        stage.back.screen.say(&text);
    }
    let mut left = Vec::new();
    for site in &stage.sites {
        match stage.chosen.reality.remove_all(site.marks()).await {
            Ok(removed) => left.extend(removed),
            Err(error) => left.push(format!("{}: {}", site.label, super::reason(&error))),
        }
    }
    if left.is_empty() {
        stage.back.screen.say("nothing is left running");
    } else {
        stage.back.screen.say(&format!("removed by hand: {}", left.join(", ")));
    }
    left
}

fn is_interruption(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Failure::Interrupted))
}

fn show_logs(stage: &Stage) {
    let tails = stage.back.cast.tails(LOG_LINES);
    if !tails.is_empty() {
        stage.back.screen.say(&format!("\nthe last lines of the logs:\n{tails}"));
    }
}

/// As an operator would: delete it, and wait until the sites have removed it.
async fn delete_app(stage: &mut Stage) -> anyhow::Result<()> {
    let Some(app) = stage.deployed.take() else { return Ok(()) };
    // A demo that failed may have left a link cut.
    for site in &stage.sites {
        stage.links()?.restore(site.label).await?;
    }
    let client = stage.client()?.clone();
    let key = app.key();
    for site in &stage.sites {
        client.delete_shadow(&site.node, &key, Precondition::None).await?;
    }
    let Stage { back, chosen, sites, .. } = stage;
    let marks: [Marks<'_>; 2] = [sites[0].marks(), sites[1].marks()];
    back.until("the sites have removed the app", BY_GNOMON, async || {
        let mut left = Vec::new();
        for site in marks {
            left.extend(chosen.reality.everything(site).await?);
        }
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(left.join(", ")) })
    })
    .await?;
    stage.back.screen.say("the app was deleted through gnomon; both sites have removed it");
    Ok(())
}
