//! Leaves nothing running: first through gnomon itself, then by label and by process id.

use std::time::Duration;

use super::backstage::Look;
use super::reality::Marks;
use super::stage::Stage;
use crate::client::{ApiError, Precondition};
use crate::exit::Failure;

const BY_GNOMON: Duration = Duration::from_secs(20);
const LOG_LINES: usize = 12;

/// Ends and removes everything; returns what gnomon itself had not removed.
pub(super) async fn run(stage: &mut Stage, told: &anyhow::Result<()>) -> Vec<String> {
    if told.as_ref().is_err_and(|error| !is_interruption(error)) {
        show_logs(stage);
    }
    stage.back.screen.step("Clean up");
    if let Err(error) = delete_apps(stage).await {
        let text = format!("gnomon could not remove the apps: {}", super::reason(&error));
        stage.back.screen.say(&text);
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

/// As an operator would: delete every app of the sites, and wait until they have removed them.
async fn delete_apps(stage: &mut Stage) -> anyhow::Result<()> {
    let (Some(client), Some(links)) = (stage.client.clone(), stage.links.clone()) else {
        return Ok(());
    };
    for site in &stage.sites {
        // A demo that failed may have left a link cut, or a node not created.
        links.restore(site.label).await?;
        let apps = match client.apps(Some(&site.node)).await {
            Err(ApiError::Refused(refusal)) if refusal.code == "unknown_node" => continue,
            other => other?,
        };
        for app in apps.iter().filter(|app| app.revision.is_some()) {
            let key = format!("app/{}", app.name);
            client.delete_shadow(&site.node, &key, Precondition::None).await?;
        }
    }
    let Stage { back, chosen, sites, .. } = stage;
    let marks: [Marks<'_>; 2] = [sites[0].marks(), sites[1].marks()];
    back.until("the sites have removed their apps", BY_GNOMON, async || {
        let mut left = Vec::new();
        for site in marks {
            left.extend(chosen.reality.everything(site).await?);
        }
        Ok(if left.is_empty() { Look::Done(()) } else { Look::NotYet(left.join(", ")) })
    })
    .await?;
    stage.back.screen.say("the apps were deleted through gnomon, and the sites have removed them");
    Ok(())
}
