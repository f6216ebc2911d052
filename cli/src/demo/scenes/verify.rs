//! Compares what the sites report with what really runs there.

use std::collections::BTreeMap;

use gnomon_schemas::app::{AppState, AppStatus};

use super::convergence;
use crate::api::Shadow;
use crate::demo::app::{App, VARIABLE};
use crate::demo::backstage::Look;
use crate::demo::reality::Running;
use crate::demo::report::Report;
use crate::demo::stage::Stage;

pub(super) async fn play(stage: &mut Stage, report: &mut Report, app: &App) -> anyhow::Result<()> {
    stage.back.screen.step("Compare the reports with reality");
    for site in stage.sites.clone() {
        let shadow = stage.shadow(&site, &app.key()).await?;
        let running = stage.chosen.reality.list(site.marks()).await?;
        let mut found = differences(&shadow, app, &running);
        if let Look::NotYet(seen) = convergence::in_sync(&stage.node(&site).await?) {
            found.push(seen);
        }
        let version = shadow.desired_version();
        let things = running.len();
        stage.back.screen.say(&if found.is_empty() {
            format!("{}: desired v{version} = reported = the {things} things that run", site.label)
        } else {
            format!("{}: {}", site.label, found.join("; "))
        });
        report.differences.extend(found.into_iter().map(|text| format!("{}: {text}", site.label)));
    }
    report.bytes = stage.bytes().await?;
    report.verified = true;
    Ok(())
}

/// Everything in which desired, reported and reality are not the same.
fn differences(shadow: &Shadow, app: &App, running: &[Running]) -> Vec<String> {
    let mut found = Vec::new();
    if shadow.desired.as_ref().is_none_or(|half| half.document != app.spec) {
        found.push("the cloud does not want what was written last".to_owned());
    }
    let reported = shadow.reported.as_ref().map(|half| AppStatus::from_document(&half.document));
    let Some(Ok(status)) = reported else {
        found.push("the site has no readable report".to_owned());
        return found;
    };
    let wanted = shadow.desired_version();
    if status.desired_version.0 != wanted || status.state != AppState::Running {
        let (version, state) = (status.desired_version, status.state);
        found.push(format!("v{wanted} is desired, v{version} reported as {state:?}"));
    }
    let mut real: BTreeMap<&str, u32> = BTreeMap::new();
    for one in running {
        *real.entry(one.service.as_str()).or_default() += 1;
        let said = one.environment.get(VARIABLE).map_or("", String::as_str);
        if said != app.greeting {
            found.push(format!("{} was told to say {said:?}, not {:?}", one.service, app.greeting));
        }
    }
    for (name, service) in &status.services {
        let really = real.remove(name.as_str()).unwrap_or(0);
        if really != service.running || really == 0 {
            found.push(format!("{name}: {} reported, {really} run", service.running));
        }
    }
    let strangers = real.keys().map(|name| format!("{name} runs and is not reported"));
    found.extend(strangers);
    found
}

#[cfg(test)]
mod tests;
